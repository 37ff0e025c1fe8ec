"""Does the confidence of a vertebra mean what it says, and do the review flags point at the errors?

A predicted vertebra is right if it is identified (`metrics.identification`): its centre is where the reference has the
vertebra of that name. One that the reference does not hold is wrong. Of several under one name at most the largest is
right. A vertebra that was missed has no confidence and no flag; it is in no count.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from spineseg.config import EvaluationConfig
from spineseg.evaluation.bootstrap import case_weights, interval

BINS = 8  # equally full; with a few hundred vertebrae each holds enough for an interval
DEFAULTS = EvaluationConfig()
RELIABILITY_COLUMNS = ["method", "bin", "confidence", "correct", "low", "high", "n"]
FOUND_COLUMNS = ("case", "vertebra", "confidence", "review")


def outcomes(found: pd.DataFrame, scores: pd.DataFrame) -> pd.DataFrame:
    """Whether each predicted vertebra is right.

    Args:
        found: One row per predicted vertebra: `case`, `vertebra`, `confidence`, `review`, and `method` where there are
            several. A name may come twice in a case; `volume_ml` then tells which is the larger, else the first one is.
        scores: Rows of `score_cases` of the same predictions, with `method` where `found` has it.

    Returns:
        `found` with `correct` (bool); vertebrae whose case was not scored are left out.

    Raises:
        ValueError: If a column is missing.
    """
    if missing := [c for c in FOUND_COLUMNS if c not in found]:
        raise ValueError(f"found must have the columns {', '.join(FOUND_COLUMNS)}; {', '.join(missing)} missing")
    keys = [k for k in ("method", "case", "vertebra") if k in found]
    if missing := [k for k in keys if k not in scores]:
        raise ValueError(f"scores must have the columns {', '.join(keys)}; {', '.join(missing)} missing")
    known = scores[[*keys, "identified"]].assign(case=scores["case"].astype(str))
    table = found.assign(case=found["case"].astype(str)).merge(known, on=keys, validate="many_to_one")
    size = table["volume_ml"] if "volume_ml" in table else pd.Series(0.0, table.index)
    again = table.assign(_size=size).sort_values("_size", ascending=False, kind="stable").duplicated(keys)
    correct = table.pop("identified").eq(1) & ~again.sort_index()
    return table.assign(correct=correct, confidence=table["confidence"].astype(float))


def reliability(table: pd.DataFrame, *, bins: int = BINS, config: EvaluationConfig = DEFAULTS) -> pd.DataFrame:
    """Share of right vertebrae against the confidence that was stated, in bins that are equally full.

    Args:
        table: From `outcomes`; rows without confidence are left out.
        bins: At most; equal confidences are never parted, so there can be fewer.
        config: Bootstrap draws, level and seed.

    Returns:
        One row per bin (and method), the least confident first: `method` (`""` where there is none), `bin`,
        `confidence` (mean), `correct` (share), `low`, `high` (of that share, bootstrap over cases; `nan` with fewer
        than two), `n`. No rows without any confidence.
    """
    rows = []
    for method, part in _methods(table):
        sums, draws = _case_sums(part, bins), None
        total = sums.sum(0)  # (bins, 4)
        if len(sums) > 1:
            draws = _shares(np.tensordot(_weights(len(sums), config), sums, 1))
        low, high = _interval(draws, len(total), config)
        for i, (n, confidence, correct, _) in enumerate(total):
            line = {"method": method, "bin": i, "confidence": confidence / n, "correct": correct / n}
            rows.append(line | {"low": low[i], "high": high[i], "n": int(n)})
    return pd.DataFrame(rows, columns=RELIABILITY_COLUMNS)


def calibration(table: pd.DataFrame, *, bins: int = BINS, config: EvaluationConfig = DEFAULTS) -> pd.DataFrame:
    """How far the confidence is from the share of right vertebrae, in numbers with intervals.

    The expected calibration error is the mean over the bins of `reliability`, weighted by their size, of the distance
    between mean confidence and share of right vertebrae. The Brier score is the mean of `(confidence - correct)^2`; who
    states the overall share of right vertebrae for each reaches `brier_of_share`, and a score above that tells less
    than that one number does.

    Args:
        table: From `outcomes`; rows without confidence are left out.
        bins: As for `reliability`.
        config: Bootstrap draws, level and seed.

    Returns:
        One row per method with any confidence: `method`, `n`, `cases`, `confidence` (mean), `correct` (share), `ece`,
        `ece_low`, `ece_high`, `brier`, `brier_low`, `brier_high`, `brier_of_share`.

    Source:
        Guo et al., On calibration of modern neural networks (2017), expected calibration error; Brier (1950).
    """
    rows = []
    for method, part in _methods(table):
        sums = _case_sums(part, bins)
        measured, draws = _errors(sums.sum(0)[None])[0], None  # (2,)
        if len(sums) > 1:
            draws = _errors(np.tensordot(_weights(len(sums), config), sums, 1))
        low, high = _interval(draws, 2, config)
        share = float(part["correct"].mean())
        line = {"method": method, "n": len(part), "cases": len(sums), "confidence": float(part["confidence"].mean())}
        line |= {"correct": share, "brier_of_share": share * (1 - share)}
        for i, name in enumerate(("ece", "brier")):
            line |= {name: float(measured[i]), f"{name}_low": float(low[i]), f"{name}_high": float(high[i])}
        rows.append(line)
    names = [f"{name}{end}" for name in ("ece", "brier") for end in ("", "_low", "_high")]
    return pd.DataFrame(rows, columns=["method", "n", "cases", "confidence", "correct", *names, "brier_of_share"])


def flags(table: pd.DataFrame, *, config: EvaluationConfig = DEFAULTS) -> pd.DataFrame:
    """How many errors the review flags catch, and how many right vertebrae they raise.

    Args:
        table: From `outcomes`, rows without confidence included.
        config: Bootstrap draws, level and seed.

    Returns:
        One row per method with any vertebra: `method`, `errors`, `caught` (flagged errors), `right`, `raised` (flagged
        right ones), `caught_share` of the errors and `raised_share` of the right ones, each with `_low` and `_high`
        (bootstrap over cases; `nan` with fewer than two, or where there is nothing to share).
    """
    rows = []
    for method, part in _methods(table, confident=False):
        correct, flagged = part["correct"].to_numpy(bool), part["review"].astype(bool).to_numpy()
        counts = np.stack([~correct, ~correct & flagged, correct, correct & flagged], 1).astype(float)
        sums, draws = _by_case(part, counts), None
        if len(sums) > 1:
            draws = _flag_shares(_weights(len(sums), config) @ sums)
        low, high = _interval(draws, 2, config)
        measured = _flag_shares(sums.sum(0)[None])[0]
        line = {"method": method} | dict(
            zip(("errors", "caught", "right", "raised"), map(int, sums.sum(0)), strict=True)
        )
        for i, name in enumerate(("caught_share", "raised_share")):
            line |= {name: float(measured[i]), f"{name}_low": float(low[i]), f"{name}_high": float(high[i])}
        rows.append(line)
    names = [f"{name}{end}" for name in ("caught_share", "raised_share") for end in ("", "_low", "_high")]
    return pd.DataFrame(rows, columns=["method", "errors", "caught", "right", "raised", *names])


def bin_of(confidence, bins: int) -> np.ndarray:
    """Which of at most `bins` equally full bins each value is in, from 0; equal values share one, none is empty."""
    confidence = np.asarray(confidence, float)
    # edges are values of the data, so that every bin holds at least the value of its lower edge
    edges = np.unique(np.sort(confidence)[np.arange(bins) * len(confidence) // bins])
    return np.searchsorted(edges[1:], confidence, side="right")


def _methods(table: pd.DataFrame, *, confident: bool = True) -> list[tuple[str, pd.DataFrame]]:
    rows = table[table["confidence"].notna()] if confident else table
    if "method" not in rows:
        return [("", rows)] if len(rows) else []
    return list(rows.groupby("method", sort=False))


def _case_sums(rows: pd.DataFrame, bins: int) -> np.ndarray:
    """`(cases, bins, 4)`: vertebrae, and sums of confidence, of right ones and of squared differences."""
    confidence, correct = rows["confidence"].to_numpy(float), rows["correct"].to_numpy(float)
    which = bin_of(confidence, bins)
    values = np.stack([np.ones(len(rows)), confidence, correct, (confidence - correct) ** 2], 1)
    one_hot = (which[:, None] == np.arange(which.max() + 1))[..., None] * values[:, None]  # (rows, bins, 4)
    return _by_case(rows, one_hot)


def _by_case(rows: pd.DataFrame, values: np.ndarray) -> np.ndarray:
    codes, names = pd.factorize(rows["case"])
    sums = np.zeros((len(names), *values.shape[1:]))
    np.add.at(sums, codes, values)
    return sums


def _weights(n_cases: int, config: EvaluationConfig) -> np.ndarray:
    return case_weights(n_cases, draws=config.bootstrap_draws, seed=config.seed)


def _shares(sums: np.ndarray) -> np.ndarray:
    """Share of right vertebrae per bin, `(draws, bins)`; `nan` for an empty bin."""
    return _divided(sums[..., 2], sums[..., 0])


def _errors(sums: np.ndarray) -> np.ndarray:
    """Expected calibration error and Brier score, `(draws, 2)`."""
    n = sums[..., 0].sum(-1)
    return np.stack([_divided(np.abs(sums[..., 1] - sums[..., 2]).sum(-1), n), _divided(sums[..., 3].sum(-1), n)], -1)


def _flag_shares(sums: np.ndarray) -> np.ndarray:
    """`(draws, 2)`: caught of the errors, raised of the right ones."""
    return _divided(sums[..., [1, 3]], sums[..., [0, 2]])


def _divided(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.full(np.shape(part), np.nan), where=whole > 0)


def _interval(draws: np.ndarray | None, n: int, config: EvaluationConfig) -> tuple[np.ndarray, np.ndarray]:
    if draws is None:  # one case says nothing about the next
        return np.full(n, np.nan), np.full(n, np.nan)
    return interval(draws, level=config.bootstrap_level)
