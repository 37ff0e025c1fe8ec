"""Bones other than the vertebrae: ribs and sternum, shoulder girdle, pelvis and hips, skull and jaw."""

from __future__ import annotations

import numpy as np
import torch

from spineseg.anatomy.labels import IDS
from spineseg.anatomy.phantom.fields import Brush, Skeleton, ellipsoid_distance
from spineseg.anatomy.phantom.trunk import Trunk

# Per rib: how far the front end lies below the back one (mm), and where bone gives way to cartilage (radians round the
# cage from the back, pi is the midline in front).
_RIB_DROP = (34, 48, 58, 68, 78, 86, 92, 96, 96, 90, 66, 38)
_RIB_END = (2.35, 2.45, 2.5, 2.5, 2.45, 2.4, 2.35, 2.25, 2.15, 2.0, 1.6, 1.05)
_RIB_HEIGHT = (13, 12, 12, 13, 13.5, 14, 14, 14, 14, 13.5, 12, 10)


def paint_bones(brush: Brush, trunk: Trunk, tissue: dict, rng: np.random.Generator, arms_up: bool) -> dict:
    """Paint all bones of the body but the spine, with a cortical shell.

    Args:
        brush: Paints on the canvas.
        trunk: Frames of the body.
        tissue: HU per tissue, with `shell_mm`.
        rng: Draws variants.
        arms_up: Whether the arms lie beside the head instead of the trunk.

    Returns:
        World centre of each hip joint, by side: 1 right, -1 left.
    """
    skeleton = Skeleton(brush.canvas)
    stout, last = float(np.exp(rng.normal(0.0, 0.11))), float(rng.uniform(0.75, 1.2))
    cartilage: list = []
    for rib in range(11 if trunk.spine.variant == "T11" else 12):
        for side in (1, -1):
            _rib(skeleton, trunk, rib, side, cartilage, rng, stout, last if rib == 11 else 1.0)
    _short_ribs(skeleton, trunk, rng)
    _sternum(skeleton, trunk)
    hips = {}
    for side in (1, -1):
        _shoulder(skeleton, trunk, side, arms_up)
        hips[side] = _pelvis(skeleton, trunk, side)
    _skull(brush, skeleton, trunk, tissue, rng)
    stony = rng.uniform(0.0, 250.0)
    for points in cartilage:
        is_stony = rng.random() < 0.5  # from the surface inwards
        brush.tube(points, 5.4 * trunk.scale, tissue["cartilage"] + 1.6 * stony * is_stony)
        if is_stony:
            brush.tube(points, 3.6 * trunk.scale, tissue["cartilage"])
    skeleton.paint(tissue["cortical"], tissue["marrow"], tissue["shell_mm"])
    _joint_sclerosis(brush, trunk, rng)
    return hips


def _rib(skeleton, trunk, rib, side, cartilage, rng, stout, length):
    """From the joint with body and transverse process along the cage, sinking towards the front."""
    spine, level, scale = trunk.spine, IDS["T1"] - 1 + rib, trunk.scale
    size = {name: float(v[level]) for name, v in spine.size.items()}
    frame, centre = spine.rotation[level], spine.centre_mm[level]
    own = [
        (side * (size["body_width"] / 2 + 2.5), -0.28 * size["body_depth"], 0.42 * size["body_height"]),
        (side * (0.5 * size["body_width"] + 0.55 * (size["transverse_span"] - size["body_width"]) / 2),
         -0.5 * size["body_depth"] - 6.0, 4.0),
        (side * (size["transverse_span"] / 2 + 1.0), -0.5 * size["body_depth"] - 12.0 * scale, 1.0),
    ]  # fmt: skip
    start = [centre + frame @ np.array(p) for p in own]
    tubercle = start[-1]
    end = _RIB_END[rib] * length * float(np.exp(rng.normal(0.0, 0.02)))
    drop = _RIB_DROP[rib] * scale * float(np.exp(rng.normal(0.0, 0.05)))

    def on_cage(angle, z):
        width, back, front = (float(v) for v in trunk.wall(z))
        x, y = float(trunk.axis(z)[0]), (back + front) / 2
        return np.array([x + side * width * np.sin(angle), y - (front - back) / 2 * np.cos(angle), z])

    z0 = tubercle[2] - 3.0 * scale
    width = float(trunk.wall(z0)[0])
    first = float(np.arcsin(np.clip((abs(tubercle[0] - trunk.axis(z0)[0]) + 16.0 * scale) / width, 0.1, 0.9)))
    angles = np.linspace(first, max(end, first + 0.2), 13 if rib < 10 else 7)
    share = (angles - first) / (2.5 - first)
    z = z0 - drop * share**0.9
    arc = np.array([on_cage(a, h) for a, h in zip(angles, z, strict=True)])
    points = np.vstack([start, arc])
    middle = points[:-1] / 2 + points[1:] / 2
    normal = (
        middle
        - np.c_[
            trunk.axis(middle[:, 2])[0], (arc[:, 1].max() + arc[:, 1].min()) / 2 * np.ones(len(middle)), middle[:, 2]
        ]
    )
    along = np.diff(points, axis=0)
    normal -= along * (np.sum(normal * along, 1) / np.sum(along * along, 1))[:, None]
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    radius = np.full(len(points), _RIB_HEIGHT[rib] / 2 * scale * stout)
    radius[:3] = np.array([5.2, 4.2, 5.6]) * scale
    skeleton.tube(points[:3], radius[:3])
    skeleton.tube(points[2:], radius[2:], normal[2:], 1.75)
    if rib < 10:  # cartilage: to the sternum, for 8 to 10 up to the one above
        goal = trunk.height(f"T{min(rib + 3, 9)}", -4.0 if rib < 7 else -10.0 * (rib - 5))
        stop = np.pi - 0.13 if rib < 7 else min(np.pi - 0.35, end + 0.5)
        turns = np.linspace(angles[-1], stop, 5)
        sag = np.linspace(0.0, 1.0, 5) ** 1.5
        cartilage.append(np.array([on_cage(a, z[-1] * (1 - s) + goal * s) for a, s in zip(turns, sag, strict=True)]))


