"""Which rows of a score table count, and where they are grouped."""

from __future__ import annotations

import pandas as pd

from spineseg.anatomy.labels import REGIONS, VERTEBRAE

ORDER = {"region": list(REGIONS), "vertebra": list(VERTEBRAE)}


def counted(scores: pd.DataFrame, convention: str) -> pd.Series:
    """Which rows a convention for absent vertebrae counts.

    Args:
        scores: Rows of `score_cases`.
        convention: `"present"`: the reference holds the vertebra. `"all"`: the reference or the prediction does.

    Returns:
        Boolean, one per row.

    Raises:
        ValueError: If the convention is unknown.
    """
    if convention not in ("present", "all"):
        raise ValueError(f"convention must be 'present' or 'all', got {convention!r}")
    present = scores.reference_voxels > 0
    return present if convention == "present" else present | (scores.prediction_voxels > 0)


def is_cut(scores: pd.DataFrame, *, below: float) -> pd.Series:
    """Which rows are of a vertebra that the scan cuts.

    Args:
        scores: Rows of `score_cases`.
        below: A vertebra of which a smaller share is visible counts as cut.

    Returns:
        Boolean; where the share is not known, a reference that touches the scan's edge counts as cut. Never true where
        the reference is absent.
    """
    unknown = scores.visible_share.isna() & scores.at_border.astype(bool)
    return (scores.reference_voxels > 0) & ((scores.visible_share < below) | unknown)


def groups(scores: pd.DataFrame, by: list[str]) -> list[tuple[tuple, pd.DataFrame]]:
    """The rows of each group, vertebrae and regions from the head down, other columns as they come.

    Args:
        scores: Rows of `score_cases`.
        by: Columns; none for one group of everything.

    Returns:
        Pairs of the group's values and its rows.

    Raises:
        ValueError: If a column is missing.
    """
    missing = [b for b in by if b not in scores]
    if missing:
        raise ValueError(f"cannot group by {missing}; the scores have the columns {', '.join(scores.columns)}")
    if not by:
        return [((), scores)]
    ranks = {b: {v: i for i, v in enumerate(ORDER.get(b, scores[b].unique()))} for b in by}
    found = dict(list(scores.groupby(by, sort=False)))
    return sorted(found.items(), key=lambda item: [ranks[b][v] for b, v in zip(by, item[0], strict=True)])
