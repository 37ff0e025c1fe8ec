"""The scanner: which part of the body is seen, on which grid, how sharp and noisy, in which orientation stored."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch

from spineseg.anatomy.labels import IDS, REGION_OF, VERTEBRAE
from spineseg.anatomy.phantom.canvas import Canvas
from spineseg.anatomy.phantom.fields import correlated_noise
from spineseg.anatomy.phantom.frame import Frame, draw_frame, pad_outside
from spineseg.anatomy.phantom.kernels import draw_kernel, sharpen_or_smooth
from spineseg.anatomy.phantom.ranges import within, within_log
from spineseg.anatomy.phantom.spine import Spine
from spineseg.anatomy.phantom.storage import orient, orientations

KINDS = ("trunk", "thorax", "abdomen_pelvis", "abdomen", "neck", "spine")

# Scans per first level and, independent of it, per last level, for each pair of regions. Set so that pairs of regions,
# scans per vertebra and vertebrae per scan are those of 211 CT scans with a spine in them; 7 of 218 have none
# (prada-1/nnunet-spine-segmentation, results/holdout_summary.json).
_RANGES = (
    ({"C1": 10, "C2": 1, "C3": 1, "C4": 5, "C5": 14, "C6": 20, "C7": 14}, {"S1": 65}),
    (
        {"C1": 10, "C4": 1, "C5": 5, "C6": 12, "C7": 3},
        {"L1": 9, "L2": 10, "L3": 8, "L4": 3, "L5": 1},
    ),
    (
        {"C1": 15, "C5": 5, "C6": 6, "C7": 3},
        {"T3": 1, "T4": 2, "T5": 3, "T6": 9, "T7": 2, "T10": 2, "T11": 3, "T12": 7},
    ),
    ({"C1": 5}, {"C1": 1, "C2": 4}),
    (
        {"T1": 1, "T2": 1, "T3": 2, "T5": 1, "T7": 6, "T8": 12, "T9": 10, "T10": 6, "T11": 2, "T12": 1},
        {"S1": 42},
    ),
    (
        {"T1": 1, "T2": 1, "T3": 3, "T4": 2, "T5": 2, "T7": 3, "T8": 2},
        {"T10": 3, "T11": 4, "T12": 7},
    ),
    ({"T3": 2, "T6": 2, "T7": 3, "T8": 2, "T9": 3, "T10": 2}, {"L1": 3, "L2": 3, "L3": 5, "L4": 2, "L5": 1}),
    ({"L1": 3, "L2": 2, "L3": 2, "L4": 1}, {"S1": 8}),
    ({"L1": 1, "L2": 1}, {"L3": 1, "L4": 1}),
    ({"S1": 1}, {"S1": 1}),
)
_WITHOUT_SPINE = 7

# Codes as clinical archives hold them; the rest is shared by all 48.
_COMMON_CODES = {"LPS": 0.2, "LAS": 0.2, "RAS": 0.2, "PIR": 0.08, "RPS": 0.04, "LPI": 0.04, "RAI": 0.03, "PSR": 0.03}


@dataclass(frozen=True)
class View:
    """A field of view and the grid it is sampled on.

    Attributes:
        kind: One of `KINDS`, or `none` when no vertebra is in it.
        first: Highest vertebra in it, empty for `none`.
        last: Lowest vertebra in it, empty for `none`.
        low_mm: World corner, left posterior inferior.
        high_mm: World corner, right anterior superior.
        spacing: Voxel size in mm along world x, y, z.
        orientation: Code that the arrays are stored in.
        offset_mm: Where the scanner's own origin puts the world origin.
        bone_only: Whether all below about 200 HU was set to 0 before release.
        frame: What lies outside the reconstruction.
    """

    kind: str
    first: str
    last: str
    low_mm: tuple[float, float, float]
    high_mm: tuple[float, float, float]
    spacing: tuple[float, float, float]
    orientation: str
    offset_mm: tuple[float, float, float]
    bone_only: bool
    frame: Frame = Frame()

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels along world x, y, z."""
        return tuple(
            max(int(round((h - l) / s)), 8) for l, h, s in zip(self.low_mm, self.high_mm, self.spacing, strict=True)
        )


