"""How good the weights that come with the project are: phantoms never used before, and real pairs where present.

`make weights-scores` runs this module and writes `data/weights/scores.json`, which the book quotes.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context

import numpy as np
import pandas as pd
import torch

from spineseg import paths
from spineseg.anatomy.labels import REGIONS
from spineseg.anatomy.phantom import generate
from spineseg.anatomy.phantom.marrow import MARGIN_MM
from spineseg.config import Config
from spineseg.data import nifti
from spineseg.data.atomic import write_text
from spineseg.evaluation.calibration import calibration, outcomes, reliability
from spineseg.evaluation.scores import case_scores, score_case
from spineseg.evaluation.tables import summary
from spineseg.learning.boxed import HISTORY, card
from spineseg.learning.inference import Predictor
from spineseg.learning.review import vertebra_table
from spineseg.report.results import INCOMPLETE, score_real
from spineseg.report.score_tables import RULES

PHANTOMS, FIRST_SEED = 40, 880_000_000  # seeds that no cohort and no training has; half of them must show C3
FILE = "scores.json"
BINS = ("confidence", "correct", "low", "high", "n")  # of the reliability diagram
COLUMNS = {
    "n": "n",
    "dice": "named Dice",
    "best_match": "best match",
    "identified": "identified",
    "centroid_mm": "centroid, mm",
}


def measure(workers: int = 2) -> dict:
    """Predict and score with the weights in the box.

    Args:
        workers: Processes, one thread each.

    Returns:
        JSON-able: `weights` (sha256 of both networks), `phantoms` and `real`.
    """
    with ProcessPoolExecutor(workers, mp_context=get_context("forkserver"), initializer=_alone) as pool:
        phantoms = list(pool.map(score_phantom, range(PHANTOMS)))
        pairs = sorted((paths.real_ct_folder() / "pairs").glob("*_ct.nii.gz"))
        real = list(pool.map(score_pair, [p.name.removesuffix("_ct.nii.gz") for p in pairs]))
    networks = card()["networks"]
    answer = {"weights": {name: networks[name]["sha256"] for name in networks}, "phantoms": of_phantoms(phantoms)}
    return answer | {"real": real}


@dataclass(frozen=True)
class Scored:
    """One phantom, predicted.

    Attributes:
        scores: From `score_case`.
        found: Table of the vertebrae that were found.
        seconds: Of the prediction.
        alike: `(n,)` Dice of the vertebrae, had their labels reached outside the bone by the middle of what is drawn.
            How far they reach no image shows.
        exact: `(n,)` Dice of those labels themselves with the ones that were drawn.
    """

    scores: pd.DataFrame
    found: pd.DataFrame
    seconds: float
    alike: np.ndarray
    exact: np.ndarray


def of_phantoms(scored: list[Scored]) -> dict:
    """Means over phantoms, as `measure` keeps them."""
    config = Config().evaluation
    scores = pd.concat([one.scores for one in scored], ignore_index=True)
    cases, whole = case_scores(scores), summary(scores, by=None, config=config).iloc[0]
    regions = summary(scores, by="region", config=config).set_index("region")["mean"]
    found = pd.concat([one.found.assign(case=one.scores.case.iloc[0]) for one in scored], ignore_index=True)
    stated = outcomes(found, scores)
    sure, bins = calibration(stated, config=config).iloc[0], reliability(stated, config=config)
    alike, exact = (np.concatenate([getattr(one, k) for one in scored]).mean() for k in ("alike", "exact"))
    seen_whole = scores[(scores.visible_share > 1 - 1e-6) & scores.dice.notna()]
    return {
        "n": len(scored),
        "first_seed": FIRST_SEED,
        "spacing_mm": float(card()["values"]["preparation.spacing_mm"]),
        "vertebrae": int(scores.identified.notna().sum()),
        "dice": [round(float(whole[k]), 4) for k in ("mean", "low", "high")],
        "dice_by_region": {r: round(float(regions[r]), 4) for r in REGIONS if r in regions},
        "dice_of_labels_drawn_alike": round(float(alike), 6),
        "dice_of_exact_outlines": round(float(exact), 6),
        "dice_of_whole_vertebrae": round(float(seen_whole.dice.mean()), 4),
        "binary": round(float(cases.binary_dice.mean()), 4),
        "identified": round(float(scores.identified.mean()), 4),
        "false_vertebra_ml": round(float(cases.false_vertebra_ml.mean()), 2),
        "calibration_error": round(float(sure["ece"]), 4),
        "reliability": [{k: round(float(row[k]), 4) for k in BINS} for _, row in bins.iterrows()],
        "seconds_per_scan": round(statistics.median(one.seconds for one in scored), 1),
    }


def score_phantom(index: int) -> Scored:
    """Predict and score one phantom at the weights' own voxel size."""
    predictor = Predictor.boxed()
    asked = {"spacing_mm": predictor.config.preparation.spacing_mm, "needs": ["C3"] if index % 2 else None}
    phantom = generate(FIRST_SEED + index, **asked)
    start = time.perf_counter()
    prediction = predictor(nifti.Volume(phantom.ct_hu, phantom.affine, ()))
    seconds = time.perf_counter() - start
    shares = {row["vertebra"]: row["visible_share"] for row in phantom.truth["vertebrae"]}
    evaluation, case = predictor.config.evaluation, f"phantom_{index:02d}"
    middle = generate(FIRST_SEED + index, **asked, margin_mm=np.mean(MARGIN_MM)).labels
    scores, alike, exact = (
        score_case(case, labels, given, phantom.affine, config=evaluation, visible_share=shares)
        for labels, given in (
            (phantom.labels, prediction.labels),
            (middle, prediction.labels),
            (phantom.labels, middle),
        )
    )
    found = vertebra_table(prediction.found, phantom.affine, predictor.config.inference.sure)
    both = (table.dice[table.reference_voxels > 0].to_numpy() for table in (alike, exact))
    return Scored(scores, found, seconds, *both)


