"""Between two bodies: height of the disc, the angle across it, and how far one body lies before the other."""

from __future__ import annotations

import numpy as np

from spineseg.anatomy.bodies import Body
from spineseg.anatomy.heights import HALF_WINDOW, LEAST_HALF_MM, PLACES, near_midplane, surface_mm
from spineseg.anatomy.rims import rim_normal

MEYERDING = (0.25, 0.5, 0.75, 1.0)  # least slip of grades II to V, as a share of the lower endplate's depth
LEAST_SLIP, LEAST_SLIP_MM = 0.08, 2.0  # of the depth, and at least; below neighbours stand on each other


def space_frame(upper: Body, lower: Body) -> tuple[np.ndarray, np.ndarray]:
    """Frame of the space between two bodies.

    Args:
        upper: The body above.
        lower: The body below.

    Returns:
        `(3, 3)`, columns right, anterior and the bisector of both endplates' normals, and the point between the middles
        of the endplates, world mm.
    """
    (a, normal_a), (b, normal_b) = upper.plane("bottom"), lower.plane("top")
    up = normal_a + normal_b
    up /= np.linalg.norm(up)
    forward = upper.frame[:, 1] + lower.frame[:, 1]
    forward -= (forward @ up) * up
    forward /= np.linalg.norm(forward)
    return np.stack([np.cross(forward, up), forward, up], axis=1), (a + b) / 2


def disc_heights(upper: Body, lower: Body) -> dict[str, float]:
    """Anterior, middle and posterior height of a disc in mm, at the places where bodies are measured too.

    Between the facing surfaces along the bisector of the endplates; 0 where they touch or overlap.

    Args:
        upper: The body above.
        lower: The body below.

    Returns:
        By name of `heights.PLACES`; nan where either end is no endplate, is not whole, or where they do not face.
    """
    nothing = {place: float("nan") for place in PLACES}
    if not (upper.has_bottom and lower.has_top and upper.is_whole and lower.is_whole):
        return nothing
    frame, centre = space_frame(upper, lower)
    ends = [(body.surface(end) - centre) @ frame for body, end in ((upper, "bottom"), (lower, "top"))]
    rows = [points[near_midplane(points[:, 0], upper.width_mm)] for points in ends]
    if not all(len(points) for points in rows):
        return nothing
    reach = [_reach(body, end, centre, frame) for body, end in ((upper, "bottom"), (lower, "top"))]
    back, front = max(r[0] for r in reach), min(r[1] for r in reach)
    half = max(HALF_WINDOW * (front - back), LEAST_HALF_MM)
    found = {}
    for place, share in PLACES.items():
        at = back + share * (front - back)
        above, below = (p[np.abs(p[:, 1] - at) <= half, 2] for p in rows)
        gap = above.mean() - below.mean() if len(above) and len(below) else np.nan
        found[place] = float(max(gap, 0.0)) if np.isfinite(gap) else float("nan")
    return found


def _reach(body, end, centre, frame):
    """Where the back and the front of an endplate lie along a space, mm."""
    level = float(np.nanmean(getattr(body, end)[body.core]))
    points = body.world([[0.0, y, level] for y in body.reach_mm(end)])
    return (points - centre) @ frame[:, 1]


def slip_mm(upper: Body, lower: Body) -> float:
    """How far the lower corner of the upper back wall lies in front of the upper corner of the lower one.

    Along the lower body's upper endplate, from rim to rim; negative where it lies behind. Levels differ in depth, so
    that a healthy spine's values are about a millimetre from 0.

    Args:
        upper: The body above.
        lower: The body below.

    Returns:
        mm; nan where either wall is not seen.
    """
    if not (upper.has_bottom and lower.has_top and upper.is_whole and lower.is_whole):
        return float("nan")
    normal = rim_normal(lower, "top")
    forward = lower.frame[:, 1] - (lower.frame[:, 1] @ normal) * normal
    apart = _corner(upper, "bottom") - _corner(lower, "top")
    return float(apart @ (forward / np.linalg.norm(forward)))


def _corner(body: Body, end: str):
    """Where the back wall meets an endplate, world mm: the wall near the end is drawn out straight; nan if not seen."""
    level = surface_mm(body, end, PLACES["posterior"])
    if np.isnan(level):  # of a C2 that is cut short behind
        level = float(np.nanmean(getattr(body, end)[body.core]))
    return body.world([0.0, body.near_end_mm(body.wall, end), level])


def meyerding(slip: float, depth_mm: float) -> float:
    """Grade of a slip forwards: 0 for none, 1 below a quarter of the depth, 2, 3 and 4 per quarter, 5 beyond; nan."""
    if not (np.isfinite(slip) and depth_mm > 0):
        return float("nan")
    share = slip / depth_mm
    return (
        float(1 + np.searchsorted(MEYERDING, share, side="right"))
        if share >= LEAST_SLIP and slip >= LEAST_SLIP_MM
        else 0.0
    )
