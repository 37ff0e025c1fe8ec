"""Pictures for `slices`: which scans, cut to where, from the files of a cohort and a run."""

from __future__ import annotations

import numpy as np
import pandas as pd

from spineseg.anatomy.labels import IDS
from spineseg.data import nifti
from spineseg.data.case import Case
from spineseg.data.geometry import orientation_of, spacing_of
from spineseg.data.reference import read_reference
from spineseg.data.store import Store
from spineseg.report import score_tables, tables
from spineseg.report.slices import BONE_WINDOW_HU
from spineseg.report.survey import open_scan, read_canonical


def steps(store: Store, case: str) -> list[dict]:
    """One scan after each step of the preparation, for `slices.show_steps`.

    Args:
        store: Prepared cases.
        case: Name.

    Returns:
        The stored array as it lies on disk, on RAS+ axes, on the fine grid, on the coarse grid, and the fine grid with
        what lies far from the spine darkened.
    """
    row = next(r for r in store.table.itertuples() if str(r.case) == case)
    raw, turned, scan = nifti.read_ct(row.ct), open_scan(row), store.load(case).with_labels()
    fine, coarse = spacing_of(scan.affine), spacing_of(scan.coarse_affine)
    at, coarse_at = tables.busiest(scan.labels)["sagittal"], tables.busiest(scan.coarse_labels)["sagittal"]
    near = tables.near_spine(scan.labels, fine, store.config.inference.margin_mm)
    raw_step = {"image": raw.array, "spacing": raw.spacing, "index": raw.array.shape[0] // 2, "sides": False}
    return [
        raw_step | {"name": f"as stored ({orientation_of(raw.affine)})", "window_hu": BONE_WINDOW_HU},
        {"name": "turned to RAS", "image": turned.ct_hu, "spacing": turned.spacing, "index": turned.indices["sagittal"]}
        | {"window_hu": BONE_WINDOW_HU},
        {"name": f"{fine[0]:g} mm, windowed", "image": scan.image, "spacing": fine, "index": at},
        {"name": f"{coarse[0]:g} mm", "image": scan.coarse_image, "spacing": coarse, "index": coarse_at},
        {"name": "near the spine", "image": scan.image * np.where(near, 1.0, 0.3), "spacing": fine, "index": at},
    ]


def comparison(cases: pd.DataFrame, predictions: pd.DataFrame, method: str, case: str, heading: str = "") -> dict:
    """One case with its reference and a prediction, for `slices.show_cases`.

    Args:
        cases: Table of the cohort.
        predictions: Columns `method`, `case`, `prediction`.
        method: Whose prediction.
        case: Name.
        heading: Written beside the pictures.

    Returns:
        Arguments of `slices.show_comparison`, cut to the surroundings of the spine.
    """
    scan = open_scan(next(r for r in cases.itertuples() if str(r.case) == str(case)))
    chosen = predictions[(predictions["method"] == method) & (predictions["case"].astype(str) == str(case))]
    prediction = read_canonical(chosen["prediction"].iloc[0])
    box = tables.box_about(scan.labels > 0, scan.spacing, margin_mm=60.0)
    reference = scan.labels[box]
    picture = {"image": scan.ct_hu[box], "reference": reference, "prediction": prediction[box], "spacing": scan.spacing}
    return picture | {"index": tables.busiest(reference)["sagittal"], "heading": heading}


def comparisons(cases: pd.DataFrame, predictions: pd.DataFrame, method: str, ranked: pd.DataFrame) -> list[dict]:
    """Pictures of ranked cases.

    Args:
        cases: Table of the cohort.
        predictions: Columns `method`, `case`, `prediction`.
        method: Whose predictions.
        ranked: From `score_tables.worst_and_best`.

    Returns:
        One dict per case for `slices.show_cases`.
    """
    return [
        comparison(cases, predictions, method, row.case, f"{row.rank}: {row.case}\nDice {row.mean_dice:.2f}")
        for row in ranked.itertuples()
    ]


def real_comparisons(scores: pd.DataFrame) -> list[dict]:
    """Pictures of every real scan.

    Args:
        scores: From `results.evaluate_real`, with the paths.

    Returns:
        One dict per scan for `slices.show_cases`.
    """
    files = scores.drop_duplicates("case")[["case", "ct", "segmentation", "prediction"]]
    return [comparison(files, files.assign(method="real"), "real", row.case, row.case) for row in files.itertuples()]


def predicted_pair(cases: pd.DataFrame, predictions: pd.DataFrame, method: str, case: str) -> dict:
    """A scan with its predicted label map, for `slices.show_pair`.

    Args:
        cases: Table of the cohort.
        predictions: Columns `method`, `case`, `prediction`.
        method: Whose prediction.
        case: Name.

    Returns:
        Arguments of `slices.show_pair`; the slices are those that show most of the reference.
    """
    scan = open_scan(next(r for r in cases.itertuples() if str(r.case) == str(case)))
    chosen = predictions[(predictions["method"] == method) & (predictions["case"].astype(str) == str(case))]
    labels = read_canonical(chosen["prediction"].iloc[0])
    return {"image": scan.ct_hu, "labels": labels, "spacing": scan.spacing, "indices": scan.indices}


def label_pairs(cases: pd.DataFrame, predictions: pd.DataFrame, method: str):
    """Yield reference and prediction of every predicted case of a method, for `errors.confusion_of_names`."""
    known = {case.case: case for case in map(Case.of, cases.itertuples(index=False))}
    for row in predictions[predictions["method"] == method].itertuples():
        case = known[str(row.case)]
        yield read_reference(case.segmentation, case.scheme).array, nifti.read_labels(row.prediction).array


def failures(scores: pd.DataFrame, region: str, most: int = 8) -> tuple[pd.DataFrame, str]:
    """The vertebra of each case that lost the most Dice, then the next of each case, and so on.

    Args:
        scores: Scores of one method.
        region: Such as `cervical`; all regions where no case shows it.
        most: Rows at most.

    Returns:
        Rows of the scores, and which region they are of: `region`, or `all regions`.
    """
    there = score_tables.present(scores)
    known = (there["region"] == region).any()
    there = there[there["region"] == region] if known else there
    turn = there.sort_values("dice", kind="stable").groupby("case").cumcount()
    rows = there.assign(turn=turn).sort_values(["turn", "dice"], kind="stable").head(most).drop(columns="turn")
    return rows, region if known else "all regions"


def atlas(rows: pd.DataFrame, cases: pd.DataFrame, predictions: pd.DataFrame, method: str) -> list[dict]:
    """Crops about some vertebrae, for `slices.show_atlas`.

    Args:
        rows: First of `failures`.
        cases: Table of the cohort.
        predictions: Columns `method`, `case`, `prediction`.
        method: Whose predictions.

    Returns:
        One picture per row.
    """
    pictures = []
    for row in rows.itertuples():
        whole, label = comparison(cases, predictions, method, row.case), IDS[row.vertebra]
        arrays = (whole["image"], whole["reference"], whole["prediction"])
        (image, reference, prediction), index = tables.crop_about(
            label, whole["spacing"], *arrays, reference=whole["reference"]
        )
        name = row.best_match if isinstance(row.best_match, str) else "nothing"
        title = f"{row.case}: {row.vertebra}, called {name}\nDice {row.dice:.2f}, best match {row.best_match_dice:.2f}"
        pictures.append(
            {"image": image, "reference": reference, "prediction": prediction, "spacing": whole["spacing"]}
            | {"index": index, "label": label, "title": title}
        )
    return pictures
