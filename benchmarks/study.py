"""What each choice of the cascade is worth: one change at a time, the same seeds, phantoms of no split.

Run `python benchmarks/study.py WORKDIR [--only TEXT] [--out results.json]`; `make study` runs all of it, some hours on
two cores. The coarse stage is judged by the names that it gives to perfect outlines, the fine stage by the whole
cascade with one coarse network for all. Rows that are in the output already are not run again.
"""

import argparse
import contextlib
import json
import os
import shutil
import sys
from pathlib import Path
from unittest import mock

import numpy as np
import pandas as pd
import torch

from spineseg import paths
from spineseg.anatomy.phantom import generate
from spineseg.config import Config
from spineseg.data import nifti
from spineseg.data.atomic import write_text
from spineseg.data.geometry import back_to_original
from spineseg.data.store import prepare_arrays
from spineseg.evaluation.bootstrap import case_weights, interval, weighted_mean
from spineseg.evaluation.scores import score_case
from spineseg.learning import cascade, training
from spineseg.learning.assembly import assemble
from spineseg.learning.inference import Predictor

FIRST_SEED, SCANS = 700_000_000, {"coarse": 60, "fine": 24}  # half of them must show C3
# what the first rows were measured with, so that later ones can be held against them: half the demo's epochs; the
# precision is pinned, a timed probe could differ from row to row
SETTINGS = {
    "training.epochs": 20, "coarse.steps_per_epoch": 90, "fine.steps_per_epoch": 100, "training.precision": "bf16",
    "training.optimizer": "adamw", "coarse.learning_rate": 2e-3, "training.turned_share": 0.3,
    "training.blur_share": 0.2, "fine.batch": 1,
}  # fmt: skip
BASE = "unchanged"


def without_levels(logits, config):
    """`cascade.guidance` without the three channels that say where along the spine a voxel is."""
    guide = cascade.guidance(logits, config)
    return torch.cat((guide[: cascade.PHASES + 1], torch.zeros_like(guide[cascade.PHASES + 1 :])))


def levels_off() -> list:
    """Patches that take the level from the fine stage, in training and in prediction."""
    return [mock.patch(f"spineseg.learning.{m}.guidance", without_levels) for m in ("tasks", "inference")]


# stage, choice, what it is changed to, values, patches
ROWS = (
    ("coarse", "", BASE, {}, None),
    ("coarse", "seed", "another", {"training.seed": 1}, None),
    ("coarse", "voxels of the coarse scan", "9 mm", {"preparation.coarse_spacing_mm": 9.0}, None),
    ("coarse", "voxels of the coarse scan", "16 mm", {"preparation.coarse_spacing_mm": 16.0}, None),
    ("coarse", "loss", "no term among names", {"coarse.naming_weight": 0.0}, None),
    ("coarse", "loss", "no binary Dice", {"coarse.loss": "dice_ce"}, None),
    ("coarse", "training phantoms", "72", {"cohort.train": 72}, None),
    ("coarse", "training phantoms", "36", {"cohort.train": 36}, None),
    ("coarse", "neck in view", "as in the population", {"cohort.neck_share": 0.0}, None),
    ("coarse", "spread of looks", "none", {"cohort.spread": 0.0}, None),
    ("coarse", "spread of looks", "half as wide again", {"cohort.spread": 1.5}, None),
    ("coarse", "smaller fields of view", "never", {"coarse.narrowed_share": 0.0}, None),
    ("coarse", "smaller fields of view", "two in five", {"coarse.narrowed_share": 0.4}, None),
    ("coarse", "moving average", "none", {"training.ema_decay": 0.0}, None),
    ("coarse", "width", "half", {"coarse.network.channels": (4, 8, 16, 32)}, None),
    ("coarse", "optimizer", "Muon", {"training.optimizer": "muon", "coarse.learning_rate": 4e-3}, None),
    ("fine", "", BASE, {}, None),
    ("fine", "seed", "another", {"training.seed": 1}, None),
    ("fine", "level as an input", "left out", {}, levels_off),
    ("fine", "deep supervision", "at half and quarter resolution", {"fine.deep_supervision": 2}, None),
    ("fine", "patch", "24-cubed", {"fine.patch": (24, 24, 24)}, None),
    ("fine", "patch", "48-cubed", {"fine.patch": (48, 48, 48)}, None),
    ("fine", "loss", "no term among phases", {"fine.naming_weight": 0.0}, None),
    ("fine", "loss", "no binary Dice", {"fine.loss": "dice_ce"}, None),
    ("fine", "patches on vertebrae, classes evenly", "half of them", {"fine.foreground_share": 0.5}, None),
    ("fine", "smaller fields of view", "one in five", {"fine.narrowed_share": 0.2}, None),
    ("fine", "moving average", "none", {"training.ema_decay": 0.0}, None),
    ("fine", "width", "half", {"fine.network.channels": (4, 8, 16, 32)}, None),
    ("fine", "overlap of windows", "half", {"inference.overlap_share": 0.5}, None),
    ("fine", "looks", "one", {"inference.looks": 1}, None),
    ("fine", "optimizer", "Muon", {"training.optimizer": "muon"}, None),
)  # fmt: skip


