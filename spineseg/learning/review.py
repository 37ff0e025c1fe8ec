"""What was found in a scan, and where a person should look: one row per vertebra."""

from __future__ import annotations

import numpy as np
import pandas as pd

from spineseg.anatomy.labels import IDS, N_CLASSES, VERTEBRAE
from spineseg.data.affine import spacing_of
from spineseg.learning.assembly import Found

CENTRE_COLUMNS = ("centroid_r_mm", "centroid_a_mm", "centroid_s_mm")
TABLE_COLUMNS = ["vertebra", "volume_ml", *CENTRE_COLUMNS, "confidence", "at_border", "review", "reason"]


def vertebra_table(found: Found, affine: np.ndarray, sure: float) -> pd.DataFrame:
    """What was found, one row per vertebra from the head down.

    Args:
        found: One scan's vertebrae on the CT's own grid.
        affine: `(4, 4)` of that grid.
        sure: Confidence below which a vertebra is to be reviewed.

    Returns:
        `vertebra, volume_ml, centroid_r_mm, centroid_a_mm, centroid_s_mm, confidence, at_border, review, reason`;
        `review` is true where a person should look, and `reason` says why. A name that comes twice has two rows.
    """
    ml = np.prod(spacing_of(affine)) / 1000
    where = np.argwhere(found.pieces)
    owner = found.pieces[tuple(where.T)]
    rows = []
    for number, label in enumerate(found.labels.tolist(), start=1):
        voxels = where[owner == number]
        if not len(voxels):
            continue
        border = bool((voxels.min(0) == 0).any() or (voxels.max(0) == np.array(found.pieces.shape) - 1).any())
        centre = affine[:3, :3] @ voxels.mean(0) + affine[:3, 3]
        confidence = float(found.confidence[number - 1])
        rows.append(
            {
                "vertebra": VERTEBRAE[label - 1],
                "volume_ml": round(len(voxels) * ml, 2),
                **dict(zip(CENTRE_COLUMNS, centre.round(1), strict=True)),
                "confidence": round(confidence, 3),
                "at_border": border,
            }
        )
    rows.sort(key=lambda row: (IDS[row["vertebra"]], -row["centroid_s_mm"]))
    names = [row["vertebra"] for row in rows]
    for i, row in enumerate(rows):
        below = IDS[row["vertebra"]] + 1
        gap = i + 1 < len(rows) and IDS[names[i + 1]] > below
        reasons = [
            text
            for yes, text in (
                (row["at_border"], "cut by the edge of the scan"),
                (gap, f"{VERTEBRAE[min(below, N_CLASSES - 1) - 1]} is missing below it"),
                (names.count(row["vertebra"]) > 1, "the name comes twice"),
                (not row["confidence"] >= sure, "low confidence"),
            )
            if yes
        ]
        row |= {"review": bool(reasons), "reason": "; ".join(reasons)}
    return pd.DataFrame(rows, columns=TABLE_COLUMNS)
