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
from spineseg.learning.joining import faces_mm2, joined
from spineseg.learning.ordering import Ordering, order, spacing_mm

ALONG = 0.35  # of the distance between neighbours: parts of one phase so close along the spine are one vertebra ...
ACROSS_MM = 50.0  # ... if they are no farther apart in the other directions
GROWTH_MM = 9.0  # how far a vertebra takes over pieces of another phase that touch it and are no vertebra
MOST = 60  # pieces of a scan that may be vertebrae, the largest ones


_PHASE = np.arange(1, N_CLASSES) % PHASES + 1  # of each name


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

    @property
    def label_map(self) -> np.ndarray:
        """`(I, J, K)` uint8, 0 to 25."""
        return np.append(0, self.labels).astype(np.uint8)[self.pieces]


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
    least = [config.inference.smallest_ml, config.inference.smallest_at_edge_ml]
    smallest, at_edge = (max(1, round(ml * 1000 / np.prod(spacing))) for ml in least)
    to_coarse = np.linalg.inv(coarse_affine) @ affine

    def volumes_ml(owner):
        return np.bincount(owner) * np.prod(spacing) / 1000

    if naming in ("own", "phase"):
        voxels = np.argwhere(phase)
        names = names_at(logits, voxels @ to_coarse[:3, :3].T + to_coarse[:3, 3])
        if naming == "phase":
            names[torch.from_numpy(_PHASE[None] != phase[tuple(voxels.T)][:, None])] = -torch.inf
        return _by_voxel(voxels, names.log_softmax(1), phase.shape, smallest)
    growth = round(GROWTH_MM / min(spacing))
    pieces = separate(phase, smallest, at_edge, growth)
    voxels = np.argwhere(pieces)
    owner = pieces[tuple(voxels.T)].astype(np.int64) - 1
    names = names_at(logits, voxels @ to_coarse[:3, :3].T + to_coarse[:3, 3]).exp().numpy()
    world = voxels @ affine[:3, :3].T + affine[:3, 3]
    phase_of = phase[tuple(voxels.T)][np.unique(owner, return_index=True)[1]]
    parts = fragments(_mean(world, owner), phase_of, _mean(names, owner).argmax(1), np.bincount(owner))
    owner = parts[owner]
    pieces[tuple(voxels.T)] = owner + 1
    at_end = np.bincount(owner, np.isin(voxels[:, 2], (0, pieces.shape[2] - 1))) > 0
    parts = joined(faces_mm2(pieces, spacing), _mean(world, owner), volumes_ml(owner), _mean(names, owner), at_end)
    owner = parts[owner]
    pieces[tuple(voxels.T)] = owner + 1
    evidence = np.log(_mean(names, owner))
    if naming == "order":
        return _renumbered(pieces, order(evidence, _mean(world, owner), volumes_ml(owner), config.order), growth)
    best = evidence.argmax(1) if len(evidence) else np.zeros(0, int)
    return _renumbered(pieces, Ordering(best + 1, np.exp(evidence.max(1, initial=-np.inf)), ()))


def fragments(centres_mm: np.ndarray, phase: np.ndarray, level: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Which pieces are parts of one vertebra: a smaller piece joins a larger one of its phase at its side.

    Each piece joins at most one, and one that others joined joins none: parts that follow each other along the spine,
    each close to the next, do not become one vertebra. The next vertebra of a phase should be three away, but where
    the coarse names repeat or skip one, phases do too.

    Args:
        centres_mm: `(n, 3)` world RAS.
        phase: `(n,)` of each piece.
        level: `(n,)` likeliest name, 0 to 24; says how far apart vertebrae are there.
        sizes: `(n,)` voxels.

    Returns:
        `(n,)` numbers from 0, the same for the parts of one vertebra.
    """
    along = np.append(spacing_mm(), spacing_mm()[-1])[level] * ALONG
    same, mains = np.arange(len(phase)), []
    for i in np.argsort(-sizes, kind="stable"):
        offset = np.abs(centres_mm[mains] - centres_mm[i])
        height = np.where(np.hypot(offset[:, 0], offset[:, 1]) <= ACROSS_MM, offset[:, 2], np.inf)
        beside = (phase[mains] == phase[i]) & (height <= np.maximum(along[mains], along[i]))
        if beside.any():
            same[i] = mains[np.where(beside, height, np.inf).argmin()]
        else:
            mains.append(i)
    return np.unique(same, return_inverse=True)[1]


def _mean(values: np.ndarray, owner: np.ndarray) -> np.ndarray:
    """Mean of `(M, k)` values over the voxels of each owner, `(n, k)`."""
    counts = np.bincount(owner)[:, None]
    return np.stack([np.bincount(owner, column) for column in values.T], 1) / counts


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


def separate(phase: np.ndarray, smallest: int, at_edge: int, growth: int) -> np.ndarray:
    """Number the connected pieces of each phase; small ones go to the vertebra that they touch, or are dropped.

    What the edge of the scan leaves of a vertebra is small, so a piece that lies on the edge may be smaller.

    Args:
        phase: `(I, J, K)` uint8; neighbouring vertebrae differ.
        smallest: Voxels that a vertebra has at least ...
        at_edge: ... and one that touches a face of the scan; no more than `smallest`.
        growth: Voxels by which vertebrae grow into small pieces.

    Returns:
        `(I, J, K)` uint8; 0, then one number for each piece.
    """
    parts, count = connected_pieces(phase)
    sizes = np.bincount(parts.reshape(-1), minlength=count + 1)
    sizes[0] = 0
    large = np.argsort(-sizes, kind="stable")[:MOST]
    least = np.full(count + 1, smallest)
    for axis in range(parts.ndim):
        least[parts.take([0, -1], axis)] = min(at_edge, smallest)
    large = np.sort(large[sizes[large] >= least[large]])
    table = np.zeros(count + 1, np.uint8)
    table[large] = np.arange(1, len(large) + 1)
    pieces = table[parts]
    _grow_into(pieces, (phase > 0) & (pieces == 0), growth)
    return pieces


def _grow_into(pieces: np.ndarray, free: np.ndarray, growth: int) -> None:
    """Let pieces grow into free voxels, in place, for so many voxels or until nothing more is reached."""
    for _ in range(growth):
        if not _grow(pieces, free):
            return


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


def _renumbered(pieces: np.ndarray, ordering: Ordering, growth: int = 0) -> Found:
    """Keep the pieces that the sequence takes for vertebrae, counted anew; what touches them of others is theirs."""
    real = ordering.labels > 0
    table = np.zeros(256, np.uint8)
    table[np.flatnonzero(real) + 1] = np.arange(1, real.sum() + 1)
    kept = table[pieces]
    _grow_into(kept, (pieces > 0) & (kept == 0), growth)
    return Found(kept, ordering.labels[real], ordering.confidence[real], ordering.changes)


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
