"""What a body's height says: in front, in the middle, behind; how much is lost, and of which kind."""

from __future__ import annotations

import numpy as np

from spineseg.anatomy.bodies import Body
from spineseg.anatomy.phantom.levels import dimensions

PLACES = {"posterior": 0.15, "middle": 0.5, "anterior": 0.85}  # share of the depth, from the back of each endplate
HALF_WINDOW = 0.08  # of the depth to either side of a place, over which a height is averaged
LEAST_HALF_MM = 1.2  # and at least this far
STRIP_SHARE = 0.2  # half width of the strip about the midplane, of the body's width
NARROW_QUANTILE = 0.2  # of the depths at all heights; the least one is that of a single, rough row
GENANT = (0.2, 0.25, 0.4)  # least loss of grades 1, 2 and 3
KINDS = ("wedge", "biconcave", "crush")


def near_midplane(across: np.ndarray, width_mm: float) -> np.ndarray:
    """Which points, given by their distance from the midplane in mm, lie in the strip that heights are taken in."""
    return np.abs(across) <= max(STRIP_SHARE * width_mm, 2 * LEAST_HALF_MM)


def heights_of(body: Body) -> dict[str, float]:
    """Anterior, middle and posterior height in mm; nan for C2 and S1 and for a body that is not whole."""
    if not body.has_ends:
        return {place: float("nan") for place in PLACES}
    return {
        place: surface_mm(body, "top", share) - surface_mm(body, "bottom", share) for place, share in PLACES.items()
    }


def surface_mm(body: Body, end: str, share: float) -> float:
    """Mean height in mm of an endplate, `top` or `bottom`, near a share of its depth; nan where nothing is seen."""
    half, step = max(HALF_WINDOW * body.depth_mm, LEAST_HALF_MM), body.view.step_mm
    away = np.abs(body.view.y - body.reach_mm(end)[0] - share * body.depth_mm)
    weight = np.clip((half - away) / step + 0.5, 0.0, 1.0)  # of a column that the window's edge cuts, what lies inside
    heights = getattr(body, end)[near_midplane(body.view.x, body.width_mm)]
    weight = np.where(np.isnan(heights), 0.0, weight)
    return float(np.nansum(weight * heights) / weight.sum()) if weight.any() else float("nan")


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
