"""Networks by the name that `NetworkConfig.architecture` gives: our V-Net, or one of MONAI's that stands in its place.

The library is imported when one of its networks is asked for and not before.
"""

from __future__ import annotations

import importlib.util

from torch import Tensor, nn

from spineseg.config import NetworkConfig
from spineseg.errors import MissingExtra
from spineseg.learning.vnet import VNet, standardised

EXTRA = "architectures"  # of pyproject.toml
NEEDED = ("monai", "einops")  # what it brings; MONAI's attention needs einops and does not ask pip for it


def make_network(
    in_channels: int, out_channels: int, config: NetworkConfig, *, zero_head: bool = False, lower: int = 0,
    standard: tuple[float, float] = (0.0, 1.0),
) -> nn.Module:  # fmt: skip
    """An untrained network.

    Args:
        in_channels: Channels of the input.
        out_channels: Classes, background included.
        config: Names the architecture and its shape.
        zero_head: Start the last layer at zero.
        lower: Levels of the decoder with a head of their own; of a V-Net.
        standard: See `VNet`.

    Raises:
        MissingExtra: If the architecture needs a library that is not installed.
    """
    if config.architecture == "vnet":
        return VNet(in_channels, out_channels, config, zero_head=zero_head, lower=lower, standard=standard)
    if gone := next((name for name in NEEDED if importlib.util.find_spec(name) is None), None):
        raise MissingExtra(f"architecture {config.architecture!r}", gone, EXTRA)
    if config.architecture == "swin":
        from spineseg.learning.swin import SwinShaped as Body
    else:
        from spineseg.learning.ushaped import UShaped as Body
    return Peer(Body(in_channels, out_channels, config), in_channels, out_channels, config, zero_head, standard)


class Peer(nn.Module):
    """A network of another library, used as a `VNet` is.

    Args:
        body: Gives logits; has `head`, its last layer, and `recompute`.
        in_channels: Channels of the input.
        out_channels: Classes, background included.
        config: What it was made from.
        zero_head: Start the last layer at zero.
        standard: See `VNet`.
    """

    def __init__(
        self, body: nn.Module, in_channels: int, out_channels: int, config: NetworkConfig, zero_head: bool,
        standard: tuple[float, float],
    ):  # fmt: skip
        super().__init__()
        self.body, self.config, self.standard = body, config, standard
        self.in_channels, self.out_channels = in_channels, out_channels
        if zero_head:
            for parameter in body.head.parameters():
                nn.init.zeros_(parameter)

    @property
    def multiple(self) -> int:
        """Side lengths of an input must divide by this."""
        return 2 ** (len(self.config.channels) - 1)

    @property
    def recompute(self) -> bool:
        """As of `VNet`: of the levels of a U, and of the transformer blocks of a Swin UNETR."""
        return self.body.recompute

    @recompute.setter
    def recompute(self, again: bool) -> None:
        self.body.recompute = again

    def forward(self, x: Tensor) -> Tensor:
        """`(N, in_channels, I, J, K)` to logits `(N, out_channels, I, J, K)`.

        Raises:
            ValueError: If a side length does not divide by `multiple`.
        """
        if any(n % self.multiple for n in x.shape[2:]):
            raise ValueError(f"side lengths must divide by {self.multiple}, got {tuple(x.shape[2:])}; pad the input")
        return self.body(standardised(x, self.standard))

    def at_scales(self, x: Tensor) -> list[Tensor]:
        """Logits at full resolution, the only ones, in a list as of `VNet`."""
        return [self(x)]
