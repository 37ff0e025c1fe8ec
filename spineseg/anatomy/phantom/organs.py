"""Soft organs of chest and belly, placed by level beside the spine; right is +x, as in the world."""

from __future__ import annotations

import numpy as np
import torch

from spineseg.anatomy.phantom.contrast import paint_plaques, paint_stones, paint_urine
from spineseg.anatomy.phantom.fields import FAR_MM, Brush, ellipsoid_distance, knots
from spineseg.anatomy.phantom.muscles import level_column
from spineseg.anatomy.phantom.trunk import Trunk

_SPINE = ("S1", "L5", "L4", "L3", "L2", "L1", "T12", "T11", "T10", "T9", "T8", "T7", "T6", "T5", "T4", "T3", "T2", "T1")


def paint_organs(brush: Brush, trunk: Trunk, tissue: dict, rng: np.random.Generator, cavity_mm) -> None:
    """Paint every organ whose box touches the canvas, from the back layers to the front ones.

    Args:
        brush: Paints on the canvas.
        trunk: Frames of the body.
        tissue: HU per tissue.
        rng: Draws positions and sizes about their means.
        cavity_mm: Signed distance to chest and belly cavity over the whole canvas; the organs in it stay inside.
    """
    brush.limit_mm = cavity_mm
    _lungs(brush, trunk, tissue, rng)
    _mediastinum(brush, trunk, tissue, rng)
    _upper_belly(brush, trunk, tissue, rng)
    _bowel(brush, trunk, tissue, rng)
    brush.limit_mm = None
    _kidneys(brush, trunk, tissue, rng)
    _vessels(brush, trunk, tissue, rng)
    _pelvis(brush, trunk, tissue, rng)
    paint_urine(brush, trunk, tissue, rng)
    paint_stones(brush, trunk, rng)


def _blob(brush, trunk, place, offsets, radii, hu, tilt=0.0, rng=None, jitter=0.0):
    """An ellipsoid at a level; `tilt` radians turn it in the coronal plane."""
    shift = rng.normal(0.0, jitter, 3) if rng is not None else np.zeros(3)
    size = 1.0 if rng is None else float(np.exp(rng.normal(0.0, 0.08)))
    c, s = np.cos(tilt), np.sin(tilt)
    turn = np.array([[c, 0.0, s], [0.0, 1.0, 0.0], [-s, 0.0, c]])
    right, anterior, up = np.asarray(offsets, float) + shift
    brush.ellipsoid(trunk.point(place, right, anterior, up), np.asarray(radii) * trunk.scale * size, hu, turn)