def score_pair(case: str) -> dict:
    """Scores of one real pair: over the whole volume, and by name under each of the two rules."""
    folder, predictor = paths.real_ct_folder() / "pairs", Predictor.boxed()
    reference = nifti.read_labels(folder / f"{case}_seg.nii.gz")
    prediction = predictor(nifti.read_ct(folder / f"{case}_ct.nii.gz"))
    evaluation = predictor.config.evaluation
    rows = score_real(
        case,
        reference.array,
        prediction.labels,
        reference.affine,
        config=evaluation,
        incomplete=case.startswith(INCOMPLETE),
    )
    answer = {"case": case, "binary": _rounded(rows.scan_binary_dice.iloc[0])}
    answer["false_vertebra_ml"] = _rounded(rows.scan_false_vertebra_ml.iloc[0], 1)
    for rule, name in zip(RULES, ("clear", "labelled"), strict=True):
        counted = rows[(rows.counted == rule) & (rows.reference_voxels > 0)]
        answer[name] = {
            "n": len(counted),
            "dice": _rounded(counted.dice.mean()),
            "best_match": _rounded(counted.best_match_dice.mean()),
            "identified": _rounded(counted.identified.mean()),
            "centroid_mm": _rounded(counted.centroid_mm.median(), 1),
        }
    table = vertebra_table(prediction.found, prediction.affine, predictor.config.inference.sure)
    return answer | {"confidence": _rounded(table.confidence.mean()), "named": table.vertebra.tolist()}


def load() -> dict:
    """What `measure` wrote last."""
    return json.loads((paths.weights_folder() / FILE).read_text())


def phantom_table(answer: dict) -> pd.DataFrame:
    """Mean Dice of the phantoms' vertebrae, by region and in all, one row each."""
    phantoms = answer["phantoms"]
    rows = {"all": phantoms["dice"][0]} | phantoms["dice_by_region"] | {"whole": phantoms["dice_of_whole_vertebrae"]}
    rows["all, labels drawn alike"] = phantoms["dice_of_labels_drawn_alike"]
    return pd.DataFrame({"mean Dice": rows}).rename_axis("vertebrae")


