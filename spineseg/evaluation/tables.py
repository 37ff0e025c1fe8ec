"""Scores averaged over vertebrae and cases, each with its interval."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from spineseg.config import EvaluationConfig
from spineseg.evaluation.bootstrap import case_weights, interval, weighted_mean, weighted_median
from spineseg.evaluation.conventions import counted, groups, is_cut

DEFAULTS = EvaluationConfig()


def summary(
    scores: pd.DataFrame,
    by: str | Sequence[str] | None = "region",
    convention: str = "present",
    *,
    value: str = "dice",
    without_cut: bool = False,
    config: EvaluationConfig = DEFAULTS,
) -> pd.DataFrame:
    """Average of one score per group, with a bootstrap interval over cases.

    Args:
        scores: Rows of `score_cases`.
        by: `"region"`, `"vertebra"`, any other columns, or `None` for one row over everything.
        convention: `"present"` or `"all"`: what counts where the reference lacks the vertebra.
        value: Column to average. A column that can be infinite (`hd95_mm`) gets the median.
        without_cut: Leave out the vertebrae that the scan cuts (`is_cut` below `config.sliver_share`).
        config: Bootstrap draws, level and seed; the share below which a vertebra is cut.

    Returns:
        One row per group: the columns of `by` (`region` = `"all"` when there is none), `mean` (or `median` and
        `infinite`, how many rows were), `low` and `high` (`nan` with fewer than two cases), `cases` and `rows` that
        counted.

    Raises:
        ValueError: If the convention or a column is unknown.
    """
    keys = [by] if isinstance(by, str) else list(by or ())
    if value not in scores:
        raise ValueError(f"no column {value!r} to average; the scores have {', '.join(scores.columns)}")
    keep = counted(scores, convention) & scores[value].notna()
    if without_cut:
        keep &= ~is_cut(scores, below=config.sliver_share)
    robust = value == "hd95_mm"
    table = []
    for key, rows in groups(scores.assign(_keep=keep), keys):
        rows = rows[rows._keep]
        middle, low, high, cases = _average(rows, value, robust=robust, config=config)
        line = dict(zip(keys, key, strict=True)) or {"region": "all"}
        line |= {"median" if robust else "mean": middle, "low": low, "high": high, "cases": cases, "rows": len(rows)}
        if robust:
            line["infinite"] = int(np.isinf(rows[value]).sum())
        table.append(line)
    return pd.DataFrame(table)


def case_summary(
    cases: pd.DataFrame, value: str, *, above: float, config: EvaluationConfig = DEFAULTS
) -> dict[str, float | int]:
    """Mean and median over cases of a measure that each case has once, with bootstrap intervals.

    Args:
        cases: One row per case, such as of `scores.case_scores` of one method.
        value: Column to sum up; cases without it are left out.
        above: How many cases lie above this is counted.
        config: Bootstrap draws, level and seed.

    Returns:
        `mean`, `low`, `high`, `median`, `median_low`, `median_high` (`nan` of no case, intervals `nan` of fewer than
        two), `above` and `cases`.

    Raises:
        ValueError: If the column is missing or a case has several rows.
    """
    if value not in cases:
        raise ValueError(f"no column {value!r} to sum up; the cases have {', '.join(cases.columns)}")
    if cases.case.duplicated().any():
        raise ValueError(
            f"case {cases.case[cases.case.duplicated()].iloc[0]} has several rows; pass those of one method"
        )
    known = cases[cases[value].notna()]
    result = {}
    for name, ends, robust in (("mean", ("low", "high"), False), ("median", ("median_low", "median_high"), True)):
        middle, low, high, n = _average(known, value, robust=robust, config=config)
        result |= {name: middle, ends[0]: low, ends[1]: high}
    return result | {"above": int((known[value] > above).sum()), "cases": n}


def shift_histogram(scores: pd.DataFrame, by: str | Sequence[str] | None = None) -> pd.DataFrame:
    """By how many vertebrae the names are off.

    Args:
        scores: Rows of `score_cases`.
        by: Columns to group by, such as `"region"`; `None` for one histogram.

    Returns:
        Columns of `by`, `shift` (index of the best matching predicted vertebra minus its own, so -1 is named one level
        too high), `vertebrae` (how many) and `share` of the group's vertebrae in the reference. The shares miss 1 by
        the vertebrae that no prediction overlaps.
    """
    keys = [by] if isinstance(by, str) else list(by or ())
    table = []
    for key, rows in groups(scores[counted(scores, "present")], keys):
        for shift, n in rows["shift"].value_counts().sort_index().items():
            line = {"shift": int(shift), "vertebrae": int(n), "share": n / len(rows)}
            table.append(dict(zip(keys, key, strict=True)) | line)
    return pd.DataFrame(table, columns=[*keys, "shift", "vertebrae", "share"])


def _average(rows: pd.DataFrame, value: str, *, robust: bool, config: EvaluationConfig):
    values = rows[value].to_numpy(float)
    codes, names = pd.factorize(rows.case)
    middle = (np.median if robust else np.mean)(values) if len(values) else np.nan
    if len(names) < 2:  # one case says nothing about the next
        return float(middle), np.nan, np.nan, len(names)
    weights = case_weights(len(names), draws=config.bootstrap_draws, seed=config.seed)
    draws = (weighted_median if robust else weighted_mean)(values, codes, weights)
    low, high = interval(draws, level=config.bootstrap_level)
    return float(middle), float(low), float(high), len(names)
