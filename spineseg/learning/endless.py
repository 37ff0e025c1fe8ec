"""Phantoms without end: while a network trains on some, a background process makes the next; none is stored."""

from __future__ import annotations

import dataclasses
import multiprocessing
import threading
from concurrent.futures import Future, ProcessPoolExecutor

import numpy as np
import torch

from spineseg.anatomy.phantom import generate
from spineseg.config import Config, PreparationConfig
from spineseg.data.phantom_cohort import wish
from spineseg.data.preparation import PreparedCase, prepare_arrays
from spineseg.data.voxels import foreground_of, read_box, unit
from spineseg.learning.sampling import TrainingCase

ABREAST = 64  # positions that threads may be apart; a block is kept for so long after its last item
FIRST_SEED = 10**9  # beyond `cohort.seed`: far from every phantom of a cohort


class HeldPatches:
    """One prepared case in memory, read as the store is."""

    def __init__(self, image: np.ndarray, labels: np.ndarray):
        self.image, self.labels = image, labels

    def read_patch(self, _case: str, start, shape) -> tuple[np.ndarray, np.ndarray]:
        """Image float32 in [0, 1] and labels uint8, both of `shape`; air and background outside the scan."""
        return unit(read_box(self.image, start, shape)), read_box(self.labels, start, shape)


class EndlessCases:
    """Training cases by position in a sequence that never repeats a phantom.

    Items come in blocks of some phantoms, each used equally often, in an order drawn from seed and block. So which
    phantom an item is cut from depends on its position alone, not on who asks first: several threads may ask.

    Args:
        config: Voxel sizes, spread, shares of necks and of bone alone, processes that make phantoms.
        stage: `baseline`, `coarse` or `fine`: says how many phantoms a block has and how many items each gives. The
            coarse stage needs no fine voxels: its phantoms are scanned at half its own voxel size, which takes a tenth
            of the time.
    """

    def __init__(self, config: Config, stage: str):
        self.config, self.stage = config, stage
        options = getattr(config, stage)
        self.uses, self.together = options.phantom_uses, options.phantoms_together
        self._made: dict[int, Future] = {}
        self._lock = threading.Lock()
        self._pool = ProcessPoolExecutor(
            config.cluster.makers, mp_context=multiprocessing.get_context("forkserver"), initializer=_alone
        )

    def at(self, seed: int, position: int) -> TrainingCase:
        """The case that the item at a position is cut from; waits until it is made."""
        items = self.together * self.uses
        block, place = divmod(position, items)
        order = np.random.default_rng([seed, 104729, block]).permutation(items)
        first, oldest = block * self.together, max(position - ABREAST, 0) // items * self.together
        with self._lock:
            for number in range(first, first + 2 * self.together):
                if number not in self._made:
                    self._made[number] = self._pool.submit(make, self.config, self.stage, number)
            for number in [n for n in self._made if n < oldest]:
                del self._made[number]
            case = self._made[first + int(order[place]) % self.together]
        return case.result()

    def close(self) -> None:
        """Stop making phantoms."""
        self._pool.shutdown(wait=False, cancel_futures=True)


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
