"""Paint the spine into a scan: discs, bone with its shell and marrow, the sacrum, metal; and the labels."""

from __future__ import annotations

import numpy as np
import torch

from spineseg.anatomy.labels import IDS, N_VERTEBRAE
from spineseg.anatomy.phantom import sacrum
from spineseg.anatomy.phantom.canvas import Canvas
from spineseg.anatomy.phantom.metal import Metal, draw_metal
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

_S1 = IDS["S1"] - 1
_TEXTURE_MM = 2.5  # of the marrow's lattice; trabeculae themselves are finer than any CT
_DENSE_MM = 5.0  # depth under the shell over which the marrow thins out


def draw_bone(tissue: dict, rng: np.random.Generator) -> dict:
    """Draw how dense this patient's vertebrae are and how generously their labels were drawn.

    Args:
        tissue: HU per tissue; `marrow` (ribs and pelvis) sets the level, so that one patient's bones go together.
        rng: Source of every random number.

    Returns:
        `cortical`, `core` and `posterior` HU; `shell_mm`; `dense`, by what share marrow under the shell exceeds the
        core; `texture`, relative deviation; `margin_mm`, label outside the bone; and per level `core_share`, `disc` HU
        and `vacuum` (gas in a worn disc).
    """
    core = float(np.clip(0.7 * tissue["marrow"] + rng.normal(36.0, 16.0), 70.0, 200.0))
    return {
        "cortical": float(rng.uniform(600.0, 1000.0)),
        "core": core,
        "posterior": float(np.clip(core * rng.uniform(0.6, 1.1) + rng.normal(0.0, 25.0), 10.0, 250.0)),
        "shell_mm": float(rng.uniform(0.45, 0.95)),
        "dense": float(rng.uniform(0.0, 0.3)),
        "texture": float(rng.uniform(0.12, 0.4)),
        "margin_mm": float(rng.uniform(0.2, 0.7)),
        "core_share": 1.0 + np.cumsum(rng.normal(0.0, 0.03, N_VERTEBRAE)) + rng.normal(0.0, 0.04, N_VERTEBRAE),
        "disc": float(rng.uniform(60.0, 110.0)) + rng.normal(0.0, 6.0, N_VERTEBRAE),
        "vacuum": rng.random(N_VERTEBRAE) < 0.35,
    }


def paint_vertebrae(
    canvas: Canvas, spine: Spine, tissue: dict, rng: np.random.Generator, generator: torch.Generator
) -> list[dict]:
    """Paint discs, vertebrae, sacrum and metal over what is on the canvas, and write the labels.

    All numbers from `rng` are drawn for all 25 levels, so the same seed gives the same patient in any field of view.

    Args:
        canvas: A body without its spine; `ct_hu` and `labels` are written.
        spine: Size and pose.
        tissue: HU per tissue, from `tissue.draw_tissue`.
        rng: Draws bone density, asymmetries, metal.
        generator: Draws the marrow's texture, on the device of the canvas.

    Returns:
        Per vertebra that the canvas shows, C1 first: `vertebra`, `full_ml`, `visible_ml`, `visible_share` and
        `centroid_mm` (of the whole vertebra).
    """
    bone, poses = draw_bone(tissue, rng), draw_poses(spine, rng)
    metal = draw_metal(spine, rng)
    raster = rasterise(canvas, poses, bone["margin_mm"])
    _paint_discs(canvas, spine, poses, bone)
    _paint_sacrum(canvas, poses[_S1], bone, generator)
    if raster is None:
        return []
    for level in sorted(raster.spans, reverse=True):
        _paint_vertebra(canvas, raster, poses[level], bone, generator, fractured=spine.wedge[level] > 0)
    shown = overlap(raster.span, canvas)
    canvas.labels[inside(shown, _origin(canvas))] = raster.owner[inside(shown, raster.span)]
    _paint_metal(canvas, poses, metal)
    return measure(canvas, raster)


def _origin(canvas):
    return tuple((0, n) for n in canvas.shape)


def _texture(canvas, span, generator):
    """Noise of unit deviation, a few mm coarse, at the voxels of a span."""
    shape = tuple(b - a for a, b in span)
    coarse = [max(2, int(np.ceil(n * s / _TEXTURE_MM)) + 1) for n, s in zip(shape, canvas.spacing, strict=True)]
    coarse = [min(c, n) for c, n in zip(coarse, shape, strict=True)]
    noise = torch.randn(coarse, generator=generator, device=canvas.device)
    if tuple(coarse) == shape:
        return noise
    fine = torch.nn.functional.interpolate(noise[None, None], size=shape, mode="trilinear", align_corners=True)
    return fine[0, 0].mul_(1.4)  # interpolation averages the lattice


