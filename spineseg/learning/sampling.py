"""Patches for training: drawn by seed, epoch and index alone, and cut out with one affine from file grid to patch."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import Dataset

from spineseg.config import PreparationConfig, StageConfig, TrainingConfig
from spineseg.data.affine import spacing_of
from spineseg.data.geometry import resample_image, resample_labels
from spineseg.data.store import Store
from spineseg.learning.augment import Intensity, pose
from spineseg.learning.looks import redrawn, thick_slices
from spineseg.learning.narrowing import draw_around, draw_near_spine, draw_smaller
from spineseg.learning.surround import altered

BRIGHT_HU = 130.0  # of a coarse voxel that holds bone or contrast medium


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


def padded(shape, multiple) -> tuple[int, int, int]:
    """Side lengths rounded up to multiples, as a V-Net needs them; kernels are compiled anew for each shape."""
    return tuple(int(-(-n // m) * m) for n, m in zip(shape, multiple, strict=True))


def padding(shape, target) -> list[int]:
    """Air at the far ends, in the order that `F.pad` wants: last axis first."""
    return [v for n, t in zip(reversed(shape), reversed(target), strict=True) for v in (0, t - n)]


class WholeScans(Dataset):
    """Coarse-stage items: one whole scan, or a part of it as a smaller field of view would show it.

    Args:
        cases: Training cases by position, such as `Rounds`.
        stage: Gives the padding multiple and the number of items.
        training: Augmentation.
        seed: Of every draw, together with the epoch and the index.
    """

    def __init__(self, cases, stage: StageConfig, training: TrainingConfig, seed: int):
        self.cases, self.stage, self.training, self.seed, self.epoch = cases, stage, training, seed, 0

    def __len__(self) -> int:
        return self.stage.steps_per_epoch * self.stage.batch

    def __getitem__(self, index: int) -> dict:
        rng = np.random.default_rng([self.seed, self.epoch, index])
        case = self.cases.at(self.seed, self.epoch * len(self) + index)
        size = np.array(case.coarse_image.shape)
        narrowed = rng.random() < self.stage.narrowed_share
        shape = draw_smaller(rng, size, spacing_of(case.coarse_affine)) if narrowed else size
        centre = draw_near_spine(rng, case.coarse_labels, shape)
        grid = pose(rng, self.training, centre, shape)
        target = padded(shape, self.stage.patch)
        image, labels = moved(case.coarse_image, case.coarse_labels, grid, shape.tolist())
        if self.stage.altered_share and rng.random() < self.stage.altered_share:
            image = altered(rng, image, labels, float(np.mean(spacing_of(case.coarse_affine))))
        if self.training.looks_share and rng.random() < self.training.looks_share:
            image = redrawn(rng, image)
        image = Intensity.draw(rng, self.training)(image, blur=False)
        pad = padding(shape.tolist(), target)
        return {"case": case.case, "image": F.pad(image, pad), "labels": F.pad(labels, pad)}


class StillScans(Dataset):
    """Whole coarse scans as they are, for validation."""

    def __init__(self, cases: list[TrainingCase], stage: StageConfig):
        self.cases, self.multiple = cases, stage.patch

    def __len__(self) -> int:
        return len(self.cases)

    def __getitem__(self, index: int) -> dict:
        case = self.cases[index]
        pad = padding(case.coarse_image.shape, padded(case.coarse_image.shape, self.multiple))
        image = torch.from_numpy(case.coarse_image)[None]
        labels = torch.from_numpy(case.coarse_labels).long()
        return {"case": case.case, "image": F.pad(image, pad), "labels": F.pad(labels, pad)}


class Patches(Dataset):
    """Fine-stage and baseline items: a patch on the fine grid, most of them centred on a vertebra.

    Args:
        cases: Training cases by position, such as `Rounds`.
        stage: Patch size, foreground share and number of items.
        training: Augmentation.
        seed: Of every draw, together with the epoch and the index.
        augmented: False gives unturned patches, for validation.
        device: Where patches are moved and augmented.
    """

    def __init__(
        self, cases, stage: StageConfig, training: TrainingConfig, seed: int, *, augmented: bool = True, device="cpu"
    ):
        self.cases, self.stage, self.training, self.seed = cases, stage, training, seed
        self.augmented, self.device, self.epoch = augmented, torch.device(device), 0

    def __len__(self) -> int:
        return self.stage.steps_per_epoch * self.stage.batch

    def __getitem__(self, index: int) -> dict:
        rng = np.random.default_rng([self.seed, self.epoch, index])
        case = self.cases.at(self.seed, self.epoch * len(self) + index)
        patch = np.array(self.stage.patch)
        kind, others = rng.random(), self.stage.others_share
        if case.foreground and kind < self.stage.foreground_share - others:
            voxels = case.foreground[int(rng.choice(sorted(case.foreground)))]  # every class as often as the others
            centre = voxels[rng.integers(len(voxels))] + rng.uniform(-0.25, 0.25, 3) * patch
        elif len(case.others) and kind < self.stage.foreground_share:
            centre = case.others[rng.integers(len(case.others))] + rng.uniform(-0.25, 0.25, 3) * patch
        else:
            centre = rng.uniform(0, 1, 3) * np.array(case.shape)
        turned = self.augmented and rng.random() < self.training.turned_share
        if not turned:  # whole voxels: between them, image and labels would be rounded apart
            centre = np.round(centre - (patch - 1) / 2) + (patch - 1) / 2
        grid = pose(rng, self.training if turned else None, centre, patch)
        image, labels = case.cut(grid, patch.tolist(), self.device)
        coarse, whole = case.coarse_image, True
        to_coarse = np.linalg.inv(case.coarse_affine) @ case.affine @ grid
        if self.augmented:
            if self.training.looks_share and rng.random() < self.training.looks_share:
                image = redrawn(rng, image)
            if self.training.thick_share and rng.random() < self.training.thick_share:
                image = thick_slices(rng, image)
            image = Intensity.draw(rng, self.training)(image)
            whole = rng.random() >= self.stage.narrowed_share
            if not whole:  # the coarse stage is less sure of a small part
                shape = draw_smaller(rng, coarse.shape, spacing_of(case.coarse_affine))
                middle = to_coarse[:3] @ np.append((patch - 1) / 2, 1.0)
                start = draw_around(rng, middle, coarse.shape, shape)
                coarse = np.ascontiguousarray(coarse[tuple(slice(a, a + n) for a, n in zip(start, shape, strict=True))])
                to_coarse[:3, 3] -= start
                outside = beyond(to_coarse, patch, shape).to(self.device)
                image[:, outside], labels[outside] = 0.0, 0
        seen = torch.from_numpy(coarse)[None]
        guide = {"coarse": seen, "to_coarse": to_coarse, "whole": whole}
        return {"case": case.case, "image": image, "labels": labels, **guide}


class StillPatches(Dataset):
    """The same few unturned patches of each validation case."""

    def __init__(self, cases: list[TrainingCase], stage: StageConfig, training: TrainingConfig):
        self.each = training.validation_patches
        self.single = [Patches(Rounds([case]), stage, training, i, augmented=False) for i, case in enumerate(cases)]

    def __len__(self) -> int:
        return len(self.single) * self.each

    def __getitem__(self, index: int) -> dict:
        case, patch = divmod(index, self.each)
        return self.single[case][patch]


class Rounds:
    """Training cases by position in a sequence that visits all of them, newly shuffled each time round."""

    def __init__(self, cases: list[TrainingCase]):
        self.cases = cases

    def at(self, seed: int, position: int) -> TrainingCase:
        """The case that the item at a position is cut from."""
        round_, place = divmod(position, len(self.cases))
        order = np.random.default_rng([seed, 7919, round_]).permutation(len(self.cases))
        return self.cases[order[place]]


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


def collate(items: list[dict]) -> dict:
    """Stack what has one shape; keep names, coarse scans and affines as lists."""
    stacked = {key: torch.stack([item[key] for item in items]) for key in ("image", "labels")}
    return stacked | {key: [item[key] for item in items] for key in items[0] if key not in stacked}
