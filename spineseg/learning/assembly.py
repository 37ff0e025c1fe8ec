"""From phases to whole vertebrae with names: connected pieces, one sequence over them, a label map."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from spineseg.anatomy.labels import N_CLASSES, N_VERTEBRAE
from spineseg.config import Config
from spineseg.data.affine import spacing_of
from spineseg.evaluation.metrics import keep_largest
from spineseg.evaluation.pieces import connected_pieces
from spineseg.learning.cascade import PHASES
from spineseg.learning.ordering import Ordering, order

GROWTH_MM = 9.0  # how far a vertebra takes over small pieces of another phase that touch it
MOST = 60  # pieces of a scan that may be vertebrae, the largest ones


@dataclass(frozen=True)
class Found:
    """The vertebrae of one scan.

    Attributes:
        pieces: `(I, J, K)` uint8; 0 background, then the number of a vertebra, counted from 1.
        labels: `(n,)` int, 1 to 25, the name of each; a name may come twice (T12, L5).
        confidence: `(n,)` in [0, 1].
        changes: What the sequence changed and which gaps it has, one sentence each.
    """

    pieces: np.ndarray
    labels: np.ndarray
    confidence: np.ndarray
    changes: tuple[str, ...] = ()


def assemble(phase: np.ndarray, logits: Tensor, affine: np.ndarray, coarse_affine: np.ndarray, config: Config) -> Found:
    """Whole, named vertebrae from the phases of a scan's voxels.

    Args:
        phase: `(I, J, K)` uint8 on the fine grid; 0 background, 1 to 3.
        logits: `(26, i, j, k)` coarse logits, on the CPU.
        affine: `(4, 4)` of the fine grid; its axes are R, A, S.
        coarse_affine: `(4, 4)` of the coarse grid.
        config: `inference` and `order`.

    Returns:
        The vertebrae on the fine grid.
    """
    spacing, naming = spacing_of(affine), config.inference.naming
    smallest = max(1, round(config.inference.smallest_ml * 1000 / np.prod(spacing)))
    to_coarse = np.linalg.inv(coarse_affine) @ affine
    if naming in ("own", "phase"):
        voxels = np.argwhere(phase)
        names = names_at(logits, voxels @ to_coarse[:3, :3].T + to_coarse[:3, 3])
        if naming == "phase":
            other = np.arange(1, N_CLASSES)[None] % PHASES + 1 != phase[tuple(voxels.T)][:, None]
            names[torch.from_numpy(other)] = -torch.inf
        return _by_voxel(voxels, names.log_softmax(1), phase.shape, smallest)
    pieces = separate(phase, smallest, round(GROWTH_MM / min(spacing)))
    voxels = np.argwhere(pieces)
    owner = pieces[tuple(voxels.T)].astype(np.int64) - 1
    n = int(pieces.max(initial=0))
    names = names_at(logits, voxels @ to_coarse[:3, :3].T + to_coarse[:3, 3]).exp().numpy()
    counts = np.bincount(owner, minlength=n)[:, None]
    evidence = np.log(np.stack([np.bincount(owner, p, n) for p in names.T], 1) / counts) if n else np.zeros((0, 25))
    centres = np.stack([np.bincount(owner, x, n) for x in voxels.T], 1) / counts
    centres_mm = centres @ affine[:3, :3].T + affine[:3, 3]
    if naming == "order":
        return _renumbered(pieces, order(evidence, centres_mm, config.order))
    own = evidence.argmax(1) + 1 if n else np.zeros(0, int)
    return _renumbered(pieces, Ordering(own, np.exp(evidence.max(1, initial=-np.inf)), ()))


def names_at(logits: Tensor, points: np.ndarray) -> Tensor:
    """Log-probabilities of the 25 names at points of the coarse scan.

    Args:
        logits: `(26, i, j, k)` coarse logits.
        points: `(M, 3)` coarse indices, fractions between voxels; outside, the nearest voxel counts.

    Returns:
        `(M, 25)`, each row of probabilities adding up to 1.
    """
    names = logits[1:].float().log_softmax(0)
    size = torch.tensor(names.shape[1:], dtype=torch.float32)
    scaled = 2 * torch.as_tensor(points, dtype=torch.float32) / (size - 1).clamp(min=1) - 1
    grid = scaled.flip(1)[None, None, None]  # grid_sample wants the last axis first
    read = F.grid_sample(names[None], grid, mode="bilinear", padding_mode="border", align_corners=True)
    return read[0, :, 0, 0].T.log_softmax(1)


def separate(phase: np.ndarray, smallest: int, growth: int) -> np.ndarray:
    """Number the connected pieces of each phase; small ones go to the vertebra that they touch, or are dropped.

    Args:
        phase: `(I, J, K)` uint8; neighbouring vertebrae differ.
        smallest: Voxels that a vertebra has at least.
        growth: Voxels by which vertebrae grow into small pieces.

    Returns:
        `(I, J, K)` uint8; 0, then one number for each piece.
    """
    parts, count = connected_pieces(phase)
    sizes = np.bincount(parts.reshape(-1), minlength=count + 1)
    sizes[0] = 0
    large = np.argsort(-sizes, kind="stable")[:MOST]
    large = np.sort(large[sizes[large] >= smallest])
    table = np.zeros(count + 1, np.uint8)
    table[large] = np.arange(1, len(large) + 1)
    pieces = table[parts]
    free = (phase > 0) & (pieces == 0)
    for _ in range(growth):
        if not _grow(pieces, free):
            break
    return pieces


def _grow(pieces: np.ndarray, free: np.ndarray) -> bool:
    """Give each free voxel beside a piece to it, in place; of several pieces the highest number wins."""
    where = np.argwhere(free)
    best = np.zeros(len(where), np.uint8)
    for axis in range(3):
        for step in (-1, 1):
            beside = where.copy()
            beside[:, axis] = np.clip(beside[:, axis] + step, 0, pieces.shape[axis] - 1)
            best = np.maximum(best, pieces[tuple(beside.T)])
    taken = where[best > 0]
    pieces[tuple(taken.T)] = best[best > 0]
    free[tuple(taken.T)] = False
    return len(taken) > 0


def _renumbered(pieces: np.ndarray, ordering: Ordering) -> Found:
    """Keep the pieces that the sequence takes for vertebrae, counted anew."""
    real = ordering.labels > 0
    table = np.zeros(256, np.uint8)
    table[np.flatnonzero(real) + 1] = np.arange(1, real.sum() + 1)
    return Found(table[pieces], ordering.labels[real], ordering.confidence[real], ordering.changes)


def _by_voxel(voxels: np.ndarray, names: Tensor, shape, smallest: int) -> Found:
    """Every voxel named for itself, then the largest piece of each name."""
    best, label = names.max(1)
    labels = np.zeros(shape, np.uint8)
    labels[tuple(voxels.T)] = label.numpy() + 1
    sums = np.bincount(label.numpy(), best.exp().numpy(), N_VERTEBRAE)
    confidence = sums / np.maximum(np.bincount(label.numpy(), minlength=N_VERTEBRAE), 1)
    return by_label(labels, np.append(np.nan, confidence), smallest)


def by_label(labels: np.ndarray, confidence: np.ndarray, smallest: int) -> Found:
    """Vertebrae from a label map: the largest piece of each name, unless it is too small to be one.

    Args:
        labels: `(I, J, K)` uint8.
        confidence: `(26,)` by label.
        smallest: Voxels that a vertebra has at least.

    Returns:
        The vertebrae.
    """
    labels = keep_largest(labels)
    counts = np.bincount(labels.ravel(), minlength=N_CLASSES)
    present = np.flatnonzero(counts[1:] >= max(smallest, 1)) + 1
    table = np.zeros(256, np.uint8)
    table[present] = np.arange(1, len(present) + 1)
    return Found(table[labels], present, confidence[present])
