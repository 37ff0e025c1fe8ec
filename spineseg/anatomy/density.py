"""HU of what lies inside bodies and discs: marrow without its shell, endplates, gas.

Contrast medium raises the HU of marrow, tube voltage and kernel change them too: compare a vertebra with its neighbours
in the same scan before comparing patients.
"""

from __future__ import annotations

import numpy as np
import torch

from spineseg.anatomy.bodies import INWARD, Body
from spineseg.anatomy.discs import space_frame

_INNER_ACROSS = 0.3  # of the width to either side of the midplane, ...
_INNER_ALONG = (0.35, 0.85)  # ... of the depth from the back wall, clear of the basivertebral vein, ...
_INNER_UP = (0.3, 0.7)  # ... and of the height
_PLATE_MM = (1.0, 4.0)  # under an endplate, where sclerosis is looked for
_DISC_ACROSS, _DISC_ALONG, _DISC_UP = 0.3, 0.3, 0.3  # half widths of the inner disc against width, depth and height
_LEAST_DISC_MM = 1.0  # height below which nothing but endplates is seen


def sampled(ct_hu: np.ndarray, affine: np.ndarray, points: np.ndarray) -> np.ndarray:
    """HU at world points, linear between voxels; nan outside the scan.

    Args:
        ct_hu: `(I, J, K)`.
        affine: `(4, 4)`, voxel index to RAS+ mm.
        points: `(n, 3)` world mm.

    Returns:
        `(n,)`.
    """
    index = (points - affine[:3, 3]) @ np.linalg.inv(affine[:3, :3]).T
    shape = np.array(ct_hu.shape)
    inside = ((index >= 0) & (index <= shape - 1)).all(1)
    found = np.full(len(points), np.nan)
    if not inside.any():
        return found
    low = np.floor(index[inside].min(0)).astype(int)
    high = np.minimum(np.ceil(index[inside].max(0)).astype(int) + 1, shape)
    box = ct_hu[tuple(slice(a, b) for a, b in zip(low, high, strict=True))].astype(np.float32)
    size = torch.tensor(box.shape, dtype=torch.float32)
    grid = (2.0 * torch.from_numpy((index[inside] - low).astype(np.float32)) + 1.0) / size - 1.0
    values = torch.nn.functional.grid_sample(
        torch.from_numpy(box)[None, None], grid.flip(-1)[None, None, None], align_corners=False, padding_mode="border"
    )
    found[inside] = values.flatten().numpy()
    return found


def inner_points(body: Body) -> np.ndarray:
    """`(n, 3)` world mm of the lattice inside a body, clear of shell, endplates and vein."""
    view = body.view
    low, high = (body.bottom + share * (body.top - body.bottom) for share in _INNER_UP)
    along = (view.y - body.back_mm) / body.depth_mm
    near = (np.abs(view.x) <= _INNER_ACROSS * body.width_mm)[:, None]
    near = near & ((along >= _INNER_ALONG[0]) & (along <= _INNER_ALONG[1]))[None, :] & ~np.isnan(low)
    i, j, k = np.nonzero(near[..., None] & (view.z >= low[..., None]) & (view.z <= high[..., None]))
    return body.world(np.stack([view.x[i], view.y[j], view.z[k]], axis=1))


def plate_points(body: Body, end: str) -> np.ndarray:
    """`(n, 3)` world mm of points under the inner part of an endplate."""
    heights, inward = getattr(body, end), INWARD[end]
    i, j = np.nonzero(body.inner(end))
    deep = np.arange(_PLATE_MM[0], _PLATE_MM[1] + 0.1, body.view.step_mm)
    place = np.stack([body.view.x[i], body.view.y[j], heights[i, j]], axis=1)
    return body.world((place[None] + inward * deep[:, None, None] * np.array([0.0, 0.0, 1.0])).reshape(-1, 3))


def disc_points(upper: Body, lower: Body, height_mm: float, *, step_mm: float) -> np.ndarray:
    """`(n, 3)` world mm of a lattice in the inner part of the space between two bodies."""
    frame, centre = space_frame(upper, lower)
    half = np.array([_DISC_ACROSS * upper.width_mm, _DISC_ALONG * upper.depth_mm, _DISC_UP * height_mm])
    axes = [np.linspace(-h, h, max(3, int(round(2 * h / step_mm)) + 1)) for h in half]
    return np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3) @ frame.T + centre


def body_hu(ct_hu, affine, body: Body, *, blank_share: float) -> dict[str, float]:
    """Median HU of the inner body and under both endplates; nan where a scan shows bone only, or little of them.

    Args:
        ct_hu: `(I, J, K)` on the grid of the labels.
        affine: `(4, 4)` of it.
        body: From `bodies.bodies_of`.
        blank_share: Of exact zeros in the inner body, above which its marrow was removed from the scan.

    Returns:
        `hu_median`, `hu_spread` (standard deviation), `endplate_top_hu`, `endplate_bottom_hu`.
    """
    nothing = dict.fromkeys(("hu_median", "hu_spread", "endplate_top_hu", "endplate_bottom_hu"), float("nan"))
    if not body.has_ends:
        return nothing
    inner = sampled(ct_hu, affine, inner_points(body))
    inner = inner[~np.isnan(inner)]
    if not len(inner) or np.mean(inner == 0) > blank_share:
        return nothing
    found = {"hu_median": float(np.median(inner)), "hu_spread": float(inner.std())}
    for end in ("top", "bottom"):
        plate = sampled(ct_hu, affine, plate_points(body, end))
        found[f"endplate_{end}_hu"] = float(np.nanmedian(plate)) if np.isfinite(plate).any() else float("nan")
    return found


def disc_hu(ct_hu, affine, upper: Body, lower: Body, height_mm: float, *, gas_hu: float, step_mm: float) -> dict:
    """Median HU of the inner disc and the share of it that is gas; nan where no disc is seen.

    Args:
        ct_hu: `(I, J, K)` on the grid of the labels.
        affine: `(4, 4)` of it.
        upper: The body above.
        lower: The body below.
        height_mm: Of the disc in the middle.
        gas_hu: Below which a point counts as gas.
        step_mm: Of the lattice.

    Returns:
        `disc_hu`, `gas_share`.
    """
    if not height_mm >= _LEAST_DISC_MM:
        return {"disc_hu": float("nan"), "gas_share": float("nan")}
    values = sampled(ct_hu, affine, disc_points(upper, lower, height_mm, step_mm=step_mm))
    values = values[~np.isnan(values)]
    if not len(values):
        return {"disc_hu": float("nan"), "gas_share": float("nan")}
    return {"disc_hu": float(np.median(values)), "gas_share": float(np.mean(values < gas_hu))}
