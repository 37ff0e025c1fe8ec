"""Paint the spine into a scan: discs, bone with its shell and marrow, the sacrum, metal; and the labels."""

from __future__ import annotations

import numpy as np
import torch

from spineseg.anatomy.labels import IDS
from spineseg.anatomy.phantom import sacrum
from spineseg.anatomy.phantom.canvas import Canvas
from spineseg.anatomy.phantom.marrow import draw_bone, enrich, texture
from spineseg.anatomy.phantom.metal import Metal, draw_metal
from spineseg.anatomy.phantom.ripple import Ripple, draw_ripple
from spineseg.anatomy.phantom.shapes import ellipse, intersection
from spineseg.anatomy.phantom.spine import Spine
from spineseg.anatomy.phantom.vertebra_raster import (
    Pose,
    Raster,
    axes_of,
    draw_poses,
    inside,
    measure,
    overlap,
    rasterise,
    span_of,
)

_S1, _C1 = IDS["S1"] - 1, IDS["C1"] - 1
_DENSE_MM = 5.0  # depth under the shell over which the marrow thins out
_ROUGH_MM = (9.0, 28.0)  # shortest and longest wave of a bone's surface
_THICK_MM = (6.0, 18.0)  # and of its cortex


def paint_vertebrae(
    canvas: Canvas,
    spine: Spine,
    tissue: dict,
    rng: np.random.Generator,
    generator: torch.Generator,
    spread: float = 1.0,
    margin_mm: float | None = None,
) -> list[dict]:
    """Paint discs, vertebrae, sacrum and metal over what is on the canvas, and write the labels.

    All numbers from `rng` are drawn for all 25 levels, so the same seed gives the same patient in any field of view.

    Args:
        canvas: A body without its spine; `ct_hu` and `labels` are written.
        spine: Size and pose.
        tissue: HU per tissue, from `tissue.draw_tissue`.
        rng: Draws bone density, asymmetries, metal.
        generator: Draws the marrow's texture, on the device of the canvas.
        spread: Width of the ranges that densities are drawn from.
        margin_mm: How far outside the bone the labels reach; None leaves it to chance.

    Returns:
        Per vertebra that the canvas shows, C1 first: `vertebra`, `full_ml`, `visible_ml`, `visible_share` and
        `centroid_mm` (of the whole vertebra).
    """
    bone, poses = draw_bone(tissue, rng, spread), draw_poses(spine, rng)
    if spine.planted is not None:
        bone = spine.planted.of_bone(bone)
    metal = draw_metal(spine, rng)
    margin_mm = bone["margin_mm"] if margin_mm is None else margin_mm
    rough, thick = draw_ripple(rng, *_ROUGH_MM), draw_ripple(rng, *_THICK_MM)
    raster = rasterise(canvas, poses, margin_mm, rough, bone["rough_mm"])
    in_order = sorted((p for p in poses if p.size["body_height"] > 0), key=lambda p: -p.centre_mm[2])
    pairs = [pair for pair in zip(in_order[1:-1], in_order[2:], strict=True)]  # from C2 down
    for above, below in pairs:
        if not above.size["fused_below"]:
            _paint_disc(canvas, spine, above, below, bone)
    _paint_sacrum(canvas, poses[_S1], bone, generator, has_disc=spine.wear.remnant)
    if raster is None:
        return []
    for i in sorted(raster.spans, key=lambda i: poses[i].centre_mm[2]):
        _paint_vertebra(canvas, raster, i, bone, spine, generator, thick)
    for above, below in pairs:
        if above.size["fused_below"]:
            _paint_bridge(canvas, spine, above, below, bone, generator)
    shown = overlap(raster.span, canvas)
    names = torch.tensor([0, *(pose.level + 1 for pose in poses)], dtype=torch.uint8, device=canvas.device)
    canvas.labels[inside(shown, _origin(canvas))] = names[raster.owner[inside(shown, raster.span)].long()]
    _paint_metal(canvas, poses, metal)
    return measure(canvas, raster)


def _origin(canvas):
    return tuple((0, n) for n in canvas.shape)


def _paint_bone(canvas, span, distance, shell_mm, cortical, marrow, share=1.0):
    """Cortex to the surface, marrow from under the shell; thin shells show as the share of a voxel that they fill."""
    view = canvas.ct_hu[inside(span, _origin(canvas))]
    outer, inner = canvas.coverage(distance), canvas.coverage(distance + shell_mm)
    # one step: painting marrow over cortex in two would leave too much cortex where both fill part of a voxel
    view += share * (outer * (cortical - view) + inner * (marrow - cortical))


def _paint_vertebra(canvas, raster: Raster, i: int, bone, spine: Spine, generator, thick: Ripple):
    pose, span = raster.poses[i], overlap(raster.spans[i], canvas)
    place, axes = inside(span, raster.spans[i]), axes_of(canvas, span)
    body, arch = (solid[place] for solid in raster.solids[i])
    distance, share = torch.minimum(body, arch), 1.0
    if pose.level == _S1:  # one bone with the rest of the sacrum: no cortex between them, and no seam
        share = (1.0 - distance / 3.0).clamp_(0.0, 1.0)
        x, y, z = pose.local(axes)
        distance = torch.minimum(distance, sacrum.remainder(pose.size, x.abs() + pose.skew * x, y, z))
    of_body = ((arch - body) / 6.0 + 0.5).clamp_(0.0, 1.0)
    core = bone["core"] * float(bone["core_share"][pose.level]) + 35.0 * (pose.size["wedge"] > 0)
    marrow = of_body * (core - bone["posterior"]) + bone["posterior"]
    under_shell = (distance / _DENSE_MM + 1.0).clamp_(0.0, 1.0)  # trabeculae are closest where the load enters
    grain = texture(canvas, span, bone["texture_mm"], generator)
    marrow += (0.3 * abs(bone["core"]) + 0.7 * marrow.abs()) * (bone["dense"] * under_shell + bone["texture"] * grain)
    # worn joints are dense; all of an arch is, as its cortex is thick
    shell = of_body * (bone["wall_mm"] - bone["arch_mm"] * pose.size["joint"]) + bone["arch_mm"] * pose.size["joint"]
    if pose.level != _C1:
        enrich(canvas, pose, span, bone, spine.wear, shell, marrow)
    shell *= (1.0 + bone["uneven"] * thick.at(axes)).clamp_(0.4, 1.8)
    _paint_bone(canvas, span, distance, shell, bone["cortical"], marrow, share)


