"""Vertebrae as a first look may find them: mostly right, some torn, merged, lost or frayed, all names shifted at times.

The fine stage learns from them what to believe when a second look is guided by what the first one found.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

from spineseg.anatomy.labels import N_VERTEBRAE

MOST_FAULTS = 3  # in a patch; none in a quarter of them
SHIFTED = 0.3  # share of the patches in which all names are one too high or too low
GRAIN = 8  # voxels, of what is frayed
MOST_FRAYED = 0.4  # of a vertebra


def misread(rng: np.random.Generator, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Labels as a first look may have found them, and those that a second one should find.

    Where all names are shifted, the answer is shifted too: which level it is cannot be seen in a patch, but where one
    vertebra ends and the next begins can.

    Args:
        rng: Source of every draw.
        labels: `(I, J, K)` uint8, 0 to 25.

    Returns:
        Found and wanted labels, uint8 of the same shape.
    """
    shift = int(rng.choice([-1, 1])) if rng.random() < SHIFTED else 0
    faults = int(rng.integers(MOST_FAULTS + 1))
    present = np.unique(labels[labels > 0]).astype(int)
    if len(present) and present[0] + shift >= 1 and present[-1] + shift <= N_VERTEBRAE:
        labels = np.where(labels > 0, labels.astype(int) + shift, 0).astype(np.uint8)
        present = present + shift
    found = labels.copy()
    for _ in range(faults if len(present) else 0):
        vertebra = int(rng.choice(present))
        others = [name for name in (vertebra - 1, vertebra + 1) if name in present]
        _FAULTS[rng.integers(len(_FAULTS))](rng, found, labels, vertebra, others)
    return found, labels


def _torn(rng, found, labels, vertebra, others):
    """What lies beyond a plane through it belongs to a neighbour, or is lost."""
    voxels = np.argwhere(labels == vertebra)
    direction = rng.normal(size=3)
    along = voxels @ (direction / np.linalg.norm(direction))
    far = voxels[along > np.quantile(along, rng.uniform(0.3, 0.95))]
    found[tuple(far.T)] = int(rng.choice([0, *others]))


def _merged(rng, found, labels, vertebra, others):
    """It has the name of a neighbour that is there too: alone it would only be called something else."""
    if others:
        found[labels == vertebra] = int(rng.choice(others))


def _lost(_rng, found, labels, vertebra, _others):
    """It was not found."""
    found[labels == vertebra] = 0


def _frayed(rng, found, labels, vertebra, others):
    """Pieces of it are missing, or have the name of a neighbour."""
    size = [n // GRAIN + 2 for n in labels.shape]
    noise = torch.from_numpy(rng.normal(size=size).astype(np.float32))[None, None]
    fine = F.interpolate(noise, size=labels.shape, mode="trilinear", align_corners=True)[0, 0].numpy()
    mine = labels == vertebra
    away = mine & (fine < np.quantile(fine[mine], rng.uniform(0.0, MOST_FRAYED)))
    found[away] = int(rng.choice([0, *others]))


_FAULTS = (_torn, _merged, _lost, _frayed)
