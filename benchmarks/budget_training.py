"""Train and score one row of `budgets.py`, and take the times of a network with nothing beside it."""

from __future__ import annotations

import dataclasses
import functools
import math
import shutil
import time
from pathlib import Path
from unittest import mock

import numpy as np
import pandas as pd
import torch
from budget_rows import FIRST_SEED, GUIDE, LENGTHS, Row
from roofline import synchronise
from stepping import stepper
from study import named_outlines

from spineseg import paths
from spineseg.anatomy.labels import REGIONS, VERTEBRAE
from spineseg.anatomy.phantom import generate
from spineseg.config import Config
from spineseg.data import nifti
from spineseg.data.store import prepare_arrays
from spineseg.evaluation.scores import score_case
from spineseg.learning import cascade, training
from spineseg.learning.gradient_mass import Watched
from spineseg.learning.inference import Predictor
from spineseg.learning.losses import dice_ce_loss, loss_by_name

MASS_PARTS = 12  # of a training, over which gradient mass is summed
STEPS = {"cpu": (1, 4), "cuda": (10, 40)}  # before, and while, a step is timed
TIMED_SCANS = 6


def scan_file(spacing_mm: float, index: int) -> Path:
    """Phantom `index` of no split; made if it is missing."""
    file = paths.project_root() / "scans" / f"{spacing_mm:g}-{index:02d}.npz"
    if not file.is_file():
        needs = ["C3"] if index % 2 else None
        phantom = generate(FIRST_SEED + index, spacing_mm=spacing_mm, needs=needs)
        file.parent.mkdir(parents=True, exist_ok=True)
        np.savez(file, ct_hu=phantom.ct_hu, labels=phantom.labels, affine=phantom.affine)
    return file


