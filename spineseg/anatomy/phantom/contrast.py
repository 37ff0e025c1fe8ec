"""What is as bright as bone and is none: contrast medium in bowel, urine and spinal canal, stones, calcified walls."""

from __future__ import annotations

import numpy as np

from spineseg.anatomy.phantom.fields import Brush
from spineseg.anatomy.phantom.ranges import within
from spineseg.anatomy.phantom.trunk import Trunk

# Share of scans, and HU range
_MEDIA = {
    "oral": (0.25, (150.0, 500.0)),
    "excreted": (0.06, (300.0, 1500.0)),  # minutes after an injection
    "thecal": (0.02, (250.0, 800.0)),  # myelography
}


def draw_contrast(rng: np.random.Generator, spread: float = 1.0) -> dict[str, float]:
    """Draw which media a patient was given beside those in the blood.

    Args:
        rng: Gives the same number of values whatever is drawn.
        spread: Width of the ranges, see `ranges.within`.

    Returns:
        HU of `oral`, `excreted` and `thecal` medium; 0 for what was not given.
    """
    drawn = {}
    for name, (share, (low, high)) in _MEDIA.items():
        hu = within(rng, low, high, spread, least=80.0, most=2000.0)
        drawn[name] = hu if rng.random() < share else 0.0
    return drawn


def paint_urine(brush: Brush, trunk: Trunk, tissue: dict, rng: np.random.Generator) -> None:
    """Paint renal pelvis, calices, ureters and the settled medium in the bladder; nothing unless it was excreted."""
    jitter = rng.normal(0.0, 3.0, (2, 6, 3))
    level = rng.uniform(-0.6, 0.5)
    if not tissue["excreted"]:
        return
    hu, scale = tissue["excreted"], trunk.scale
    for side, shift in zip((1, -1), jitter, strict=True):
        place, up = ("L2", 2.0) if side > 0 else ("L1", -4.0)
        pelvis = trunk.point(place, 50 * side, 4, up)
        brush.ellipsoid(pelvis, np.array([6.0, 5.0, 10.0]) * scale, hu)
        for calyx in shift[:3]:
            end = pelvis + np.array([10.0 * side, 2.0, 0.0]) + 3.5 * calyx
            brush.tube([pelvis, end], [2.5 * scale, 3.5 * scale], 0.9 * hu)
        way = (("L3", 38, 14), ("L4", 36, 20), ("S1", 34, 30), (-60, 46, 24), (-95, 26, 38))
        points = [trunk.point(p, x * side, y) for p, x, y in way]
        brush.tube([pelvis, *points], 1.8 * scale, 0.8 * hu)
    bladder = trunk.point(-95, 0, 62)
    radii = np.array([34.0, 27.0, 25.0]) * scale

    def settled(x, y, z):
        inside = sum(((p - c) / r) ** 2 for p, c, r in zip((x, y, z), bladder, radii, strict=True)).sqrt() - 1.0
        return (inside * float(radii.min())).maximum(y - float(bladder[1] + level * radii[1]))

    brush.fill(bladder - radii, bladder + radii, settled, hu)


def paint_stones(brush: Brush, trunk: Trunk, rng: np.random.Generator) -> None:
    """Paint gallstones in one patient of ten, kidney stones in one of twenty, phleboliths in one of four."""
    places = rng.normal(0.0, 1.0, (14, 3))
    hu, size = rng.uniform(150.0, 900.0, 14), rng.uniform(1.5, 6.0, 14)
    has_gallstones, has_kidney_stones, has_phleboliths = rng.random(3) < (0.1, 0.05, 0.25)
    if has_gallstones:
        for i in range(int(2 + hu[0] // 300)):
            brush.ellipsoid(trunk.point("L1", 58, 78) + places[i] * (4, 4, 8), np.full(3, size[i]), hu[i])
    if has_kidney_stones:
        for i in (5, 6):
            side = 1.0 if places[i, 0] > 0 else -1.0
            brush.ellipsoid(trunk.point("L2", 58 * side, 2) + 5 * places[i], np.full(3, size[i]), 1.2 * hu[i])
    if has_phleboliths:
        for i in range(7, 14):
            side = 1.0 if places[i, 0] > 0 else -1.0
            brush.ellipsoid(trunk.point(-105, 50 * side, 22) + 9 * places[i], np.full(3, 1.3 + 0.3 * size[i]), hu[i])


def paint_plaques(brush: Brush, lines, radii, rng: np.random.Generator) -> None:
    """Paint calcified plaques on the walls of arteries, as bright as bone and beside it; many in old patients.

    Args:
        brush: Paints on the canvas.
        lines: Centre lines of the arteries, each `(n, 3)` mm.
        radii: Likewise, `(n,)` mm.
        rng: Draws how many and where.
    """
    count = int(max(0.0, rng.normal(-2.0, 14.0)))  # none in more than half
    for _ in range(min(count, 36)):
        which = int(rng.choice(len(lines)))
        line, radius = np.asarray(lines[which]), radii[which]
        i, share, angle = int(rng.integers(len(line) - 1)), rng.uniform(0.0, 0.8), rng.uniform(0, 2 * np.pi)
        out = radius[i] * np.array([np.cos(angle), np.sin(angle), 0.0])
        start = line[i] * (1 - share) + line[i + 1] * share + 0.92 * out
        turn = angle + rng.uniform(-0.9, 0.9)
        end = start + (line[i + 1] - line[i]) * rng.uniform(0.02, 0.25)
        end = end + 0.92 * radius[i] * np.array([np.cos(turn), np.sin(turn), 0.0]) - 0.92 * out
        brush.tube([start, end], float(rng.uniform(0.8, 2.2)), float(rng.uniform(250.0, 1100.0)))
