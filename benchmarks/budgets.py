"""Networks, losses and training lengths under equal budgets: the demo's phantoms, the same seeds, phantoms of no split.

Run `python benchmarks/budgets.py WORKDIR [--only TEXT] [--out budgets.json]`; an hour on one core. Networks take the
fine stage's place in the cascade, behind one coarse network for all: the same number of steps, then the same processor
time. Losses are compared where 26 classes are told apart, in the coarse stage. Rows that are in the output already are
not run again.
"""

import argparse
import dataclasses
import json
import math
import os
import shutil
import sys
import time
from pathlib import Path
from unittest import mock

import numpy as np
import pandas as pd
import torch
from stepping import stepper
from study import named_outlines

from spineseg import paths
from spineseg.anatomy.labels import REGIONS, VERTEBRAE
from spineseg.anatomy.phantom import generate
from spineseg.config import Config
from spineseg.data import nifti
from spineseg.data.atomic import write_text
from spineseg.data.store import prepare_arrays
from spineseg.evaluation.scores import score_case
from spineseg.learning import cascade, training
from spineseg.learning.gradient_mass import Watched
from spineseg.learning.inference import Predictor
from spineseg.learning.losses import dice_ce_loss, loss_by_name

FIRST_SEED, SCANS = 710_000_000, 12  # every second one must show C3
SEEDS = (0, 1, 2)
# a reduced setting: half the demo's phantoms, a sixtieth of its fine steps; the precision is pinned, a timed probe
# could differ from row to row
SETTINGS = {
    "cohort.folder": "phantom-architectures", "cohort.train": 72, "cohort.test": 1, "cluster.workers": 1,
    "training.precision": "bf16", "training.epochs": 40, "training.validate_every": 40,
    "fine.steps_per_epoch": 8, "baseline.steps_per_epoch": 8, "inference.looks": 1,
}  # fmt: skip
GUIDE = {"coarse.steps_per_epoch": 60, "training.epochs": 20, "training.validate_every": 20}  # of the coarse network
LOSS_SETTINGS = {
    "preparation.coarse_spacing_mm": 16.0, "coarse.steps_per_epoch": 45, "training.epochs": 12,
    "training.validate_every": 12, "coarse.naming_weight": 0.0,
}  # fmt: skip
MASS_PARTS = 12  # of a training, over which gradient mass is summed
WIDTHS, TWO = [8, 16, 32, 64], [2, 2, 2, 2]
NETWORKS = {
    "V-Net, 3-cubed": {},
    "V-Net, 5-cubed": {"kernel": 5, "norm": "none"},
    "3D U-Net": {"architecture": "unet", "convolutions": TWO},
    "3D ResU-Net": {"architecture": "resunet", "convolutions": TWO},
    "Attention ResU-Net": {"architecture": "attention", "convolutions": TWO},
    "CNN + transformer": {"architecture": "hybrid", "convolutions": [2, 2, 2, 4]},
    "Swin UNETR": {"architecture": "swin", "channels": [12, 12, 24, 48, 96, 192], "convolutions": [2] * 6},
}
WINDOWS = {"Swin UNETR": {"inference.patch": (64, 64, 64)}}  # its sides must divide by 32
OURS, SLOW = "V-Net, 3-cubed", "Swin UNETR"
LOSSES = {
    "logistic": {"loss": "logistic"},
    "logistic, weighted": {"loss": "logistic_weighted"},
    "Dice (paper)": {"loss": "dice"},
    "generalised Dice": {"loss": "generalised_dice"},
    "Tversky": {"loss": "tversky"},
    "focal": {"loss": "focal"},
    "Dice + CE": {"loss": "dice_ce"},
    "Dice + CE + binary Dice": {"loss": "dice_ce_binary"},
    "Dice + CE + binary Dice + names": {"loss": "dice_ce_binary", "naming_weight": 1.0},
}
LENGTHS = (40, 70, 100)  # epochs: of a training that goes on twice, beside one that is planned for the last
RATE = 1.5e-3  # the other learning rate


@dataclasses.dataclass(frozen=True)
class Row:
    """One training.

    Attributes:
        part: `guide`, `steps`, `time`, `rate`, `loss` or `length`.
        name: Of the network, the loss, or the stage and its epochs.
        seed: Of the training.
    """

    part: str
    name: str
    seed: int = 0

    @property
    def run(self) -> str:
        """Name of its run."""
        return "-".join(f"{self.part} {self.name} {self.seed}".replace(",", "").replace("+", "and").split())


