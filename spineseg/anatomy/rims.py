"""Where an endplate is broken in, how far its front edge has grown out, and how its rims lean."""

from __future__ import annotations

import numpy as np

from spineseg.anatomy.bodies import Body, edge
from spineseg.anatomy.heights import at_place
from spineseg.anatomy.vertebra_view import STRIP_MM

_DEEPEST = 99.0  # percentile of the depths; the deepest point alone is noise
_RIM_MM = 4.5  # from an endplate, where its edge grows out
_BEYOND_MM = 2.0  # of the endplate's height, up to which it does
_WAIST = (0.35, 0.65)  # of the height, where the front is at its own place
_RIMS = (0.07, 0.93)  # of the depth, from the back wall, where the rims of an endplate lie


def hollow_mm(body: Body, end: str) -> float:
    """How deep an endplate is below the plane through its inner part; about 1 when healthy.

    Args:
        body: From `bodies.bodies_of`.
        end: `top` or `bottom`.

    Returns:
        mm into the body; nan where the end is no endplate or is not whole.
    """
    if not (body.is_whole and body.has_top and body.has_bottom):
        return float("nan")
    heights = getattr(body, end)
    i, j = np.nonzero(body.core & ~np.isnan(heights))
    centre, normal = body.plane(end)
    points = body.world(np.stack([body.view.x[i], body.view.y[j], heights[i, j]], axis=1))
    inward = (points - centre) @ normal * (-1.0 if end == "top" else 1.0)
    return float(np.percentile(inward, _DEEPEST) - np.percentile(inward, 100 - _DEEPEST))


def lip_mm(body: Body, end: str) -> float:
    """How far the front edge of an endplate stands out before the waist; 1 to 3 when healthy.

    Args:
        body: From `bodies.bodies_of`.
        end: `top` or `bottom`.

    Returns:
        mm forwards; nan where the end is no endplate or is not whole.
    """
    if not (body.is_whole and body.has_top and body.has_bottom):
        return float("nan")
    view = body.view
    section = view.filled[np.abs(view.x) <= STRIP_MM].mean(0).T  # (z, y)
    start = int(np.argmin(np.abs(view.y - (body.front_mm - 0.25 * body.depth_mm))))
    front = edge(section, view.y, start, up=True)
    low, high = (float(np.nanmean(getattr(body, e)[body.core])) for e in ("bottom", "top"))
    waist = front[(view.z > low + _WAIST[0] * (high - low)) & (view.z < low + _WAIST[1] * (high - low))]
    under = high - view.z if end == "top" else view.z - low
    rim = front[(under < _RIM_MM) & (under > -_BEYOND_MM)]
    if np.isnan(waist).all() or np.isnan(rim).all():
        return float("nan")
    return float(np.nanmax(rim) - np.nanmedian(waist))


def rim_angle(body: Body) -> float:
    """Wedge angle between the lines from rim to rim in the midplane, as it is drawn by hand.

    A hollow endplate whose deepest point lies behind its middle leans more in its inner part, which
    `alignment.own_angle` is about, than from rim to rim.

    Args:
        body: From `bodies.bodies_of`.

    Returns:
        Degrees, positive where the body is lower in front; nan for C2, S1 and bodies that are not whole.
    """
    if not (body.is_whole and body.has_top and body.has_bottom):
        return float("nan")
    apart, lean = (_RIMS[1] - _RIMS[0]) * body.depth_mm, []
    for heights in (body.top, body.bottom):
        i, j = np.nonzero(~np.isnan(heights))
        about = heights[i, j], body.view.x[i], body.view.y[j] - body.back_mm, body
        behind, front = (at_place(*about, share) for share in _RIMS)
        lean.append(np.degrees(np.arctan2(behind - front, apart)))
    return float(lean[0] - lean[1])
