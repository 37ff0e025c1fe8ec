"""What a body's height says: in front, in the middle, behind; how much is lost, and of which kind."""

from __future__ import annotations

import numpy as np

from spineseg.anatomy.bodies import Body
from spineseg.anatomy.phantom.levels import dimensions

PLACES = {"posterior": 0.15, "middle": 0.5, "anterior": 0.85}  # share of the depth, from the back wall
HALF_WINDOW = 0.05  # of the depth, over which a height is averaged
LEAST_HALF_MM = 0.8  # and at least this far
STRIP_SHARE = 0.1  # half width of the strip about the midplane, of the body's width
NARROW_QUANTILE = 0.2  # of the depths at all heights; the least one is that of a single, rough row
GENANT = (0.2, 0.25, 0.4)  # least loss of grades 1, 2 and 3
KINDS = ("wedge", "biconcave", "crush")


def at_place(values: np.ndarray, across: np.ndarray, along: np.ndarray, body: Body, share: float) -> float:
    """Mean of values of points near a place of the midplane.

    Args:
        values: `(n,)`.
        across: `(n,)` mm from the midplane.
        along: `(n,)` mm in front of the back wall of `body`.
        body: Sets depth and width.
        share: Of the depth, from the back wall.

    Returns:
        The mean over a window; nan where no point lies in it.
    """
    half = max(HALF_WINDOW * body.depth_mm, LEAST_HALF_MM)
    near = np.abs(along - share * body.depth_mm) <= half
    near &= np.abs(across) <= max(STRIP_SHARE * body.width_mm, 2 * LEAST_HALF_MM)
    near &= ~np.isnan(values)
    return float(values[near].mean()) if near.any() else float("nan")


def heights_of(body: Body) -> dict[str, float]:
    """Anterior, middle and posterior height in mm; nan for C2 and S1 and for a body that is not whole."""
    if not (body.is_whole and body.has_top and body.has_bottom):
        return {place: float("nan") for place in PLACES}
    i, j = np.nonzero(~np.isnan(body.top - body.bottom))
    tall, across, along = (body.top - body.bottom)[i, j], body.view.x[i], body.view.y[j] - body.back_mm
    return {place: at_place(tall, across, along, body, share) for place, share in PLACES.items()}


def canal_mm(body: Body) -> float:
    """Depth of the canal in the midplane where it is narrow, between the endplates; nan where it is open behind."""
    seen = body.canal[np.isfinite(body.canal)]
    return float(np.quantile(seen, NARROW_QUANTILE)) if len(seen) else float("nan")


def expected_posterior(heights: dict[int, dict[str, float]]) -> dict[int, float]:
    """Posterior height that the neighbours let expect, in mm.

    Up to two neighbours on either side, each scaled by what the mean adult's levels are to each other, of which the
    median is taken; a level without neighbours has nan.

    Args:
        heights: `{label: heights_of}`.

    Returns:
        `{label: mm}`.
    """
    mean = dimensions()["body_height"]
    found = {}
    for level in heights:
        near = [i for i in range(level - 2, level + 3) if i != level and i in heights]
        sizes = [heights[i]["posterior"] / mean[i - 1] for i in near if np.isfinite(heights[i]["posterior"])]
        found[level] = float(np.median(sizes) * mean[level - 1]) if sizes else float("nan")
    return found


def losses(height: dict[str, float], expected_mm: float) -> dict[str, float]:
    """Share of height lost, by kind: in front (wedge) and in the middle (biconcave) against behind, and behind (crush).

    Args:
        height: From `heights_of`.
        expected_mm: Posterior height that the neighbours let expect.

    Returns:
        By name of `KINDS`; negative where there is more rather than less, nan where it cannot be told.
    """
    behind = height["posterior"]
    pairs = ((height["anterior"], behind), (height["middle"], behind), (behind, expected_mm))
    return {kind: 1.0 - a / b if b > 0 else float("nan") for kind, (a, b) in zip(KINDS, pairs, strict=True)}


def genant(lost: dict[str, float]) -> tuple[float, str]:
    """Semiquantitative grade and the kind with the largest loss.

    Args:
        lost: From `losses`.

    Returns:
        Grade 0 to 3 and the kind (empty for grade 0); `(nan, "")` where no loss is known.

    Source:
        Thresholds 20, 25 and 40 % of Genant's grades. The grade is of the measured ratio, not of a reader's eye: a
        level that is normally lower in front or in the middle starts from a loss above 0.
    """
    known = {kind: value for kind, value in lost.items() if np.isfinite(value)}
    if not known:
        return float("nan"), ""
    kind = max(known, key=known.get)
    grade = int(np.searchsorted(GENANT, known[kind], side="right"))
    return float(grade), kind if grade else ""
