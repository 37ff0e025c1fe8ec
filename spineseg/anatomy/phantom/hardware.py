"""Things of metal or plastic on and in a patient beside the spine's own implants: leads, tubes, artificial hips."""

from __future__ import annotations

import numpy as np

from spineseg.anatomy.phantom.fields import Brush
from spineseg.anatomy.phantom.trunk import Trunk

METAL_HU = 2900.0


def paint_leads(brush: Brush, trunk: Trunk, rng: np.random.Generator) -> None:
    """Paint cables and electrodes on the skin, in three patients of ten; a feeding tube, a line in the great vein.

    Args:
        brush: Paints on the canvas.
        trunk: Where the skin is.
        rng: Gives the same number of values whatever is drawn.
    """
    has_leads, has_tube, has_line = rng.random(3) < (0.3, 0.08, 0.15)
    hu = rng.uniform(300.0, 2200.0, 6)
    start, drift, top, length = (rng.uniform(*ends, 4) for ends in ((-2.6, 2.6), (-1.2, 1.2), (-60, 60), (80, 300)))
    if has_leads:
        for lead in range(4):
            z = np.linspace(0.0, length[lead], 8)
            angle = start[lead] + drift[lead] * (z / 150.0) ** 1.5
            points = [_on_skin(trunk, a, trunk.height("T5", top[lead] - h)) for a, h in zip(angle, z, strict=True)]
            brush.tube(points, 1.1, hu[lead])
            brush.ellipsoid(points[0], (6.0, 3.0, 6.0), 0.5 * hu[lead])
    if has_tube:
        way = (("C6", 0, 20), ("T1", -2, 22), ("T6", -3, 28), ("T10", -10, 30), ("T11", -14, 32), ("T12", -50, 60))
        brush.tube([trunk.point(*p) for p in way], 1.9, 0.4 * hu[4])
    if has_line:
        way = (("T2", 46, 42), ("T3", 24, 58), ("T4", 20, 66), ("T6", 20, 70))
        brush.tube([trunk.point(*p) for p in way], 1.2, hu[5])


def _on_skin(trunk, angle, z):
    """World point on the skin at an angle from the midline in front."""
    width, back, front = (float(v) for v in trunk.skin(z))
    across = trunk.axis(z)[0] + (width + 1.0) * np.sin(angle)
    return np.array([across, (back + front) / 2 + ((front - back) / 2 + 1.0) * np.cos(angle), z])


def paint_hips(brush: Brush, hips: dict[int, np.ndarray], scale: float, rng: np.random.Generator) -> None:
    """Paint an artificial hip: ball, cup, neck and stem; in one patient of thirty, on both sides in some.

    Args:
        brush: Paints on the canvas.
        hips: Centre of each hip joint in the world, by side (1 right, -1 left).
        scale: The patient's size.
        rng: Gives the same number of values whatever is drawn.
    """
    has_one, both, first = rng.random() < 0.033, rng.random() < 0.3, 1 if rng.random() < 0.5 else -1
    for side in (first, -first) if both else (first,):
        if has_one:
            hip = hips[side]
            neck = hip + np.array([side * 40.0, -8.0, -22.0]) * scale
            tip = hip + np.array([side * 46.0, 0.0, -150.0]) * scale
            brush.ellipsoid(hip, np.full(3, 25.0) * scale, 0.75 * METAL_HU)  # cup
            brush.ellipsoid(hip, np.full(3, 20.0) * scale, 120.0)  # its lining
            brush.ellipsoid(hip, np.full(3, 15.0) * scale, METAL_HU)
            brush.tube([hip, neck, tip], np.array([7.0, 9.0, 5.0]) * scale, METAL_HU)
