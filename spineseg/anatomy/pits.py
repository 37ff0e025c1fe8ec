"""Endplates that are broken in at one place, as by a Schmorl's node: seen in the mask, and in the scan's bright layer.

Both are measured from the surface that a healthy endplate would have: its line from rim to rim, and the hollow that
fits it best. A mask that a network drew tends to fill a small pit; the dense layer under it still dips.
"""

from __future__ import annotations

import numpy as np
import torch

from spineseg.anatomy.bodies import CORE_ACROSS, CORE_ALONG, INWARD, Body
from spineseg.anatomy.density import sampled
from spineseg.anatomy.rims import fitted_surface
from spineseg.anatomy.row import smoothed

_DEEPEST_PIT, _DEEPEST_DIP = 99.0, 98.0  # percentiles of the depths; the deepest point alone is noise
_LATTICE_MM, _STEP_MM = 1.0, 0.5  # along an endplate, and through it
_OUTSIDE_MM, _INSIDE_MM = 1.0, 6.0  # of the surface, where the bright layer is looked for, smoothed by a lattice step


def pit_mm(body: Body, end: str) -> float:
    """How deep the deepest place of an endplate lies below its fitted surface; some tenths when healthy.

    The hollow that is fitted takes up to a quarter of a pit near the middle.

    Args:
        body: From `bodies.bodies_of`.
        end: `top` or `bottom`.

    Returns:
        mm into the body; nan where the end is no endplate or is not whole.
    """
    if not body.has_ends:
        return float("nan")
    below = (getattr(body, end) - fitted_surface(body, end, body.view.x, body.view.y))[body.inner(end)] * INWARD[end]
    return float(np.percentile(below, _DEEPEST_PIT)) if len(below) else float("nan")


def dip_mm(ct_hu: np.ndarray, affine: np.ndarray, body: Body, end: str) -> float:
    """How far the brightest layer of an endplate dips into the body at its deepest place, against its usual depth.

    It is looked for in the outer half of the body and close above it, or another endplate would be taken for it.

    Args:
        ct_hu: `(I, J, K)`.
        affine: `(4, 4)`, voxel index to RAS+ mm.
        body: From `bodies.bodies_of`.
        end: `top` or `bottom`.

    Returns:
        mm into the body; nan where the end is no endplate, is not whole or reaches out of the scan.
    """
    if not body.has_ends:
        return float("nan")
    back, _ = body.reach_mm(end)
    x = np.arange(-CORE_ACROSS * body.width_mm, CORE_ACROSS * body.width_mm, _LATTICE_MM)
    y = np.arange(back + CORE_ALONG[0] * body.depth_mm, back + CORE_ALONG[1] * body.depth_mm, _LATTICE_MM)
    if not (len(x) and len(y)):
        return float("nan")
    z, opposite = (fitted_surface(body, e, x, y) for e in (("top", "bottom") if end == "top" else ("bottom", "top")))
    inside = min(_INSIDE_MM, float(np.abs(z - opposite).min()) / 2)
    deep = np.arange(-_OUTSIDE_MM, inside + _STEP_MM / 2, _STEP_MM)
    z = z[..., None] + deep * INWARD[end]
    points = np.stack(np.broadcast_arrays(x[:, None, None], y[None, :, None], z), axis=-1)
    hu = sampled(ct_hu, affine, body.world(points).reshape(-1, 3)).reshape(z.shape)
    if not np.isfinite(hu).all():
        return float("nan")
    layer = _steady(torch.from_numpy(deep)[smoothed(torch.from_numpy(hu)).argmax(-1)]).numpy()
    return float(np.percentile(layer, _DEEPEST_DIP) - np.median(layer))


def _steady(layer: torch.Tensor) -> torch.Tensor:
    """Each point the median of itself and its eight neighbours, edges drawn on."""
    wide = torch.nn.functional.pad(layer[None], (1, 1, 1, 1), mode="replicate")[0]
    return wide.unfold(0, 3, 1).unfold(1, 3, 1).flatten(-2).median(-1).values