def reliability_bins(answer: dict) -> pd.DataFrame:
    """Stated confidence against the share identified on the phantoms, for `trust_figures.draw_reliability`."""
    return pd.DataFrame(answer["phantoms"]["reliability"]).assign(method="boxed").astype({"n": int})


def real_table(answer: dict) -> pd.DataFrame:
    """One row per real pair: bone over the whole volume; by name, vertebrae clear of the edge and all labelled ones."""
    rows = []
    for pair in answer["real"]:
        row = {("", "case"): pair["case"], ("whole volume", "binary Dice"): pair["binary"]}
        row[("whole volume", "false ml")] = pair["false_vertebra_ml"]
        for rule, name in zip(RULES, ("clear", "labelled"), strict=True):
            row |= {(rule, text): pair[name][key] for key, text in COLUMNS.items()}
        rows.append(row | {("", "confidence"): pair["confidence"]})
    table = pd.DataFrame(rows)
    table.columns = pd.MultiIndex.from_tuples(table.columns) if rows else table.columns
    return table


def training() -> dict:
    """How the weights were made, from their card: seed, device and commit of the first call; steps and minutes of each
    network in that call, and `more` of both in the calls that went on from it."""
    known = card()
    calls = [*known.get("earlier", []), known]
    made = {f"box_{k}": calls[0]["provenance"][k] for k in ("seed", "device", "commit")}
    for name in known["networks"]:
        first, *later = {call["networks"][name]["sha256"]: call["networks"][name] for call in calls}.values()
        made |= {f"box_{name}_steps": first["steps"], f"box_{name}_minutes": first["seconds"] / 60}
        made[f"box_{name}_more_steps"] = sum(state["steps"] for state in later)
        made[f"box_{name}_more_minutes"] = sum(state["seconds"] for state in later) / 60
    return made


def history() -> pd.DataFrame:
    """How the networks learnt: a row per network and epoch, as `history.csv` of a run."""
    return pd.read_csv(paths.weights_folder() / HISTORY)


def late_gain(learnt: pd.DataFrame) -> dict:
    """What the second half of the epochs added to the validation Dice of each network, in the first call."""
    gains = {}
    first = learnt[learnt["call"] == 0] if "call" in learnt else learnt
    for network, part in first.dropna(subset="dice_mean").groupby("network"):
        half = part[part["epoch"] <= part["epoch"].max() / 2]["dice_mean"].max()
        gains[f"box_{network}_late"] = float(part["dice_mean"].max() - half)
    return gains


def words(answer: dict) -> dict:
    """What the prose of chapter 4 quotes."""
    phantoms, real = answer["phantoms"], answer["real"]
    known = {f"box_{k}": phantoms[k] for k in ("n", "vertebrae", "binary", "identified", "seconds_per_scan")}
    known |= {"box_false": phantoms["false_vertebra_ml"], "box_ece": phantoms["calibration_error"]}
    known |= dict(zip(("box_dice", "box_low", "box_high"), phantoms["dice"], strict=True))
    known |= {"box_alike": phantoms["dice_of_labels_drawn_alike"], "box_exact": phantoms["dice_of_exact_outlines"]}
    known |= dict(zip(("box_margin_low", "box_margin_high"), MARGIN_MM, strict=True))
    known |= {"box_mm": phantoms["spacing_mm"], "box_pairs": len(real)}
    known["box_real_low"] = min((p["binary"] for p in real), default=float("nan"))
    known["box_real_high"] = max((p["binary"] for p in real), default=float("nan"))
    return known


def _rounded(value, digits: int = 3):
    return None if np.isnan(value) else round(float(value), digits)


def _alone() -> None:
    torch.set_num_threads(1)


if __name__ == "__main__":
    write_text(paths.weights_folder() / FILE, json.dumps(measure(), indent=1) + "\n")
    sys.stdout.write(f"{paths.weights_folder() / FILE}\n")