def rows() -> list[Row]:
    """All trainings, those that others depend on first, then those that say most for their time: what is cut off early
    has one seed of everything."""
    fast = [name for name in NETWORKS if name != SLOW]
    slower = ["V-Net, 5-cubed", "Attention ResU-Net", "CNN + transformer"]  # than ours by more than a tenth
    steps, timed, losses, fine, baseline, slow = (
        [[Row(part, name, seed) for name in names] for seed in SEEDS]
        for part, names in (
            ("steps", fast), ("time", slower), ("loss", LOSSES),
            ("length", ["fine 100", "fine continued"]), ("length", ["baseline 100", "baseline continued"]),
            ("time", [SLOW]),
        )
    )  # fmt: skip
    chosen = [Row("guide", "coarse"), *steps[0], *losses[0], *slow[0], *timed[0], *fine[0], *steps[1], *baseline[0]]
    chosen += [*losses[1], *steps[2], *timed[1], Row("steps", SLOW), *losses[2], *timed[2], *slow[1], *slow[2]]
    return [*chosen, *(Row("rate", name) for name in fast), *fine[1], *fine[2], *baseline[1], *baseline[2]]


def stage_of(row: Row) -> str:
    """The network that a row trains."""
    if row.part == "length":
        return row.name.split()[0]
    return "coarse" if row.part in ("guide", "loss") else "fine"


def configured(row: Row, kept: list[dict]) -> Config:
    """The configuration of a row; one of equal time depends on what equal steps took."""
    values = SETTINGS | {"training.seed": row.seed}
    if row.part == "guide":
        values |= GUIDE
    elif row.part == "loss":
        values |= LOSS_SETTINGS | {f"coarse.{k}": v for k, v in LOSSES[row.name].items()}
    elif row.part == "length":
        length = row.name.split()[1]
        values |= {"training.validate_every": 5}
        values["training.epochs"] = LENGTHS[-1] if length == "continued" else int(length)
    else:
        values |= {f"fine.network.{k}": v for k, v in NETWORKS[row.name].items()} | WINDOWS.get(row.name, {})
        if row.part == "time":
            values["training.epochs"] = epochs_in_time(row.name, kept)
        if row.part == "rate":
            values["fine.learning_rate"] = RATE
        values["training.validate_every"] = values["training.epochs"]
    return Config.load("demo", row.run, **values)


def epochs_in_time(name: str, kept: list[dict]) -> int:
    """Epochs that take as much processor time as all of ours, from what equal steps took, or where those are not there
    from a few steps of both."""
    taken = [[r["cpu_seconds"] for r in kept if r["part"] == "steps" and r["name"] == n] for n in (OURS, name)]
    ours, theirs = map(np.mean, taken) if all(taken) else map(step_seconds, (OURS, name))
    return max(1, round(SETTINGS["training.epochs"] * ours / theirs))


def step_seconds(name: str) -> float:
    """Processor time of a training step of a network in the fine stage."""
    config = configured(Row("steps", name), [])
    shape, generator = config.fine.patch, torch.Generator().manual_seed(0)
    image = torch.rand(1, 2 + cascade.LEVEL_CHANNELS, *shape, generator=generator)
    labels = torch.randint(0, 1 + cascade.PHASES, (1, *shape), generator=generator)
    step = stepper(cascade.build(config, "fine"), lambda z, g: dice_ce_loss(z.float(), g), image, labels, True)
    times = []
    for _ in range(5):
        start = time.process_time()
        step()
        times.append(time.process_time() - start)
    return float(np.median(times[1:]))


def trained(row: Row, config: Config) -> dict:
    """Train what a row trains; what it took, its history, and the gradient mass of a loss."""
    stage, watched = stage_of(row), []
    checkpoints = paths.run_folder(config.run) / "checkpoints"
    if stage == "fine" and not checkpoints.is_dir():
        checkpoints.mkdir(parents=True)
        for file in (paths.run_folder(Row("guide", "coarse").run) / "checkpoints").iterdir():
            shutil.copy(file, checkpoints)

    def watch(name: str, *, naming: float):
        watched.append(Watched(loss_by_name(name, naming=naming)))
        return watched[-1]

    start = time.process_time()
    with mock.patch.dict(training.METHODS, coarse=("coarse",), fine=("fine",)):
        if row.part == "loss":
            with mock.patch("spineseg.learning.tasks.loss_by_name", watch):
                training.train(config, stage)
        else:
            for n in LENGTHS if row.name.endswith("continued") else (config.training.epochs,):
                shorter = dataclasses.replace(config.training, epochs=n)
                training.train(dataclasses.replace(config, training=shorter), stage)
    answer = {"cpu_seconds": round(time.process_time() - start, 1)}
    history = pd.read_csv(paths.run_folder(config.run) / "history.csv")
    history = history[history.network == stage]
    answer |= {"steps": int(history.step.iloc[-1]), "skipped": int(history.skipped_steps.iloc[-1])}
    if watched:
        steps = torch.stack(watched[0].steps)  # (steps, 2, 26)
        parts = torch.stack([part.sum(0) for part in steps.tensor_split(MASS_PARTS)])
        answer["mass"], answer["voxels"] = (
            [[float(f"{v:.4g}") for v in p] for p in parts[:, i].tolist()] for i in (0, 1)
        )
    if row.part == "length":
        seen = history[history.validation_loss.notna()]
        columns = ["epoch", "validation_loss", *(f"dice_{r}" for r in REGIONS), "dice_mean", "dice_binary"]
        answer["history"] = {c: [round(float(v), 4) for v in seen[c]] for c in columns}
    return answer