def run_name(stage: str, choice: str = "", change: str = BASE) -> str:
    """Name of a row's run."""
    return "-".join(f"{stage} {choice} {change}".replace(",", "").split())


def configured(name: str, values: dict) -> Config:
    """The demo's configuration with the study's settings and the row's values."""
    cohort = {k: v for k, v in values.items() if k.startswith("cohort.")}
    folder = "phantom-study" + "".join(f"-{k[7:]}-{v}" for k, v in cohort.items())
    return Config.load("demo", name, **(SETTINGS | {"cohort.folder": folder} | values))


def trained(stage: str, config: Config, values: dict, patches: list) -> None:
    """Train one stage: a fine one on the base's coarse network, none where only prediction differs from the base."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(mock.patch.dict(training.METHODS, coarse=("coarse",)))
        for patch in patches:
            stack.enter_context(patch)
        if stage == "fine":
            checkpoints = paths.run_folder(config.run) / "checkpoints"
            checkpoints.mkdir(parents=True, exist_ok=True)
            predicts = bool(values) and all(name.startswith("inference.") for name in values)
            for file in (paths.run_folder(run_name("fine" if predicts else "coarse")) / "checkpoints").iterdir():
                shutil.copy(file, checkpoints)
            if predicts:
                return
        training.train(config, "coarse" if stage == "coarse" else "cascade")


def scored(stage: str, config: Config, patches: list) -> pd.DataFrame:
    """Rows of `score_case` over the phantoms of no split; of the coarse stage over crops of them too."""
    with contextlib.ExitStack() as stack:
        for patch in patches:
            stack.enter_context(patch)
        if stage == "coarse":
            network = training.load_network(config, "coarse")[0]
        else:
            predictor = Predictor.of_run(config)
        tables = []
        for i in range(SCANS[stage]):
            phantom = generate(FIRST_SEED + i, spacing_mm=config.cohort.spacing_mm, needs=["C3"] if i % 2 else None)
            scans = {"phantom": (phantom.ct_hu, phantom.labels, phantom.affine)}
            if stage == "coarse":
                scans["crop"] = cropped(phantom, np.random.default_rng(i))
            for kind, (ct_hu, labels, affine) in scans.items():
                if stage == "coarse":
                    found = named_outlines(network, ct_hu, labels, affine, config)
                else:
                    found = predictor(nifti.Volume(ct_hu, affine, ())).labels
                tables.append(score_case(f"{kind}_{i:02d}", labels, found, affine, config=config.evaluation))
    return pd.concat(tables, ignore_index=True)


def cropped(phantom, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """CT, labels and affine of two to six neighbouring vertebrae and at most 15 mm beside them, as many data sets crop
    scans; the whole scan if it holds fewer than three."""
    held = np.unique(phantom.labels[phantom.labels > 0])
    if len(held) < 3:
        return phantom.ct_hu, phantom.labels, phantom.affine
    count = int(rng.integers(2, min(7, len(held))))
    first = int(rng.integers(len(held) - count + 1))
    found = np.argwhere(np.isin(phantom.labels, held[first : first + count]))
    margin = rng.uniform(0.0, 15.0, (2, 3)) / np.linalg.norm(phantom.affine[:3, :3], axis=0)
    low = np.maximum(found.min(0) - margin[0].astype(int), 0)
    box = tuple(slice(a, b) for a, b in zip(low, found.max(0) + 1 + margin[1].astype(int), strict=True))
    affine = phantom.affine.copy()
    affine[:3, 3] += affine[:3, :3] @ low
    return phantom.ct_hu[box].copy(), phantom.labels[box].copy(), affine


@torch.inference_mode()
def named_outlines(network, ct_hu, labels, affine, config: Config) -> np.ndarray:
    """The reference's vertebrae under the names that the coarse network gives them, on the scan's grid."""
    scan = prepare_arrays(ct_hu, labels, affine, config.preparation)
    small = torch.from_numpy(scan.coarse_image)[None]
    logits = cascade.coarse_logits(network, small, config.coarse.patch)
    phase = cascade.phases(torch.from_numpy(scan.labels)).numpy().astype(np.uint8)
    found = assemble(phase, logits, scan.affine, scan.coarse_affine, config)
    return np.asarray(back_to_original(torch.from_numpy(found.label_map), scan.affine, affine, ct_hu.shape))


def per_vertebra(stage: str, scores: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Columns `case, vertebra, value` of each measure."""
    held = scores[scores.reference_voxels > 0]
    crops = held.case.str.startswith("crop")
    held, few = held[~crops], held[crops]
    neck = held[held.region == "cervical"]
    measures = {"identified": (held, "identified"), "identified, neck": (neck, "identified")}
    if stage == "coarse":
        measures["identified, crops"] = (few, "identified")
    else:
        measures |= {"Dice": (held, "dice"), "Dice, neck": (neck, "dice")}
    tables = {
        name: rows[["case", "vertebra", column]].set_axis(["case", "vertebra", "value"], axis=1)
        for name, (rows, column) in measures.items()
    }
    if stage == "fine":
        sums = scores.groupby("case")[["found_voxels", "reference_voxels", "prediction_voxels"]].sum()
        binary = 2 * sums.found_voxels / (sums.reference_voxels + sums.prediction_voxels)
        tables["binary Dice"] = binary[sums.reference_voxels > 0].rename("value").reset_index().assign(vertebra="")
    return tables


