"""U-Nets from MONAI's blocks: plain, residual, residual with attention gates, and residual with a transformer below.

Source:
    Isensee et al., nnU-Net (2021), for the U and its residual encoder, as MONAI's `DynUNet` builds them. Oktay et al.,
    Attention U-Net (2018), arXiv 1804.03999, for the gates: features that a decoder level is about to receive are
    weighed by what it knows already. Chen et al., TransUNet (2021), arXiv 2102.04306, for tokens of the deepest
    convolutional level; their positions come from a convolution over the grid here, since windows differ in size.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn
from torch.utils import checkpoint

from spineseg.config import NetworkConfig
from spineseg.learning.peer_layers import exchanged

HEAD_WIDTH = 16  # channels of an attention head, as in Swin UNETR
MLP_RATIO = 4  # of a transformer block, as in the vision transformer


class UShaped(nn.Module):
    """Encoder and decoder of MONAI's blocks with two convolutions each.

    Args:
        in_channels: Channels of the input.
        out_channels: Classes.
        config: `architecture` unet, resunet, attention or hybrid; channels; kernel; norm.

    Attributes:
        recompute: As of `VNet`.
    """

    recompute = False

    def __init__(self, in_channels: int, out_channels: int, config: NetworkConfig):
        from monai.networks.blocks import dynunet_block as blocks  # here, since most trainings do without the library
        from monai.networks.nets.attentionunet import AttentionBlock

        super().__init__()
        widths, kernel, norm = config.channels, config.kernel, ("instance", {"affine": True})
        block = blocks.UnetBasicBlock if config.architecture == "unet" else blocks.UnetResBlock
        into = (in_channels, *widths[:-1])
        self.encoder = nn.ModuleList(
            block(3, a, b, kernel_size=kernel, stride=2 if level else 1, norm_name=norm)
            for level, (a, b) in enumerate(zip(into, widths, strict=True))
        )
        self.bottom = Tokens(widths[-1], config.convolutions[-1]) if config.architecture == "hybrid" else nn.Identity()
        upwards = list(zip(widths[:0:-1], widths[-2::-1], strict=True))
        self.decoder = nn.ModuleList(
            blocks.UnetUpBlock(3, a, b, kernel_size=kernel, stride=1, upsample_kernel_size=2, norm_name=norm)
            for a, b in upwards
        )
        gated = config.architecture == "attention"
        self.gates = nn.ModuleList(
            AttentionBlock(3, f_int=max(1, b // 2), f_g=b, f_l=b) if gated else nn.Identity() for _, b in upwards
        )
        self.head = blocks.UnetOutBlock(3, widths[0], out_channels)
        exchanged(self, config.norm)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, in_channels, I, J, K)` to logits `(N, out_channels, I, J, K)`."""
        skips = []
        for block in self.encoder:
            x = self._run(block, x)
            skips.append(x)
        x = self._run(self.bottom, x)
        for up, gate, skip in zip(self.decoder, self.gates, reversed(skips[:-1]), strict=True):
            x = self._run(partial(_ascend, up, gate), x, skip)
        return self.head(x)

    def _run(self, level, *inputs: Tensor) -> Tensor:
        if self.recompute and torch.is_grad_enabled():
            return checkpoint.checkpoint(level, *inputs, use_reentrant=False, preserve_rng_state=False)
        return level(*inputs)


def _ascend(up: nn.Module, gate: nn.Module, below: Tensor, skip: Tensor) -> Tensor:
    """One level of the decoder; what comes across is weighed by a gate where there is one."""
    y = up.transp_conv(below)
    if not isinstance(gate, nn.Identity):
        skip = gate(y, skip)
    return up.conv_block(torch.cat((y, skip.to(y.dtype)), 1))


class Tokens(nn.Module):
    """Transformer blocks over the voxels of a grid of any size.

    Args:
        channels: Of each voxel.
        blocks: How many.
    """

    def __init__(self, channels: int, blocks: int):
        from monai.networks.blocks import TransformerBlock

        super().__init__()
        self.position = nn.Conv3d(channels, channels, 3, padding=1, groups=channels)
        heads = next(n for n in range(max(1, channels // HEAD_WIDTH), 0, -1) if channels % n == 0)
        self.blocks = nn.ModuleList(TransformerBlock(channels, MLP_RATIO * channels, heads) for _ in range(blocks))
        self.norm = nn.LayerNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, channels, i, j, k)` to the same."""
        tokens = (x + self.position(x)).flatten(2).transpose(1, 2)  # (N, i j k, channels)
        for block in self.blocks:
            tokens = block(tokens)
        return self.norm(tokens).transpose(1, 2).unflatten(2, x.shape[2:])
