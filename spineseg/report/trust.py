"""How far a prediction can be trusted, in tables and words: bone that is none, confidence, review flags."""

from __future__ import annotations

import numpy as np
import pandas as pd

from spineseg.evaluation.tables import case_summary
from spineseg.report.quoting import higher_or_lower
from spineseg.report.score_tables import with_interval

NOTICEABLE_ML = 1.0  # a small finding on a CT; prediction drops most pieces below half of it (`inference.smallest_ml`)
MEASURES = {"false_vertebra_ml": "far from any vertebra", "false_positive_ml": "off any vertebra"}


def false_volumes(cases: pd.DataFrame, config) -> pd.DataFrame:
    """Bone that is none, per scan, summed up for each method.

    Args:
        cases: From `evaluation.scores.case_scores`, with a column `method`.
        config: `EvaluationConfig`: the bootstrap.

    Returns:
        One row per method and measure of `MEASURES`: `method`, `measure` and the columns of
        `evaluation.tables.case_summary`.
    """
    rows = []
    for method, part in cases.groupby("method", sort=False):
        for measure in MEASURES:
            line = case_summary(part, measure, above=NOTICEABLE_ML, config=config)
            rows.append({"method": method, "measure": measure} | line)
    return pd.DataFrame(rows)


def false_table(table: pd.DataFrame) -> pd.DataFrame:
    """The table of `false_volumes` as a page shows it, ml per scan."""
    shown = {
        (row.method, MEASURES[row.measure]): {
            "mean / ml": with_interval(row.mean_, row.low, row.high),
            "median / ml": with_interval(row.median_, row.median_low, row.median_high),
            f"scans above {NOTICEABLE_ML:g} ml": f"{row.above} of {row.cases}",
        }
        for row in table.rename(columns={"mean": "mean_", "median": "median_"}).itertuples()
    }
    return pd.DataFrame(shown).T.rename_axis(["method", "predicted bone"])


def false_words(table: pd.DataFrame) -> dict:
    """The far part of `false_volumes` for both methods, and how they stand to each other.

    Returns:
        For each method `<method>_false`, `_false_low`, `_false_high` (mean ml per scan and its interval),
        `_false_median` and `_false_above` (scans); `false_word`, the cascade against the baseline; `noticeable_ml`.
    """
    far = table[table["measure"] == "false_vertebra_ml"].set_index("method").reindex(["baseline", "cascade"])
    words = {"false_word": _compared(far["mean"]["cascade"], far["mean"]["baseline"])}
    for method, row in far.iterrows():
        words |= {f"{method}_false": row["mean"], f"{method}_false_low": row["low"]}
        words |= {f"{method}_false_high": row["high"], f"{method}_false_median": row["median"]}
        words[f"{method}_false_above"] = int(np.nan_to_num(row["above"]))
    return words | {"noticeable_ml": NOTICEABLE_ML}


def confidence_table(calibration: pd.DataFrame, flags: pd.DataFrame) -> pd.DataFrame:
    """Calibration and flags of each method as a page shows them.

    Args:
        calibration: From `evaluation.calibration.calibration`.
        flags: From `evaluation.calibration.flags`.

    Returns:
        Methods as columns, measures as rows, `mean (low to high)`; no column where nothing was predicted.
    """
    known, shown = calibration.set_index("method"), {}
    for row in flags.itertuples():
        line = {"predicted vertebrae": f"{row.errors + row.right}", "identified": f"{row.right}"}
        if row.method in known.index:
            c = known.loc[row.method]
            line["mean confidence"] = f"{c.confidence:.2f}"
            line["calibration error"] = with_interval(c.ece, c.ece_low, c.ece_high)
            line["Brier score"] = with_interval(c.brier, c.brier_low, c.brier_high)
            line["Brier score of the share alone"] = f"{c.brier_of_share:.2f}"
        caught = with_interval(row.caught_share, row.caught_share_low, row.caught_share_high)
        raised = with_interval(row.raised_share, row.raised_share_low, row.raised_share_high)
        line["errors that a flag catches"] = f"{row.caught} of {row.errors}, {caught}"
        line["right ones that a flag raises"] = f"{row.raised} of {row.right}, {raised}"
        shown[row.method] = line
    return pd.DataFrame(shown)


def confidence_words(calibration: pd.DataFrame, flags: pd.DataFrame, method: str = "cascade") -> dict:
    """Numbers of one method for a sentence: nan and 0 where it predicted nothing, or stated no confidence.

    Returns:
        `sure_n`, `sure_mean`, `sure_right` (share identified), `sure_word` (mean confidence against that share),
        `ece`, `ece_low`, `ece_high`, `brier`, `brier_of_share`, `brier_word`; `flag_errors`, `flag_caught`,
        `flag_right`, `flag_raised`.
    """
    c = calibration.set_index("method").reindex([method]).iloc[0]
    f = flags.set_index("method").reindex([method]).iloc[0]
    words = {"sure_n": _count(c["n"]), "sure_mean": c["confidence"], "sure_right": c["correct"]}
    words |= {name: c[name] for name in ("ece", "ece_low", "ece_high", "brier", "brier_of_share")}
    words |= {f"flag_{name}": _count(f[name]) for name in ("errors", "caught", "right", "raised")}
    pairs = {"sure_word": ("confidence", "correct"), "brier_word": ("brier", "brier_of_share")}
    compared = {name: _compared(c[a], c[b]) for name, (a, b) in pairs.items()}
    return {k: float(v) if isinstance(v, float | np.floating) else v for k, v in words.items()} | compared


def _compared(value: float, other: float) -> str:
    return "not known beside" if np.isnan([value, other]).any() else higher_or_lower(value, other)


def _count(value) -> int:
    return 0 if pd.isna(value) else int(value)
