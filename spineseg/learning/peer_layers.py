"""Layers of another library's network exchanged for ours, so that what differs is the network alone.

Parameters stay; ours are faster on a CPU, keep bf16 on a GPU, and need no statistics over a batch of one or two.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from spineseg.learning.convolution import Conv3d, ConvTranspose3d
from spineseg.learning.vnet import narrow_for_bf16, norm_layer


class _Careful:
    """A convolution that leaves bf16 where a CPU gives wrong gradients for it (see `vnet.narrow_for_bf16`)."""

    def forward(self, x: Tensor) -> Tensor:
        """`(N, in_channels, I, J, K)` to `(N, out_channels, ...)`."""
        sides = [n // s for n, s in zip(x.shape[2:], self.stride, strict=True)]
        if x.device.type == "cpu" and narrow_for_bf16(sides, max(3, *self.kernel_size)):
            with torch.autocast("cpu", enabled=False):
                return super().forward(x.float())
        return super().forward(x)


class CarefulConv3d(_Careful, Conv3d):
    """Stride 1, or a kernel as large as the stride."""


class CarefulStridedConv3d(_Careful, nn.Conv3d):
    """The others, on torch's own way."""


class CarefulConvTranspose3d(_Careful, ConvTranspose3d):
    """A kernel as large as the stride."""


def exchanged(network: nn.Module, norm: str) -> nn.Module:
    """The network with our convolutions, and with the norm that a configuration names.

    Args:
        network: Changed in place.
        norm: As `NetworkConfig.norm`; instance norms stay as they are if it is `instance`.

    Returns:
        The network itself.
    """
    for module in list(network.modules()):
        if type(module) is nn.Conv3d:
            # same parameters, another forward pass: nothing is drawn anew
            module.__class__ = CarefulConv3d if _plain(module) else CarefulStridedConv3d
        elif type(module) is nn.ConvTranspose3d:
            module.__class__ = CarefulConvTranspose3d
        for name, child in list(module.named_children()):
            if isinstance(child, nn.BatchNorm3d) or (isinstance(child, nn.InstanceNorm3d) and norm != "instance"):
                setattr(module, name, norm_layer(norm, child.num_features))
    return network


def _plain(conv: nn.Conv3d) -> bool:
    """Whether our own forward pass is made for it."""
    whole = conv.groups == 1 and conv.dilation == (1, 1, 1)
    return whole and (conv.stride == (1, 1, 1) or (conv.stride == conv.kernel_size and conv.padding == (0, 0, 0)))