def _short_ribs(skeleton, trunk, rng):
    """Ribs of a 13th thoracic vertebra, and of the seventh cervical one in one patient of sixty."""
    length, has_neck_ribs = rng.uniform(18.0, 60.0, (2, 2)), rng.random() < 0.016
    spine, scale, roots = trunk.spine, trunk.scale, []
    if spine.variant == "T13":
        roots.append((spine.extra.centre_mm, spine.extra.rotation, spine.extra.size, length[0]))
    if has_neck_ribs:
        level = IDS["C7"] - 1
        size = {name: float(v[level]) for name, v in spine.size.items()}
        roots.append((spine.centre_mm[level], spine.rotation[level], size, length[1]))
    for centre, frame, size, lengths in roots:
        for side, long in zip((1, -1), lengths, strict=True):
            start = np.array([side * (size["transverse_span"] / 2 + 1.0), -0.5 * size["body_depth"] - 4.0, 0.0])
            way = [start, start + np.array([side * 0.5, 0.1, -0.35]) * long * scale]
            way.append(way[1] + np.array([side * 0.2, 0.5, -0.3]) * long * scale)
            skeleton.tube([centre + frame @ p for p in way], np.array([4.2, 3.8, 3.0]) * scale)


def _joint_sclerosis(brush, trunk, rng):
    """Dense iliac bone along worn sacroiliac joints, in one patient of four."""
    added, is_worn = rng.uniform(150.0, 500.0, 2), rng.random() < 0.25
    if not is_worn:
        return
    frame, origin, canvas = pelvis_frame(trunk), trunk.spine.centre_mm[IDS["S1"] - 1], brush.canvas
    for side, hu in zip((1, -1), added, strict=True):
        centre, radii = origin + frame @ (np.array([56.0 * side, -18.0, -10.0]) * trunk.scale), np.array([12, 22, 24])
        box = canvas.box(centre - radii, centre + radii)
        if box is not None:
            inside = ellipsoid_distance(centre, radii * trunk.scale)(*canvas.coordinates(box))
            view = canvas.ct_hu[box]
            view += (-inside / 8.0).clamp_(0.0, 1.0) * float(hu) * (view > 90.0)


def _sternum(skeleton, trunk):
    """Manubrium, body and xiphoid as flat plates in the front of the cage."""
    rows = (("T3", 8, 24), ("T4", 2, 20), ("T5", -4, 14), ("T7", 0, 17), ("T8", 8, 19), ("T9", 6, 9), ("T10", 4, 3))
    points = []
    for place, up, half in rows:
        z = trunk.height(place, up)
        points.append((np.array([trunk.axis(z)[0], float(trunk.wall(z)[2]) + 1.0, z]), half * trunk.scale))
    for (a, wa), (b, wb) in zip(points[:-1], points[1:], strict=True):
        east, west = np.array([1.0, 0, 0]), np.array([-1.0, 0, 0])
        skeleton.plate(a + wa * east, a + wa * west, b + wb * east, 10.0 * trunk.scale)
        skeleton.plate(a + wa * west, b + wb * east, b + wb * west, 10.0 * trunk.scale)


