"""The scan that all comparisons share: a phantom cut or mirrored to a box, a prediction of it, logits of a network."""

from __future__ import annotations

import functools

import numpy as np
import torch

from spineseg.anatomy.labels import N_CLASSES
from spineseg.anatomy.phantom import generate

SEED, SPACING_MM = 3, 1.5
TOY, COARSE_MM = 64, 6.0


@functools.cache
def scan(side: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """CT int16 in HU, labels uint8, both `(side, side, side)` in the memory order of a NIfTI file, and the affine.

    Toy sides show a phantom of 6 mm, as if it had been scanned at `SPACING_MM`.
    """
    phantom = generate(SEED, spacing_mm=SPACING_MM if side > TOY else COARSE_MM)
    both = []
    for array, dtype in ((phantom.ct_hu, np.int16), (phantom.labels, np.uint8)):
        room = [(0, max(0, side - n)) for n in array.shape]
        cube = np.pad(np.asarray(array, dtype), room, mode="symmetric")[:side, :side, :side]
        both.append(np.asfortranarray(cube))
    return *both, np.diag([SPACING_MM] * 3 + [1.0])


def spine(side: int, seed: int) -> np.ndarray:
    """25 rough ellipsoids one above the other, about one per cent of the volume; every class is there."""
    rng = np.random.default_rng(seed)
    labels = np.zeros((side,) * 3, np.uint8)
    step = side / 26
    for i in range(1, N_CLASSES):
        centre = np.array([side / 2, side / 2 + 0.1 * side * np.sin(i / 4), (25.5 - i) * step]) + rng.normal(0, 1, 3)
        half = np.array([0.11, 0.09, 0]) * side + [0, 0, 0.55 * step]
        low, high = np.floor(centre - half).astype(int).clip(0), np.ceil(centre + half).astype(int).clip(max=side)
        box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        grid = np.stack(np.meshgrid(*[np.arange(a, b) for a, b in zip(low, high, strict=True)], indexing="ij"), -1)
        inside = (((grid - centre) / half) ** 2).sum(-1) + rng.normal(0, 0.08, grid.shape[:3]) < 1
        labels[box][inside] = i
    return labels


def strays(labels: np.ndarray, seed: int) -> np.ndarray:
    """The map with 200 wrong voxels about it, as a network makes them."""
    rng = np.random.default_rng(seed)
    noisy = labels.copy()
    noisy[tuple(rng.integers(0, n, 200) for n in labels.shape)] = rng.integers(1, N_CLASSES, 200)
    return noisy


def logits_beside(labels: torch.Tensor, seed: int, *, sure: float = 3.0) -> torch.Tensor:
    """Noisy logits `(N, 26, I, J, K)` that lean towards `(N, I, J, K)` labels."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn((labels.shape[0], N_CLASSES, *labels.shape[1:]), generator=generator)
    return logits.scatter_add_(1, labels[:, None].long(), torch.full_like(labels[:, None], sure, dtype=torch.float32))
