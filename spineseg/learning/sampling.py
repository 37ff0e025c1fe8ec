"""What training shows the networks: scans and patches, drawn by seed, epoch and index alone."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch.utils.data import Dataset

from spineseg.config import StageConfig, TrainingConfig
from spineseg.data.affine import spacing_of
from spineseg.learning.augment import Intensity, pose
from spineseg.learning.first_look import misread
from spineseg.learning.looks import redrawn, thick_slices
from spineseg.learning.narrowing import draw_around, draw_near_spine, draw_smaller
from spineseg.learning.surround import altered
from spineseg.learning.training_cases import Rounds, TrainingCase, beyond, moved

RIM = 8  # voxels around a patch whose vertebrae share coarse voxels with those in it


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
        coarse, whole, found = case.coarse_image, True, None
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
                if self.stage.second_look_share and rng.random() < self.stage.second_look_share:
                    found, labels = self._looked_at(rng, case, grid, to_coarse, shape)
        seen = torch.from_numpy(coarse)[None]
        guide = {"coarse": seen, "to_coarse": to_coarse, "whole": whole, "found": found}
        return {"case": case.case, "image": image, "labels": labels, **guide}

    def _looked_at(self, rng, case: TrainingCase, grid, to_coarse, size) -> tuple[torch.Tensor, torch.Tensor]:
        """What a first look may have found in a patch and `RIM` voxels around it, and the labels that are wanted."""
        wide = np.array(self.stage.patch) + 2 * RIM
        _, labels = case.cut(grid @ rim_shift(), wide.tolist())
        labels[beyond(to_coarse @ rim_shift(), wide, size)] = 0
        found, wanted = misread(rng, labels.numpy().astype(np.uint8))
        inner = (slice(RIM, -RIM),) * 3
        return torch.from_numpy(found), torch.from_numpy(wanted[inner].astype(np.int64)).to(self.device)


def rim_shift() -> np.ndarray:
    """`(4, 4)`, index in a patch with a rim to index in the patch."""
    shift = np.eye(4)
    shift[:3, 3] = -RIM
    return shift


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


def collate(items: list[dict]) -> dict:
    """Stack what has one shape; keep names, coarse scans and affines as lists."""
    stacked = {key: torch.stack([item[key] for item in items]) for key in ("image", "labels")}
    return stacked | {key: [item[key] for item in items] for key in items[0] if key not in stacked}
