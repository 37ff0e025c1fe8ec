"""Everything in the scanner but the spine itself: table, skin, fat, muscle, cavities, organs, bones, texture."""

from __future__ import annotations

import numpy as np
import torch

from spineseg.anatomy.phantom.bones import paint_bones
from spineseg.anatomy.phantom.canvas import Canvas
from spineseg.anatomy.phantom.fields import Brush, capsule_distance, correlated_noise, ellipsoid_distance, knots
from spineseg.anatomy.phantom.hardware import paint_hips, paint_leads
from spineseg.anatomy.phantom.muscles import paint_muscles
from spineseg.anatomy.phantom.organs import paint_organs
from spineseg.anatomy.phantom.spine import Spine
from spineseg.anatomy.phantom.tissue import draw_tissue
from spineseg.anatomy.phantom.trunk import Trunk

_AIR_HU = -1000.0


def paint_body(
    canvas: Canvas,
    spine: Spine,
    rng: np.random.Generator,
    generator: torch.Generator,
    tissue: dict | None = None,
) -> dict:
    """Paint the body around a spine, before the vertebrae are painted into it.

    Args:
        canvas: Grid filled with air; parts of the body off it cost next to nothing.
        spine: Whose body; every organ is placed relative to it.
        rng: Draws build, arms, organ positions, and the tissues when none are given.
        generator: Draws the texture, on the device of the canvas.
        tissue: HU per tissue, see `tissue.draw_tissue`.

    Returns:
        What was drawn, JSON-able: `fat_mm`, `girth`, `paunch_mm`, `arms_up`.
    """
    tissue = draw_tissue(rng) if tissue is None else tissue
    trunk, brush = Trunk(spine, rng), Brush(canvas)
    arms_up = bool(rng.random() < 0.7)
    _paint_table(brush, trunk, tissue, rng)
    cavity_mm = _paint_layers(brush, trunk, tissue, arms_up)
    brush.ripple_mm = correlated_noise(canvas, (16.0, 16.0, 20.0), generator).mul_(rng.uniform(0.8, 1.8))
    paint_muscles(brush, trunk, tissue, rng)
    paint_organs(brush, trunk, tissue, rng, cavity_mm)
    brush.ripple_mm = None
    _paint_canal(brush, spine, tissue)
    _add_texture(canvas, trunk, tissue, generator)
    hips = paint_bones(brush, trunk, tissue, rng, arms_up)
    paint_hips(brush, hips, trunk.scale, rng)
    paint_leads(brush, trunk, rng)
    return {"fat_mm": trunk.fat_mm, "girth": trunk.girth, "paunch_mm": trunk.paunch_mm, "arms_up": arms_up}


def _whole(canvas):
    return tuple(slice(0, n) for n in canvas.shape)


def _paint_table(brush, trunk, tissue, rng):
    """A flat board or a shallow trough of foam between thin dense shells, with a mattress or rails in some."""
    z = np.linspace(trunk.height("T4"), trunk.height("S1"), 20)
    lowest = float(np.min([trunk._tube("skin", v)[1] for v in z])) - rng.uniform(1.0, 12.0)
    centre, curve = trunk.axis(0.0)[0], max(rng.uniform(-1 / 1800.0, 1 / 700.0), 0.0)
    depth, half = rng.uniform(18.0, 45.0), rng.uniform(200.0, 240.0)
    low, high = (centre - half, lowest - depth - 5, -2000), (centre + half, lowest + 60, 2000)
    for inset, hu in ((0.0, rng.uniform(-500.0, 200.0)), (2.5, tissue["table"] - 150.0)):

        def distance(x, y, z, inset=inset):
            down = lowest + curve * 0.5 * (x - centre) ** 2 - y
            return torch.maximum(torch.maximum(-down, down - depth), (x - centre).abs() - half) + inset + 0 * z

        brush.fill(low, high, distance, hu, 8.0)
    soft, rail = rng.uniform(6.0, 35.0), rng.uniform(100.0, 1800.0)
    has_mattress, has_rails = rng.random(2) < (0.45, 0.2)
    if has_mattress:
        box = centre - half, lowest - 0.5, -2000.0
        mat = rng.uniform(-980.0, -880.0)

        def cushion(x, y, z):
            up = y - (lowest + curve * 0.5 * (x - centre) ** 2)
            return torch.maximum(torch.maximum(-up, up - soft), (x - centre).abs() - 0.95 * half) + 0 * z

        brush.fill(box, (centre + half, lowest + 95.0, 2000.0), cushion, mat, 8.0)
    if has_rails:
        for side in (1, -1):
            ends = [np.array([centre + side * (half - 12.0), lowest - depth / 2, z]) for z in (-1500.0, 1500.0)]
            brush.fill(ends[0] - 6.0, ends[1] + 6.0, capsule_distance(*ends, 4.0, 4.0), rail, 4.0)