def _shoulder(skeleton, trunk, side, arms_up):
    """Clavicle, scapula and humerus; with the arms up the whole girdle is raised and turned."""
    scale = trunk.scale
    lift, inward = (26.0, 10.0) if arms_up else (0.0, 0.0)

    def at(place, right, anterior, up=0.0, lifted=1.0):
        return trunk.point(place, side * (right - lifted * inward), anterior, up + lifted * lift)

    z = trunk.height("T3", 12.0)
    chest = np.array([trunk.axis(z)[0] + side * 22 * scale, float(trunk.wall(z)[2]) + 2.0, z])
    skeleton.tube(
        [chest, at("T2", 62, 40, 4, 0.3), at("T1", 105, 8, 0, 0.7), at("T1", 145, -16, -4)], [7 * scale, 5.5, 5.5, 6]
    )
    top, low, glenoid = at("T2", 74, -58, 4), at("T7", 92, -62, -6, 0.5), at("T3", 140, -20, 4)
    spine_root, acromion, rim = at("T3", 76, -64, 2), at("T1", 158, -22, -6), at("T5", 122, -46, 0)
    for a, b, c, t in ((top, spine_root, glenoid, 4.0), (spine_root, rim, glenoid, 4.0), (spine_root, low, rim, 4.5)):
        skeleton.plate(a, b, c, t)
    ridge = at("T2", 118, -58, -10)
    skeleton.plate(spine_root, ridge, glenoid, 5.0)
    skeleton.tube([spine_root, ridge, acromion], [3.5, 5.5, 7.5 * scale])
    skeleton.tube([low, rim, glenoid], [4.5, 5.0, 11.0 * scale])
    skeleton.tube([glenoid, at("T2", 128, 16, -4)], [7.0 * scale, 6.0])  # coracoid
    head = at("T3", 166, -12, 0)
    skeleton.tube([head, head + (0.1, 0, 0)], 24.0 * scale)
    elbow = trunk.point("T1", side * 150, 10, 240) if arms_up else trunk.point("L2", side * 215, -25)
    neck = head + (elbow - head) * 0.17
    skeleton.tube(
        [head + (side * 8 * scale, 0, 0), neck, head + (elbow - head) * 0.5, elbow], np.array([19, 13, 11, 13]) * scale
    )


def pelvis_frame(trunk: Trunk) -> np.ndarray:
    """Axes of the pelvis as columns: it turns with the sacrum, whose endplate leans 37 degrees forward in the mean."""
    tilt = np.radians(37.0)
    level = np.array([[1, 0, 0], [0, np.cos(tilt), np.sin(tilt)], [0, -np.sin(tilt), np.cos(tilt)]])
    return trunk.spine.rotation[IDS["S1"] - 1] @ level.T


def _pelvis(skeleton, trunk, side):
    """Ilium from the sacroiliac joint to crest and acetabulum, ischium and pubis, and the hip."""
    frame, origin = pelvis_frame(trunk), trunk.spine.centre_mm[IDS["S1"] - 1]
    span = float(trunk.spine.size["transverse_span"][IDS["S1"] - 1]) / 98.0  # joint stays beside the ala
    scale = trunk.scale

    def at(right, anterior, up):
        return origin + frame @ (np.array([side * right * span, anterior * scale, up * scale]))

    p = {
        "psis": at(43, -54, -16), "back": at(66, -44, 30), "top": at(122, -4, 58), "tubercle": at(136, 24, 50),
        "asis": at(121, 62, 4), "aiis": at(107, 52, -38), "roof": at(94, 28, -62), "line": at(69, 8, -42),
        "joint": at(55, -15, -6), "notch": at(55, -34, -44), "fossa": at(104, 8, 6),
    }  # fmt: skip
    plates = (
        ("psis", "back", "joint", 13), ("back", "top", "fossa", 7), ("back", "fossa", "joint", 9),
        ("top", "tubercle", "fossa", 6), ("tubercle", "asis", "fossa", 7), ("asis", "aiis", "fossa", 9),
        ("aiis", "roof", "fossa", 12), ("roof", "line", "fossa", 10), ("line", "joint", "fossa", 11),
        ("psis", "joint", "notch", 13), ("joint", "line", "notch", 12), ("notch", "line", "roof", 13),
    )  # fmt: skip
    for a, b, c, thickness in plates:
        skeleton.plate(p[a], p[b], p[c], thickness * scale)
    skeleton.tube(
        [p["psis"], p["back"], p["top"], p["tubercle"], p["asis"], p["aiis"]], np.array([8, 7, 7, 8, 6, 7]) * scale
    )
    hip, ischium = at(90, 24, -92), at(64, 0, -160)
    outward = frame @ np.array([side * 0.75, 0.35, -0.55])

    def socket(x, y, z):
        shell = (ellipsoid_distance(hip, np.full(3, 31.0) * scale)(x, y, z)).abs() - 4.0 * scale
        plane = (x - hip[0]) * outward[0] + (y - hip[1]) * outward[1] + (z - hip[2]) * outward[2]
        return torch.maximum(shell, plane - 6.0)

    skeleton.add(hip - 38 * scale, hip + 38 * scale, socket)
    symphysis = at(9, 66, -120)
    skeleton.tube(
        [p["line"], p["roof"], at(78, 46, -84), at(44, 66, -98), symphysis], np.array([7, 12, 9, 7, 9]) * scale
    )
    skeleton.tube([symphysis, at(12, 60, -134), at(38, 30, -158), ischium], np.array([9, 6, 6, 11]) * scale)
    skeleton.tube([p["notch"], at(74, -4, -98), ischium], np.array([10, 13, 15]) * scale)
    skeleton.tube([hip, hip + 0.1], 24.0 * scale)
    trochanter = hip + np.array([side * 58.0, -12.0, -22.0]) * scale
    shaft = hip + np.array([side * 50.0, -4.0, -70.0]) * scale
    skeleton.tube([hip, trochanter], np.array([16, 18]) * scale)
    skeleton.tube(
        [trochanter + (0, 0, 10 * scale), shaft, hip + np.array([side * 40.0, 6.0, -460.0]) * scale],
        np.array([15, 16, 14]) * scale,
    )
    return hip


