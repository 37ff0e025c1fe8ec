"""MONAI's Swin UNETR.

Source:
    Hatamizadeh et al., Swin UNETR (2022), arXiv 2201.01266.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from spineseg.config import NetworkConfig
from spineseg.learning.peer_layers import exchanged


class SwinShaped(nn.Module):
    """A Swin UNETR with the published heads and windows.

    Args:
        in_channels: Channels of the input.
        out_channels: Classes.
        config: `channels[0]` is its feature size, `convolutions[1:5]` its transformer blocks per stage; norm of the
            convolutional blocks.
    """

    def __init__(self, in_channels: int, out_channels: int, config: NetworkConfig):
        from monai.networks.nets import SwinUNETR  # here, since most trainings do without the library

        super().__init__()
        with torch.device("cpu"):  # it reads values while it is made, which the meta device has not
            network = SwinUNETR(
                in_channels, out_channels, feature_size=config.channels[0], depths=config.convolutions[1:5]
            )
        self.network = exchanged(network, config.norm).to(torch.get_default_device())

    @property
    def head(self) -> nn.Module:
        """The last layer."""
        return self.network.out

    @property
    def recompute(self) -> bool:
        """Whether transformer blocks are computed again on the way back."""
        return self._blocks()[0].use_checkpoint

    @recompute.setter
    def recompute(self, again: bool) -> None:
        for block in self._blocks():
            block.use_checkpoint = again

    def _blocks(self) -> list[nn.Module]:
        return [module for module in self.network.modules() if hasattr(module, "use_checkpoint")]

    def forward(self, x: Tensor) -> Tensor:
        """`(N, in_channels, I, J, K)` to logits `(N, out_channels, I, J, K)`."""
        return self.network(x)
