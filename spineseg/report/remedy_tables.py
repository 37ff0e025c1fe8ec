"""What each remedy was worth, step by step: tables and words for the notebooks."""

from __future__ import annotations

import numpy as np
import pandas as pd

from spineseg.evaluation.remedies import DICE, DICE_ALL
from spineseg.report.score_tables import with_interval

GAIN_COLUMNS, GAIN_WORDS = ("gain", "low", "high"), ("gain", "gain_low", "gain_high")


def step_gains(steps: pd.DataFrame) -> pd.DataFrame:
    """What each remedy gained, in all and step by step, so that more is better everywhere.

    Args:
        steps: From `evaluation.remedies.remedy_steps`.

    Returns:
        Columns `remedy`, `measure`, `gain`, `low`, `high`, `n`: the change of the Dice, and minus that of each step.
    """
    loss = ~steps["measure"].isin([DICE, DICE_ALL])
    ends = steps[["low", "high"]].astype(float)
    return pd.DataFrame(
        {
            "remedy": steps["remedy"],
            "measure": steps["measure"],
            "gain": np.where(loss, 0 - steps["change"].astype(float), steps["change"].astype(float)),
            "low": np.where(loss, 0 - ends["high"], ends["low"]),
            "high": np.where(loss, 0 - ends["low"], ends["high"]),
            "n": steps["n"],
        }
    )


def remedy_table(gains: pd.DataFrame) -> pd.DataFrame:
    """`step_gains` as a page shows it: measures as rows, remedies in their order as columns, `+gain (low to high)`."""
    text = [with_interval(*row, sign="+") for row in gains[["gain", "low", "high"]].to_numpy(float)]
    table = gains.assign(text=text).pivot(index="measure", columns="remedy", values="text")
    return table.reindex(index=list(dict.fromkeys(gains["measure"])), columns=list(dict.fromkeys(gains["remedy"])))


def step_words(gains: pd.DataFrame) -> dict:
    """The remedy that gained the most Dice, and where.

    Args:
        gains: From `step_gains`; may be empty.

    Returns:
        `best_remedy`, its `best_gain`, `best_gain_low`, `best_gain_high` and `best_n` (vertebrae) under the Dice of the
        vertebrae that the reference holds; `gained_step` and `lost_step`, the steps of the budget that gained and lost
        the most, with `gained` and `lost`. `none` and nan where the reference holds none, or no step moved that way.
    """
    dice = gains[(gains["measure"] == DICE) & gains["gain"].notna()]
    if dice.empty:
        numbers = [*(f"best_{name}" for name in GAIN_WORDS), "gained", "lost"]
        words = {"best_remedy": "none", "gained_step": "none", "lost_step": "none", "best_n": 0}
        return words | dict.fromkeys(numbers, float("nan"))
    best = dice.loc[dice["gain"].idxmax()]
    steps = gains[(gains["remedy"] == best["remedy"]) & ~gains["measure"].isin([DICE, DICE_ALL])]
    steps = steps.set_index("measure")["gain"]
    words = {"best_remedy": best["remedy"], "best_n": int(best["n"])}
    words |= {
        f"best_gain{end}": float(best[column]) for end, column in (("", "gain"), ("_low", "low"), ("_high", "high"))
    }
    words |= {"gained_step": steps.idxmax() if (steps > 0).any() else "none", "gained": float(steps.max())}
    return words | {"lost_step": steps.idxmin() if (steps < 0).any() else "none", "lost": float(steps.min())}