@functools.cache
def scan(spacing_mm: float, index: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """CT, labels and affine of `scan_file`."""
    with np.load(scan_file(spacing_mm, index)) as known:
        return known["ct_hu"], known["labels"], known["affine"]


def with_guide(run: str) -> None:
    """Give a run the checkpoints of the coarse network that all share, if it has none."""
    checkpoints = paths.run_folder(run) / "checkpoints"
    if not checkpoints.is_dir():
        shutil.copytree(paths.run_folder(GUIDE.run) / "checkpoints", checkpoints)


def trained(row: Row, config: Config) -> dict:
    """Train what a row trains; what it took, its history, and the gradient mass of a loss."""
    watched: list[Watched] = []
    if row.stage == "fine":
        with_guide(config.run)

    def watch(name: str, *, naming: float):
        watched.append(Watched(loss_by_name(name, naming=naming)))
        return watched[-1]

    start, begin = time.process_time(), time.perf_counter()
    with mock.patch.dict(training.METHODS, coarse=("coarse",), fine=("fine",)):
        if row.part == "loss":
            with mock.patch("spineseg.learning.tasks.loss_by_name", watch):
                training.train(config, row.stage)
        else:
            for n in LENGTHS if row.name.endswith("continued") else (config.training.epochs,):
                shorter = dataclasses.replace(config.training, epochs=n)
                training.train(dataclasses.replace(config, training=shorter), row.stage)
    taken = {"cpu_seconds": time.process_time() - start, "seconds": time.perf_counter() - begin}
    answer: dict = {k: round(v, 1) for k, v in taken.items()}
    history = pd.read_csv(paths.run_folder(config.run) / "history.csv")
    history = history[history.network == row.stage]
    answer |= {"steps": int(history.step.iloc[-1]), "skipped": int(history.skipped_steps.iloc[-1])}
    if watched:
        steps = torch.stack(watched[0].steps).cpu()  # (steps, 2, 26)
        parts = torch.stack([part.sum(0) for part in steps.tensor_split(MASS_PARTS)])
        answer["mass"], answer["voxels"] = (
            [[float(f"{v:.4g}") for v in p] for p in parts[:, i].tolist()] for i in (0, 1)
        )
    if row.part == "length":
        seen = history[history.validation_loss.notna()]
        columns = ["epoch", "validation_loss", *(f"dice_{r}" for r in REGIONS), "dice_mean", "dice_binary"]
        answer["history"] = {c: [round(float(v), 4) for v in seen[c]] for c in columns}
    return answer


def scored(row: Row, config: Config, scans: int) -> dict:
    """`dice` and `identified` of every vertebra `held`; of a coarse network Dice on its own grid, and names that it
    gives to perfect outlines."""
    if row.stage == "coarse":
        network = training.load_network(config, "coarse")[0]
    else:
        predictor = Predictor.of_run(config, "cascade" if row.stage == "fine" else row.stage)
    tables = []
    for i in range(scans):
        ct_hu, labels, affine = scan(config.cohort.spacing_mm, i)
        if row.stage == "coarse":
            found = named_outlines(network, ct_hu, labels, affine, config)
        else:
            found = predictor(nifti.Volume(ct_hu, affine, ())).labels
        table = score_case(f"{i:02d}", labels, found, affine, config=config.evaluation)
        table = table[table.reference_voxels > 0][["case", "vertebra", "region", "dice", "identified"]]
        if row.stage == "coarse":
            table["dice"] = table.vertebra.map(coarse_dice(network, ct_hu, labels, affine, config))
        tables.append(table)
    table = pd.concat(tables, ignore_index=True)
    return {
        "held": [[int(r.case), VERTEBRAE.index(r.vertebra) + 1] for r in table.itertuples()],
        "dice": [None if math.isnan(v) else round(v, 4) for v in table.dice.tolist()],
        "identified": [int(v) for v in table.identified],
        "said": f"Dice {table.dice.mean():.3f} {table.groupby('region').dice.mean().round(3).to_dict()}",
    }


@torch.inference_mode()
def coarse_dice(network, ct_hu, labels, affine, config: Config) -> dict[str, float]:
    """Dice of each vertebra on the coarse grid; nan for one that holds no coarse voxel."""
    small = prepare_arrays(ct_hu, labels, affine, config.preparation)
    logits = cascade.coarse_logits(network, torch.from_numpy(small.coarse_image)[None], config.coarse.patch)
    found, known = logits.argmax(0).numpy(), small.coarse_labels
    answer = {}
    for k, name in enumerate(VERTEBRAE, 1):
        total = (found == k).sum() + (known == k).sum()
        answer[name] = 2 * ((found == k) & (known == k)).sum() / total if (known == k).any() else float("nan")
    return answer


def take(row: Row, config: Config, scans: int) -> dict:
    """Train and score a row from nothing: one that was cut off begins anew, or its time would be that of the rest."""
    torch.set_num_threads(1)
    shutil.rmtree(paths.run_folder(config.run), ignore_errors=True)
    return dataclasses.asdict(row) | trained(row, config) | scored(row, config, scans)


def times_alone(config: Config, device: str, scans: int) -> dict:
    """Median seconds of a training step of the fine stage, and of a scan's prediction by the cascade.

    The step is forward, loss, backward, clipping and AdamW on a batch that is there. The scan is predicted behind the
    trained coarse network by a fine one that has not learned, which adds nothing to what the coarse one says: as much
    work, whatever the network. Processor time on a CPU, passed time on a GPU.
    """
    stage, generator = config.fine, torch.Generator().manual_seed(0)
    clock = time.process_time if device == "cpu" else time.perf_counter
    image = torch.rand(stage.batch, 2 + cascade.LEVEL_CHANNELS, *stage.patch, generator=generator)
    labels = torch.randint(0, 1 + cascade.PHASES, (stage.batch, *stage.patch), generator=generator)
    network = cascade.build(config, "fine").to(device)
    step = stepper(network, lambda z, g: dice_ce_loss(z.float(), g), image.to(device), labels.to(device), True)
    before, while_timed = STEPS[device]
    torch.backends.cudnn.benchmark = True  # as in training
    for _ in range(before):
        step()
    taken = _timed(step, while_timed, device, clock)
    torch.backends.cudnn.benchmark = False  # as in prediction
    with_guide(config.run)
    coarse = training.load_network(config, "coarse")[0]
    blank = {"coarse": coarse, "fine": cascade.build(config, "fine")}
    predictor = Predictor(config, blank, dict.fromkeys(blank, "bf16"), device)
    known = [scan(config.cohort.spacing_mm, i) for i in range(min(scans, TIMED_SCANS))]
    volumes = [nifti.Volume(ct_hu, affine, ()) for ct_hu, _, affine in known]
    predictor(volumes[0])
    each = [_timed(lambda v=v: predictor(v), 1, device, clock)[0] for v in volumes]
    return {"step_s": float(f"{np.median(taken):.4g}"), "predict_s": float(f"{np.mean(each):.4g}")}


def _timed(work, rounds: int, device: str, clock) -> list[float]:
    times = []
    for _ in range(rounds):
        synchronise(device)
        start = clock()
        work()
        synchronise(device)
        times.append(clock() - start)
    return times
