"""How hollow an endplate is, how far its front edge has grown out, and how its rims lean."""

from __future__ import annotations

import numpy as np

from spineseg.anatomy.bodies import INWARD, LEAST_POINTS, Body
from spineseg.anatomy.phantom.endplates import bowl, mean_endplates

_DEEPEST = 99.0  # percentile of the depths; the deepest point alone is noise
_RIM_MM = 4.5  # from an endplate, where its edge grows out
_BEYOND_MM = 2.0  # of the endplate's height, up to which it does
_WAIST = (0.35, 0.65)  # of the height, where the front is at its own place
_PLACES = (0.31, 0.34, 0.37, 0.4, 0.43, 0.46, 0.49)  # where the deepest place of a hollow is looked for
_USUAL_PLACE = mean_endplates()["hollow_place"]
_ACROSS = 0.25  # of the width to either side of the midplane, ...
_INSET, _INSET_MM = 0.08, 1.5  # ... and of the depth from back and front, but so far at least: what lines are fitted to


def hollow_mm(body: Body, end: str) -> float:
    """How deep an endplate is below the plane through its inner part; about 1 when healthy.

    Args:
        body: From `bodies.bodies_of`.
        end: `top` or `bottom`.

    Returns:
        mm into the body; nan where the end is no endplate or is not whole.
    """
    if not body.has_ends:
        return float("nan")
    heights = getattr(body, end)
    i, j = np.nonzero(body.inner(end))
    centre, normal = body.plane(end)
    points = body.world(np.stack([body.view.x[i], body.view.y[j], heights[i, j]], axis=1))
    inward = (points - centre) @ normal * INWARD[end]
    return float(np.percentile(inward, _DEEPEST) - np.percentile(inward, 100 - _DEEPEST))


def lip_mm(body: Body, end: str) -> float:
    """How far the front edge of an endplate stands out before the waist; 1 to 3 when healthy.

    Args:
        body: From `bodies.bodies_of`.
        end: `top` or `bottom`.

    Returns:
        mm forwards; nan where the end is no endplate or is not whole.
    """
    if not body.has_ends:
        return float("nan")
    view, front = body.view, body.face
    low, high = (float(np.nanmean(getattr(body, e)[body.core])) for e in ("bottom", "top"))
    waist = front[(view.z > low + _WAIST[0] * (high - low)) & (view.z < low + _WAIST[1] * (high - low))]
    under = high - view.z if end == "top" else view.z - low
    rim = front[(under < _RIM_MM) & (under > -_BEYOND_MM)]
    if np.isnan(waist).all() or np.isnan(rim).all():
        return float("nan")
    return float(np.nanmax(rim) - np.nanmedian(waist))


def rim_normal(body: Body, end: str) -> np.ndarray:
    """Normal of an endplate as it is drawn by hand, upright on the line from rim to rim in the midplane.

    The line is what is left of the surface when the hollow that fits it best is taken out: single points of the rims
    are too rough. A hollow whose deepest place lies behind the middle, as patients have it, leans a plane through the
    inner part by some degrees and leaves this line alone. The place is the usual one of the level, since to look for
    it as well makes the line unsteady. Of C2 and S1, whose other end is no endplate, it is that plane's.

    Args:
        body: From `bodies.bodies_of`.
        end: `top` or `bottom`.

    Returns:
        `(3,)` unit vector towards the head, in the world; nan where too little of the endplate is seen.
    """
    if not (body.has_top and body.has_bottom):
        return body.plane(end)[1]
    normal = np.array([0.0, -_rim_fit(body, end)[1] / body.depth_mm, 1.0])
    return body.frame @ (normal / np.linalg.norm(normal))


def rim_line(body: Body, end: str) -> np.ndarray:
    """`(2, 3)` world mm, where the line of `rim_normal` meets back and front of its end; of C2 and S1 the plane's."""
    if body.has_top and body.has_bottom:
        level, rise, *_ = _rim_fit(body, end)
        back, front = body.reach_mm(end)
        return body.world([[0.0, back, level], [0.0, front, level + rise]])
    centre, normal = body.plane(end)
    forward = body.frame[:, 1] - (body.frame[:, 1] @ normal) * normal
    return centre + np.outer([-0.5, 0.5], forward / np.linalg.norm(forward)) * body.depth_mm


def fitted_surface(body: Body, end: str, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Height of the line of `rim_normal` less the hollow that fits best, where a healthy endplate would lie.

    Args:
        body: From `bodies.bodies_of`, with both endplates.
        end: `top` or `bottom`.
        x: `(n,)` mm to the right in the body's frame.
        y: `(m,)` mm forwards.

    Returns:
        `(n, m)` mm upwards; nan where too little of the endplate is seen.
    """
    level, rise, deep, place = _rim_fit(body, end)
    along, across = (y - body.reach_mm(end)[0])[None, :] / body.depth_mm, 2 * x[:, None] / body.width_mm
    return level + rise * along - deep * bowl(along, across**2, place)


def deepest(body: Body, end: str) -> tuple[float, float]:
    """How deep an endplate lies below the line from rim to rim, and where.

    Args:
        body: From `bodies.bodies_of`.
        end: `top` or `bottom`.

    Returns:
        mm, negative where it is arched, and the deepest place as a share of the depth from its back; nan where
        the end is no endplate or is not whole.
    """
    if not body.has_ends:
        return float("nan"), float("nan")
    _, _, deep, place = _fitted(body, end, _PLACES)
    return -deep * INWARD[end], place


def _rim_fit(body, end):
    """`_fitted` with the hollow at the place that is usual for the level."""
    return _fitted(body, end, [_USUAL_PLACE[body.level - 1]])


def _fitted(body, end, places):
    """Height at the back, rise to the front, and depth and place of the hollow; mm, the depth downwards."""
    heights, (back, _) = getattr(body, end), body.reach_mm(end)
    along, across = (body.view.y - back) / body.depth_mm, 2 * body.view.x / body.width_mm
    inset = max(_INSET, _INSET_MM / body.depth_mm)
    seen = ~np.isnan(heights) & (np.abs(across) <= 2 * _ACROSS)[:, None]
    i, j = np.nonzero(seen & ((along >= inset) & (along <= 1 - inset))[None, :])
    if len(i) < LEAST_POINTS:
        return (float("nan"),) * 4
    z, best = heights[i, j], None
    for place in places:
        hollow = bowl(along[j], across[i] ** 2, place)
        terms = np.stack([np.ones(len(z)), along[j], -hollow], axis=1)
        found = np.linalg.lstsq(terms, z, rcond=None)[0]
        left = float(((terms @ found - z) ** 2).sum())
        if best is None or left < best[0]:
            best = left, found, place
    return (*best[1].tolist(), best[2])
