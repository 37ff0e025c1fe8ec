"""The row of vertebrae in a label map: where each lies and which way the row runs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from spineseg.anatomy.labels import N_VERTEBRAE
from spineseg.anatomy.vertebra_view import Settled, look, settle, split

LEAST_VOXELS = 30  # fewer are a crumb


@dataclass(frozen=True)
class Row:
    """The vertebrae of enough voxels, by label.

    Attributes:
        labels: `(I, J, K)`.
        affine: `(4, 4)`, voxel index to RAS+ mm.
        boxes: `{label: three slices}`.
        places: `{label: (n, 3) world mm of its voxels}`.
    """

    labels: np.ndarray
    affine: np.ndarray
    boxes: dict[int, tuple[slice, slice, slice]]
    places: dict[int, np.ndarray]

    def is_cut(self, level: int) -> bool:
        """Whether a vertebra touches the border of the array."""
        return any(s.start == 0 or s.stop == n for s, n in zip(self.boxes[level], self.labels.shape, strict=True))

    def settled(self, level: int, step_mm: float) -> Settled:
        """One vertebra in its own frame."""
        mask, start = self._mask(level)
        return settle(mask, start, self.affine, self.places[level], level, self.tangent(level), step_mm)

    def viewed(self, level: int, frame: np.ndarray, middle: np.ndarray, step_mm: float, room=None) -> Settled:
        """One vertebra, smoothed, in a frame and about a point that are given; of it what lies within a room."""
        mask, start = self._mask(level)
        view = look(smoothed(mask), start, self.affine, self.places[level], frame, middle, step_mm, room)
        return Settled(view, frame, middle, split(view))

    def _mask(self, level):
        sides = zip(self.boxes[level], self.labels.shape, strict=True)
        grown = tuple(slice(max(s.start - 2, 0), min(s.stop + 2, n)) for s, n in sides)
        return torch.from_numpy((self.labels[grown] == level).astype(np.float32)), np.array([s.start for s in grown])

    def tangent(self, level: int) -> np.ndarray:
        """Unit vector towards the head along the row of centroids; straight up where the row has one member."""
        near = [i for i in range(level - 2, level + 3) if i in self.places]
        if len(near) < 2:
            return np.array([0.0, 0.0, 1.0])
        place = np.array([self.places[i].mean(0) for i in near])
        number = np.array(near, float) - level
        degree = min(2, len(near) - 1)  # a parabola through up to five neighbours, its slope at this one
        slope = np.polynomial.polynomial.polyfit(number, place, degree)[1]
        return -slope / np.linalg.norm(slope)


def smoothed(mask: torch.Tensor) -> torch.Tensor:
    """A mask after a binomial filter of three voxels along each axis; a plane's half-way surface stays where it is."""
    for axis in range(3):
        before, after = mask.roll(1, axis), mask.roll(-1, axis)
        before.select(axis, 0).copy_(mask.select(axis, 0))  # the border is drawn on, not wrapped
        after.select(axis, -1).copy_(mask.select(axis, -1))
        mask = 0.25 * before + 0.5 * mask + 0.25 * after
    return mask


def row_of(labels: np.ndarray, affine: np.ndarray, *, step_mm: float = 1.0) -> Row:
    """Find the vertebrae of a label map.

    Args:
        labels: `(I, J, K)` uint8, 0 to 25.
        affine: `(4, 4)`, voxel index to RAS+ mm; any orientation, oblique or anisotropic.
        step_mm: Of the lattice that they will be looked at on; checked here.

    Returns:
        Those of at least `LEAST_VOXELS` voxels, from head to foot.

    Raises:
        ValueError: If the labels are not a volume, the affine is not `(4, 4)` or the step is not positive.
    """
    if np.ndim(labels) != 3:
        raise ValueError(f"labels must be a volume (I, J, K), got shape {np.shape(labels)}; pass one label map")
    if np.shape(affine) != (4, 4):
        raise ValueError(f"affine must be (4, 4), voxel index to RAS+ mm, got shape {np.shape(affine)}")
    if not step_mm > 0:
        raise ValueError(f"step_mm must be positive, got {step_mm}; about the size of a voxel is right")
    labels, affine = np.asarray(labels), np.asarray(affine, float)
    boxes = _boxes(labels)
    places = {}
    for level, box in boxes.items():
        index = np.argwhere(labels[box] == level) + [s.start for s in box]
        places[level] = index @ affine[:3, :3].T + affine[:3, 3]
    return Row(labels, affine, boxes, places)


def _boxes(labels):
    """Box of each vertebra of enough voxels, in the order of the levels."""
    count = np.bincount(labels.ravel(), minlength=N_VERTEBRAE + 1)
    present = [i for i in range(1, N_VERTEBRAE + 1) if count[i] >= LEAST_VOXELS]
    boxes = {level: [] for level in present}
    for axis in range(3):
        others = tuple(a for a in range(3) if a != axis)
        for level in present:
            box = tuple(boxes[level])  # narrowed by the axes seen so far
            where = np.flatnonzero((labels[box] == level).any(axis=others))
            boxes[level].append(slice(int(where[0]), int(where[-1]) + 1))
    return {level: tuple(box) for level, box in boxes.items()}