def _paint_layers(brush, trunk, tissue, arms_up):
    """Skin, fat under it, muscle under that, fat in the cavity: one field per surface; returns the cavity's."""
    canvas, box = brush.canvas, _whole(brush.canvas)
    limbs = _limbs(trunk, arms_up)
    top, bottom = trunk.height("C1", 32.0), trunk.height(-190)

    def outside(which):
        inset = 0.0 if which == "skin" else 2.0 + 0.6 * trunk.fat_mm

        def distance(x, y, z):
            out = torch.maximum(trunk.surface_distance(which, x, y, z), torch.maximum(z - top, bottom - z))
            for limb in limbs:
                out = torch.minimum(out, limb(x, y, z) + inset)
            return out

        return distance

    def cavity(x, y, z):
        ends = torch.maximum(z - trunk.height("C7"), trunk.height(-150) - z)
        return torch.maximum(trunk.surface_distance("cavity", x, y, z) + 6.0 * trunk.scale, ends)

    skin = brush.sample(box, outside("skin"))
    canvas.paint(box, canvas.coverage(skin), tissue["skin"])
    canvas.paint(box, canvas.coverage(skin + 2.0), tissue["fat"])
    muscle = torch.maximum(brush.sample(box, outside("muscle")), skin + 3.0)
    canvas.paint(box, canvas.coverage(muscle), tissue["muscle"])
    inside = brush.sample(box, cavity)
    canvas.paint(box, canvas.coverage(inside), tissue["fat"] + 8.0)
    return inside


def _limbs(trunk, arms_up):
    """Distances to head, face, arms and thighs, which are joined with the trunk."""
    spine, scale = trunk.spine, trunk.scale
    frame, atlas = spine.rotation[0], spine.centre_mm[0]

    def head(right, anterior, up):
        return atlas + frame @ (np.array([right, anterior, up]) * scale)

    parts = [
        ellipsoid_distance(head(0, 6, 82), np.array([79.0, 97.0, 76.0]) * scale, frame),
        ellipsoid_distance(head(0, 50, 10), np.array([62.0, 62.0, 66.0]) * scale, frame),
    ]
    for side in (1, -1):
        shoulder = trunk.point("T3", side * 158, -14, 14.0 if arms_up else 0.0)
        elbow = trunk.point("T1", side * 150, 10, 240) if arms_up else trunk.point("L2", side * 215, -25)
        thick = (42.0 + 0.8 * trunk.fat_mm) * scale
        parts.append(capsule_distance(shoulder, elbow, 1.15 * thick, 0.9 * thick))
        hip, knee = trunk.point(-140, side * 92, -2), trunk.point(-480, side * 80, 5)
        thick = (72.0 + 0.8 * trunk.fat_mm) * scale
        parts.append(capsule_distance(hip, knee, thick, 0.7 * thick))
    return parts


def _paint_canal(brush, spine, tissue):
    """Cord and fluid behind the bodies; the vertebrae leave it free."""
    depth, canal = spine.size["body_depth"], spine.size["canal_depth"]
    back = -(depth / 2 + canal / 2)
    back[0] = -8.0 * spine.scale  # the atlas has no body: its canal is behind the dens
    line = spine.centre_mm + spine.rotation[:, :, 1] * back[:, None]
    order = np.argsort(line[:, 2])
    z, x, y = line[order, 2], line[order, 0], line[order, 1]
    half = np.clip(spine.size["canal_width"][order] / 2 - 1.0, 6.0, 9.5)
    brush.column(z, x, y, half, np.clip(canal[order] / 2 - 0.5, 5.0, 8.5), tissue["thecal"] or tissue["fluid"] + 12.0)
    cord = order[spine.centre_mm[order, 2] > spine.centre_mm[20, 2]]  # ends at the conus, beside L1
    zc = line[cord, 2]
    brush.column(zc, line[cord, 0], line[cord, 1], np.full(len(cord), 5.5), np.full(len(cord), 4.2), tissue["cord"])


def _add_texture(canvas, trunk, tissue, generator):
    """Uneven soft tissue, fat in the muscles of the back, vessels in lung: one smooth random field, used three ways."""
    grain = tissue["mottle_mm"]
    noise = correlated_noise(canvas, (grain, grain, 2.8 * grain), generator)
    strength, streak = tissue["mottle"], 130.0 * tissue["streak"]
    _, y, z = canvas.coordinates(_whole(canvas))
    line = knots(z, (trunk.line[:, 2], trunk.line[:, 1]), canvas.device)
    back = ((line - 15.0 * trunk.scale - y) / 15.0).clamp_(0.0, 1.0)[0]  # (J, K), 1 behind the canal
    for i in range(0, canvas.shape[0], 16):  # slabs that stay in cache
        hu, n = canvas.ct_hu[i : i + 16], noise[i : i + 16]
        soft = (1.0 - (hu - 10.0).abs() / 190.0).clamp_(0.0, 0.6)
        muscle = (1.0 - (hu - tissue["muscle"]).abs() / 14.0).clamp_(0.0, 1.0)
        lung = (1.0 - (hu - tissue["lung"]).abs() / 60.0).clamp_(0.0, 1.0)
        hu += strength * 1.6 * soft * n - streak * back * muscle * (n - 0.7).clamp(0.0, 1.0)
        hu += lung * (18.0 * n + 260.0 * (n - 1.5).clamp(0.0, 2.0))
