"""The voxel grid that tissues are painted on: signed distances in local boxes, partial volume at every edge."""

from __future__ import annotations

import numpy as np
import torch

Box = tuple[slice, slice, slice]


class Canvas:
    """A CT in the making, axis-aligned with RAS+ world axes.

    Args:
        origin_mm: World position of the centre of voxel (0, 0, 0).
        shape: Voxels along I, J, K, which grow towards R, A, S.
        spacing: Voxel size in mm along I, J, K.
        device: Where the arrays live.
        hu: Value that the grid is filled with (air).

    Attributes:
        ct_hu: float32 `shape`.
        labels: uint8 `shape`.
    """

    def __init__(self, origin_mm, shape, spacing, *, device="cpu", hu: float = -1000.0):
        self.origin_mm = tuple(float(v) for v in origin_mm)
        self.shape, self.spacing = tuple(int(n) for n in shape), tuple(float(s) for s in spacing)
        self.device = torch.device(device)
        self.ct_hu = torch.full(self.shape, hu, dtype=torch.float32, device=self.device)
        self.labels = torch.zeros(self.shape, dtype=torch.uint8, device=self.device)
        self._axes = [
            self.origin_mm[d] + self.spacing[d] * torch.arange(self.shape[d], dtype=torch.float32, device=self.device)
            for d in range(3)
        ]

    @property
    def affine(self) -> np.ndarray:
        """`(4, 4)` float64, voxel index to RAS+ mm."""
        affine = np.diag([*self.spacing, 1.0])
        affine[:3, 3] = self.origin_mm
        return affine

    def box(self, low_mm, high_mm) -> Box | None:
        """Slices of the voxels between two world corners, widened by one voxel; None when none lies on the grid."""
        slices = []
        for d in range(3):
            start = max(int(np.floor((float(low_mm[d]) - self.origin_mm[d]) / self.spacing[d])) - 1, 0)
            stop = min(int(np.ceil((float(high_mm[d]) - self.origin_mm[d]) / self.spacing[d])) + 2, self.shape[d])
            if start >= stop:
                return None
            slices.append(slice(start, stop))
        return tuple(slices)

    def coordinates(self, box: Box) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """World mm of the voxel centres in `box`, shaped `(i,1,1)`, `(1,j,1)`, `(1,1,k)` so that they broadcast."""
        x, y, z = (axis[s] for axis, s in zip(self._axes, box, strict=True))
        return x[:, None, None], y[None, :, None], z[None, None, :]

    def coverage(self, distance_mm: torch.Tensor, edge_mm: float | None = None) -> torch.Tensor:
        """Share of each voxel inside a surface, from its signed distance (negative inside): linear across one voxel."""
        edge = edge_mm if edge_mm is not None else float(np.prod(self.spacing)) ** (1 / 3)
        return (0.5 - distance_mm / edge).clamp_(0.0, 1.0)

    def paint(self, box: Box, coverage: torch.Tensor, hu: torch.Tensor | float) -> None:
        """Blend a tissue of `hu` into the box where it covers voxels."""
        view = self.ct_hu[box]
        view += coverage * (hu - view)
