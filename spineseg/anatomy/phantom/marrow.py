"""Inside a vertebra: cortex of uneven thickness, dense endplates, spongy or fatty marrow, and what alters it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from spineseg.anatomy.labels import IDS, N_VERTEBRAE
from spineseg.anatomy.phantom.canvas import Canvas
from spineseg.anatomy.phantom.degeneration import Wear
from spineseg.anatomy.phantom.ranges import within, within_log
from spineseg.anatomy.phantom.vertebra_raster import Pose, Span, axes_of, inside, overlap, span_of

_C3 = IDS["C3"] - 1
MARGIN_MM = (0.2, 0.7)  # least and most by which labels reach outside the bone; no image shows which it was
_PLATE_MM = 3.5  # under the end of a body, over which side wall turns into endplate


@dataclass(frozen=True)
class Lesion:
    """A round spot in a body: a haemangioma, a bone island, a metastasis.

    Attributes:
        centre: Shares of half the width, depth and height.
        radius_mm: Where it has faded to nothing.
        hu: Added to the marrow.
        texture: How much coarser the remaining trabeculae look, 1 for as elsewhere.
    """

    centre: tuple[float, float, float]
    radius_mm: float
    hu: float
    texture: float


def draw_bone(tissue: dict, rng: np.random.Generator, spread: float = 1.0) -> dict:
    """Draw how dense this patient's vertebrae are and how generously their labels were drawn.

    Args:
        tissue: HU per tissue; `marrow` (ribs and pelvis) sets the level, so that one patient's bones go together.
        rng: Source of every random number.
        spread: Width of the ranges, see `ranges.within`.

    Returns:
        `cortical`, `core` and `posterior` HU; cortex of side walls, endplates and arches, `wall_mm`, `plate_mm`,
        `arch_mm`; `uneven`, relative deviation of the cortex; `dense`, by what share marrow under the shell exceeds
        the core; `texture`, relative deviation of the marrow, and `texture_mm`, its grain; `margin_mm`, label outside
        the bone; `rough_mm`, unevenness of the surface; `vein`, how plain the cleft of the basivertebral vein is; and
        per level `core_share`, `disc` HU, `vacuum` (gas in a worn disc) and `lesions`, `{level: Lesion}`.
    """
    core = 0.7 * tissue["marrow"] + within(rng, -8.0, 75.0, spread)
    core = float(np.clip(core, 35.0, 260.0))
    fatty = within(rng, 0.1, 1.25, spread)
    bone = {
        "cortical": within(rng, 580.0, 1260.0, spread, least=300.0, most=1400.0),
        "core": core,
        "posterior": float(np.clip(core * fatty + within(rng, -60.0, 50.0, spread), -70.0, 320.0)),
        "wall_mm": within(rng, 0.2, 0.7, spread, least=0.12),
        "plate_mm": within(rng, 0.5, 1.1, spread, least=0.2),
        "arch_mm": within(rng, 0.5, 1.55, spread, least=0.25),
        "uneven": within(rng, 0.1, 0.4, spread, least=0.0, most=0.7),
        "dense": within(rng, 0.0, 0.35, spread, least=0.0),
        "texture": within(rng, 0.05, 0.38, spread, least=0.0),
        "texture_mm": within_log(rng, 1.0, 3.4, spread),
        "margin_mm": float(rng.uniform(*MARGIN_MM)),
        "rough_mm": within(rng, 0.05, 0.35, spread, least=0.0, most=0.45),
        "vein": within(rng, -0.4, 1.0, spread, least=0.0, most=1.0),
    }
    bone["core_share"] = 1.0 + np.cumsum(rng.normal(0.0, 0.03, N_VERTEBRAE)) + rng.normal(0.0, 0.04, N_VERTEBRAE)
    bone["disc"] = within(rng, 55.0, 125.0, spread) + rng.normal(0.0, 6.0, N_VERTEBRAE)
    bone["vacuum"] = rng.random(N_VERTEBRAE) < 0.4
    return bone | {"lesions": _draw_lesions(rng)}


def _draw_lesions(rng):
    """Haemangiomas and bone islands in about one body of fifty, metastases at many levels in one patient of thirty."""
    kind = rng.random(N_VERTEBRAE)
    has_metastases, is_lytic = rng.random() < 0.033, rng.random() < 0.4
    seeded = has_metastases & (rng.random(N_VERTEBRAE) < 0.45)
    centre, radius = rng.uniform(-0.6, 0.6, (N_VERTEBRAE, 3)), rng.uniform(5.0, 14.0, N_VERTEBRAE)
    strength, lesions = rng.uniform(0.6, 1.4, N_VERTEBRAE), {}
    for level in range(_C3, N_VERTEBRAE):
        at, r, s = tuple(float(v) for v in centre[level]), float(radius[level]), float(strength[level])
        if seeded[level]:
            lesions[level] = Lesion(at, r, -120.0 * s if is_lytic else 420.0 * s, 1.0)
        elif kind[level] < 0.015:
            lesions[level] = Lesion(at, r, -110.0 * s, 3.0)
        elif kind[level] < 0.025:
            lesions[level] = Lesion(at, 0.5 * r, 600.0 * s, 1.0)
    return lesions


def texture(canvas: Canvas, span: Span, grain_mm: float, generator: torch.Generator) -> torch.Tensor:
    """Noise of unit deviation with a grain of some mm at the voxels of a span, drawn out along the load."""
    shape = tuple(b - a for a, b in span)
    grain = (grain_mm, grain_mm, 1.4 * grain_mm)
    coarse = [min(n, max(2, int(np.ceil(n * s / g)) + 1)) for n, s, g in zip(shape, canvas.spacing, grain, strict=True)]
    noise = torch.randn(coarse, generator=generator, device=canvas.device)
    if tuple(coarse) == shape:
        return noise
    fine = torch.nn.functional.interpolate(noise[None, None], size=shape, mode="trilinear", align_corners=True)
    return fine[0, 0].mul_(1.4)  # interpolation averages the lattice


def enrich(
    canvas: Canvas, pose: Pose, span: Span, bone: dict, wear: Wear, shell: torch.Tensor, marrow: torch.Tensor
) -> None:
    """Give a body its endplates, sclerosis, vein and lesions.

    Args:
        canvas: The lattice.
        pose: Of a vertebra with a body; the atlas has none.
        span: Where `shell` and `marrow` lie.
        bone: From `draw_bone`.
        wear: Sclerosis under worn discs.
        shell: Thickness of the cortex in mm, `(I, J, K)`; changed in place.
        marrow: HU under it, likewise.
    """
    size, level = pose.size, pose.level
    half = np.array([size["body_width"] / 2 + 2.0, size["body_depth"] / 2 + 2.0, size["body_height"] / 2 + 2.0])
    low, high = pose.corners(-half, half)
    body = overlap(span_of(canvas, low, high), canvas)
    if body is None:
        return
    body = tuple((max(a, c), min(b, d)) for (a, b), (c, d) in zip(body, span, strict=True))
    if any(a >= b for a, b in body):
        return
    shell, marrow = (t[inside(body, span)] for t in (shell, marrow))
    x, y, z = pose.local(axes_of(canvas, body))
    half_height, depth = size["body_height"] / 2, size["body_depth"]
    within_body = (y + 0.5 * depth).clamp_(0.0, 1.0)
    under = half_height - z.abs()  # mm from the nearer end of a body without a wedge
    plate = (1.0 - under / _PLATE_MM).clamp_(0.0, 1.0).mul_(within_body)
    shell += plate * (bone["plate_mm"] - bone["wall_mm"])
    for end, up in enumerate((1.0, -1.0)):
        if hu := float(wear.modic[level, end]):
            reach = float(wear.modic_mm[level, end]) * (1.0 + 0.3 * torch.cos(0.25 * x + 1.0) + y / depth)
            band = (1.2 * (1.0 - (half_height - up * z) / reach.clamp(min=1.0))).clamp_(0.0, 1.0)
            marrow += hu * band * within_body
    if bone["vein"] > 0:
        width, thick, length = 0.16 * size["body_width"], 0.09 * size["body_height"] + 0.6, 0.45 * depth
        cleft = (1.0 - z.abs() / thick).clamp_(min=0.0) * (1.2 - x.abs() / width).clamp_(0.0, 1.0)
        cleft *= (1.0 - (y + depth / 2) / length).clamp_(0.0, 1.0)
        cleft = (cleft * 2.0 * bone["vein"]).clamp_(0.0, 1.0)
        marrow += cleft * (50.0 - marrow)
        shell *= 1.0 - 0.8 * cleft
    if lesion := bone["lesions"].get(level):
        at = [c * h for c, h in zip(lesion.centre, half, strict=True)]
        away = ((x - at[0]) ** 2 + (y - at[1]) ** 2 + (z - at[2]) ** 2).sqrt_()
        spot = (2.0 * (1.0 - away / lesion.radius_mm)).clamp_(0.0, 1.0)
        if lesion.texture != 1.0:
            marrow += spot * (lesion.texture - 1.0) * (marrow - marrow.mean())
        marrow += spot * lesion.hu
    marrow.clamp_(max=1300.0)  # denser than any cortex it would be an implant
