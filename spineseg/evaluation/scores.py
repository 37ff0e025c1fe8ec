"""One row per case and vertebra, and tables over them under both conventions for absent vertebrae.

A vertebra that the scan does not hold but the prediction does (a false positive) has Dice 0. The convention `"present"`
leaves such rows out, as TotalSegmentator does; `"all"` counts them, as nnU-Net does. Rows empty in both are in neither.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd

from spineseg.anatomy.labels import IDS, N_CLASSES, REGION_OF, VERTEBRAE
from spineseg.config import EvaluationConfig
from spineseg.evaluation.conventions import counted, is_cut
from spineseg.evaluation.metrics import boxes, centroids_mm, confusion, dice_matrix, identification
from spineseg.evaluation.surfaces import hd95_of, nsd_of, surface_distances
from spineseg.evaluation.tables import shift_histogram, summary
from spineseg.evaluation.volumes import false_voxels

__all__ = ["case_scores", "counted", "is_cut", "score_case", "score_cases", "shift_histogram", "summary"]


def score_case(
    case: str,
    reference,
    prediction,
    affine,
    *,
    config: EvaluationConfig,
    visible_share: Mapping[str, float] | None = None,
    ignore: Sequence[str] = (),
) -> pd.DataFrame:
    """Score one predicted label map against its reference.

    Args:
        case: Name of the case.
        reference: Label map, `(I, J, K)`, whole numbers 0..25.
        prediction: Label map on the same grid.
        affine: `(4, 4)`, voxel index to RAS+ mm; rotated is fine, sheared is not (distances use the column lengths).
        config: Tolerances and radii.
        visible_share: Share of each vertebra that lies in the scan, by name, where it is known.
        ignore: Names of vertebrae to leave out: their reference voxels count for nothing, whatever is predicted there,
            and their predicted voxels become background, except on a vertebra that counts: bone under a wrong name.

    Returns:
        One row for each of the 25 vertebrae that is not left out: `case`, `vertebra`, `region`, `reference_voxels`,
        `prediction_voxels`, `found_voxels` (reference voxels that were called any vertebra), `ignored_voxels` (those of
        them that were called one that is left out), `reference_ml`, `false_positive_ml` (predicted under this name
        where the reference has no vertebra), `false_vertebra_ml` (the part of it that is farther than the NSD's
        tolerance from every vertebra), `visible_share` (`nan` unless known), `at_border` (the reference touches the
        scan's edge), `dice`, `hd95_mm`,
        `nsd` (both empty `nan`; one empty 0, `inf`, 0), `identified` (1 or 0, `nan` when the reference is absent),
        `centroid_mm` (distance of the centroids, `nan` unless both are there), `best_match_dice` (largest Dice with any
        predicted vertebra), `best_match` (its name, missing when nothing overlaps), `shift` (index of the best match
        minus its own, `nan` when nothing overlaps).

    Raises:
        ValueError: If the shapes differ, a label is not one of 0..25 or a name to ignore is unknown.
    """
    reference, prediction, affine = np.asarray(reference), np.asarray(prediction), np.asarray(affine, float)
    counts = confusion(reference, prediction)
    reference, prediction = reference.astype(np.uint8, copy=False), prediction.astype(np.uint8, copy=False)
    bone, reference_boxes = reference, boxes(reference)
    at_border = _touches_edge(reference_boxes, reference.shape)
    left_out = _ids(ignore)
    if left_out:
        reference, prediction = _leave_out(reference, prediction, left_out)
        counts, reference_boxes = confusion(reference, prediction), boxes(reference)
    predicted_boxes = boxes(prediction)

    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    # what lies beside a vertebra that is left out lies beside a vertebra
    outside, far = false_voxels(bone, prediction, spacing, tolerance_mm=config.nsd_tolerance_mm)
    voxel_ml = abs(np.linalg.det(affine[:3, :3])) / 1000
    dice = dice_matrix(counts)
    reference_mm, predicted_mm = centroids_mm(reference, affine), centroids_mm(prediction, affine)
    identified = identification(reference_mm, predicted_mm, radius_mm=config.identification_radius_mm)
    rows = []
    for i, name in enumerate(VERTEBRAE, start=1):
        if i in left_out:
            continue
        distances = _distances(i, reference, prediction, reference_boxes[i], predicted_boxes[i], spacing)
        best_dice, best = _best_match(i, dice)
        rows.append(
            {
                "case": case,
                "vertebra": name,
                "region": REGION_OF[name],
                "reference_voxels": int(counts[i].sum()),
                "prediction_voxels": int(counts[:, i].sum()),
                "found_voxels": int(counts[i, 1:].sum()),
                "ignored_voxels": int(counts[i, sorted(left_out)].sum()),
                "reference_ml": float(counts[i].sum() * voxel_ml),
                "false_positive_ml": float(outside[i] * voxel_ml),
                "false_vertebra_ml": float(far[i] * voxel_ml),
                "visible_share": float((visible_share or {}).get(name, np.nan)),
                "at_border": bool(at_border[i]),
                "dice": float(dice[i, i]),
                "hd95_mm": hd95_of(distances),
                "nsd": nsd_of(distances, tolerance_mm=config.nsd_tolerance_mm),
                "identified": float(identified[i]),
                "centroid_mm": float(np.linalg.norm(reference_mm[i] - predicted_mm[i])),
                "best_match_dice": best_dice,
                "best_match": VERTEBRAE[best - 1] if best else None,
                "shift": float(best - i) if best else np.nan,
            }
        )
    return pd.DataFrame(rows)


def score_cases(cases: Iterable[tuple], *, config: EvaluationConfig, truth: pd.DataFrame | None = None, **options):
    """Score many cases.

    Args:
        cases: `(case, reference, prediction, affine)` each; may be a generator, one case is held at a time.
        config: Tolerances and radii.
        truth: Columns `case`, `vertebra`, `visible_share`, where the share is known.
        **options: `ignore` of `score_case`.

    Returns:
        The rows of `score_case`, one case after the other.

    Raises:
        ValueError: As `score_case`, or if there is no case.
    """
    shares = {}
    if truth is not None:
        shares = {c: dict(zip(t.vertebra, t.visible_share, strict=True)) for c, t in truth.groupby("case")}
    tables = [
        score_case(case, reference, prediction, affine, config=config, visible_share=shares.get(case), **options)
        for case, reference, prediction, affine in cases
    ]
    if not tables:
        raise ValueError("no case to score; predict at least one first")
    return pd.concat(tables, ignore_index=True)


def case_scores(scores: pd.DataFrame, *, convention: str = "present") -> pd.DataFrame:
    """One row per case (and method, where the scores name it).

    Args:
        scores: Rows of `score_cases`.
        convention: `"present"` or `"all"`, for the mean Dice.

    Returns:
        Columns `case`, `binary_dice` (vertebra against background), `mean_dice`, `identification` (share of the
        reference's vertebrae), `false_positive_ml` and `false_vertebra_ml` (sums over all names; 0 where nothing is
        predicted). A case without any vertebra has `nan` in `mean_dice` and `identification`.

    Raises:
        ValueError: If the convention is unknown.
    """
    keys = [k for k in ("method", "case") if k in scores]
    table = scores.assign(dice=scores.dice.where(counted(scores, convention)))
    table = table.groupby(keys, sort=False).agg(
        found=("found_voxels", "sum"),
        reference=("reference_voxels", "sum"),
        prediction=("prediction_voxels", "sum"),
        ignored=("ignored_voxels", "sum"),
        mean_dice=("dice", "mean"),
        identification=("identified", "mean"),
        false_positive_ml=("false_positive_ml", "sum"),
        false_vertebra_ml=("false_vertebra_ml", "sum"),
    )
    binary = (
        2.0 * table.found / (table.reference + table.prediction + table.ignored)
    )  # 0 / 0 is nan: nothing there, nothing found
    table.insert(0, "binary_dice", binary)
    return table.drop(columns=["found", "reference", "prediction", "ignored"]).reset_index()


def _ids(names: Sequence[str]) -> set[int]:
    unknown = [n for n in names if n not in IDS]
    if unknown:
        raise ValueError(f"unknown vertebrae to ignore: {unknown}; known: {', '.join(VERTEBRAE)}")
    return {IDS[n] for n in names}


def _touches_edge(found: np.ndarray, shape) -> np.ndarray:
    """`(26,)` bool from the boxes of the classes."""
    present = found.any((1, 2))
    return present & ((found[..., 0] == 0) | (found[..., 1] == np.asarray(shape))).any(1)


def _leave_out(reference, prediction, ids: set[int]):
    keep = np.ones(N_CLASSES, np.uint8)
    keep[list(ids)] = 0
    names = np.arange(N_CLASSES, dtype=np.uint8) * keep
    counts_there = (keep > 0)[reference]
    # on a vertebra that counts, bone under a name that does not is still bone: a wrong name, not a hole
    kept = np.where(names[reference] > 0, prediction, names[prediction])
    return names[reference], np.where(counts_there, kept, np.uint8(0))


def _distances(i: int, reference, prediction, *boxes_and_spacing):
    reference_box, predicted_box, spacing = boxes_and_spacing
    there = [b for b in (reference_box, predicted_box) if b.any()]
    if not there:
        return np.empty(0), np.empty(0)
    box = tuple(slice(min(b[k, 0] for b in there), max(b[k, 1] for b in there)) for k in range(3))
    return surface_distances(reference[box] == i, prediction[box] == i, spacing=spacing)


def _best_match(i: int, dice: np.ndarray) -> tuple[float, int]:
    """Largest Dice of reference class i with a predicted vertebra, and which (0: none); the nearest name wins a tie."""
    if np.isnan(dice[i, i]):
        return float("nan"), 0
    row = np.nan_to_num(dice[i, 1:])
    distance = np.abs(np.arange(1, N_CLASSES) - i)
    best = np.lexsort((distance, -row))[0]
    return float(row[best]), int(best) + 1 if row[best] > 0 else 0
