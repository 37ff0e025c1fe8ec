"""Convolutions that a CPU computes fast for a single item too.

torch 2.13 hands an fp32 volume to oneDNN only from two items on, or when it is large; a single item goes to a kernel
that took 2 to 14 times as long for the layers of the demo. Here one item is computed as two halves that overlap by the
reach of the kernel: the same sums.

oneDNN compiles a kernel for every layer and input shape and keeps 1024 of them, enough for about 18 shapes of a V-Net;
whole scans come in more, and most steps of the coarse stage compiled anew. Sixteen times as many are kept here, unless
the environment says otherwise; it must be set before the first convolution of the process.
"""

from __future__ import annotations

import os

os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "16384")

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Conv3d(nn.Conv3d):
    """`torch.nn.Conv3d` with the same parameters and values; its own way only for stride 1 or stride = kernel."""

    def forward(self, x: Tensor) -> Tensor:
        """`(N, in_channels, I, J, K)` to `(N, out_channels, I, J, K)`, sides divided by the stride."""
        stride = self.stride[0]
        axis = _axis_to_halve(x, 2 * stride)
        if axis is None:
            return super().forward(x)
        reach = [0, 0, 0]
        reach[axis] = self.padding[axis]
        rest = tuple(p - r for p, r in zip(self.padding, reach, strict=True))
        # F.pad names the last axis first
        wide = F.pad(x, [r for r in reversed(reach) for _ in range(2)]) if any(reach) else x
        half, whole = x.shape[axis + 2] // 2, x.shape[axis + 2]
        low = wide.narrow(axis + 2, 0, half + 2 * reach[axis])
        high = wide.narrow(axis + 2, whole - half, half + 2 * reach[axis])
        return _joined(F.conv3d(torch.cat((low, high)), self.weight, self.bias, self.stride, rest), axis)


class ConvTranspose3d(nn.ConvTranspose3d):
    """`torch.nn.ConvTranspose3d` with the same parameters and values, for a kernel as large as its stride."""

    def forward(self, x: Tensor) -> Tensor:
        """`(N, in_channels, I, J, K)` to `(N, out_channels, I, J, K)`, sides times the stride."""
        axis = _axis_to_halve(x, 2)
        if axis is None:
            return super().forward(x)
        halves = torch.cat(x.chunk(2, axis + 2))
        return _joined(F.conv_transpose3d(halves, self.weight, self.bias, self.stride), axis)


def _axis_to_halve(x: Tensor, multiple: int) -> int | None:
    """The first of I, J, K that divides by `multiple` where halving helps: one fp32 item on a CPU; else None."""
    if x.shape[0] != 1 or x.device.type != "cpu" or x.dtype != torch.float32 or torch.is_autocast_enabled("cpu"):
        return None
    return next((axis for axis, n in enumerate(x.shape[2:]) if n % multiple == 0), None)


def _joined(halves: Tensor, axis: int) -> Tensor:
    return torch.cat((halves[:1], halves[1:]), axis + 2)