def draw_levels(rng: np.random.Generator, needs: Iterable[str] = ()) -> tuple[str, str]:
    """Draw the highest and lowest vertebra of a scan as the real population has them.

    Args:
        rng: Source of every random number.
        needs: Vertebrae that must lie between them.

    Returns:
        `(first, last)`; two empty names for a scan without a spine.

    Raises:
        ValueError: If a name in `needs` is not a vertebra.
    """
    needs = list(needs)
    if unknown := [v for v in needs if v not in IDS]:
        raise ValueError(f"needs must name vertebrae such as 'C2' or 'L5', got {unknown[0]!r}")
    pairs, weights = _level_pairs()
    wanted = [IDS[v] for v in needs]
    if wanted:
        weights = np.array(
            [
                w if a and IDS[a] <= min(wanted) and max(wanted) <= IDS[b] else 0.0
                for (a, b), w in zip(pairs, weights, strict=True)
            ]
        )
    return pairs[int(rng.choice(len(pairs), p=weights / weights.sum()))]


def _level_pairs():
    pairs, weights = [("", "")], [float(_WITHOUT_SPINE)]
    for firsts, lasts in _RANGES:
        for first, a in firsts.items():
            for last, b in lasts.items():
                pairs.append((first, last))
                weights.append(a * b / sum(lasts.values()))
    return pairs, np.array(weights)


def draw_view(
    spine: Spine,
    rng: np.random.Generator,
    *,
    spacing_mm: float,
    anisotropic: bool = True,
    needs: Iterable[str] | None = None,
    tight: bool | None = None,
) -> View:
    """Draw a field of view, its grid and how it is stored.

    Args:
        spine: Whose scan.
        rng: Source of every random number.
        spacing_mm: Cube root of the voxel volume.
        anisotropic: Whether some scans have slices thicker than their pixels, up to 3.5 times.
        needs: Vertebrae of which at least a part must be seen.
        tight: Whether it is a crop around the spine; None leaves it to chance.

    Returns:
        The view; with `needs` it always shows some spine.
    """
    first, last = draw_levels(rng, needs or ())
    low, high = _heights(spine, first, last, rng)
    by_chance = bool(first) and rng.random() < 0.36
    tight = by_chance if tight is None else tight and bool(first)
    inside = (spine.centre_mm[:, 2] > low - 30) & (spine.centre_mm[:, 2] < high + 30)
    x, y = (spine.centre_mm[inside, d] if inside.any() else spine.centre_mm[[18], d] for d in (0, 1))
    if tight:
        loose = rng.uniform(0.0, 1.0) ** 2 * 60.0
        left, right = x.min() - rng.uniform(42, 70) - loose, x.max() + rng.uniform(42, 70) + loose
        back, front = y.min() - rng.uniform(70, 98), y.max() + rng.uniform(22, 60) + loose
    else:
        narrow = 0.65 if last and IDS[last] <= IDS["T1"] else 1.0  # scans of the neck leave the shoulders out
        width = narrow * rng.uniform(330.0, 490.0) * spine.scale
        depth = width * rng.uniform(0.75, 1.0)
        middle = np.array([x.mean() + rng.normal(0.0, 8.0), y.mean() + rng.uniform(10.0, 40.0)])
        left, right = middle[0] - width / 2, middle[0] + width / 2
        back, front = middle[1] - depth / 2, middle[1] + depth / 2
    spacing = _draw_spacing(rng, spacing_mm, anisotropic)
    codes = orientations()
    chance = np.array([_COMMON_CODES.get(c, 0.0) for c in codes])
    chance += (1.0 - chance.sum()) / len(codes)
    return View(
        kind=_kind(first, last, tight),
        first=first,
        last=last,
        low_mm=(float(left), float(back), low),
        high_mm=(float(right), float(front), high),
        spacing=spacing,
        orientation=str(rng.choice(codes, p=chance / chance.sum())),
        offset_mm=tuple(float(v) for v in rng.uniform((-40, -220, -900), (40, 120, 300))),
        bone_only=bool(rng.random() < 0.04),
        frame=draw_frame(rng),
    )


def _kind(first, last, tight):
    if not first:
        return "none"
    if tight:
        return "spine"
    above, below = REGION_OF[first], REGION_OF[last]
    if above == "cervical":
        return "neck" if IDS[last] <= IDS["T6"] else "trunk" if below == "sacral" else "thorax"
    if below == "sacral":
        return "abdomen_pelvis"
    return "thorax" if IDS[first] < IDS["T8"] and IDS[last] <= IDS["L1"] else "abdomen"


