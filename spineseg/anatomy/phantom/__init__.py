"""A synthetic patient in a synthetic scanner: CT and vertebra labels with perfect truth, from one seed."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from spineseg.anatomy.labels import IDS, VERTEBRAE
from spineseg.anatomy.phantom.body import paint_body
from spineseg.anatomy.phantom.canvas import Canvas
from spineseg.anatomy.phantom.frame import turn, turned_rows
from spineseg.anatomy.phantom.planting import Pathology
from spineseg.anatomy.phantom.scanner import draw_view, scan
from spineseg.anatomy.phantom.spine import draw_spine
from spineseg.anatomy.phantom.streaks import add_streaks
from spineseg.anatomy.phantom.tissue import draw_tissue
from spineseg.anatomy.phantom.vertebrae import paint_vertebrae

_DENSER_THAN_BONE_HU = 1500.0  # screws, cement


@dataclass(frozen=True)
class Phantom:
    """One scan.

    Attributes:
        ct_hu: int16 `(I, J, K)` in [-1024, 3071].
        labels: uint8 of the same shape, 0 to 25.
        affine: `(4, 4)` float64, voxel index to RAS+ mm.
        truth: What was drawn, JSON-able; `truth["vertebrae"]` has one entry per vertebra in the field of view,
            `truth["implants"]` the vertebrae in view with screws or cement, `truth["fractures"]` all wedged ones,
            `truth["blocks"]` those fused with the one below; `truth["variant"]` is empty, or T11 (it is the last
            thoracic one), T13 (labelled T12, which occurs twice) or L6 (labelled L5).
    """

    ct_hu: np.ndarray
    labels: np.ndarray
    affine: np.ndarray
    truth: dict[str, Any]


def generate(
    seed: int,
    *,
    spacing_mm: float = 3.0,
    device: str | torch.device = "cpu",
    anisotropic: bool = True,
    needs: Iterable[str] | None = None,
    bone_only: bool | None = None,
    spread: float = 1.0,
    pathology: Pathology | None = None,
    tight: bool | None = None,
    margin_mm: float | None = None,
) -> Phantom:
    """Make one phantom; the same seed on the same device gives the same bytes.

    Args:
        seed: Decides everything.
        spacing_mm: Cube root of the voxel volume.
        device: Where the voxels are painted.
        anisotropic: Whether some scans have slices thicker than their pixels.
        needs: Vertebrae of which at least a part must be in view; None leaves it to chance, as in the population.
        bone_only: Whether all but bone is set to 0 HU, as some released scans are; None leaves it to chance.
        spread: How wide the ranges are that HU, texture, thickness of cortex, sharpness and noise are drawn from,
            against the usual ones, about the same middles; at 0 all patients look alike. Anatomy does not follow it.
        pathology: What to plant in an otherwise healthy spine, whose rows are then `truth["planted"]`; None for the
            wear that chance draws.
        tight: Whether the scan is a crop around the spine; None leaves it to chance, as in the population.
        margin_mm: How far outside the bone the labels reach, which the image does not show; None leaves it to chance,
            as annotators differ.

    Returns:
        The phantom, in one of the 48 orientations.

    Raises:
        ValueError: If the spacing is not between 0.2 and 30 mm, `needs` holds something other than vertebrae, the
            spread is not between 0 and 3, or the margin not between 0 and 2 mm.
    """
    if not 0.2 <= spacing_mm <= 30:
        raise ValueError(f"spacing_mm must be between 0.2 and 30, got {spacing_mm}")
    if not 0 <= spread <= 3:
        raise ValueError(f"spread must be between 0 (all alike) and 3, got {spread}; 1 is usual")
    if margin_mm is not None and not 0 <= margin_mm <= 2:
        raise ValueError(f"margin_mm must be between 0 and 2, got {margin_mm}")
    streams = [np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(5)]
    for_patient, for_view, for_body, for_spine, for_scan = streams  # apart, so that a seed is one patient in any view
    generator = torch.Generator(device=device).manual_seed(int(for_scan.integers(2**62)))
    spine, tissue = draw_spine(for_patient, pathology, seed), draw_tissue(for_patient, spread)
    view = draw_view(spine, for_view, spacing_mm=spacing_mm, anisotropic=anisotropic, needs=needs, tight=tight)
    if bone_only is not None:
        view = dataclasses.replace(view, bone_only=bone_only)
    canvas = Canvas(view.low_mm, view.shape, view.spacing, device=device)
    build = paint_body(canvas, spine, for_body, generator, tissue)
    vertebrae = paint_vertebrae(canvas, spine, tissue, for_spine, generator, spread, margin_mm)
    implants = torch.unique(canvas.labels[canvas.ct_hu > _DENSER_THAN_BONE_HU]).tolist()
    streak_hu = add_streaks(canvas, for_scan)
    if view.frame.is_turned:
        turn(canvas, view.frame)
        vertebrae = turned_rows(vertebrae, canvas, view.frame, IDS)
    for row in vertebrae:
        row["centroid_mm"] = [float(v + o) for v, o in zip(row["centroid_mm"], view.offset_mm, strict=True)]
    ct_hu, labels, affine, drawn = scan(canvas, view, for_scan, generator, spread)
    truth = {
        "seed": int(seed),
        "kind": view.kind,
        "first": view.first,
        "last": view.last,
        "orientation": view.orientation,
        "spacing": [float(v) for v in np.linalg.norm(affine[:3, :3], axis=0)],
        "bone_only": view.bone_only,
        "contrast": tissue["phase"],
        "scale": float(spine.scale),
        "angles_degrees": dict(spine.angles_degrees),
        "variant": spine.variant,
        "turn_degrees": list(view.frame.turn_degrees),
        "spread": float(spread),
        "streak_hu": streak_hu,
        "blocks": [VERTEBRAE[i] for i in np.flatnonzero(spine.wear.fused)],
        "fractures": [VERTEBRAE[i] for i in np.flatnonzero(spine.wedge)],
        "planted": [dict(row) for row in spine.planted.rows] if spine.planted else [],
        "implants": [VERTEBRAE[i - 1] for i in implants if i > 0],
        "tissue": tissue,
        **build,
        **drawn,
        "vertebrae": vertebrae,
    }
    return Phantom(ct_hu, labels, affine, truth)
