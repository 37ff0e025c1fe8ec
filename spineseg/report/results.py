"""A run's results: predict what is missing, score it, keep the tables and the headline numbers in the run's folder."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pandas as pd

from spineseg import paths
from spineseg.config import Config, EvaluationConfig
from spineseg.data import cohort, nifti
from spineseg.data.atomic import write_text
from spineseg.data.case import Case
from spineseg.data.digest import hash_files
from spineseg.data.geometry import to_canonical
from spineseg.data.layouts.listing import entries, stem_of
from spineseg.data.parallel import map_cases
from spineseg.data.reference import read_reference
from spineseg.errors import CaseError
from spineseg.evaluation import metrics
from spineseg.evaluation.calibration import FOUND_COLUMNS
from spineseg.evaluation.incomplete import unjudged
from spineseg.evaluation.scores import case_scores, score_case
from spineseg.evaluation.tables import summary
from spineseg.evaluation.volumes import whole_scan
from spineseg.learning.predicting import predict_cohort, predict_files, predictions_folder
from spineseg.learning.training import METHODS
from spineseg.report.score_tables import RULES

INCOMPLETE = "verse"  # such pairs' names begin so: no sacrum and no vertebra that the edge cuts is labelled there
UNLABELLED_SACRUM = ("S1",)
RUNGS = {  # naming and looks of the fine stage
    "two stages": ("own", 1), "phases": ("phase", 1), "whole vertebrae": ("alone", 1), "one sequence": ("order", 1),
    "second look": ("order", 2),
}  # fmt: skip
SKIPPED = "The real pairs were skipped: there is no folder with them (spineseg.paths.real_ct_folder says where)."


def evaluate(config: Config) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Predict and score the test cases with both trained methods of a run; what is done already is read.

    Args:
        config: Names the run.

    Returns:
        `scores`, one row per method, case and vertebra, and `cases`, one row per method and case.

    Raises:
        CaseError: If a method was not trained or a file cannot be read.
    """
    folder = paths.run_folder(config.run)
    scores = pd.concat([method_scores(config, method) for method in METHODS], ignore_index=True)
    cases = case_scores(scores)
    write_text(folder / "scores.csv", scores.to_csv(index=False))
    write_text(folder / "cases_scores.csv", cases.to_csv(index=False))
    write_text(folder / "headline.json", json.dumps(headline(scores, config), indent=1))
    return scores, cases


def method_scores(config: Config, method: str) -> pd.DataFrame:
    """Predict and score the test cases with one trained method of a run, as it is set now; what is done is read.

    Args:
        config: Names the run.
        method: `baseline` or `cascade`.

    Returns:
        One row per case and vertebra.

    Raises:
        CaseError: If the method was not trained or a file cannot be read.
    """
    table = cohort.cases(config)
    truth = cohort.truth(config) if config.cohort.layout == "phantom" else None
    predicted = predict_cohort(config, method, table)
    pairs = predicted.merge(table.assign(case=table.case.astype(str)), on="case")
    cache = predictions_folder(config, method) / f"scores-{config.hash('evaluation')}-{_scoring_version()}.csv"
    files = [Path(p) for column in ("prediction", "segmentation") for p in pairs[column]]
    if not cache.is_file() or cache.stat().st_mtime < max(f.stat().st_mtime for f in files):
        scores = _score(pairs, config, truth)
        write_text(cache, scores.assign(method=method).to_csv(index=False))
    return pd.read_csv(cache, dtype={"case": str})


def ladder(config: Config) -> dict[str, pd.DataFrame]:
    """Scores of the test cases, one remedy after the other: each rung has all that the one before has, and one more.

    Args:
        config: Names a run with both methods trained.

    Returns:
        `{what was added: scores}`, from the baseline to the cascade as it is used.
    """
    rungs = {"baseline": method_scores(config, "baseline")}
    for name, (naming, looks) in RUNGS.items():
        inference = dataclasses.replace(config.inference, naming=naming, looks=looks)
        rungs[name] = method_scores(dataclasses.replace(config, inference=inference), "cascade").assign(method=name)
    return rungs


