"""What each remedy changed: the mean Dice and each step of the error budget, over the same cases before and after."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import numpy as np
import pandas as pd

from spineseg.config import EvaluationConfig
from spineseg.evaluation.bootstrap import case_weights, interval, weighted_mean
from spineseg.evaluation.conventions import counted
from spineseg.evaluation.errors import STEPS, paired_budgets

DICE, DICE_ALL = "Dice", "Dice, all"
COLUMNS = ["remedy", "measure", "before", "after", "change", "low", "high", "n"]
DEFAULTS = EvaluationConfig()


def remedy_steps(
    scores: Mapping[str, pd.DataFrame],
    ceiling: pd.DataFrame | None = None,
    *,
    region: str = "cervical",
    config: EvaluationConfig = DEFAULTS,
) -> pd.DataFrame:
    """Change of the mean Dice of a region, and of what each step of the error budget costs it, from one to the next.

    Args:
        scores: Rows of `score_cases` by name, one method each, from the first to the last remedy. All must have been
            scored on the same cases.
        ceiling: As for `errors.error_budget`.
        region: Which vertebrae, such as `"cervical"` for C1-C7, or `"all"`.
        config: Bootstrap draws, level and seed; share below which a vertebra is cut.

    Returns:
        For each pair of neighbours: `remedy` (the later one's name), `measure`, `before`, `after`, `change` (after less
        before), `low`, `high` (of the change; the same cases are drawn for both; `nan` with fewer than two) and `n`
        (rows before). `measure` is `"Dice"` (mean over the vertebrae that the reference holds), `"Dice, all"` (absent
        ones count 0) or a step of `STEPS`; of steps it is what is lost, so a negative change is a gain, and the changes
        of the steps add up to minus that of `"Dice, all"`. `"Dice"` is `nan` where the reference holds nothing of the
        region; no rows where no prediction does either.

    Raises:
        ValueError: If there are fewer than two names, or two do not have the same cases and vertebrae of the reference.
    """
    if len(scores) < 2:
        raise ValueError(f"scores must hold two methods or more to compare, got {list(scores)}")
    _refuse_unlike(scores)
    inside = [rows if region == "all" else rows[rows.region == region] for rows in scores.values()]
    regions, lost, drawn = paired_budgets(scores, ceiling, config=config)
    if region not in regions or np.isnan(lost[:, regions.index(region)]).all():
        return pd.DataFrame(columns=COLUMNS)
    place, table = regions.index(region), []
    for a, b in itertools.pairwise(range(len(scores))):
        remedy, n = list(scores)[b], int(counted(inside[a], "all").sum())
        table.append(_dice(inside[a], inside[b], config) | {"remedy": remedy})
        change = drawn[b, :, place] - drawn[a, :, place]  # (draws, steps)
        one_case = inside[a].case.nunique() < 2
        for measure, before, after, draws in [
            (DICE_ALL, 1 - lost[a, place].sum(), 1 - lost[b, place].sum(), -change.sum(1)),
            *((step, lost[a, place, s], lost[b, place, s], change[:, s]) for s, step in enumerate(STEPS)),
        ]:
            low, high = (np.nan, np.nan) if one_case else interval(draws, level=config.bootstrap_level)
            line = {"remedy": remedy, "measure": measure, "before": before, "after": after, "change": after - before}
            table.append(line | {"low": float(low), "high": float(high), "n": n})
    return pd.DataFrame(table, columns=COLUMNS)


def _dice(before: pd.DataFrame, after: pd.DataFrame, config: EvaluationConfig) -> dict:
    keys = ["case", "vertebra"]
    pairs = before.loc[counted(before, "present"), [*keys, "dice"]].merge(after[[*keys, "dice"]], on=keys)
    change = pairs.dice_y - pairs.dice_x
    codes, cases = pd.factorize(pairs.case)
    low = high = np.nan
    if len(cases) > 1:
        weights = case_weights(len(cases), draws=config.bootstrap_draws, seed=config.seed)
        low, high = interval(weighted_mean(change.to_numpy(), codes, weights), level=config.bootstrap_level)
    means = {"before": pairs.dice_x.mean(), "after": pairs.dice_y.mean(), "change": change.mean()}
    return {"measure": DICE, "low": float(low), "high": float(high), "n": len(pairs)} | means


def _refuse_unlike(scores: Mapping[str, pd.DataFrame]) -> None:
    first, *others = scores
    wanted = _held(scores[first])
    for name in others:
        if (unlike := wanted ^ _held(scores[name])) or set(scores[first].case) ^ set(scores[name].case):
            example = f", such as {' '.join(sorted(unlike)[0])}" if unlike else ""
            raise ValueError(
                f"{first} and {name} must be scored on the same cases; {len(unlike)} vertebrae differ{example}"
            )


def _held(rows: pd.DataFrame) -> set[tuple[str, str]]:
    rows = rows[counted(rows, "present")]
    return set(zip(rows.case.astype(str), rows.vertebra, strict=True))
