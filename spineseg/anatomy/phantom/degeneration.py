"""What age and chance do to a spine: worn joints with spurs and sclerosis, broken endplates, blocks, odd counts.

How often each occurs and how large it is are usual adult values, set by eye so that a cohort holds some of each.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spineseg.anatomy.labels import IDS, N_VERTEBRAE

_C2, _C5, _T5, _T6, _T11, _T12, _L1, _L4, _L5, _S1 = (
    IDS[v] - 1 for v in ("C2", "C5", "T5", "T6", "T11", "T12", "L1", "L4", "L5", "S1")
)
WORN = 0.75  # disc height against a healthy one below which a disc counts as worn
VARIANTS = {"T11": 0.03, "T13": 0.03, "L6": 0.04}  # share of patients: T12 missing, one more thoracic or lumbar one
_REPEATED = {"T13": _T12, "L6": _L5}


@dataclass(frozen=True)
class Wear:
    """What one spine carries; pairs are upper and lower endplate.

    Attributes:
        fused: `(25,)` whether bone replaces the disc below: a congenital block, or years after surgery.
        crush: `(25,)` share of the height lost in front and behind alike.
        fish: `(25,)` depth of both endplates' hollow against the height.
        node: `(25, 2)` radius of a Schmorl node in mm, 0 for none.
        spur: `(25, 2)` radius of the osteophytes along the rim in mm.
        joint: `(25,)` thickness of the facets against healthy ones.
        modic: `(25, 2)` HU added under the endplate, negative where marrow turned to fat.
        modic_mm: `(25, 2)` depth of that.
        slip: `(25,)` how far the body lies in front of the one below, mm.
        wing: How much stouter the transverse processes of L5 are, 1 unless it is partly sacral.
        remnant: Whether a disc is left between S1 and S2.
    """

    fused: np.ndarray
    crush: np.ndarray
    fish: np.ndarray
    node: np.ndarray
    spur: np.ndarray
    joint: np.ndarray
    modic: np.ndarray
    modic_mm: np.ndarray
    slip: np.ndarray
    wing: float
    remnant: bool


@dataclass(frozen=True)
class Extra:
    """A 26th vertebra, labelled as the one above it.

    Attributes:
        above: Index of that one.
        centre_mm: `(3,)` world.
        rotation: `(3, 3)`.
        size: `{name: mm}`.
    """

    above: int
    centre_mm: np.ndarray
    rotation: np.ndarray
    size: dict[str, float]


def draw_wear(rng: np.random.Generator, disc_share: np.ndarray, wedge: np.ndarray, variant: str = "") -> Wear:
    """Draw what time did to a spine.

    Args:
        rng: Gives the same number of values whatever is drawn.
        disc_share: `(25,)` disc heights against healthy ones; spurs and sclerosis go with worn discs.
        wedge: `(25,)` wedge fractures; a broken vertebra is not broken a second time.
        variant: From `draw_variant`; no block forms where it adds or takes a vertebra.

    Returns:
        The wear.
    """
    n, level = N_VERTEBRAE, np.arange(N_VERTEBRAE)
    worn = disc_share < WORN
    age = rng.uniform(0.0, 1.0)
    large = np.interp(level, [0, 6, 17, 24], [0.45, 0.55, 0.85, 1.0])  # spurs grow with the vertebra

    per_disc = np.where(worn, rng.uniform(0.6, 3.4, n), rng.uniform(-2.4, 1.6, n) + age) * large
    stiff = rng.random() < 0.05  # bridges along the chest, as in diffuse idiopathic hyperostosis
    bridge = stiff & (level >= _T5) & (level < _T12) & (rng.random(n) < 0.8)
    per_disc = np.clip(np.where(bridge, rng.uniform(3.0, 4.2, n), per_disc), 0.0, 4.2)
    per_disc[per_disc < 0.5] = 0.0
    spur = _on_both_sides(per_disc, rng.uniform(0.75, 1.1, (n, 2)))

    strength = np.where(rng.random(n) < 0.2, rng.uniform(-140.0, -50.0, n), rng.uniform(60.0, 450.0, n))
    modic = _on_both_sides(strength * (worn & (rng.random(n) < 0.55)), rng.uniform(0.2, 1.0, (n, 2)))
    modic_mm = _on_both_sides(rng.uniform(3.0, 11.0, n), rng.uniform(0.7, 1.2, (n, 2)))
    joint = 1.0 + np.clip(rng.normal(-0.1, 0.1, n) + 0.22 * age + 0.1 * worn, 0.0, 0.4)

    block = np.zeros(n, bool)
    weight = np.where((level >= _C2) & (level < _L4), 1.0, 0.0)
    weight[[_C2, _C5, _L4]] = 5.0, 5.0, 3.0
    first, count = int(rng.choice(n, p=weight / weight.sum())), int(rng.choice([1, 2, 4], p=[0.75, 0.15, 0.1]))
    if rng.random() < 0.04:
        block[first : min(first + count, _L4 + 1)] = True

    if variant:
        block[_T11 : _L1 + 1] = block[_L5] = False
    soft, first, count = rng.random(), int(rng.integers(_T6, _L4)), int(rng.integers(1, 6))
    fish = np.where((level >= first) & (level < first + count) & (level < _S1), rng.uniform(0.05, 0.2, n), 0.0)
    fish *= soft < 0.08
    target, lost, is_crushed = int(rng.integers(_T5, _S1)), rng.uniform(0.2, 0.5), rng.random() < 0.04
    crush = np.where((level == target) & is_crushed & (wedge == 0), lost, 0.0)

    has_nodes, near = rng.random() < 0.14, (level >= _T6) & (level <= _L4)
    node = rng.uniform(2.2, 5.0, (n, 2)) * (rng.random((n, 2)) < 0.3) * (near & has_nodes)[:, None]
    node[crush > 0], node[fish > 0] = 0.0, 0.0
    slipped, by, has_slip = int(rng.choice([_L4 - 1, _L4, _L5], p=[0.2, 0.5, 0.3])), rng.uniform(2.5, 9.0), rng.random()
    slip = np.where((level == slipped) & (has_slip < 0.05) & ~block, by, 0.0)
    wing = float(rng.uniform(1.25, 1.7)) if rng.random() < 0.05 else 1.0
    return Wear(block, crush, fish, node, spur, joint, modic, modic_mm, slip, wing, bool(rng.random() < 0.35))


def worn_size(wear: Wear, level: int) -> dict[str, float]:
    """What wear adds to the dimensions of one vertebra, as `vertebra_shape.vertebra` takes them."""
    above = bool(wear.fused[level - 1]) if level else False
    values = {"fish": wear.fish[level], "joint": wear.joint[level], "wing": wear.wing if level == _L5 else 1.0}
    for k, end in enumerate(("top", "bottom")):
        values |= {f"spur_{end}": wear.spur[level, k], f"node_{end}": wear.node[level, k]}
    values |= {"fused_below": wear.fused[level], "is_block": above or wear.fused[level]}
    return {name: float(value) for name, value in values.items()}


def healthy_size() -> dict[str, float]:
    """The same for a vertebra without wear."""
    ends = {f"{what}_{end}": 0.0 for what in ("spur", "node") for end in ("top", "bottom")}
    return {"fish": 0.0, "joint": 1.0, "wing": 1.0, "fused_below": 0.0, "is_block": 0.0} | ends


def draw_variant(rng: np.random.Generator) -> str:
    """Draw the number of vertebrae: `""` for the usual one, or a name in `VARIANTS`."""
    return str(rng.choice(["", *VARIANTS], p=[1.0 - sum(VARIANTS.values()), *VARIANTS.values()]))


def altered(size: dict[str, np.ndarray], wear: Wear, variant: str) -> dict[str, np.ndarray]:
    """Dimensions after crushing, fusing and, where T12 is missing, without its height."""
    size = {name: values.copy() for name, values in size.items()}
    size["body_height"] *= 1.0 - wear.crush
    size["disc_below"][wear.fused] = -1.0  # bodies of a block overlap a bit, so that no gap is left at their rims
    if variant == "T11":
        size["body_height"][_T12] = size["disc_below"][_T12] = 0.0
    return size


def room_mm(size: dict[str, np.ndarray], variant: str) -> np.ndarray:
    """`(25,)` distance between the endplates of neighbours: a disc, and where one more vertebra lies its own height."""
    room = size["disc_below"].copy()
    if variant in _REPEATED:
        i = _REPEATED[variant]
        room[i] += _between(size, i)["body_height"] + max(size["disc_below"][i], 5.0)
    return room


def extra_of(variant: str, centre_mm, rotation, size) -> Extra | None:
    """Place the 26th vertebra half way between its neighbours; None where there is none."""
    if variant not in _REPEATED:
        return None
    i = _REPEATED[variant]
    frame, _ = np.linalg.qr(rotation[i] + rotation[i + 1])
    frame = frame * np.sign((frame * rotation[i]).sum(0))
    ends = (
        centre_mm[i] - rotation[i][:, 2] * size["body_height"][i] / 2,
        centre_mm[i + 1] + rotation[i + 1][:, 2] * size["body_height"][i + 1] / 2,
    )
    return Extra(i, (ends[0] + ends[1]) / 2, frame, _between(size, i))


def _between(size, i):
    """Dimensions of one more vertebra below level i: mostly that one's, since S1 is a different bone."""
    share = 0.0 if i + 1 == _S1 else 0.4
    return {name: float((1 - share) * v[i] + share * v[i + 1]) for name, v in size.items()}


def _on_both_sides(per_disc, share):
    """`(25, 2)`: what lies at the disc below a level touches its lower endplate and the upper one of the next."""
    lower = per_disc
    upper = np.concatenate([[0.0], per_disc[:-1]])
    return np.stack([upper, lower], 1) * share