def headline(scores: pd.DataFrame, config: Config) -> dict[str, float | int]:
    """The few numbers that the book opens with.

    Args:
        scores: From `evaluate`.
        config: Bootstrap settings.

    Returns:
        Number of test cases, and of those that show a neck; per method the mean Dice over the vertebrae present with
        its interval, the mean over cases of the Dice of bone whatever the name, the share of vertebrae identified.
    """
    cases = case_scores(scores)
    numbers: dict[str, float | int] = {"n_test": int(scores.case.nunique())}
    numbers["n_test_with_neck"] = int(
        scores[(scores.region == "cervical") & (scores.reference_voxels > 0)].case.nunique()
    )
    for method, rows in scores.groupby("method"):
        whole = summary(rows, by=None, config=config.evaluation).iloc[0]
        numbers[f"{method}_dice"], numbers[f"{method}_dice_low"] = float(whole["mean"]), float(whole["low"])
        numbers[f"{method}_dice_high"] = float(whole["high"])
        numbers[f"{method}_binary"] = float(cases[cases.method == method].binary_dice.mean())
        numbers[f"{method}_identification"] = float(rows.identified.mean())
    return numbers


def evaluate_real(config: Config, method: str = "cascade") -> pd.DataFrame:
    """Predict and score the real CT pairs kept beside the project, if they are there.

    Args:
        config: Names the run.
        method: Trained method, or `boxed` for the weights that come with the project.

    Returns:
        The rows of `score_real`, with `ct`, `segmentation` and `prediction` paths; empty without the folder.
    """
    folder = paths.real_ct_folder() / "pairs"
    files = {p.name.removesuffix("_ct.nii.gz"): p for p in sorted(folder.glob("*_ct.nii.gz"))}
    if not files:
        return pd.DataFrame()
    target = predictions_folder(config, method) / "real"
    predicted = predict_files(config, method, files, target, label="real")
    tables = []
    for case, prediction in zip(predicted.case, predicted.prediction, strict=True):
        mask = folder / f"{case}_seg.nii.gz"
        reference, found = nifti.read_labels(mask), nifti.read_labels(prediction)
        scores = score_real(
            case,
            reference.array,
            found.array,
            reference.affine,
            config=config.evaluation,
            incomplete=case.startswith(INCOMPLETE),
        )
        tables.append(scores.assign(ct=str(files[case]), segmentation=str(mask), prediction=str(prediction)))
    return pd.concat(tables, ignore_index=True)


def score_real(case: str, reference, prediction, affine, *, config: EvaluationConfig, incomplete: bool) -> pd.DataFrame:
    """Score a real scan, by name under two rules and as bone over the whole volume.

    Vertebrae by name are scored without those of the reference that touch the scan's edge, which is the rule for crops,
    and with them, because a crop along the bounding box of the labels touches whole vertebrae too. Bone whatever the
    name is compared over the whole volume, the vertebrae at the edge included.

    Args:
        case: Name of the case.
        reference: Label map, `(I, J, K)`, whole numbers 0..25.
        prediction: Label map on the same grid.
        affine: `(4, 4)`, voxel index to RAS+ mm.
        config: Tolerances and radii.
        incomplete: The reference leaves the sacrum blank and vertebrae that the edge cuts, as VerSe's do. What is
            predicted there is no error (`incomplete.unjudged`), and S1 is left out.

    Returns:
        The rows of `score_case`, with `counted` (one of `score_tables.RULES`) and, the same in every row,
        `scan_binary_dice`, `scan_false_positive_ml` and `scan_false_vertebra_ml` of `volumes.whole_scan`.

    Raises:
        ValueError: As `score_case`.
    """
    reference, prediction = np.asarray(reference), np.asarray(prediction)
    ignore, blank = (), np.zeros(reference.shape, bool)
    if incomplete:
        ignore = UNLABELLED_SACRUM
        blank = unjudged(reference, prediction, ignore=ignore)
    scan = whole_scan(reference, prediction, affine, tolerance_mm=config.nsd_tolerance_mm, ignore=blank)
    judged = np.where(blank, np.uint8(0), prediction)
    labelled = score_case(case, reference, judged, affine, config=config, ignore=ignore)
    at_edge = labelled.vertebra[labelled.at_border]
    clear = score_case(case, reference, judged, affine, config=config, ignore=(*ignore, *at_edge))
    tables = [table.assign(counted=rule) for rule, table in zip(RULES, (clear, labelled), strict=True)]
    return pd.concat(tables, ignore_index=True).assign(**{f"scan_{name}": value for name, value in scan.items()})