def _heights(spine, first, last, rng):
    """World z limits that cut through the first and the last vertebra but miss their neighbours."""
    z, size = spine.centre_mm[:, 2], spine.size
    lowest = z - np.maximum(size["body_height"] / 2, size["spinous_drop"] + 5.0)
    highest = z + size["body_height"] / 2 + 5.0
    if not first:
        if rng.random() < 0.5:
            low = float(highest[0] + rng.uniform(8.0, 25.0))
            return low, low + rng.uniform(90.0, 150.0)
        high = float(lowest[-1] - rng.uniform(70.0, 90.0))
        return high - rng.uniform(120.0, 250.0), high
    a, b = IDS[first] - 1, IDS[last] - 1
    if a == 0:
        high = z[0] + 8.0 + rng.uniform(0.0, 1.0) ** 1.5 * 150.0
    else:  # the spinous process of the one above hangs lower than the top of this one
        high = rng.uniform(*sorted((lowest[a] + 0.2 * (lowest[a - 1] - lowest[a]), lowest[a - 1])))
    if b == len(z) - 1:
        low = z[b] + rng.uniform(-60.0, 8.0) if rng.random() < 0.25 else z[b] - rng.uniform(90.0, 240.0)
        low -= rng.uniform(60.0, 170.0) * (rng.random() < 0.12 and low < z[b] - 90.0)  # down to the thighs
    else:
        low = rng.uniform(*sorted((highest[b + 1], highest[b] - 0.2 * (highest[b] - highest[b + 1]))))
    if high - low < 30.0:
        low = high - 30.0
    return float(low), float(high)


def _draw_spacing(rng, spacing_mm, anisotropic):
    thick = rng.uniform(0.0, 1.0)
    ratio = 1.0 + 2.5 * thick**1.7 if anisotropic and rng.random() < 0.45 else 1.0
    axis = int(rng.choice(3, p=[0.2, 0.04, 0.76]))  # sagittal, coronal or axial slices
    spacing = [spacing_mm / ratio ** (1 / 3)] * 3
    spacing[axis] *= ratio
    return tuple(float(s) for s in spacing)


def scan(
    canvas: Canvas, view: View, rng: np.random.Generator, generator: torch.Generator, spread: float = 1.0
) -> tuple[np.ndarray, np.ndarray, np.ndarray, dict]:
    """Turn a painted canvas into the arrays of a file.

    Args:
        canvas: Painted; its labels are changed where no scan lies.
        view: Says in which orientation and where in the scanner the arrays are stored.
        rng: Draws sharpness and noise.
        generator: Draws the noise, on the device of the canvas.
        spread: Width of every range that the scanner's qualities are drawn from.

    Returns:
        `ct_hu` int16 in [-1024, 3071], `labels` uint8, the affine of both, and what was drawn: `noise_hu`, `grain`
        (of the noise, voxels), `blur_mm` and `overshoot` (see `kernels.Kernel`), `padding_hu` (None without any).
    """
    kernel = draw_kernel(rng, spread)
    image = sharpen_or_smooth(canvas.ct_hu, canvas.spacing, kernel)
    noise_hu = within_log(rng, 5.0, 80.0, spread, most=200.0)
    streak = within(rng, 0.0, 0.65, spread, least=0.0, most=0.9)
    grain = within(rng, 0.8, 2.6, spread, least=0.5, most=3.5)
    uneven = rng.uniform(0.8, 1.25, 3)
    size = [s * grain * float(g) for s, g in zip(canvas.spacing, uneven, strict=True)]
    image += correlated_noise(canvas, size, generator).mul_(noise_hu * float(np.sqrt(1 - streak**2)))
    along = (45.0, 1.2 * canvas.spacing[1], 2.5 * canvas.spacing[2])
    image += correlated_noise(canvas, along, generator).mul_(noise_hu * streak)
    pad_outside(canvas, image, view.frame)
    if view.bone_only:
        image[image < 200.0] = 0.0
    ct_hu = image.round_().clamp_(-1024, 3071).to(torch.int16).cpu().numpy()
    affine = canvas.affine
    affine[:3, 3] += view.offset_mm
    labels, stored = orient(canvas.labels.cpu().numpy(), affine, view.orientation)
    padded = view.frame.is_turned or view.frame.circle_share > 0
    drawn = {"noise_hu": noise_hu, "grain": grain, "blur_mm": kernel.blur_mm, "overshoot": kernel.overshoot}
    drawn["padding_hu"] = view.frame.padding_hu if padded else None
    return orient(ct_hu, affine, view.orientation)[0], labels, stored, drawn


def seen(view: View) -> list[str]:
    """Names of the vertebrae from the first to the last of a view."""
    return list(VERTEBRAE[IDS[view.first] - 1 : IDS[view.last]]) if view.first else []
