"""Intervals from drawing cases again. A case is drawn whole: its vertebrae are not independent of each other."""

from __future__ import annotations

import numpy as np


def case_weights(n_cases: int, *, draws: int, seed: int) -> np.ndarray:
    """How often each case is in each bootstrap draw.

    Args:
        n_cases: Cases to draw from; each draw takes as many, with replacement.
        draws: Number of draws.
        seed: Of the random generator.

    Returns:
        `(draws, n_cases)` int64, rows sum to `n_cases`.
    """
    rng = np.random.default_rng(seed)
    return rng.multinomial(n_cases, np.full(n_cases, 1 / n_cases), size=draws)


def interval(samples, *, level: float) -> tuple[np.ndarray, np.ndarray]:
    """Percentile interval over bootstrap draws.

    Args:
        samples: `(draws, ...)` the statistic in each draw; `nan` draws are left out.
        level: Share of the draws that the interval holds, such as 0.95.

    Returns:
        Low and high end, each of shape `(...)`; `nan` where every draw is `nan`.
    """
    samples = np.asarray(samples, float)
    tail = 50.0 * (1 - level)
    missing = np.isnan(samples).all(0)
    filled = np.where(missing, 0.0, samples)
    # "nearest" keeps infinite draws (a missed vertebra's HD95) from turning into inf - inf
    low, high = np.nanpercentile(filled, [tail, 100 - tail], axis=0, method="nearest")
    return np.where(missing, np.nan, low), np.where(missing, np.nan, high)


def weighted_mean(values, cases, weights) -> np.ndarray:
    """Mean over rows in each draw; a row weighs as often as its case was drawn.

    Args:
        values: `(rows,)`.
        cases: `(rows,)` index of each row's case.
        weights: `(draws, cases)` of `case_weights`.

    Returns:
        `(draws,)`; `nan` for a draw that holds no row.
    """
    n = weights.shape[1]
    total = weights @ np.bincount(cases, weights=values, minlength=n)
    count = weights @ np.bincount(cases, minlength=n)
    return np.divide(total, count, out=np.full(len(weights), np.nan), where=count > 0)


def weighted_median(values, cases, weights) -> np.ndarray:
    """Median over rows in each draw, infinite values allowed; arguments and result as `weighted_mean`."""
    order = np.argsort(values, kind="stable")
    ranked = np.asarray(values, float)[order]
    upto = weights[:, np.asarray(cases)[order]].cumsum(1)  # (draws, rows)
    count = upto[:, -1]
    low = (upto < ((count + 1) // 2)[:, None]).sum(1).clip(max=len(ranked) - 1)
    high = (upto < (count // 2 + 1)[:, None]).sum(1).clip(max=len(ranked) - 1)
    a, b = ranked[low], ranked[high]
    middle = np.where(a == b, a, (a + b) / 2)
    return np.where(count > 0, middle, np.nan)