def compared(stage: str, scores: pd.DataFrame, base: pd.DataFrame, config: Config) -> dict:
    """Mean of each measure, and its change against the base with an interval over scans."""
    answer, before = {}, per_vertebra(stage, base)
    for name, after in per_vertebra(stage, scores).items():
        both = before[name].merge(after, on=["case", "vertebra"], suffixes=("_before", "_after"))
        codes, cases = pd.factorize(both.case)
        weights = case_weights(len(cases), draws=config.evaluation.bootstrap_draws, seed=config.evaluation.seed)
        change = (both.value_after - both.value_before).to_numpy()
        low, high = interval(weighted_mean(change, codes, weights), level=config.evaluation.bootstrap_level)
        values = {"mean": both.value_after.mean(), "change": change.mean(), "low": low, "high": high}
        answer[name] = {k: round(float(v), 4) for k, v in values.items()}
    return answer


def is_row(row: dict, stage: str, choice: str, change: str) -> bool:
    """Whether a row of the output is that of a choice."""
    return (row["stage"], row["choice"], row["change"]) == (stage, choice, change)


def main(arguments=None) -> int:
    """Run the rows that the output does not have; it is written anew after each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("workdir", type=Path)
    parser.add_argument("--only", default="", help="rows whose stage, choice or change holds this")
    parser.add_argument("--out", type=Path, default=paths.results_folder() / "study.json")
    options = parser.parse_args(arguments)
    os.environ["SPINESEG_HOME"] = str(options.workdir.resolve())
    settings = {"profile": "demo", "first_seed": FIRST_SEED, "scans": SCANS, **SETTINGS}
    kept = json.loads(options.out.read_text()) if options.out.is_file() else {"settings": settings, "rows": []}
    if kept["settings"] != settings:
        parser.error(f"{options.out} was measured with other settings; delete it and {options.workdir} to start afresh")
    chosen = [row for row in ROWS if options.only in " ".join(row[:3])]
    stages = {row[0] for row in chosen} | {"coarse" for row in chosen if row[0] == "fine"}
    bases = [row for row in ROWS if row[2] == BASE and row[0] in stages]
    tables = {}
    for stage, choice, change, values, patches in [*bases, *(row for row in chosen if row[2] != BASE)]:
        if choice and any(is_row(r, stage, choice, change) for r in kept["rows"]):
            continue
        name = run_name(stage, choice, change)
        config, file = configured(name, values), options.workdir / "scores" / f"{name}.csv"
        if not file.is_file():
            trained(stage, config, values, patches() if patches else [])
            write_text(file, scored(stage, config, patches() if patches else []).to_csv(index=False))
        tables[name] = pd.read_csv(file)
        if any(is_row(r, stage, choice, change) for r in kept["rows"]):
            continue  # a base whose row is there: measured anew only to hold later rows against it
        row = {"stage": stage, "choice": choice, "change": change, "values": values}
        row["measures"] = compared(stage, tables[name], tables[run_name(stage)], config)
        kept["rows"].append(row)
        write_text(options.out, json.dumps(kept, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    torch.set_num_threads(1)
    sys.exit(main())
