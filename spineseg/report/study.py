"""What each choice of the cascade is worth: the answer of `benchmarks/study.py` as tables and words."""

from __future__ import annotations

import json

import pandas as pd

from spineseg import paths
from spineseg.config import Config
from spineseg.report.score_tables import with_interval

FILE = "study.json"
SHOWN = {"coarse": ("identified", "identified, crops"), "fine": ("Dice", "Dice, neck")}  # measures of each stage


def load() -> dict:
    """What the study measured last."""
    return json.loads((paths.results_folder() / FILE).read_text())


def changes(answer: dict, stage: str) -> pd.DataFrame:
    """Every changed choice of a stage, each measure a row.

    Args:
        answer: From `load`.
        stage: `coarse` or `fine`.

    Returns:
        Columns `choice`, `change`, `measure`, `mean`, `gain`, `low`, `high`, in the study's order; the base, of which
        nothing is changed, is left out.
    """
    rows = []
    for row in answer["rows"]:
        if row["stage"] == stage and row["choice"]:
            for measure, m in row["measures"].items():
                line = {"choice": row["choice"], "change": row["change"], "measure": measure}
                rows.append(line | {"mean": m["mean"], "gain": m["change"], "low": m["low"], "high": m["high"]})
    return pd.DataFrame(rows, columns=["choice", "change", "measure", "mean", "gain", "low", "high"])


def changes_table(table: pd.DataFrame) -> pd.DataFrame:
    """`changes` as a page shows it: choices as rows, measures as columns, `+gain (low to high)`."""
    text = [with_interval(*row, sign="+") for row in table[["gain", "low", "high"]].to_numpy(float)]
    wide = table.assign(text=text).pivot(index=["choice", "change"], columns="measure", values="text")
    order = table[["choice", "change"]].drop_duplicates()
    return wide.reindex(pd.MultiIndex.from_frame(order))[list(dict.fromkeys(table["measure"]))]


def words(answer: dict) -> dict:
    """What the prose quotes of both stages.

    Returns:
        For each stage `<stage>_scans`, `<stage>_base` (its first measure of `SHOWN` unchanged), `<stage>_seed` (how far
        another seed moved it), `<stage>_choices` (rows other than the seed), `<stage>_worse` and `<stage>_better`
        (those whose interval lies below and above 0, farther than the seed moved it), the lowest and the highest row,
        `<stage>_worst`, `<stage>_worst_gain`, `<stage>_best`, `<stage>_best_gain`; `study_epochs`;
        `study_level`, that of the intervals, in percent.
    """
    settings = answer["settings"]
    level = Config.load(settings["profile"]).evaluation.bootstrap_level
    known = {"study_epochs": settings["training.epochs"], "study_level": 100 * level}
    for stage, (measure, _) in SHOWN.items():
        base = next(r for r in answer["rows"] if r["stage"] == stage and not r["choice"])
        table = changes(answer, stage)
        table = table[table["measure"] == measure]
        seed, rest = table[table["choice"] == "seed"], table[table["choice"] != "seed"]
        noise, scans = float(seed["gain"].abs().max()), answer["settings"]["scans"][stage]
        known |= {
            f"{stage}_scans": scans,
            f"{stage}_base": base["measures"][measure]["mean"],
        }
        known |= {f"{stage}_seed": noise, f"{stage}_choices": len(rest)}
        known[f"{stage}_worse"] = int(((rest["high"] < 0) & (rest["gain"] < -noise)).sum())
        known[f"{stage}_better"] = int(((rest["low"] > 0) & (rest["gain"] > noise)).sum())
        for which, row in (("worst", rest.loc[rest["gain"].idxmin()]), ("best", rest.loc[rest["gain"].idxmax()])):
            known[f"{stage}_{which}"] = f"{row['choice']}: {row['change']}"
            known[f"{stage}_{which}_gain"] = float(row["gain"])
    return known