def _skull(brush, skeleton, trunk, tissue, rng):
    """Vault with brain, base on the condyles of C1, mastoids, face with sinuses, jaw with teeth."""
    scale, frame = trunk.scale, trunk.spine.rotation[0]
    atlas = trunk.spine.centre_mm[0]

    def at(right, anterior, up):
        return atlas + frame @ (np.array([right, anterior, up]) * scale)

    vault, radii = at(0, 6, 82), np.array([72.0, 90.0, 68.0]) * scale
    for shrink, hu in (
        (0.0, tissue["cortical"]),
        (2.0, tissue["marrow"] + 250),
        (4.5, tissue["cortical"]),
        (6.5, tissue["brain"]),
    ):
        brush.ellipsoid(vault, radii - shrink * scale, hu, frame)
    for side in (1, -1):
        skeleton.tube([at(19 * side, 2, 13), at(21 * side, 8, 18)], np.array([8, 10]) * scale)  # condyle
        skeleton.tube([at(26 * side, 2, 20), at(52 * side, 0, 22)], np.array([8, 11]) * scale)
        skeleton.tube([at(54 * side, 4, 20), at(52 * side, 6, -2)], np.array([14, 7]) * scale)  # mastoid
        skeleton.plate(at(18 * side, -14, 16), at(50 * side, -18, 22), at(0, -62, 32), 6.0 * scale)
        for _ in range(8):
            cell = at(52 * side, 4, 14) + rng.normal(0.0, 4.5, 3)
            brush.ellipsoid(cell, rng.uniform(2, 4, 3), -700.0)
        jaw = ((48, 24, 20), (48, 34, -12), (44, 42, -28), (28, 78, -34), (0, 94, -36))
        skeleton.tube([at(x * side, y, z) for x, y, z in jaw], np.array([7, 6, 7, 8, 9]) * scale)
        skeleton.plate(at(46 * side, 38, -26), at(48 * side, 22, 16), at(42 * side, 52, 0), 7.0 * scale)
        skeleton.plate(at(34 * side, 60, 30), at(20 * side, 88, 0), at(36 * side, 70, 2), 4.0 * scale)
        brush.ellipsoid(at(26 * side, 66, 18), np.array([13, 15, 15]) * scale, -1000.0, frame)  # maxillary sinus
        brush.ellipsoid(at(32 * side, 80, 48), np.array([13, 12, 13]) * scale, 20.0, frame)  # eye
    skeleton.tube([at(0, 18, 18), at(0, 30, 30), at(0, 48, 40)], np.array([7, 9, 10]) * scale)  # clivus
    skeleton.plate(at(-30, 50, 4), at(30, 50, 4), at(0, 88, 2), 6.0 * scale)
    brush.ellipsoid(at(0, 66, 22), np.array([11, 26, 18]) * scale, -800.0, frame)
    brush.ellipsoid(at(0, 58, -14), np.array([26, 30, 16]) * scale, tissue["muscle"], frame)
    for angle in np.linspace(-1.0, 1.0, 13):
        for up in (-7.0, -20.0):
            spot = at(27 * np.sin(1.35 * angle), 62 + 27 * np.cos(1.35 * angle), up)
            filled = rng.random() < 0.12
            brush.ellipsoid(spot, np.array([3.2, 3.2, 7.0]) * scale, 3000.0 if filled else tissue["tooth"], frame)
    skeleton.tube([at(-18, 40, -52), at(0, 52, -54), at(18, 40, -52)], [2.5, 4.0, 2.5])  # hyoid
