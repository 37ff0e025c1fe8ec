"""Convolutions that a CPU computes fast for a single item too.

torch 2.13 hands an fp32 volume to oneDNN only from two items on, or when it is large; a single item goes to a kernel
that took 2 to 14 times as long for the layers of the demo. Here oneDNN is asked for by name. Gradients by the weights
cannot be had so: on the way back one item becomes two halves that overlap by the reach of the kernel, the same sums.

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
from torch.autograd.function import once_differentiable

ONE = (1, 1, 1)


class Conv3d(nn.Conv3d):
    """`torch.nn.Conv3d` with the same parameters and values; its own way only for stride 1 or stride = kernel."""

    def forward(self, x: Tensor) -> Tensor:
        """`(N, in_channels, I, J, K)` to `(N, out_channels, I, J, K)`, sides divided by the stride."""
        axis = _axis_to_halve(x, 2 * self.stride[0])
        if axis is None:
            return super().forward(x)
        return _Convolution.apply(x, self.weight, self.bias, self.stride, self.padding, axis)


class ConvTranspose3d(nn.ConvTranspose3d):
    """`torch.nn.ConvTranspose3d` with the same parameters and values, for a kernel as large as its stride."""

    def forward(self, x: Tensor) -> Tensor:
        """`(N, in_channels, I, J, K)` to `(N, out_channels, I, J, K)`, sides times the stride."""
        axis = _axis_to_halve(x, 2)
        if axis is None:
            return super().forward(x)
        return _joined(F.conv_transpose3d(_halved(x, axis), self.weight, self.bias, self.stride), axis)


class _Convolution(torch.autograd.Function):
    """The convolution of one item; `axis`, of I, J, K, is the one along which it is halved on the way back."""

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, bias: Tensor | None, stride, padding, axis: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.padding, ctx.axis = stride, padding, axis
        return torch.mkldnn_convolution(x, weight, bias, padding, stride, ONE, 1)

    @staticmethod
    @once_differentiable
    def backward(ctx, upstream: Tensor):
        x, weight = ctx.saved_tensors
        by_input, *by_parameters = ctx.needs_input_grad[:3]
        upstream, of_x = upstream.contiguous(), None
        mirrored = by_input and ctx.stride == ONE
        if mirrored:  # the gradient by the input is a convolution too: the kernel turned about, channels exchanged
            turned = weight.flip(2, 3, 4).transpose(0, 1).contiguous()
            rest = [k - 1 - p for k, p in zip(weight.shape[2:], ctx.padding, strict=True)]
            of_x = torch.mkldnn_convolution(upstream, turned, None, rest, ONE, ONE, 1)
        rest, reach = list(ctx.padding), ctx.padding[ctx.axis]
        rest[ctx.axis] = 0
        of_halves, of_weight, of_bias = torch.ops.aten.convolution_backward(
            _halved(upstream, ctx.axis), _halved(x, ctx.axis, reach), weight, weight.shape[:1], ctx.stride, rest, ONE,
            False, (0, 0, 0), 1, (by_input and not mirrored, *by_parameters),
        )  # fmt: skip
        if of_halves is not None:  # stride = kernel: the halves do not overlap
            of_x = _joined(of_halves, ctx.axis)
        return of_x, of_weight, of_bias, None, None, None


def _axis_to_halve(x: Tensor, multiple: int) -> int | None:
    """The first of I, J, K that divides by `multiple` where halving helps: one fp32 item on a CPU; else None."""
    helps = x.shape[0] == 1 and x.device.type == "cpu" and x.dtype == torch.float32 and torch.backends.mkldnn.enabled
    if not helps or torch.is_autocast_enabled("cpu") or not torch.backends.mkldnn.is_available():
        return None
    return next((axis for axis, n in enumerate(x.shape[2:]) if n % multiple == 0), None)


def _halved(x: Tensor, axis: int, reach: int = 0) -> Tensor:
    """`(1, C, I, J, K)` to two items, each longer than half by `reach` voxels at both ends; zeros outside."""
    dim = axis + 2
    if reach:
        pad = [0] * 6
        pad[4 - 2 * axis : 6 - 2 * axis] = reach, reach  # F.pad names the last axis first
        x = F.pad(x, pad)
    half = (x.shape[dim] - 2 * reach) // 2
    return torch.cat((x.narrow(dim, 0, half + 2 * reach), x.narrow(dim, half, half + 2 * reach)))


def _joined(halves: Tensor, axis: int) -> Tensor:
    return torch.cat((halves[:1], halves[1:]), axis + 2)
