"""Prepared cases as training reads them: by position in a sequence, the coarse scan whole, the fine one in patches."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from spineseg.config import PreparationConfig
from spineseg.data.geometry import resample_image, resample_labels
from spineseg.data.store import Store

BRIGHT_HU = 130.0  # of a coarse voxel that holds bone or contrast medium


@dataclass(frozen=True)
class TrainingCase:
    """What training needs of a prepared case: the coarse scan in memory, the fine one read patch by patch.

    Attributes:
        case: Name.
        store: Gives patches of the fine grid: has `Store.read_patch`.
        shape: Of the fine grid.
        affine: `(4, 4)` of the fine grid.
        coarse_image: `(i, j, k)` float32 in window units.
        coarse_labels: `(i, j, k)` uint8.
        coarse_affine: `(4, 4)` of the coarse grid.
        foreground: Voxel indices `(n, 3)` of each class present on the fine grid.
        others: `(n, 3)` fine indices, fractions between voxels, of what is as bright as bone and no vertebra.
    """

    case: str
    store: Store
    shape: tuple[int, int, int]
    affine: np.ndarray
    coarse_image: np.ndarray
    coarse_labels: np.ndarray
    coarse_affine: np.ndarray
    foreground: dict[int, np.ndarray]
    others: np.ndarray

    @classmethod
    def open(cls, store: Store, case: str) -> TrainingCase:
        """Look a case up in a store of prepared cases."""
        coarse = store.load_coarse(case)
        affine, foreground, preparation = coarse.pop("fine_affine"), store.foreground(case), store.config.preparation
        return cls.of(case, store, store.shape(case), affine, foreground, preparation=preparation, **coarse)

    @classmethod
    def of(
        cls, case: str, store, shape, affine: np.ndarray, foreground: dict[int, np.ndarray], *, coarse_image,
        coarse_labels, coarse_affine, preparation: PreparationConfig,
    ) -> TrainingCase:  # fmt: skip
        """Put a case together; `others` follows from the rest."""
        width = preparation.window_high_hu - preparation.window_low_hu
        bright = coarse_image > (BRIGHT_HU - preparation.window_low_hu) / width
        others = np.argwhere(bright & (coarse_labels == 0))
        to_fine = np.linalg.inv(affine) @ coarse_affine
        others = others @ to_fine[:3, :3].T + to_fine[:3, 3]
        coarse = (coarse_image, coarse_labels, coarse_affine)
        return cls(case, store, shape, affine, *coarse, foreground, others)

    def cut(self, grid: np.ndarray, shape, device="cpu") -> tuple[Tensor, Tensor]:
        """A patch of image `(1, *shape)` float32 and labels `(*shape)` int64; air and background outside the scan."""
        if (start := whole_shift(grid)) is not None:  # nothing to interpolate: the voxels that prediction sees
            image, labels = self.store.read_patch(self.case, start, shape)
            return torch.from_numpy(image).to(device)[None], torch.from_numpy(labels).to(device).long()
        low, high = touched_box(grid, shape, self.shape)
        image, labels = self.store.read_patch(self.case, low.tolist(), (high - low).tolist())
        within = grid.copy()
        within[:3, 3] -= low
        return moved(image, labels, within, shape, device)


class Rounds:
    """Training cases by position in a sequence that visits all of them, newly shuffled each time round."""

    def __init__(self, cases: list[TrainingCase]):
        self.cases = cases

    def at(self, seed: int, position: int) -> TrainingCase:
        """The case that the item at a position is cut from."""
        round_, place = divmod(position, len(self.cases))
        order = np.random.default_rng([seed, 7919, round_]).permutation(len(self.cases))
        return self.cases[order[place]]


def touched_box(to_volume: np.ndarray, shape, size) -> tuple[np.ndarray, np.ndarray]:
    """Corners of the part of a volume that a grid can read.

    Args:
        to_volume: `(4, 4)`, index on the grid to index in the volume.
        shape: Side lengths of the grid, voxels.
        size: Of the volume.

    Returns:
        First and past-the-end index, at least one voxel apart and inside the volume.
    """
    corners = np.array([[*c, 1] for c in itertools.product(*[(0, n - 1) for n in shape])], float) @ to_volume.T
    low = np.clip(np.floor(corners[:, :3].min(0)).astype(int) - 1, 0, np.array(size) - 1)
    high = np.clip(np.ceil(corners[:, :3].max(0)).astype(int) + 2, 1, size)
    return low, np.maximum(high, low + 1)


def whole_shift(grid: np.ndarray) -> list[int] | None:
    """First voxel of a patch that is neither turned, zoomed nor moved by parts of a voxel; None for any other."""
    start = np.rint(grid[:3, 3])
    plain = np.allclose(grid[:3, :3], np.eye(3), atol=1e-9) and np.allclose(grid[:3, 3], start, atol=1e-6)
    return start.astype(int).tolist() if plain else None


def moved(image, labels, grid: np.ndarray, shape, device="cpu") -> tuple[Tensor, Tensor]:
    """Image and labels on another grid: trilinear, and the class with the largest interpolated share.

    Args:
        image: `(I, J, K)` float32 array.
        labels: `(I, J, K)` uint8 array.
        grid: `(4, 4)`, index on the new grid to index in the arrays.
        shape: Side lengths of the new grid, voxels.
        device: Where they are moved.

    Returns:
        `(1, *shape)` float32 and `(*shape)` int64; air and background outside.
    """
    image, labels = torch.as_tensor(image, device=device), torch.as_tensor(labels, device=device)
    still = np.eye(4)
    out = resample_image(image, still, grid, shape, antialias=False, fill=0.0)
    return out[None], resample_labels(labels, still, grid, shape).long()


def beyond(to_scan: np.ndarray, shape, size) -> Tensor:
    """Which voxels of a patch lie outside a scan.

    Args:
        to_scan: `(4, 4)`, index in the patch to index in the scan.
        shape: Side lengths of the patch, voxels.
        size: Of the scan.

    Returns:
        bool `shape`.
    """
    steps = [to_scan[:3, d, None] * np.arange(n) for d, n in enumerate(shape)]
    out = np.zeros(tuple(shape), bool)
    for row in range(3):
        i, j, k = (steps[d][row] for d in range(3))
        at = i[:, None, None] + j[None, :, None] + k[None, None, :] + to_scan[row, 3]
        out |= (at < -0.5) | (at > size[row] - 0.5)
    return torch.from_numpy(out)
