"""Where the Dice went: an exact waterfall from 1 to the measured mean, and what the loss goes along with.

Every row i of the convention `"all"` (reference or prediction present, N rows in a group) weighs 1 / N and has lost
`1 - d_i`. That loss is split row by row, so that the steps of a group add up to `1 - mean(d)` without a remainder:

- absent: the reference lacks the vertebra, the prediction has it. The row loses all it has, 1.

For the rows with a reference let `b_i >= d_i` be the Dice with the best matching predicted vertebra, whatever its name,
and `c_i` the ceiling: the Dice that the reference itself keeps on the working grid.

- shifted: `b_i - d_i`, what the right name on the same mask would have given.
- missed: 1 if `b_i = 0`, nothing predicted overlaps it.
- resolution: `min(1 - c_i, 1 - b_i)` if `b_i > 0`: where a prediction beats the ceiling, no more than is gone.
- boundary: the rest, `max(c_i - b_i, 0)` if `b_i > 0`.

A vertebra that the scan cuts loses more. Let `W` and `C` be the mean losses of a region's whole and cut vertebrae and
`f = min(1, W / C)`.

- cut: `(1 - f) (1 - d_i)` of each cut row, the excess over whole vertebrae; its four steps above are scaled by `f`.

No step can be negative. With no whole vertebra in a region, `W` is that of all regions; with none at all `f = 1`. The
steps of `"all"` are sums over the same rows, so they are the average of the regions' weighted by their rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd

from spineseg.anatomy.labels import N_CLASSES, REGIONS, VERTEBRAE
from spineseg.config import EvaluationConfig
from spineseg.evaluation.bootstrap import case_weights, interval
from spineseg.evaluation.conventions import counted, is_cut
from spineseg.evaluation.correlates import correlates, factors, training_share
from spineseg.evaluation.metrics import confusion

__all__ = [
    "STEPS",
    "confusion_of_names",
    "correlates",
    "error_budget",
    "factors",
    "paired_budgets",
    "training_share",
]

STEPS = ("absent", "cut", "shifted", "missed", "resolution", "boundary")
DEFAULTS = EvaluationConfig()


def error_budget(
    scores: pd.DataFrame, ceiling: pd.DataFrame | None = None, *, config: EvaluationConfig = DEFAULTS
) -> pd.DataFrame:
    """Split the Dice that was lost into its causes, per region and over all.

    Args:
        scores: Rows of `score_cases`, of one method.
        ceiling: Columns `case`, `vertebra`, `ceiling` from `resolution_ceiling`; without it the resolution costs 0 and
            its share is in the boundary.
        config: Share below which a vertebra is cut; bootstrap draws, level and seed.

    Returns:
        One row per region (and `"all"`) and step of `STEPS`: `region`, `step`, `lost` (Dice), `low`, `high` (bootstrap
        over cases; `nan` with fewer than two), `n` (rows that lost something there), `before` and `after` (Dice before
        and after the step: the last `after` is the measured mean).

    Raises:
        ValueError: If a case has several rows for one vertebra, or a vertebra has no ceiling.
    """
    rows = scores[counted(scores, "all")]
    double = rows.duplicated(["case", "vertebra"])
    if double.any():
        case, vertebra = rows.loc[double, ["case", "vertebra"]].iloc[0]
        raise ValueError(f"{vertebra} of case {case} has several rows; pass the scores of one method")
    if rows.empty:
        return pd.DataFrame(columns=["region", "step", "lost", "low", "high", "n", "before", "after"])
    parts = _row_losses(rows, ceiling)
    cut = is_cut(rows, below=config.sliver_share).to_numpy()
    names = [r for r in REGIONS if (rows.region == r).any()]
    codes, cases = pd.factorize(rows.case)
    sums = _case_sums(rows, parts, cut, codes, names, len(cases))  # (cases, regions, features)
    measured = _waterfall(sums.sum(0)[None])[0]  # (regions + 1, steps)
    if len(cases) > 1:
        weights = case_weights(len(cases), draws=config.bootstrap_draws, seed=config.seed)
        low, high = interval(_waterfall(np.tensordot(weights, sums, 1)), level=config.bootstrap_level)
    else:
        low = high = np.full(measured.shape, np.nan)
    losing = _losing_rows(rows, parts, cut, names)
    table = []
    for r, region in enumerate([*names, "all"]):
        after = 1 - measured[r].cumsum()
        before = np.concatenate([[1.0], after[:-1]])
        for s, step in enumerate(STEPS):
            line = {"region": region, "step": step, "lost": measured[r, s], "low": low[r, s], "high": high[r, s]}
            table.append(line | {"n": int(losing[r, s]), "before": before[s], "after": after[s]})
    return pd.DataFrame(table)


def paired_budgets(
    scores: Mapping[str, pd.DataFrame], ceiling: pd.DataFrame | None = None, *, config: EvaluationConfig = DEFAULTS
) -> tuple[list[str], np.ndarray, np.ndarray]:
    """The steps of several methods over the same cases, measured and in each bootstrap draw of those cases.

    Args:
        scores: Rows of `score_cases` by name, one method each.
        ceiling: As for `error_budget`.
        config: As for `error_budget`.

    Returns:
        Names of the regions and `"all"`; the steps of `STEPS`, `(methods, regions, steps)`; the same in each draw,
        `(methods, draws, regions, steps)`. `nan` for a region of which a method (or a draw) has no row.
    """
    kept = [rows[counted(rows, "all")] for rows in scores.values()]
    cases = pd.Index(dict.fromkeys(case for rows in kept for case in rows.case))
    names = [r for r in REGIONS if any((rows.region == r).any() for rows in kept)]
    weights = case_weights(len(cases), draws=config.bootstrap_draws, seed=config.seed)
    measured, drawn = [], []
    for rows in kept:
        cut = is_cut(rows, below=config.sliver_share).to_numpy()
        codes = cases.get_indexer(rows.case)
        sums = _case_sums(rows, _row_losses(rows, ceiling), cut, codes, names, len(cases))
        measured.append(_waterfall(sums.sum(0)[None])[0])
        drawn.append(_waterfall(np.tensordot(weights, sums, 1)))
    return [*names, "all"], np.stack(measured), np.stack(drawn)


def confusion_of_names(pairs: Iterable[tuple]) -> pd.DataFrame:
    """Voxels of each reference name that were given each predicted name, summed over cases.

    Args:
        pairs: `(reference, prediction)` label maps on one grid each; may be a generator.

    Returns:
        `(26, 26)` int64 with names on both axes, rows the reference, `"background"` first.

    Raises:
        ValueError: If the shapes of a pair differ or a label is not one of 0..25.
    """
    total = np.zeros((N_CLASSES, N_CLASSES), np.int64)
    for reference, prediction in pairs:
        total += confusion(reference, prediction)
    names = ["background", *VERTEBRAE]
    return pd.DataFrame(total, index=pd.Index(names, name="reference"), columns=pd.Index(names, name="prediction"))


def _row_losses(rows: pd.DataFrame, ceiling: pd.DataFrame | None) -> np.ndarray:
    """`(rows, 5)`: absent and the four steps of a row with a reference, before the cut takes its share."""
    present = (rows.reference_voxels > 0).to_numpy()
    dice, best = rows.dice.to_numpy(float), rows.best_match_dice.to_numpy(float)
    overlapped = present & (best > 0)
    reachable = np.ones(len(rows))
    if ceiling is not None:
        keys = pd.MultiIndex.from_frame(rows[["case", "vertebra"]])
        reachable = ceiling.set_index(["case", "vertebra"]).ceiling.reindex(keys).to_numpy(float)
        unknown = present & np.isnan(reachable)
        if unknown.any():
            case, vertebra = keys[unknown.argmax()]
            raise ValueError(
                f"no ceiling for {vertebra} of case {case} ({unknown.sum()} in all); compute it for each case"
            )
    resolution = np.where(overlapped, np.minimum(1 - reachable, 1 - best), 0.0)
    return np.stack(
        [
            np.where(present, 0.0, 1.0),
            np.where(present, best - dice, 0.0),
            np.where(present & ~overlapped, 1.0, 0.0),
            resolution,
            np.where(overlapped, 1 - best - resolution, 0.0),
        ],
        axis=1,
    )


def _case_sums(rows, parts, cut, codes, names, n_cases: int) -> np.ndarray:
    """`(cases, regions, 12)` sums: rows, absent, whole vertebrae and cut ones, and the four steps of each."""
    whole = (rows.reference_voxels > 0).to_numpy() & ~cut
    features = np.concatenate(
        [np.ones((len(rows), 1)), parts[:, :1], whole[:, None], cut[:, None], parts[:, 1:] * whole[:, None]]
        + [parts[:, 1:] * cut[:, None]],
        axis=1,
    )
    sums = np.zeros((n_cases, len(names), features.shape[1]))
    np.add.at(sums, (codes, [names.index(r) for r in rows.region]), features)
    return sums


def _kept_share(sums: np.ndarray) -> np.ndarray:
    """`f` of each region from `(draws, regions, 12)`: what a cut vertebra would have lost if it were whole."""
    n_whole, n_cut = sums[..., 2], sums[..., 3]
    lost_whole, lost_cut = sums[..., 4:8].sum(-1), sums[..., 8:12].sum(-1)
    nowhere = np.broadcast_to(n_whole.sum(-1, keepdims=True) == 0, n_whole.shape)
    anywhere = lost_whole.sum(-1, keepdims=True) / np.maximum(n_whole.sum(-1, keepdims=True), 1)
    mean_whole = np.where(n_whole > 0, lost_whole / np.maximum(n_whole, 1), anywhere)
    mean_cut = lost_cut / np.maximum(n_cut, 1)
    share = np.divide(mean_whole, mean_cut, out=np.ones(n_whole.shape), where=mean_cut > 0)
    return np.where(nowhere, 1.0, np.minimum(share, 1.0))


def _waterfall(sums: np.ndarray) -> np.ndarray:
    """Steps per region and over all, `(draws, regions + 1, 6)`, from `(draws, regions, 12)` sums."""
    f = _kept_share(sums)[..., None]
    whole, cut = sums[..., 4:8], sums[..., 8:12]
    cut_step = (1 - f) * cut.sum(-1, keepdims=True)
    lost = np.concatenate([sums[..., 1:2], cut_step, whole + f * cut], -1)
    lost = np.concatenate([lost, lost.sum(-2, keepdims=True)], -2)
    n = np.concatenate([sums[..., 0], sums[..., 0].sum(-1, keepdims=True)], -1)[..., None]
    return np.divide(lost, n, out=np.full(lost.shape, np.nan), where=n > 0)


def _losing_rows(rows, parts, cut, names) -> np.ndarray:
    """`(regions + 1, 6)`: how many rows lost something in each step."""
    f = _kept_share(_case_sums(rows, parts, cut, np.zeros(len(rows), int), names, 1))[0]
    f_of_row = f[[names.index(r) for r in rows.region]]
    excess = cut & (f_of_row < 1) & (parts[:, 1:].sum(1) > 0)
    left = (parts[:, 1:] > 1e-12) & ~(cut & (f_of_row == 0))[:, None]
    losing = np.concatenate([parts[:, :1] > 0, excess[:, None], left], 1)
    per_region = [losing[(rows.region == r).to_numpy()].sum(0) for r in names]
    return np.stack([*per_region, losing.sum(0)])