def _paint_bone(canvas, span, distance, shell_mm, cortical, marrow, share=1.0):
    """Cortex to the surface, marrow from under the shell; thin shells show as the share of a voxel that they fill."""
    view = canvas.ct_hu[inside(span, _origin(canvas))]
    outer, inner = canvas.coverage(distance), canvas.coverage(distance + shell_mm)
    # one step: painting marrow over cortex in two would leave too much cortex where both fill part of a voxel
    view += share * (outer * (cortical - view) + inner * (marrow - cortical))


def _paint_vertebra(canvas, raster: Raster, pose: Pose, bone, generator, *, fractured):
    span = overlap(raster.spans[pose.level], canvas)
    place = inside(span, raster.spans[pose.level])
    body, arch = (solid[place] for solid in raster.solids[pose.level])
    distance, share = torch.minimum(body, arch), 1.0
    if pose.level == _S1:  # one bone with the rest of the sacrum: no cortex between them, and no seam
        share = (1.0 - distance / 3.0).clamp_(0.0, 1.0)
        x, y, z = pose.local(axes_of(canvas, span))
        distance = torch.minimum(distance, sacrum.remainder(pose.size, x.abs() + pose.skew * x, y, z))
    of_body = ((arch - body) / 6.0 + 0.5).clamp_(0.0, 1.0)
    core = bone["core"] * float(bone["core_share"][pose.level]) + (35.0 if fractured else 0.0)
    marrow = of_body * (core - bone["posterior"]) + bone["posterior"]
    under_shell = (distance / _DENSE_MM + 1.0).clamp_(0.0, 1.0)  # trabeculae are closest where the load enters
    marrow = marrow * (1.0 + bone["dense"] * under_shell + bone["texture"] * _texture(canvas, span, generator))
    shell = bone["shell_mm"] * (1.5 - 0.5 * of_body)  # arches have the thicker cortex
    _paint_bone(canvas, span, distance, shell, bone["cortical"], marrow, share)


def _paint_sacrum(canvas, pose: Pose, bone, generator):
    """S2-S5 and the alae: bone without a label."""
    span = overlap(span_of(canvas, *pose.corners(*sacrum.extent(pose.size))), canvas)
    if span is None:
        return
    x, y, z = pose.local(axes_of(canvas, span))
    distance = sacrum.remainder(pose.size, x.abs() + pose.skew * x, y, z)
    marrow = 0.8 * bone["core"] * (1.0 + bone["texture"] * _texture(canvas, span, generator))
    _paint_bone(canvas, span, distance, 1.2 * bone["shell_mm"], bone["cortical"], marrow)


def _paint_discs(canvas, spine: Spine, poses, bone):
    """An elliptic cushion between each two bodies, a little thicker than the space, since bone is painted over it."""
    for upper in range(1, N_VERTEBRAE - 1):
        above, below = poses[upper], poses[upper + 1]
        tops = [p.size["body_height"] / 2 for p in (above, below)]
        centre = (
            above.centre_mm
            - above.rotation[:, 2] * tops[0] * (1 - spine.wedge[upper] / 2)
            + below.centre_mm
            + below.rotation[:, 2] * tops[1] * (1 - spine.wedge[upper + 1] / 2)
        ) / 2
        size = {k: (above.size[k] + below.size[k]) / 2 for k in ("body_width", "body_depth")}
        if below.level == _S1:
            size = {k: above.size[k] for k in size}
        frame, _ = np.linalg.qr(above.rotation + below.rotation)
        frame = frame * np.sign((frame * above.rotation).sum(0))
        pose = Pose(upper, size, centre, frame, 0.0, 0.0)
        half = above.size["disc_below"] / 2 + 2.0
        reach = np.array([size["body_width"] / 2 + 2.0, size["body_depth"] * 0.58 + 2.0, half + 1.0])
        span = overlap(span_of(canvas, *pose.corners(-reach, reach)), canvas)
        if span is None:
            continue
        x, y, z = pose.local(axes_of(canvas, span))
        rim = ellipse(x, y + 0.06 * size["body_depth"], 0.49 * size["body_width"], 0.55 * size["body_depth"])
        rim = intersection(rim, -0.5 * size["body_depth"] - 0.3 - y, 2.0)
        box = inside(span, _origin(canvas))
        canvas.paint(box, canvas.coverage(torch.maximum(rim, z.abs() - half)), float(bone["disc"][upper]))
        if spine.disc_share[upper] < 0.6 and bone["vacuum"][upper]:
            slit = torch.maximum(rim + 0.22 * size["body_depth"], (z - 0.5).abs() - 0.22 * above.size["disc_below"])
            canvas.paint(box, 0.8 * canvas.coverage(slit), -450.0)


def _paint_metal(canvas, poses, metal: Metal):
    for part in metal.parts(poses):
        span = overlap(span_of(canvas, *part.corners()), canvas)
        if span is not None:
            distance = part.distance(axes_of(canvas, span))
            canvas.paint(inside(span, _origin(canvas)), canvas.coverage(distance), part.hu)
