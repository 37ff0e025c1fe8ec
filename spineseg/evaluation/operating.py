"""How well a probability tells cases from the rest: area under the ROC curve, and what is missed at a specificity."""

from __future__ import annotations

import numpy as np

from spineseg.config import EvaluationConfig
from spineseg.evaluation.bootstrap import case_weights, interval, weighted_mean


def auc(score, truth, weight=None) -> float:
    """Area under the ROC curve: how often a case scores above a non-case, ties counting half.

    Args:
        score: `(n,)`.
        truth: `(n,)` bool.
        weight: `(n,)` how often each row counts; once when None.

    Returns:
        In [0, 1]; nan without cases or without non-cases.
    """
    score, truth = np.asarray(score, float), np.asarray(truth, bool)
    weight = np.ones(len(score)) if weight is None else np.asarray(weight, float)
    _, place = np.unique(score, return_inverse=True)
    cases = np.bincount(place, weights=weight * truth, minlength=1)
    others = np.bincount(place, weights=weight * ~truth, minlength=1)
    if cases.sum() == 0 or others.sum() == 0:
        return float("nan")
    below = np.cumsum(others) - others
    return float((cases * (below + others / 2)).sum() / (cases.sum() * others.sum()))


def auc_interval(score, truth, patients, config: EvaluationConfig) -> tuple[float, float]:
    """Bootstrap interval of the AUC, drawing patients; nan ends with fewer than two patients."""
    _, index = np.unique(np.asarray(patients), return_inverse=True)
    count = index.max() + 1 if len(index) else 0
    if count < 2:
        return float("nan"), float("nan")
    draws = case_weights(count, draws=config.bootstrap_draws, seed=config.seed)
    low, high = interval([auc(score, truth, draw[index]) for draw in draws], level=config.bootstrap_level)
    return float(low), float(high)


def threshold_at(score, truth, specificity: float) -> float:
    """Least score that at most a share `1 - specificity` of the non-cases lie above.

    Args:
        score: `(n,)`.
        truth: `(n,)` bool.
        specificity: In (0, 1).

    Returns:
        A case is called where its score is above; nan without non-cases.
    """
    others = np.sort(np.asarray(score, float)[~np.asarray(truth, bool)])
    if not len(others):
        return float("nan")
    return float(others[int(np.ceil(specificity * len(others))) - 1])


def called(score, threshold: float) -> np.ndarray:
    """`(n,)` bool, whether each score lies above a threshold; none does above nan."""
    return np.asarray(score, float) > threshold


def reliability_at(score, truth, patients, edges, config: EvaluationConfig) -> list[dict]:
    """Share of cases in bins of the stated probability whose edges are given: most places are near 0.

    Args:
        score: `(n,)` probabilities.
        truth: `(n,)` bool.
        patients: `(n,)`, of each row.
        edges: Rising, from 0 to 1.
        config: Bootstrap draws over patients, level and seed.

    Returns:
        Per bin that holds a row: `confidence` (mean), `correct` (share of cases), `low`, `high`, `n`.
    """
    score, truth = np.asarray(score, float), np.asarray(truth, float)
    names, index = np.unique(np.asarray(patients), return_inverse=True)
    which = np.clip(np.searchsorted(edges, score, side="right") - 1, 0, len(edges) - 2)
    draws = case_weights(max(len(names), 1), draws=config.bootstrap_draws, seed=config.seed)
    rows = []
    for b in np.unique(which):
        own = which == b
        low, high = interval(weighted_mean(truth[own], index[own], draws), level=config.bootstrap_level)
        row = {"confidence": score[own].mean(), "correct": truth[own].mean(), "low": low, "high": high}
        rows.append({k: float(v) for k, v in row.items()} | {"n": int(own.sum())})
    return rows
