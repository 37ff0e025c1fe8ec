"""The V-Net, as published and with 3-cubed kernels.

Source:
    Milletari, Navab, Ahmadi: V-Net: Fully Convolutional Neural Networks for Volumetric Medical Image Segmentation,
    2016, arXiv 1606.04797 (figure 2 and table 1; the network was written from the paper).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils import checkpoint

from spineseg.config import NetworkConfig
from spineseg.learning.convolution import Conv3d, ConvTranspose3d
from spineseg.learning.norm import GroupNorm


def narrow_for_bf16(sides, kernel: int) -> bool:
    """Whether a convolution over a grid must stay in fp32 on a CPU: torch 2.13's bf16 `conv3d` gives infinite or huge
    weight gradients where a side is shorter than the kernel (2x2x2 for 3-cubed; 4x4x4, 4x8x8 for 5-cubed); sides as
    long as it are left out too, all longer ones agree with fp32 to .3 %."""
    return min(sides) <= kernel


def norm_layer(kind: str, channels: int) -> nn.Module:
    """The layer that `NetworkConfig.norm` names."""
    if kind == "instance":
        return nn.InstanceNorm3d(channels, affine=True)
    if kind == "group":
        groups = next(n for n in range(min(8, channels), 0, -1) if channels % n == 0)
        return GroupNorm(groups, channels)
    return nn.Identity()


def standardised(x: Tensor, standard: tuple[float, float]) -> Tensor:
    """`(N, C, I, J, K)` with its first channel, the image, in units of a network (see `VNet`)."""
    zero, unit = standard
    return torch.cat(((x[:, :1] - zero) / unit, x[:, 1:]), 1)


def _added(y: Tensor, x: Tensor) -> Tensor:
    """`y` plus the channels of `x`, repeated until there are enough; in place where no gradient is wanted."""
    x, width = x.to(y.dtype), x.shape[1]  # same dtype, or autocast falls back to fp32
    if torch.is_grad_enabled():
        times = -(-y.shape[1] // width)
        return y + (x.repeat(1, times, 1, 1, 1) if times > 1 else x)[:, : y.shape[1]]
    for first in range(0, y.shape[1], width):
        part = y[:, first : first + width]
        part += x[:, : part.shape[1]]
    return y


class _Bend(torch.autograd.Function):
    """`x` where it is positive, `slope * x` elsewhere; the way back is a few passes over memory in place of torch's
    PReLU, which took a fifth of a training step on a CPU."""

    @staticmethod
    def forward(ctx, x: Tensor, slope: Tensor) -> Tensor:
        ctx.save_for_backward(x, slope)
        return F.prelu(x, slope.flatten())

    @staticmethod
    def backward(ctx, upstream: Tensor):
        x, slope = ctx.saved_tensors
        above = torch.ops.aten.threshold_backward(upstream, x, 0.0)  # upstream where x is positive, else 0
        below = upstream - above
        of_slope = (below * x).flatten(2).sum(2).sum(0)
        return below.mul_(slope).add_(above), of_slope.view_as(slope)


class ChannelPReLU(nn.PReLU):
    """`torch.nn.PReLU` with one slope per channel, faster to train on a CPU; the same parameter and values."""

    def forward(self, x: Tensor) -> Tensor:
        """`(N, channels, I, J, K)` to the same."""
        slope = self.weight.to(x.dtype)
        if x.device.type != "cuda":
            return _Bend.apply(x, slope.view(1, -1, 1, 1, 1))
        with torch.autocast("cuda", enabled=False):
            return F.prelu(x, slope)


class Stage(nn.Module):
    """Some convolutions at one resolution; the stage's input is added before the last activation.

    Args:
        in_channels: Channels that enter.
        channels: Channels of every convolution.
        convolutions: How many.
        config: Kernel, norm and whether the sum is taken.
    """

    def __init__(self, in_channels: int, channels: int, convolutions: int, config: NetworkConfig):
        super().__init__()
        self.channels, self.residual, self.kernel = channels, config.residual, config.kernel
        widths = [in_channels, *[channels] * convolutions]
        self.convolutions = nn.ModuleList(
            Conv3d(a, b, config.kernel, padding=config.kernel // 2) for a, b in zip(widths, widths[1:], strict=False)
        )
        self.norms = nn.ModuleList(norm_layer(config.norm, channels) for _ in range(convolutions))
        self.activations = nn.ModuleList(ChannelPReLU(channels) for _ in range(convolutions))

    def forward(self, x: Tensor) -> Tensor:
        """`(N, in_channels, I, J, K)` to `(N, channels, I, J, K)`."""
        if x.device.type == "cpu" and narrow_for_bf16(x.shape[2:], self.kernel):
            with torch.autocast("cpu", enabled=False):
                return self._forward(x.float())
        return self._forward(x)

    def _forward(self, x: Tensor) -> Tensor:
        y = x
        last = len(self.convolutions) - 1
        for i, (conv, norm, act) in enumerate(zip(self.convolutions, self.norms, self.activations, strict=True)):
            y = norm(conv(y))
            if i == last and self.residual:
                y = _added(y, x)
            y = act(y)
        return y


class Resize(nn.Module):
    """Strided or transposed 2-cubed convolution with norm and activation.

    Args:
        in_channels: Channels that enter.
        channels: Channels that leave.
        config: Gives the norm.
        up: Double the resolution; halve it otherwise.
    """

    def __init__(self, in_channels: int, channels: int, config: NetworkConfig, *, up: bool):
        super().__init__()
        self.convolution = (ConvTranspose3d if up else Conv3d)(in_channels, channels, 2, stride=2)
        self.norm, self.activation = norm_layer(config.norm, channels), ChannelPReLU(channels)

    def forward(self, x: Tensor) -> Tensor:
        """`(N, in_channels, I, J, K)` to half or twice the side lengths."""
        return self.activation(self.norm(self.convolution(x)))


class VNet(nn.Module):
    """Encoder and decoder of residual stages; each decoder stage sees the encoder's output of its own resolution.

    Args:
        in_channels: Channels of the input.
        out_channels: Classes, background included.
        config: Channels, convolutions, kernel, norm.
        zero_head: Start the last layer at zero, so that the network begins as a correction of nothing.
        lower: Levels of the decoder below full resolution that have a head of their own, which starts at zero.
        standard: Value that is 0 and length that is 1 to the network, in units of the first channel, the image. A CT
            window from air to metal leaves bone and muscle a tenth apart, which a network is slow to learn from.

    Attributes:
        recompute: Keep the inputs of each level alone for the way back and compute the rest of it again: the same
            numbers from less memory and more time.
    """

    recompute = False

    def __init__(
        self, in_channels: int, out_channels: int, config: NetworkConfig, *, zero_head: bool = False, lower: int = 0,
        standard: tuple[float, float] = (0.0, 1.0),
    ):  # fmt: skip
        super().__init__()
        self.config, self.in_channels, self.out_channels, self.standard = config, in_channels, out_channels, standard
        widths, counts = config.channels, config.convolutions
        self.encoder = nn.ModuleList([Stage(in_channels, widths[0], counts[0], config)])
        self.down = nn.ModuleList()
        for above, width, count in zip(widths, widths[1:], counts[1:], strict=False):
            self.down.append(Resize(above, width, config, up=False))
            self.encoder.append(Stage(width, width, count, config))
        self.up, self.decoder = nn.ModuleList(), nn.ModuleList()
        below = widths[-1]
        for width, count in zip(reversed(widths[:-1]), reversed(counts[:-1]), strict=True):
            self.up.append(Resize(below, width, config, up=True))
            self.decoder.append(Stage(2 * width, 2 * width, count, config))
            below = 2 * width
        self.head = Conv3d(below, out_channels, 1)
        # made last, so that the others begin alike with and without them
        self.lower_heads = nn.ModuleList(Conv3d(2 * width, out_channels, 1) for width in widths[1 : 1 + lower])
        for head in [*([self.head] if zero_head else []), *self.lower_heads]:
            nn.init.zeros_(head.weight)
            nn.init.zeros_(head.bias)

    @property
    def multiple(self) -> int:
        """Side lengths of an input must divide by this."""
        return 2 ** len(self.down)

    def forward(self, x: Tensor) -> Tensor:
        """Logits of an image.

        Args:
            x: `(N, in_channels, I, J, K)`.

        Returns:
            `(N, out_channels, I, J, K)`.

        Raises:
            ValueError: If a side length does not divide by `multiple`.
        """
        return self.head(self._decoded(x)[-1])

    def at_scales(self, x: Tensor) -> list[Tensor]:
        """Logits as of `forward`, and those of the lower heads: `(N, out_channels, I / 2, J / 2, K / 2)` and so on."""
        heads = [self.head, *self.lower_heads]
        return [head(y) for head, y in zip(heads, reversed(self._decoded(x)), strict=False)]

    def _decoded(self, x: Tensor) -> list[Tensor]:
        """Outputs of the decoder's levels, the finest one last."""
        if any(n % self.multiple for n in x.shape[2:]):
            raise ValueError(f"side lengths must divide by {self.multiple}, got {tuple(x.shape[2:])}; pad the input")
        x = standardised(x, self.standard)
        skips = [self._run(self.encoder[0], x)]
        for down, stage in zip(self.down[:-1], self.encoder[1:-1], strict=True):
            skips.append(self._run(nn.Sequential(down, stage), skips[-1]))
        y = self._run(nn.Sequential(self.down[-1], self.encoder[-1]), skips[-1])
        levels = []
        for up, stage, skip in zip(self.up, self.decoder, reversed(skips), strict=True):
            y = self._run(partial(_ascend, up, stage), y, skip)
            levels = [*levels[-len(self.lower_heads) :], y] if len(self.lower_heads) else [y]
        return levels

    def _run(self, level: Callable, *inputs: Tensor) -> Tensor:
        if self.recompute and torch.is_grad_enabled():
            return checkpoint.checkpoint(level, *inputs, use_reentrant=False, preserve_rng_state=False)
        return level(*inputs)


