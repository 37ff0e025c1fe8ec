"""Scores of a run: predictions against references, remembered in its folder, and the numbers that it leads with."""

from __future__ import annotations

import hashlib
import json

import pandas as pd

from spineseg.config import Config
from spineseg.data import nifti
from spineseg.data.atomic import write_text
from spineseg.evaluation.ceiling import resolution_ceiling
from spineseg.evaluation.scores import case_scores, score_cases
from spineseg.evaluation.tables import summary
from spineseg.learning.inference import predict_cohort
from spineseg.learning.training import METHODS
from spineseg.paths import run_folder


def predict_run(config: Config, cases: pd.DataFrame) -> pd.DataFrame:
    """Predict the test cases with every method of the run, or only what is missing.

    Args:
        config: Names the run.
        cases: Table of the cohort.

    Returns:
        Columns `method`, `case`, `prediction` (path).
    """
    tables = [predict_cohort(config, method, cases).assign(method=method) for method in METHODS]
    return pd.concat(tables, ignore_index=True)[["method", "case", "prediction"]]


def score_run(config: Config, cases: pd.DataFrame, predictions: pd.DataFrame, truth: pd.DataFrame | None = None):
    """Score the predictions of a run and write `scores.csv`, `cases_scores.csv` and `headline.json` into its folder.

    What was scored already with the same predictions and the same rules is read.

    Args:
        config: Names the run; `evaluation` holds the rules.
        cases: Table of the cohort.
        predictions: From `predict_run`.
        truth: Columns `case`, `vertebra`, `visible_share`, where the share is known.

    Returns:
        The rows of `scores.score_cases` with a column `method` first.
    """
    folder = run_folder(config.run)
    key = _key(config, predictions)
    note = folder / "scores.json"
    if note.is_file() and json.loads(note.read_text()).get("key") == key:
        return pd.read_csv(folder / "scores.csv", dtype={"case": str})
    reference_of = cases.assign(case=cases["case"].astype(str)).set_index("case")["segmentation"]
    tables = []
    for method, rows in predictions.groupby("method", sort=False):
        quads = (_quad(row.case, reference_of[row.case], row.prediction) for row in rows.itertuples())
        table = score_cases(quads, config=config.evaluation, truth=truth)
        tables.append(table.assign(method=method))
    scores = pd.concat(tables, ignore_index=True)
    scores.insert(0, "method", scores.pop("method"))
    write_text(folder / "scores.csv", scores.to_csv(index=False))
    write_text(folder / "cases_scores.csv", case_scores(scores).to_csv(index=False))
    write_text(folder / "headline.json", json.dumps(headline(scores, config), indent=1))
    write_text(note, json.dumps({"key": key}))
    return pd.read_csv(folder / "scores.csv", dtype={"case": str})


def headline(scores: pd.DataFrame, config: Config) -> dict[str, float]:
    """The numbers that a run leads with.

    Args:
        scores: From `score_run`.
        config: `evaluation` holds the bootstrap.

    Returns:
        Mean Dice where the reference has the vertebra, its interval, Dice of bone against the rest, identification
        rate over all vertebrae, for each method, and the number of test scans.
    """
    numbers: dict[str, float] = {"n_test": int(scores["case"].nunique())}
    per_case = case_scores(scores)
    for method, rows in scores.groupby("method", sort=False):
        total = summary(rows, by=None, config=config.evaluation).iloc[0]
        numbers |= {f"{method}_dice": total["mean"], f"{method}_dice_low": total["low"]}
        numbers[f"{method}_dice_high"] = total["high"]
        numbers[f"{method}_binary"] = per_case.loc[per_case["method"] == method, "binary_dice"].mean()
        numbers[f"{method}_identification"] = rows["identified"].mean()
    return {name: value if isinstance(value, int) else float(value) for name, value in numbers.items()}


def ceiling(cases: pd.DataFrame, spacings_mm) -> pd.DataFrame:
    """Resolution ceiling of each vertebra of some cases at several voxel sizes.

    Args:
        cases: Rows of the cohort's table.
        spacings_mm: Voxel sizes.

    Returns:
        Columns `case`, `vertebra`, `spacing_mm`, `ceiling`.
    """
    tables = []
    for row in cases.itertuples():
        volume = nifti.read_labels(row.segmentation)
        tables += [resolution_ceiling(volume.array, volume.affine, mm, case=str(row.case)) for mm in spacings_mm]
    return pd.concat(tables, ignore_index=True)


def _quad(case, reference_path, prediction_path):
    reference, prediction = nifti.read_labels(reference_path), nifti.read_labels(prediction_path)
    return case, reference.array, prediction.array, reference.affine


def _key(config: Config, predictions: pd.DataFrame) -> str:
    # predictions lie in folders named after their weights, so a path says what made it
    parts = [config.hash("evaluation", "cohort"), *sorted(str(p) for p in predictions["prediction"])]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
