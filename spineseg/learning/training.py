"""Train the networks of a method: go on from what the run's folder already holds, to the number of epochs asked for."""

from __future__ import annotations

import contextlib
import logging
import warnings
from pathlib import Path

import lightning as L
import pandas as pd
import torch
from lightning.pytorch.strategies import DDPStrategy

from spineseg import paths
from spineseg.config import Config
from spineseg.data.digest import content_hash
from spineseg.data.splits import refuse_leaks, split
from spineseg.data.store import Store, prepare_cohort
from spineseg.errors import CaseError
from spineseg.learning import checkpoints, runs, together
from spineseg.learning.cascade import STAGES, build
from spineseg.learning.endless import EndlessItems
from spineseg.learning.module import NetworkTraining
from spineseg.learning.sampling import Patches, StillPatches, StillScans, WholeScans
from spineseg.learning.training_cases import Rounds, TrainingCase

SHOWN = 3  # refused cases that a warning names
METHODS = {"baseline": ("baseline",), "cascade": STAGES}


def train(config: Config, method: str) -> pd.DataFrame:
    """Train a method, or only what is missing of it.

    Args:
        config: `training.epochs` is the total: a run that has 40 epochs and is asked for 70 trains 30 more.
        method: `baseline` or `cascade`.

    Returns:
        The run's history, one row per network and epoch.

    Raises:
        CaseError: If a scan has no segmentation.
        ValueError: If the method is unknown, one scan is in two parts of the split, or the run's folder belongs to
            another configuration.
        FloatingPointError: If a loss is not finite; the message names the cases.
        Interrupted: After Ctrl-C or SIGTERM, with a checkpoint to go on from.

    Under torchrun all processes call this; the first one prepares the cases and writes.
    """
    if method not in METHODS:
        raise ValueError(f"unknown method {method!r}; known: {', '.join(METHODS)}")
    group = together.group()
    for name in METHODS[method]:
        group.share(getattr(config, name).batch, name)  # refused now, not after the stages before it
    with group.first_alone():
        store = prepare_cohort(config)
    if store.failures:
        shown = "; ".join(map(str, store.failures[:SHOWN]))
        warnings.warn(f"{len(store.failures)} cases cannot be used and are left out: {shown}", stacklevel=2)
    if len(bare := store.table[store.table["segmentation"] == ""]):
        found, remedy = f"{len(bare)} scans without segmentation", "choose a cohort with segmentations"
        raise CaseError("no-segmentation", bare["ct"].iloc[0], found, "a segmentation of each scan", remedy)
    splits = split(store.table, config)
    contents = {str(row.case): content_hash(row.ct) for row in store.table.itertuples(index=False)}
    refuse_leaks(splits, {str(case): store.scan_hash(str(case)) for case in splits["case"]})
    splits["content"] = [contents[str(case)][:12] for case in splits["case"]]
    with group.first_alone():
        folder = runs.open_run(config, splits)
    with runs.alone(folder) if group.is_first else contextlib.nullcontext():
        _train_networks(config, METHODS[method], folder, store, splits, group)
    return pd.read_csv(folder / "history.csv")


def _train_networks(
    config: Config, names, folder: Path, store: Store, splits: pd.DataFrame, group: together.Group
) -> None:
    chosen = {}
    for part in ("train", "validation"):
        cases = splits.case[splits.split == part].astype(str)
        chosen[part] = [TrainingCase.open(store, case) for case in cases]
    coarse, coarse_hash = None, ""
    for name in names:
        if name == "fine":
            coarse, state = load_network(config, "coarse")
            coarse_hash = state["sha256"]
        _train_network(config, name, folder, chosen, coarse, coarse_hash, group)
        group.wait()  # until the first one has written what the others are about to read


def load_network(config: Config, name: str, which: str = "best") -> tuple[torch.nn.Module, dict]:
    """A trained network of the run, in evaluation mode with its averaged weights.

    Args:
        config: Names the run.
        name: `baseline`, `coarse` or `fine`.
        which: `best` on validation, or `last`.

    Returns:
        The network and the state that its checkpoint was written with.

    Raises:
        CaseError: If there is no such checkpoint or it is damaged.
    """
    path = paths.run_folder(config.run) / "checkpoints" / f"{name}-{which}.safetensors"
    tensors, state = checkpoints.load(path)
    network = build(config, name)
    network.load_state_dict(checkpoints.part(tensors, "average") if which == "last" else tensors)
    return network.eval(), state


def _train_network(
    config: Config, name: str, folder, cases: dict, coarse, coarse_hash: str, group: together.Group
) -> None:
    stage, options = getattr(config, name), config.training
    stage_seed = options.seed * 10 + ("baseline", "coarse", "fine").index(name)
    # by number: threads that cut items would take the first GPU for every process
    device = f"cuda:{torch.cuda.current_device()}" if torch.cuda.is_available() else "cpu"
    rounds = Rounds(cases["train"])
    if name == "coarse":
        items = WholeScans(rounds, stage, options, stage_seed)
        validation = StillScans(cases["validation"], stage)
    else:
        items = Patches(rounds, stage, options, stage_seed, device=device)
        validation = StillPatches(cases["validation"], stage, options)
    if stage.phantom_uses:
        items = EndlessItems(config, name, stage_seed)
    module = NetworkTraining(config, name, folder, items, validation, coarse, coarse_hash, group)
    left = options.epochs - module.done_epochs
    if left <= 0 or module.on_plateau:
        return
    if group.is_first:
        runs.record_training(config)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # advice about loader workers and loggers that are left out on purpose
        logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
        trainer = L.Trainer(
            max_epochs=left, accelerator="cpu" if device == "cpu" else "gpu", logger=False,
            devices=group.size // group.nodes, num_nodes=group.nodes, use_distributed_sampler=False,
            strategy=DDPStrategy(process_group_backend=group.backend) if group.size > 1 else "auto",
            benchmark=name != "coarse",  # the fastest convolutions of a GPU, where patches have one shape
            enable_checkpointing=False,
            enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0,
            reload_dataloaders_every_n_epochs=1,
        )  # fmt: skip
        with contextlib.closing(items) if stage.phantom_uses else contextlib.nullcontext(), module.stop:
            trainer.fit(module)