def _lungs(brush, trunk, tissue, rng):
    """Cage minus diaphragm, spine and mediastinum, then vessels that branch from the hilum."""
    scale, breath = trunk.scale, float(rng.normal(0.0, 10.0))
    low, high = trunk.height("L1", 6.0), trunk.height("T1", 6.0)
    width, back, front = trunk.wall(np.linspace(low, high, 20))
    axis = trunk.axis(trunk.height("T7"))[0]
    domes = [
        (trunk.point("T12", 66, 42, 5.0 + breath), (84, 108, 74)),
        (trunk.point("T12", -66, 42, -6.0 + breath), (82, 108, 72)),
    ]
    heart = ellipsoid_distance(trunk.point("T8", -22, 80, 4.0 + breath), np.array([64.0, 52.0, 62.0]) * scale)
    levels = np.array([trunk.height(v) for v in _SPINE])
    clearance = np.interp(levels, [trunk.height("T12"), trunk.height("T4")], [40.0, 31.0]) * scale
    middle = np.array([trunk.axis(z)[0] for z in levels]), np.array([trunk.axis(z)[1] for z in levels])
    half = np.interp(levels, [trunk.height("T8"), trunk.height("T4"), trunk.height("T1")], [26, 30, 22]) * scale

    def distance(x, y, z):
        inside = trunk.surface_distance("cavity", x, y, z) + 7.0 * scale
        for centre, radii in domes:
            near = torch.where(((x - axis) * float(np.sign(centre[0] - axis)) > 0), 0.0, -40.0)
            inside = torch.maximum(inside, -ellipsoid_distance(centre, np.array(radii) * scale)(x, y, z) + near)
        inside = torch.maximum(inside, -heart(x, y, z))
        cx, cy, gap, width = (knots(z, (levels, v), z.device) for v in (*middle, clearance, half))
        spine = ((x - cx) ** 2 + (y - cy + 12.0 * scale) ** 2).sqrt() - gap
        wedge = (x - cx).abs() - width - 0.12 * (y - cy - 30.0).clamp(min=0.0)
        inside = torch.maximum(torch.maximum(inside, -spine), torch.where(y > cy, -wedge, -FAR_MM))
        return torch.maximum(torch.maximum(inside, low - z), z - high)

    corner = (axis - width.max(), back.min(), low)
    brush.fill(corner, (axis + width.max(), front.max(), high), distance, tissue["lung"], 5.0)
    for side in (1, -1):
        hilum = trunk.point("T6", 32 * side, 42)
        for _ in range(16):
            end = trunk.point(rng.choice(["T4", "T5", "T6", "T7", "T8", "T9"]), side * rng.uniform(58, 100),
                              rng.uniform(-22, 85), rng.uniform(-15, 15))  # fmt: skip
            bend = (hilum + end) / 2 + rng.normal(0.0, 9.0, 3)
            r = rng.uniform(3.0, 6.0) * scale
            brush.tube([hilum, bend, end], [r, 0.65 * r, 0.3 * r], 40.0)


def _mediastinum(brush, trunk, tissue, rng):
    breath = float(rng.normal(0.0, 3.0))
    wall = tissue["muscle"]
    _blob(brush, trunk, "T8", (-22, 80, 4 + breath), (60, 48, 58), wall, 0.5)
    _blob(brush, trunk, "T8", (-32, 82, 0 + breath), (40, 36, 44), tissue["heart"], 0.5)
    _blob(brush, trunk, "T8", (14, 84, 8 + breath), (30, 32, 38), 0.5 * (tissue["heart"] + tissue["vein"]), 0.2)
    _blob(brush, trunk, "T7", (-8, 52, 6 + breath), (34, 20, 26), tissue["heart"])
    up = trunk.height("T3") - trunk.height("T4")
    brush.tube(
        [trunk.point("T7", 10, 74), trunk.point("T5", 20, 70), trunk.point("T5", 20, 66, up)], 11, tissue["vein"]
    )
    brush.tube([trunk.point("T6", -26, 48), trunk.point("T6", 0, 62, 4), trunk.point("T6", 28, 48)], 11, tissue["vein"])
    rows = [
        ("T11", -12, 30, 1, 1),
        ("T10", -10, 30, 8, 6),
        ("T6", -2, 28, 8, 6),
        ("C7", -4, 22, 9, 5),
        ("C6", 0, 20, 1, 1),
    ]
    level_column(brush, trunk, rows, wall - 10)
    for rx, hu in ((9.5, 60.0), (8.0, -1000.0)):
        level_column(
            brush,
            trunk,
            [("T5", 2, 38, rx, rx), ("T3", 2, 36, rx, rx), ("T1", 2, 34, rx, rx), ("C6", 0, 32, rx, rx)],
            hu,
        )
        for side in (1, -1):
            ends = [
                trunk.point("T5", 2, 38, 2),
                trunk.point("T6", 26 * side, 38, 4),
                trunk.point("T7", 44 * side, 36, 8),
            ]
            brush.tube(ends, [rx, 0.8 * rx, 0.4 * rx], hu)


