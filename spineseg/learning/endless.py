"""Phantoms without end: while a network trains on some, background processes make the next; none is stored."""

from __future__ import annotations

import dataclasses
import multiprocessing
import threading
from collections import Counter
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

import numpy as np
import torch
from torch.utils.data import Dataset

from spineseg.anatomy.phantom import generate
from spineseg.config import Config, PreparationConfig
from spineseg.data.phantom_cohort import wish
from spineseg.data.preparation import PreparedCase, prepare_arrays
from spineseg.data.voxels import foreground_of, read_box, unit
from spineseg.learning.sampling import Patches, WholeScans
from spineseg.learning.training_cases import TrainingCase

TENSORS = ("image", "labels", "coarse", "found")  # travel as arrays: torch would open a file for each
FIRST_SEED = 10**9  # beyond `cohort.seed`: far from every phantom of a cohort


class HeldPatches:
    """One prepared case in memory, read as the store is."""

    def __init__(self, image: np.ndarray, labels: np.ndarray):
        self.image, self.labels = image, labels

    def read_patch(self, _case: str, start, shape) -> tuple[np.ndarray, np.ndarray]:
        """Image float32 in [0, 1] and labels uint8, both of `shape`; air and background outside the scan."""
        return unit(read_box(self.image, start, shape)), read_box(self.labels, start, shape)


class Order:
    """Which phantom each item is cut from, by the item's position in a training that knows no end.

    Items come in blocks of some phantoms, each used equally often, in an order drawn from seed and block.

    Args:
        config: Says how many phantoms a block has, how many items each gives, and how long an epoch is.
        stage: `baseline`, `coarse` or `fine`.
        seed: Of the order.
    """

    def __init__(self, config: Config, stage: str, seed: int):
        options = getattr(config, stage)
        self.seed, self.epoch = seed, options.steps_per_epoch * options.batch
        self.together, self.items = options.phantoms_together, options.phantoms_together * options.phantom_uses

    def phantom(self, position: int) -> int:
        """Number of the phantom that the item at a position is cut from."""
        block, place = divmod(position, self.items)
        return block * self.together + int(self._block(block)[place])

    def positions(self, phantom: int) -> list[int]:
        """Positions of the items that a phantom gives."""
        block, within = divmod(phantom, self.together)
        return (block * self.items + np.flatnonzero(self._block(block) == within)).tolist()

    def _block(self, block: int) -> np.ndarray:
        return np.random.default_rng([self.seed, 104729, block]).permutation(self.items) % self.together


class EndlessItems(Dataset):
    """Training items of a stage, no two of different blocks from one phantom.

    A phantom's items are cut where it is made, so that the training itself has only to take them.

    Args:
        config: Voxel sizes, spread, shares of necks and of bone alone, augmentation, processes that make phantoms.
        stage: `baseline`, `coarse` or `fine`.
        seed: Of every draw, together with the epoch and the index.
    """

    def __init__(self, config: Config, stage: str, seed: int):
        self.config, self.stage, self.seed, self.epoch = config, stage, seed, 0
        self.order = Order(config, stage, seed)
        self._made: dict[int, Future] = {}
        self._taken: Counter[int] = Counter()
        self._lock = threading.Lock()
        self._pool = ProcessPoolExecutor(
            config.cluster.makers, mp_context=multiprocessing.get_context("forkserver"), initializer=_alone
        )

    def __len__(self) -> int:
        return self.order.epoch

    def __getitem__(self, index: int) -> dict:
        """As an item of `Patches` or `WholeScans`, the image in half precision and labels as bytes."""
        position = self.epoch * len(self) + index
        number = self.order.phantom(position)
        with self._lock:
            first = number // self.order.together * self.order.together
            for n in range(first, first + 2 * self.order.together):
                if n not in self._made and self._taken[n] == 0:
                    self._made[n] = self._pool.submit(items_of, self.config, self.stage, self.seed, n)
            future = self._made[number]
            self._taken[number] += 1
            if self._taken[number] == len(self.order.positions(number)):
                del self._made[number]
            for n in [n for n in self._made if n < first - self.order.together]:  # of which a run that went on took few
                del self._made[n]
        try:
            made = future.result()
        except BrokenProcessPool:
            raise RuntimeError(
                "a process that makes phantoms was ended from outside, most often for want of memory; lower "
                f"--cluster.makers (now {self.config.cluster.makers}) and say the same again"
            ) from None
        item = dict(made[position])
        if item.get("whole"):
            item["coarse"] = made["coarse"]
        return item | {key: torch.from_numpy(item[key]) for key in TENSORS if item.get(key) is not None}

    def close(self) -> None:
        """Stop making phantoms."""
        self._pool.shutdown(wait=False, cancel_futures=True)


def items_of(config: Config, stage: str, seed: int, number: int) -> dict:
    """Make one phantom of the endless sequence and cut all its items.

    Args:
        config: As for `EndlessItems`.
        stage: `baseline`, `coarse` or `fine`.
        seed: Of every draw, together with the epoch and the index.
        number: Of the phantom, from 0.

    Returns:
        Items by position, arrays in place of tensors, and under `coarse` the whole coarse scan that they share.
    """
    case, order, options = make(config, stage, number), Order(config, stage, seed), getattr(config, stage)
    items = (WholeScans if stage == "coarse" else Patches)(_Only(case), options, config.training, seed)
    cut = {"coarse": case.coarse_image[None]}
    for position in order.positions(number):
        items.epoch, index = divmod(position, order.epoch)
        item = items[index]
        item["image"], item["labels"] = item["image"].half().numpy(), item["labels"].to(torch.uint8).numpy()
        if "coarse" in item:
            item["coarse"] = None if item["whole"] else item["coarse"].numpy()
            item["found"] = None if item["found"] is None else item["found"].numpy()
        cut[position] = item
    return cut


class _Only:
    """One case at every position."""

    def __init__(self, case: TrainingCase):
        self.case = case

    def at(self, _seed: int, _position: int) -> TrainingCase:
        """The case."""
        return self.case


def make(config: Config, stage: str, number: int) -> TrainingCase:
    """Make and prepare one phantom of the endless sequence.

    Args:
        config: Voxel sizes, spread, shares of necks and of bone alone.
        stage: Which stage it is for.
        number: Position in the sequence, from 0.

    Returns:
        A training case that holds its own voxels.
    """
    preparation, spacing = config.preparation, config.cohort.spacing_mm
    if stage == "coarse":
        spacing = max(spacing, preparation.coarse_spacing_mm / 2)
        preparation = dataclasses.replace(preparation, spacing_mm=preparation.coarse_spacing_mm)
    asked = wish(number, config.cohort, trains=True)
    phantom = generate(FIRST_SEED + asked.pop("seed"), spacing_mm=spacing, spread=config.cohort.spread, **asked)
    case = f"phantom_{number:07d}"
    prepared = prepare_arrays(phantom.ct_hu, phantom.labels, phantom.affine, preparation, case=case)
    return held(prepared, preparation)


def held(case: PreparedCase, preparation: PreparationConfig) -> TrainingCase:
    """A prepared case with labels as a training case that holds its own voxels."""
    patches = HeldPatches(np.rint(case.image * 255).astype(np.uint8), case.labels)
    coarse = {name: getattr(case, name) for name in ("coarse_image", "coarse_labels", "coarse_affine")}
    foreground = foreground_of(case.labels)
    return TrainingCase.of(
        case.case, patches, case.labels.shape, case.affine, foreground, preparation=preparation, **coarse
    )


def _alone() -> None:
    torch.set_num_threads(1)  # the training beside it needs the other cores
