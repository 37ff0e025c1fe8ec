"""What a vertebra's Dice goes along with: how large it is, how much of it is visible, how often training saw it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd

from spineseg.anatomy.labels import REGIONS, VERTEBRAE
from spineseg.config import EvaluationConfig
from spineseg.evaluation.bootstrap import case_weights, interval
from spineseg.evaluation.conventions import counted

FACTORS = ("reference_ml", "visible_share", "training_share")
DEFAULTS = EvaluationConfig()


def training_share(presence: pd.DataFrame, training_cases: Iterable[str]) -> dict[str, float]:
    """Share of the training cases that hold each vertebra.

    Args:
        presence: Columns `case`, `vertebra`; with a column `voxels` only rows above 0 count, as of
            `data.presence.presence`, otherwise every row does, as of a phantom cohort's truth.
        training_cases: Names of the training cases, with or without vertebrae.

    Returns:
        Share by name, for all 25.

    Raises:
        ValueError: If there is no training case.
    """
    training_cases = set(training_cases)
    if not training_cases:
        raise ValueError("no training case to count in; pass the cases of the training split")
    held = presence[presence.voxels > 0] if "voxels" in presence else presence
    held = held[held.case.isin(training_cases)].drop_duplicates(["case", "vertebra"])
    count = held.vertebra.value_counts()
    return {name: float(count.get(name, 0) / len(training_cases)) for name in VERTEBRAE}


def factors(
    scores: pd.DataFrame, truth: pd.DataFrame | None = None, training: Mapping[str, float] | None = None
) -> pd.DataFrame:
    """The vertebrae of the reference with their Dice and the factors, for plotting.

    Args:
        scores: Rows of `score_cases`.
        truth: Columns `case`, `vertebra`, `visible_share`, where the share is known and not yet in the scores.
        training: Share of the training cases by vertebra, from `training_share`.

    Returns:
        Columns `case`, `vertebra`, `region`, `dice`, `reference_ml`, `visible_share`, `training_share`; `nan` where a
        factor is not known.
    """
    columns = ["case", "vertebra", "region", "dice", "reference_ml", "visible_share"]
    rows = scores.loc[counted(scores, "present"), columns].reset_index(drop=True)
    if truth is not None:
        keys = pd.MultiIndex.from_frame(rows[["case", "vertebra"]])
        known = truth.set_index(["case", "vertebra"]).visible_share.reindex(keys).to_numpy(float)
        rows["visible_share"] = rows.visible_share.fillna(pd.Series(known))
    rows["training_share"] = rows.vertebra.map(training or {}).astype(float)
    return rows


def correlates(
    scores: pd.DataFrame,
    truth: pd.DataFrame | None = None,
    training: Mapping[str, float] | None = None,
    *,
    config: EvaluationConfig = DEFAULTS,
) -> pd.DataFrame:
    """Rank correlation of the Dice with each factor, per region and over all.

    Args:
        scores: Rows of `score_cases`.
        truth: As for `factors`.
        training: As for `factors`.
        config: Bootstrap draws, level and seed.

    Returns:
        Columns `region`, `factor`, `spearman`, `low`, `high` (bootstrap over cases), `rows`. `nan` where the factor is
        not known or does not vary.
    """
    rows = factors(scores, truth, training)
    table = []
    for region in [r for r in REGIONS if (rows.region == r).any()] + ["all"]:
        inside = rows if region == "all" else rows[rows.region == region]
        for factor in FACTORS:
            known = inside[inside[factor].notna()]
            codes, cases = pd.factorize(known.case)
            x, y = known[factor].to_numpy(float), known.dice.to_numpy(float)
            measured = spearman(x, y, np.ones((1, len(x))))[0] if len(x) else np.nan
            low = high = np.nan
            if len(cases) > 1:
                weights = case_weights(len(cases), draws=config.bootstrap_draws, seed=config.seed)
                low, high = interval(spearman(x, y, weights[:, codes]), level=config.bootstrap_level)
            line = {"region": region, "factor": factor, "spearman": float(measured), "low": float(low)}
            table.append(line | {"high": float(high), "rows": len(known)})
    return pd.DataFrame(table)


def spearman(x, y, weights) -> np.ndarray:
    """Spearman's rank correlation with repeated rows, ties at their mid-rank.

    Args:
        x: `(rows,)`.
        y: `(rows,)`.
        weights: `(draws, rows)` how often each row is in each draw.

    Returns:
        `(draws,)`; `nan` where one of the two does not vary.
    """
    weights = np.asarray(weights, float)
    n = np.maximum(weights.sum(1, keepdims=True), 1)
    a, b = (_ranks(v, weights) for v in (x, y))
    a, b = (r - (weights * r).sum(1, keepdims=True) / n for r in (a, b))
    shared, spread = (weights * a * b).sum(1), (weights * a * a).sum(1) * (weights * b * b).sum(1)
    return np.divide(shared, np.sqrt(spread), out=np.full(len(weights), np.nan), where=spread > 1e-9)


def _ranks(values, weights) -> np.ndarray:
    """`(draws, rows)` mid-ranks of the values among the rows of each draw."""
    distinct, which = np.unique(values, return_inverse=True)
    order = np.argsort(which, kind="stable")
    starts = np.searchsorted(which[order], np.arange(len(distinct)))
    held = np.add.reduceat(weights[:, order], starts, axis=1)  # (draws, distinct)
    return (held.cumsum(1) - (held - 1) / 2)[:, which]