def _upper_belly(brush, trunk, tissue, rng):
    breath = float(rng.normal(0.0, 6.0))
    _blob(brush, trunk, "T12", (66, 40, -8 + breath), (70, 84, 76), tissue["liver"], 0.15)
    _blob(brush, trunk, "T12", (4, 82, 6 + breath), (62, 36, 38), tissue["liver"], 0.5)
    _blob(brush, trunk, "T12", (-98, -6, -2 + breath), (26, 42, 46), tissue["spleen"], -0.2, rng, 4)
    _blob(brush, trunk, "T12", (-58, 62, 0 + breath), (38, 40, 44), tissue["muscle"], -0.4, rng, 4)
    _blob(brush, trunk, "T12", (-58, 64, 0 + breath), (33, 35, 39), tissue["oral"] or tissue["bowel"], -0.4, rng, 4)
    if rng.random() < 0.7:
        _blob(brush, trunk, "T12", (-58, 84, 10 + breath), (20, 12, 22), tissue["gas"], -0.4, rng, 4)
    if rng.random() < 0.8:
        _blob(brush, trunk, "L1", (58, 78, 0 + breath), (13, 14, 28), tissue["fluid"] + 5, 0.3, rng, 4)
    pancreas = [
        trunk.point("L2", 28, 38),
        trunk.point("L1", 8, 48),
        trunk.point("L1", -30, 34, 8),
        trunk.point("L1", -70, 18, 18),
    ]
    brush.tube(pancreas, [13, 10, 9, 8], tissue["muscle"] + 20 * (tissue["phase"] != "none"))


def _bowel(brush, trunk, tissue, rng):
    """Loops of small bowel, the frame of the colon with stool and gas."""
    for _ in range(int(rng.integers(26, 40))):
        place = rng.choice(["L2", "L3", "L4", "L5", "S1"])
        centre = trunk.point(place, rng.uniform(-72, 72), rng.uniform(52, 96), rng.uniform(-18, 18))
        turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
        radii = np.array([rng.uniform(10, 15), rng.uniform(11, 16), rng.uniform(16, 34)]) * trunk.scale
        hu, share = tissue["bowel"] + rng.normal(0.0, 12.0), rng.uniform(-0.5, 1.2)
        if tissue["oral"] and share > 0:
            hu = tissue["oral"] * share
        brush.ellipsoid(centre, radii, hu, turn)
        if rng.random() < 0.25:
            brush.ellipsoid(centre + (0, 5, 0), radii * 0.55, tissue["gas"], turn)
    colon = (("L4", 92, 26), ("L3", 94, 24), ("L2", 92, 30), ("L2", 78, 70), ("L3", 30, 100), ("L3", -30, 100),
             ("L1", -80, 62), ("L1", -100, 24), ("L3", -98, 12), ("L5", -94, 24), ("S1", -70, 50))  # fmt: skip
    points = np.array([trunk.point(p, x, y, rng.normal(0, 6)) for p, x, y in colon])
    r = rng.uniform(15, 20) * trunk.scale
    brush.tube(points, r + 2.5, tissue["muscle"])
    brush.tube(points, r, tissue["stool"])
    for _ in range(14):
        i, t = int(rng.integers(len(points) - 1)), rng.random()
        centre = points[i] * (1 - t) + points[i + 1] * t + (0, rng.uniform(0, 6), 0)
        brush.ellipsoid(centre, rng.uniform(0.3, 0.8, 3) * r, tissue["gas"])