def _ascend(up: Resize, stage: Stage, below: Tensor, skip: Tensor) -> Tensor:
    """One level of the decoder."""
    y = up(below)
    return stage(torch.cat((y, skip.to(y.dtype)), dim=1))


def count_parameters(network: nn.Module) -> int:
    """Number of trainable values."""
    return sum(p.numel() for p in network.parameters() if p.requires_grad)


def shapes(config: NetworkConfig, in_channels: int, out_channels: int, patch) -> list[dict]:
    """Every stage's output shape, read off a forward pass that allocates nothing.

    Args:
        config: The network.
        in_channels: Channels of the input.
        out_channels: Classes.
        patch: Input side lengths, voxels.

    Returns:
        One dict per stage in order of execution: `stage`, `direction` (down, up or out), `level` (0 at full
        resolution), `channels`, `shape`, `convolutions`.
    """
    rows, hooks = [], []
    with torch.device("meta"):
        network = VNet(in_channels, out_channels, config)

    def note(name, direction, level, count):
        def hook(_module, _inputs, output):
            shape = tuple(output.shape[2:])
            rows.append(
                dict(
                    stage=name,
                    direction=direction,
                    level=level,
                    channels=output.shape[1],
                    shape=shape,
                    convolutions=count,
                )
            )

        return hook

    depth = len(network.encoder)
    for level, stage in enumerate(network.encoder):
        hooks.append(stage.register_forward_hook(note(f"down {level + 1}", "down", level, len(stage.convolutions))))
    for i, stage in enumerate(network.decoder):
        level = depth - 2 - i
        hooks.append(stage.register_forward_hook(note(f"up {level + 1}", "up", level, len(stage.convolutions))))
    hooks.append(network.head.register_forward_hook(note("head", "out", 0, 1)))
    with torch.no_grad():
        network(torch.empty(1, in_channels, *patch, device="meta"))
    return rows
