"""Train the networks of a method: go on from what the run's folder already holds, to the number of epochs asked for."""

from __future__ import annotations

import logging
import warnings

import lightning as L
import pandas as pd
import torch

from spineseg import paths
from spineseg.config import Config
from spineseg.data.splits import split
from spineseg.data.store import prepare_cohort
from spineseg.learning import checkpoints, runs
from spineseg.learning.cascade import build
from spineseg.learning.module import NetworkTraining
from spineseg.learning.sampling import Patches, StillPatches, StillScans, TrainingCase, WholeScans

METHODS = {"baseline": ("baseline",), "cascade": ("coarse", "fine")}


def train(config: Config, method: str) -> pd.DataFrame:
    """Train a method, or only what is missing of it.

    Args:
        config: `training.epochs` is the total: a run that has 40 epochs and is asked for 70 trains 30 more.
        method: `baseline` or `cascade`.

    Returns:
        The run's history, one row per network and epoch.

    Raises:
        ValueError: If the method is unknown or the run's folder belongs to another configuration.
        FloatingPointError: If a loss is not finite; the message names the cases.
    """
    if method not in METHODS:
        raise ValueError(f"unknown method {method!r}; known: {', '.join(METHODS)}")
    store = prepare_cohort(config)
    splits = split(store.table, config)
    folder = runs.open_run(config, splits)
    chosen = {}
    for part in ("train", "validation"):
        cases = splits.case[splits.split == part].astype(str)
        chosen[part] = [TrainingCase.open(store, case) for case in cases]
    coarse = None
    for name in METHODS[method]:
        if name == "fine":
            coarse, _ = load_network(config, "coarse")
        _train_network(config, name, folder, chosen["train"], chosen["validation"], coarse)
    return pd.read_csv(folder / "history.csv")


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


def _train_network(config: Config, name: str, folder, train_cases, validation_cases, coarse) -> None:
    stage, options = getattr(config, name), config.training
    stage_seed = options.seed * 10 + ("baseline", "coarse", "fine").index(name)
    if name == "coarse":
        items = WholeScans(train_cases, stage, options, stage_seed)
        validation = StillScans(validation_cases, stage)
    else:
        items = Patches(train_cases, stage, options, stage_seed)
        validation = StillPatches(validation_cases, stage, options)
    module = NetworkTraining(config, name, folder, items, validation, coarse)
    left = options.epochs - module.done_epochs
    if left <= 0:
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # advice about loader workers and loggers that are left out on purpose
        logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
        trainer = L.Trainer(
            max_epochs=left, accelerator="auto", devices=1, logger=False, enable_checkpointing=False,
            enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0,
            reload_dataloaders_every_n_epochs=1,
        )  # fmt: skip
        trainer.fit(module)