def _paint_sacrum(canvas, pose: Pose, bone, generator, *, has_disc: bool):
    """S2-S5 and the alae: bone without a label; a rest of disc below S1 in some."""
    span = overlap(span_of(canvas, *pose.corners(*sacrum.extent(pose.size))), canvas)
    if span is None:
        return
    x, y, z = pose.local(axes_of(canvas, span))
    distance = sacrum.remainder(pose.size, x.abs() + pose.skew * x, y, z)
    grain = texture(canvas, span, bone["texture_mm"], generator)
    marrow = (0.65 * bone["core"] + 0.2 * bone["posterior"]) * (1.0 + bone["texture"] * grain)
    if has_disc:
        gap = torch.maximum(z.add(pose.size["body_height"] / 2 + 1.0).abs_() - 1.6, x.abs() - 13.0 * pose.size["unit"])
        marrow += canvas.coverage(gap) * (float(bone["disc"][_S1]) - marrow)
        marrow += canvas.coverage(gap.abs() - 0.8) * 0.4 * bone["cortical"]
    shell = 0.5 * (bone["wall_mm"] + bone["arch_mm"])
    _paint_bone(canvas, span, distance, shell, bone["cortical"], marrow)


def _cushion(canvas, spine: Spine, above: Pose, below: Pose, half: float):
    """The space between two bodies: its span, signed distance to its rim, and height above its middle; or None."""
    tops = [p.size["body_height"] / 2 * (1 - p.size["wedge"] / 2) for p in (above, below)]
    centre = above.centre_mm - above.rotation[:, 2] * tops[0] + below.centre_mm + below.rotation[:, 2] * tops[1]
    size = {k: (above.size[k] + below.size[k]) / 2 for k in ("body_width", "body_depth")}
    if below.level == _S1:
        size = {k: above.size[k] for k in size}
    frame, _ = np.linalg.qr(above.rotation + below.rotation)
    frame = frame * np.sign((frame * above.rotation).sum(0))
    pose = Pose(above.level, size, centre / 2, frame, 0.0, 0.0)
    reach = np.array([size["body_width"] / 2 + 2.0, size["body_depth"] * 0.58 + 2.0, half + 1.0])
    span = overlap(span_of(canvas, *pose.corners(-reach, reach)), canvas)
    if span is None:
        return None
    x, y, z = pose.local(axes_of(canvas, span))
    rim = ellipse(x, y + 0.06 * size["body_depth"], 0.49 * size["body_width"], 0.55 * size["body_depth"])
    return span, intersection(rim, -0.5 * size["body_depth"] - 0.3 - y, 2.0), z


def _paint_disc(canvas, spine: Spine, above: Pose, below: Pose, bone):
    """An elliptic cushion, thicker than the space and as deep as hollow ends need, since bone is painted over it."""
    deep = max(p.size["fish"] * p.size["body_height"] for p in (above, below))
    deep = max(deep, *(p.size[f"node_{end}"] for p in (above, below) for end in ("top", "bottom")))
    half = above.size["disc_below"] / 2 + 2.0 + deep
    found = _cushion(canvas, spine, above, below, half)
    if found is None:
        return
    span, rim, z = found
    box, level = inside(span, _origin(canvas)), above.level
    canvas.paint(box, canvas.coverage(torch.maximum(rim, z.abs() - half)), float(bone["disc"][level]))
    if spine.disc_share[level] < 0.65 and bone["vacuum"][level]:
        slit = torch.maximum(rim + 0.22 * above.size["body_depth"], (z - 0.5).abs() - 0.25 * above.size["disc_below"])
        canvas.paint(box, 0.9 * canvas.coverage(slit), -650.0)


def _paint_bridge(canvas, spine: Spine, above: Pose, below: Pose, bone, generator):
    """Marrow in place of the ends of two bodies that have grown together; their labels still meet there."""
    found = _cushion(canvas, spine, above, below, 2.5)
    if found is None:
        return
    span, rim, z = found
    core = bone["core"] * float(bone["core_share"][above.level])
    marrow = core * (1.1 + bone["texture"] * texture(canvas, span, bone["texture_mm"], generator))
    inner = torch.maximum(rim + 1.5 + bone["wall_mm"], z.abs() - 2.5)
    canvas.paint(inside(span, _origin(canvas)), 0.85 * canvas.coverage(inner), marrow)


def _paint_metal(canvas, poses, metal: Metal):
    for part in metal.parts(poses):
        span = overlap(span_of(canvas, *part.corners()), canvas)
        if span is not None:
            distance = part.distance(axes_of(canvas, span))
            canvas.paint(inside(span, _origin(canvas)), canvas.coverage(distance), part.hu)