def _vessels(brush, trunk, tissue, rng):
    """Aorta from the heart over the arch to its fork before L4, the inferior vena cava, the iliac vessels."""
    r = trunk.scale * float(np.clip(rng.normal(12.0, 1.8), 9.0, 19.0))
    depth = trunk.spine.size["body_depth"] / 2 / trunk.scale
    fore = {v: float(depth[i]) for v, i in zip(_SPINE, range(24, 6, -1), strict=True)}
    ascending = (("T7", 2, 70, 0), ("T6", 10, 72, 0), ("T5", 10, 66, 0), ("T4", 4, 58, -2))
    arch = [*ascending, ("T4", -12, 40, -2), ("T4", -22, 24, -8), ("T5", -24, fore["T5"] + 6, 0)]
    arch = [trunk.point(*row) for row in arch]
    down = [
        ("T5", -24, 6),
        ("T7", -25, 8),
        ("T9", -22, 11),
        ("T11", -14, 13),
        ("L1", -9, 14),
        ("L3", -8, 13),
        ("L4", -5, 12),
    ]
    line = [trunk.point(p, x, fore[p] + y) for p, x, y in down]
    radii = np.r_[np.full(4, 1.25), np.full(3, 1.1), np.linspace(1.05, 0.75, len(line))] * r
    brush.tube([*arch, *line], radii, tissue["artery"])
    forks = []
    for side in (1, -1):
        fork = [
            line[-1],
            trunk.point("L5", 18 * side, fore["L5"] + 12, -5),
            trunk.point("S1", 46 * side, 30),
            trunk.point(-60, 68 * side, 62),
        ]
        forks.append(fork)
        brush.tube(fork, [0.55 * r, 0.5 * r, 0.45 * r, 0.4 * r], tissue["artery"])
        back = [trunk.point("L5", 14, fore["L5"] + 9, 5), trunk.point("L5", 24 * side, fore["L5"] + 4, -14),
                trunk.point("S1", 50 * side, 20), trunk.point(-60, 70 * side, 52)]  # fmt: skip
        brush.tube(back, [0.7 * r, 0.6 * r, 0.55 * r, 0.5 * r], tissue["vein"])
    cava = [
        ("T9", 22, 26, 10, 9),
        ("T11", 24, 22, 12, 10),
        ("L1", 21, 12, 11, 9),
        ("L3", 19, 10, 11, 8),
        ("L5", 16, 9, 10, 7),
    ]
    level_column(brush, trunk, [(p, x, fore[p] + y, rx, ry) for p, x, y, rx, ry in cava], tissue["vein"])
    paint_plaques(brush, [line, line, *forks], [radii[-len(line) :]] * 2 + [np.full(4, 0.5 * r)] * 2, rng)


def _pelvis(brush, trunk, tissue, rng):
    size = rng.uniform(0.7, 1.2)
    _blob(brush, trunk, -95, (0, 62, 0), (42 * size, 34 * size, 32 * size), tissue["muscle"])
    _blob(brush, trunk, -95, (0, 62, 0), (39 * size, 31 * size, 29 * size), tissue["fluid"])
    _blob(brush, trunk, -105, (0, 18, 0), (24, 18, 22), tissue["muscle"], 0.0, rng, 3)
    points = [
        trunk.point("S1", -40, 44, -20),
        trunk.point(-50, -8, 2),
        trunk.point(-80, 2, -18),
        trunk.point(-130, 0, -6),
    ]
    brush.tube(points, [12, 14, 16, 12], tissue["muscle"])
    brush.tube(points, [9, 10, 12, 4], tissue["stool"] if rng.random() < 0.6 else tissue["gas"])


def _kidneys(brush, trunk, tissue, rng):
    for side in (1, -1):
        place, up = ("L2", 2) if side > 0 else ("L1", -4)
        shift = rng.normal(0.0, 5.0, 3)
        offsets = np.array([63 * side, 2, up]) + shift
        radii = np.array([26, 25, 52]) * float(np.exp(rng.normal(0.0, 0.07)))
        _blob(brush, trunk, place, offsets, radii, tissue["kidney"], 0.22 * -side)
        core = 0.6 * tissue["kidney"] + 20
        _blob(brush, trunk, place, offsets, radii * 0.68, core, 0.22 * -side)
        _blob(brush, trunk, place, offsets - np.array([12 * side, -4, 0]), (11, 9, 22), tissue["fat"], 0.22 * -side)
