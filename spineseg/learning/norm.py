"""Group normalisation that a GPU computes fast for a volume, in the dtype that it takes."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

LARGE = 1 << 21  # values of an input from which on the moments are worth two more kernels


class GroupNorm(nn.GroupNorm):
    """`torch.nn.GroupNorm` that gives the dtype it takes: autocast on a GPU would turn bf16 into fp32, twice the memory
    of all that is kept for the way back."""

    def forward(self, x: Tensor) -> Tensor:
        """`(N, channels, I, J, K)` to the same."""
        if x.device.type != "cuda":  # a CPU takes both dtypes at once
            return super().forward(x)
        weight, bias = self.weight.to(x.dtype), self.bias.to(x.dtype)
        with torch.autocast(x.device.type, enabled=False):
            if x.numel() < LARGE:
                return F.group_norm(x, self.num_groups, weight, bias, self.eps)
            return _Spread.apply(x, weight, bias, self.num_groups, self.eps)


class _Spread(torch.autograd.Function):
    """Group norm whose moments are summed all over a GPU. torch 2.11's own kernel gives each group of each item to one
    of its 132 multiprocessors: a third of a training step on 96-cubed patches."""

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, bias: Tensor, groups: int, eps: float) -> Tensor:
        x = x.contiguous()
        items, channels = x.shape[:2]
        rows = x.view(items * groups, -1)
        mean = rows.sum(1, dtype=torch.float32) / rows.shape[1]
        square = torch.linalg.vector_norm(rows, dim=1, dtype=torch.float32).square() / rows.shape[1]
        rstd = (square - mean.square()).clamp_(min=0).add_(eps).rsqrt_()
        per_channel = (items, groups, channels // groups)
        scale = rstd.view(items, groups, 1) * weight.float().view(1, *per_channel[1:])
        shift = bias.float().view(1, *per_channel[1:]) - mean.view(items, groups, 1) * scale
        scale, shift = (t.to(x.dtype).view(items, channels, 1, 1, 1) for t in (scale, shift))
        ctx.save_for_backward(x, weight, *(t.to(x.dtype).view(items, groups) for t in (mean, rstd)))
        ctx.groups = groups
        return torch.addcmul(shift, x, scale)

    @staticmethod
    @once_differentiable
    def backward(ctx, upstream: Tensor):
        x, weight, mean, rstd = ctx.saved_tensors
        items, channels = x.shape[:2]
        voxels = x[0, 0].numel()
        of_all = torch.ops.aten.native_group_norm_backward(
            upstream.contiguous(),
            x,
            mean,
            rstd,
            weight,
            items,
            channels,
            voxels,
            ctx.groups,
            list(ctx.needs_input_grad[:3]),
        )
        return *of_all, None, None
