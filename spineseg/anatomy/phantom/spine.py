"""One patient's spine: size, curve and pose of 25 vertebrae, drawn from a seed and as yet without a voxel.

World axes are RAS+ mm, the origin is the centre of the body of L3 and +z points to the head.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spineseg.anatomy.labels import IDS, N_VERTEBRAE
from spineseg.anatomy.phantom.degeneration import Extra, Wear, altered, draw_variant, draw_wear, extra_of, room_mm
from spineseg.anatomy.phantom.endplates import draw_endplates
from spineseg.anatomy.phantom.levels import dimensions
from spineseg.anatomy.phantom.planting import Pathology, Planted, plant

_C1, _C2, _C7, _T1, _T12, _L1, _L3, _L5, _S1 = (
    IDS[v] - 1 for v in ("C1", "C2", "C7", "T1", "T12", "L1", "L3", "L5", "S1")
)

# How the angle of a region is shared among its segments, from the top one down. Lumbar, L1-L2 .. L5-S1: as the tilts of
# the lying patients in `anatomy.real_masks` change from level to level, with two thirds of the angle below L4 (71 % of
# L1-S1 from the top of L4 down standing and 85 % lying in 627 volunteers, PMC6680033). Thoracic, T1-T2 .. T11-T12: the
# apex at T6-T8 and hardly any angle below T10, as in those masks; cervical: smooth shares chosen by eye.
_LUMBAR_SHARES = (0.04, 0.10, 0.22, 0.31, 0.33)
_THORACIC_SHARES = (0.05, 0.08, 0.10, 0.12, 0.13, 0.14, 0.14, 0.11, 0.07, 0.04, 0.02)
_CERVICAL_SHARES = (0.22, 0.20, 0.20, 0.20, 0.18)  # C2-C3 .. C6-C7


@dataclass(frozen=True)
class Spine:
    """Where each vertebra is and how big.

    Attributes:
        centre_mm: `(25, 3)` world RAS of the body's centre; for C1 the axis of the dens at the height of its arch.
        rotation: `(25, 3, 3)`; columns are the vertebra's own right, anterior and superior axes in the world.
        size: `{name: (25,) mm}`, the columns of `levels.COLUMNS` for this patient, and those of `endplates`.
        scale: The patient's size against the mean adult, linear.
        disc_share: `(25,)` thickness of the disc below against a healthy one, below 0.75 where it is degenerate.
        wedge: `(25,)` anterior height lost in a wedge fracture, 0 where there is none.
        angles_degrees: Drawn curve: sacral slope, lumbar lordosis, thoracic kyphosis, cervical lordosis, scoliosis.
        wear: Spurs, blocks, broken endplates.
        variant: `""`, or `T11` (T12 is missing: no height, not painted), `T13` or `L6`.
        extra: The 26th vertebra of the last two.
        planted: Pathology that was put in on purpose, or None.
    """

    centre_mm: np.ndarray
    rotation: np.ndarray
    size: dict[str, np.ndarray]
    scale: float
    disc_share: np.ndarray
    wedge: np.ndarray
    angles_degrees: dict[str, float]
    wear: Wear
    variant: str = ""
    extra: Extra | None = None
    planted: Planted | None = None


def draw_spine(rng: np.random.Generator, pathology: Pathology | None = None, seed: int = 0) -> Spine:
    """Draw one adult spine lying supine.

    Args:
        rng: Source of every random number but those of what is planted; size and curve do not depend on that.
        pathology: What to plant in place of chance's wear, breaks, slips and odd counts; None for those.
        seed: Of what is planted.

    Returns:
        The spine, L3 at the origin.

    Source:
        Lordosis between 36.8 +- 13.2 degrees lying and 49.8 +- 11.2 standing, 627 volunteers (PMC6680033); the other
        angles are usual adult values. L4 and L5 lean as in seven lying patients of VerSe and TotalSegmentator.
    """
    scale, size, disc_share = _draw_size(rng)
    wedge = _draw_wedges(rng)
    apart = rng.spawn(1)[0]
    variant = draw_variant(apart)
    wear = draw_wear(apart, disc_share, wedge, variant)
    planted = None
    if pathology is not None:
        healthy = size["disc_below"] / disc_share
        disc_share, wedge, wear, planted = plant(pathology, seed, disc_share, wear)
        variant, size["disc_below"] = "", healthy * disc_share
    size = altered(size, wear, variant) | draw_endplates(rng.spawn(1)[0])
    pitch, roll, yaw, angles = _draw_curve(rng)
    pitch = pitch + _wedge_pitch(wedge, size)
    if planted is not None:
        roll, yaw = roll + planted.roll, yaw + planted.yaw
    rotation = _rotations(np.radians(pitch), np.radians(roll), np.radians(yaw))
    centre = _centres(rotation, size, wedge, room_mm(size, variant), wear.slip)
    extra = extra_of(variant, centre, rotation, size)
    return Spine(centre, rotation, size, scale, disc_share, wedge, angles, wear, variant, extra, planted)


def _draw_size(rng):
    """Dimensions = mean adult x patient scale x how this patient differs in proportion, all lognormal."""
    scale = float(np.exp(rng.normal(0.0, 0.062)))
    slope = rng.normal(0.0, 0.025)  # large neck on a small pelvis, or the reverse
    position = np.linspace(-1.0, 1.0, N_VERTEBRAE)
    size = {}
    for name, mean in dimensions().items():
        own = rng.normal(0.0, 0.035) + rng.normal(0.0, 0.02, N_VERTEBRAE)
        size[name] = mean * scale * np.exp(own + slope * position)
    disc_share = rng.uniform(0.88, 1.1, N_VERTEBRAE)
    chance = np.full(N_VERTEBRAE, 0.06)
    chance[[_C7 - 2, _C7 - 1]], chance[_L1:_L5] = 0.18, 0.12
    chance[[_L5 - 1, _L5]] = 0.22
    worn = rng.random(N_VERTEBRAE) < chance * rng.choice([0.3, 2.0], p=[0.6, 0.4])  # wear comes in company
    disc_share[worn] = rng.uniform(0.35, 0.75, int(worn.sum()))
    size["disc_below"] = size["disc_below"] * disc_share
    return scale, size, disc_share


def _draw_wedges(rng):
    """Anterior height lost, in one patient of ten, at one to three levels around the thoracolumbar junction."""
    wedge = np.zeros(N_VERTEBRAE)
    if rng.random() < 0.1:
        levels = np.arange(_T1 + 3, _S1)
        weight = np.exp(-(((levels - _T12) / 3.0) ** 2)) + 0.15
        count = int(rng.choice([1, 2, 3], p=[0.6, 0.3, 0.1]))
        chosen = rng.choice(levels, count, replace=False, p=weight / weight.sum())
        wedge[chosen] = rng.uniform(0.18, 0.5, count)
    return wedge


def _wedge_pitch(wedge, size):
    """Degrees that wedges tip each level forward: all above one, less the higher up, as people straighten."""
    angle = np.degrees(np.arctan(wedge * size["body_height"] / size["body_depth"]))
    above = np.subtract.outer(np.arange(N_VERTEBRAE), np.arange(N_VERTEBRAE)).T  # [level, wedged]: levels in between
    share = np.where(above > 0, np.clip(1.0 - 0.1 * (above - 1), 0.2, 1.0), 0.5 * (above == 0))
    return share @ angle


def _draw_curve(rng):
    """Pitch (superior axis leans forward), roll (leans right) and yaw (turns left) of each vertebra, in degrees."""
    slope = float(np.clip(rng.normal(38.5, 7.0), 20.0, 58.0))
    lordosis = float(np.clip(slope + rng.normal(7.5, 5.0), 20.0, 72.0))
    kyphosis = float(np.clip(rng.normal(36.0, 8.0) + 0.25 * (lordosis - 45.0), 14.0, 60.0))
    pitch = np.zeros(N_VERTEBRAE)
    pitch[_S1] = slope
    pitch[_L1 : _S1 + 1] = slope - lordosis * np.append(np.cumsum(_jitter(rng, _LUMBAR_SHARES)[::-1])[::-1], 0.0)
    pitch[_T12] = pitch[_L1] + rng.normal(0.0, 1.5)
    pitch[_T1:_T12] = pitch[_T12] + kyphosis * np.cumsum(_jitter(rng, _THORACIC_SHARES)[::-1])[::-1]
    pitch[_C7] = pitch[_T1] - rng.normal(2.0, 1.5)
    neck = float(np.clip(pitch[_C7] - rng.normal(8.0, 6.0), -8.0, 38.0))
    pitch[_C2:_C7] = pitch[_C7] - neck * np.cumsum(_jitter(rng, _CERVICAL_SHARES)[::-1])[::-1]
    pitch[_C1] = pitch[_C2] - rng.normal(11.0, 4.0)

    level = np.arange(N_VERTEBRAE)
    cobb = float(np.abs(rng.normal(0.0, rng.choice([4.0, 10.0, 20.0], p=[0.8, 0.15, 0.05]))))
    wavelength, phase = rng.uniform(12.0, 22.0), rng.uniform(0.0, 2 * np.pi)
    fade = 1 / (1 + np.exp(-(level - 5.0))) * 1 / (1 + np.exp(level - 23.0))  # the curve dies out in neck and pelvis
    roll = cobb / 2 * np.sin(2 * np.pi * level / wavelength + phase) * fade + rng.normal(0.0, 1.5)
    # bodies turn towards the convexity, most at the apex, where the tilt changes fastest
    turn = -0.35 * cobb * np.cos(2 * np.pi * level / wavelength + phase) * fade
    head = rng.normal(0.0, 7.0) * np.clip((_T1 + 2 - level) / (_T1 + 1), 0.0, 1.0)
    yaw = turn + head + rng.normal(0.0, 2.0)
    yaw[_C1] += rng.normal(0.0, 3.0)
    angles = {"sacral_slope": slope, "lumbar_lordosis": lordosis, "thoracic_kyphosis": kyphosis}
    return pitch, roll, yaw, angles | {"cervical_lordosis": neck, "scoliosis": cobb}


def _jitter(rng, shares):
    """Shares that still add up to one, varied by about a sixth."""
    varied = np.asarray(shares) * np.exp(rng.normal(0.0, 0.16, len(shares)))
    return varied / varied.sum()


def _rotations(pitch, roll, yaw):
    """`(25, 3, 3)` rotation matrices: pitch about the right axis first, then roll, then yaw; radians."""
    zero, one = np.zeros_like(pitch), np.ones_like(pitch)

    def matrix(*rows):
        return np.moveaxis(np.array(rows), -1, 0)

    (cp, sp), (cr, sr), (cy, sy) = ((np.cos(a), np.sin(a)) for a in (pitch, roll, yaw))
    about_x = matrix((one, zero, zero), (zero, cp, sp), (zero, -sp, cp))
    about_y = matrix((cr, zero, sr), (zero, one, zero), (-sr, zero, cr))
    about_z = matrix((cy, -sy, zero), (sy, cy, zero), (zero, zero, one))
    return about_z @ about_y @ about_x


def _centres(rotation, size, wedge, room, slip):
    """Stack the bodies: half a body, a disc, half a body, along the mean direction; L3 ends at the origin."""
    up = rotation[:, :, 2]
    height = size["body_height"] * (1 - wedge / 2)
    centre = np.zeros((N_VERTEBRAE, 3))
    for i in range(N_VERTEBRAE - 2, -1, -1):
        across = up[i] + up[i + 1]
        across /= np.linalg.norm(across)
        step = up[i + 1] * height[i + 1] / 2 + up[i] * height[i] / 2 + across * room[i]
        step = step + slip[i] * rotation[i + 1, :, 1]
        if i == _C1:  # no body: its ring sits around the upper half of the dens, which leans back
            step = up[_C2] * (height[_C2] / 2 + 0.8 * height[_C1]) - 0.2 * height[_C1] * rotation[_C2, :, 1]
        centre[i] = centre[i + 1] + step
    return centre - centre[_L3]