def phantoms(config: Config):
    """The phantoms of no split, made once."""
    if not _MADE:
        _MADE.extend(
            generate(FIRST_SEED + i, spacing_mm=config.cohort.spacing_mm, needs=["C3"] if i % 2 else None)
            for i in range(SCANS)
        )
    return _MADE


_MADE: list = []


def scored(row: Row, config: Config) -> pd.DataFrame:
    """Columns `case, vertebra, region, dice, identified`; of a coarse network Dice on its own grid, and names that it
    gives to perfect outlines."""
    stage = stage_of(row)
    if stage == "coarse":
        network = training.load_network(config, "coarse")[0]
    else:
        predictor = Predictor.of_run(config, "cascade" if stage == "fine" else stage)
    tables = []
    for i, p in enumerate(phantoms(config)):
        start = time.process_time()
        if stage == "coarse":
            found = named_outlines(network, p.ct_hu, p.labels, p.affine, config)
        else:
            found = predictor(nifti.Volume(p.ct_hu, p.affine, ())).labels
        table = score_case(f"{i:02d}", p.labels, found, p.affine, config=config.evaluation)
        table = table[table.reference_voxels > 0][["case", "vertebra", "region", "dice", "identified"]]
        if stage == "coarse":
            table["dice"] = table.vertebra.map(coarse_dice(network, p, config))
        tables.append(table.assign(seconds=time.process_time() - start))
    return pd.concat(tables, ignore_index=True)


@torch.inference_mode()
def coarse_dice(network, phantom, config: Config) -> dict[str, float]:
    """Dice of each vertebra on the coarse grid; nan for one that holds no coarse voxel."""
    scan = prepare_arrays(phantom.ct_hu, phantom.labels, phantom.affine, config.preparation)
    logits = cascade.coarse_logits(network, torch.from_numpy(scan.coarse_image)[None], config.coarse.patch)
    found, known = logits.argmax(0).numpy(), scan.coarse_labels
    answer = {}
    for k, name in enumerate(VERTEBRAE, 1):
        total = (found == k).sum() + (known == k).sum()
        answer[name] = 2 * ((found == k) & (known == k)).sum() / total if (known == k).any() else float("nan")
    return answer


def main(arguments=None) -> int:
    """Run the rows that the output does not have; it is written anew after each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("workdir", type=Path)
    parser.add_argument("--only", default="", help="rows whose part, name or seed holds this")
    parser.add_argument("--out", type=Path, default=paths.results_folder() / "budgets.json")
    options = parser.parse_args(arguments)
    os.environ["SPINESEG_HOME"] = str(options.workdir.resolve())
    settings = json.loads(json.dumps({
        "profile": "demo", "first_seed": FIRST_SEED, "scans": SCANS, **SETTINGS, "guide": GUIDE,
        "losses": LOSS_SETTINGS, "networks": NETWORKS, "rate": RATE,
    }))  # fmt: skip
    kept = json.loads(options.out.read_text()) if options.out.is_file() else {"settings": settings, "rows": []}
    if kept["settings"] != settings:
        parser.error(f"{options.out} was measured with other settings; delete it and {options.workdir} to start afresh")
    done = {(r["part"], r["name"], r["seed"]) for r in kept["rows"]}
    for row in rows():
        if dataclasses.astuple(row) in done or options.only not in " ".join(map(str, dataclasses.astuple(row))):
            continue
        config = configured(row, kept["rows"])
        # one that was cut off begins anew, or its time would be that of the rest
        shutil.rmtree(paths.run_folder(config.run), ignore_errors=True)
        found = dataclasses.asdict(row) | trained(row, config)
        table = scored(row, config)
        found["predict_seconds"] = round(float(table.groupby("case").seconds.first().mean()), 2)
        kept["held"] = [[int(r.case), VERTEBRAE.index(r.vertebra) + 1] for r in table.itertuples()]  # alike for all
        found["dice"] = [None if math.isnan(v) else round(v, 4) for v in table.dice.tolist()]
        found["identified"] = [int(v) for v in table.identified]
        kept["rows"].append(found)
        write_text(options.out, json.dumps(kept) + "\n")
        means = table.groupby("region").dice.mean().round(3).to_dict()
        print(
            f"{row.run}: {found['cpu_seconds']} s, {found['steps']} steps, Dice {table.dice.mean():.3f} {means}",
            flush=True,
        )
    return 0


if __name__ == "__main__":
    torch.set_num_threads(1)
    sys.exit(main())
