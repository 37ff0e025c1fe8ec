"""Muscles that touch the spine, and the soft tissue of the neck; right is +x, as in the world."""

from __future__ import annotations

import numpy as np

from spineseg.anatomy.phantom.fields import Brush
from spineseg.anatomy.phantom.trunk import Trunk


def paint_muscles(brush: Brush, trunk: Trunk, tissue: dict, rng: np.random.Generator) -> None:
    """Paint the muscles along the spine with the fat between them, and throat, vessels and fat of the neck.

    Args:
        brush: Paints on the canvas.
        trunk: Frames of the body.
        tissue: HU per tissue.
        rng: Draws how bulky they are.
    """
    _back(brush, trunk, tissue)
    _loins(brush, trunk, tissue, rng)
    _neck(brush, trunk, tissue)


def level_column(brush, trunk, rows, hu):
    """A column through `(level, right, anterior, radius x, radius y)` rows, top row first or last; ends are tapered."""
    rows = sorted(((trunk.point(r[0], r[1], r[2]), r[3], r[4]) for r in rows), key=lambda r: r[0][2])
    points, rx, ry = (np.array([r[i] for r in rows], float) for i in range(3))
    brush.column(points[:, 2], points[:, 0], points[:, 1], rx * trunk.scale, ry * trunk.scale, hu)


def _back(brush, trunk, tissue):
    """Multifidus beside the spinous processes and the erector beside it, with fat in the gaps between them."""
    inner = [("C3", 11, -38, 8, 8), ("C7", 13, -44, 9, 9), ("T4", 13, -46, 10, 9), ("T9", 14, -46, 11, 10),
             ("L1", 17, -49, 13, 13), ("L3", 19, -53, 16, 15), ("L5", 21, -54, 18, 15), ("S1", 18, -50, 15, 10),
             (-50, 12, -58, 5, 5)]  # fmt: skip
    outer = [("T1", 27, -48, 8, 6), ("T5", 30, -55, 12, 8), ("T10", 35, -55, 16, 12), ("L1", 43, -52, 22, 18),
             ("L3", 47, -52, 24, 20), ("L5", 45, -56, 21, 16), ("S1", 38, -62, 13, 9),
             (-30, 34, -70, 4, 4)]  # fmt: skip
    gap = 0.8 + 3.0 * tissue["streak"]
    for hu, grow in ((tissue["fat"] + 15.0, gap), (tissue["muscle"], 0.0)):
        for side in (1, -1):
            for rows in (outer, inner):
                level_column(brush, trunk, [(p, x * side, y, rx + grow, ry + grow) for p, x, y, rx, ry in rows], hu)


def _loins(brush, trunk, tissue, rng):
    """Iliacus, psoas and the square muscle behind it."""
    for side in (1, -1):
        rows = [("T12", 20, -6, 3, 3), ("L1", 25, -6, 7, 11), ("L2", 30, -5, 12, 16), ("L3", 35, -4, 17, 21),
                ("L4", 41, 0, 21, 23), ("L5", 48, 9, 20, 21), ("S1", 60, 30, 18, 17), (-60, 76, 60, 16, 15),
                (-110, 88, 62, 16, 15)]  # fmt: skip
        iliacus = [(45, 104, -2, 7, 14), ("S1", 86, 8, 18, 22), (-40, 82, 30, 17, 20), (-80, 86, 50, 14, 15)]
        level_column(brush, trunk, [(p, x * side, *rest) for p, x, *rest in iliacus], tissue["muscle"])
        bulk = float(np.exp(rng.normal(0.0, 0.12)))
        level_column(
            brush, trunk, [(p, x * side, y, rx * bulk, ry * bulk) for p, x, y, rx, ry in rows], tissue["muscle"]
        )
        rows = [("T12", 52, -30, 8, 5), ("L2", 62, -32, 17, 8), ("L4", 72, -28, 20, 9)]
        level_column(brush, trunk, [(p, x * side, y, rx, ry) for p, x, y, rx, ry in rows], tissue["muscle"])


def _neck(brush, trunk, tissue):
    fat, muscle = tissue["fat"] + 25, tissue["muscle"]
    for side in (1, -1):
        rows = [("T1", 44, 0, 14, 14), ("C6", 40, -10, 12, 16), ("C3", 38, -14, 8, 14), ("C2", 36, -14, 3, 3)]
        level_column(brush, trunk, [(p, x * side, *rest) for p, x, *rest in rows], fat)
        level_column(
            brush,
            trunk,
            [("T1", 30 * side, 26, 13, 11), ("C4", 28 * side, 22, 11, 11), ("C2", 30 * side, 14, 9, 9)],
            fat,
        )
        rows = [("T2", 18, 34, 5, 5), ("C7", 22, 26, 4, 4), ("C4", 24, 20, 4, 4), ("C1", 24, 14, 3, 3)]
        level_column(brush, trunk, [(p, x * side, *rest) for p, x, *rest in rows], tissue["artery"])
        level_column(
            brush,
            trunk,
            [("T2", 30 * side, 38, 7, 7), ("C7", 32 * side, 26, 7, 6), ("C3", 32 * side, 18, 5, 5)],
            tissue["vein"],
        )
        level_column(
            brush,
            trunk,
            [("C7", 16 * side, 38, 9, 9), ("C6", 17 * side, 38, 9, 9), ("C5", 17 * side, 38, 3, 3)],
            75 + 0.3 * tissue["vein"],
        )
        rows = [
            ("T2", 12 * side, -44, 9, 5),
            ("C7", 16 * side, -44, 11, 6),
            ("C4", 17 * side, -40, 11, 6),
            ("C2", 18 * side, -38, 10, 5),
        ]
        level_column(brush, trunk, rows, muscle)
        level_column(brush, trunk, [(p, x * 1.05, y + 8, rx, 1.8) for p, x, y, rx, _ in rows], fat)
        level_column(brush, trunk, [(p, x * 1.05, y - 7, rx, 1.8) for p, x, y, rx, _ in rows], fat)
    level_column(
        brush, trunk, [("C6", 0, 32, 8, 8), ("C4", 0, 34, 6, 9), ("C3", 0, 30, 11, 5), ("C1", 0, 26, 12, 7)], -1000.0
    )