def found_vertebrae(predictions: pd.DataFrame) -> pd.DataFrame:
    """The tables of vertebrae that prediction wrote beside its label maps.

    Args:
        predictions: Columns `method`, `case`, `prediction` (path).

    Returns:
        Columns `method`, `case` and those of the tables, `FOUND_COLUMNS` at least; a prediction without a table, or
        with an empty one, has no row.
    """
    tables = []
    for row in predictions.itertuples():
        file = Path(row.prediction).with_name(f"{stem_of(Path(row.prediction))}_vertebrae.csv")
        if file.is_file():
            table = pd.read_csv(file, keep_default_na=False, na_values=[""])
            tables.append(table.assign(method=row.method, case=str(row.case)))
    if not any(map(len, tables)):
        return pd.DataFrame(columns=["method", *FOUND_COLUMNS])
    table = pd.concat([t for t in tables if len(t)], ignore_index=True)
    return table[["method", "case", *(c for c in table if c not in ("method", "case"))]]


def score_folders(reference: Path, prediction: Path, evaluation: EvaluationConfig) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Score label maps that have the same file names in two folders.

    Args:
        reference: Folder of references.
        prediction: Folder of predictions.
        evaluation: Tolerances and radii.

    Returns:
        Rows of `score_case`, and the region table under both conventions.

    Raises:
        CaseError: If a folder holds no label map or a reference has no prediction.
    """
    names = [p.name for p in entries(reference) if stem_of(p)]
    if not names:
        raise CaseError("empty", reference, "no .nii or .nii.gz file", "label maps", "check the folder's name")
    tables = []
    for name in names:
        if not (prediction / name).is_file():
            raise CaseError(
                "partner-missing", prediction / name, "no such file", "one prediction per reference", "predict it"
            )
        tables.append(_score_one((Case(name, "", str(reference / name)), prediction / name, evaluation, None)))
    scores = pd.concat(tables, ignore_index=True)
    both = [summary(scores, convention=c, config=evaluation).assign(convention=c) for c in ("present", "all")]
    return scores, pd.concat(both, ignore_index=True)


def _scoring_version() -> str:
    """Short hash of the sources that turn label maps into numbers."""
    return hash_files(sorted(Path(metrics.__file__).parent.glob("*.py")))


def _score(pairs: pd.DataFrame, config: Config, truth: pd.DataFrame | None) -> pd.DataFrame:
    shares = {}
    if truth is not None:
        shares = {c: dict(zip(t.vertebra, t.visible_share, strict=True)) for c, t in truth.groupby("case")}
    jobs = [
        (Case.of(row), row.prediction, config.evaluation, shares.get(row.case)) for row in pairs.itertuples(index=False)
    ]
    tables = map_cases(_score_one, jobs, cluster=config.cluster, title="score", files=[job[2] for job in jobs])
    for table in tables:
        if isinstance(table, CaseError):
            raise table
    return pd.concat(tables, ignore_index=True)


def _score_one(job) -> pd.DataFrame:
    case, prediction_path, evaluation, shares = job
    reference = read_reference(case.segmentation, case.scheme)
    prediction = nifti.read_labels(prediction_path)
    if reference.array.shape != prediction.array.shape or not np.allclose(
        reference.affine, prediction.affine, atol=1e-2
    ):
        found = f"{prediction.array.shape} voxels, {prediction.orientation}"
        wanted = f"the grid of {case.segmentation}: {reference.array.shape} voxels, {reference.orientation}"
        raise CaseError("other-grid", prediction_path, found, wanted, "resample it onto the reference")
    arrays = [to_canonical(v.array, v.affine) for v in (reference, prediction)]
    affine = arrays[0][1]
    return score_case(case.case, arrays[0][0], arrays[1][0], affine, config=evaluation, visible_share=shares)
