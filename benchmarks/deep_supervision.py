"""Deep supervision of the fine stage, for `study.py`: the decoder's lower stages are judged too, while training.

Source:
    Lee, Xie, Gallagher, Zhang, Tu: Deeply-Supervised Nets, 2015, arXiv 1409.5185.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from spineseg.learning.cascade import PHASES, fine_logits, phases
from spineseg.learning.tasks import Outlining
from spineseg.learning.vnet import VNet

LOWER = 2  # stages below full resolution that are judged


class DeepVNet(VNet):
    """A V-Net that also keeps logits of its decoder's lower stages."""

    def __init__(self, in_channels: int, out_channels: int, config, **options):
        super().__init__(in_channels, out_channels, config, **options)
        widths = [2 * w for w in config.channels[1 : 1 + LOWER]]
        self.lower_heads = nn.ModuleList(nn.Conv3d(w, out_channels, 1) for w in widths)
        self.lower: list[Tensor] = []
        for head in self.lower_heads:
            nn.init.zeros_(head.weight)
            nn.init.zeros_(head.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Logits as of `VNet`; `lower` then holds those at half and quarter resolution."""
        seen, hooks = [], []
        for stage in self.decoder[-1 - LOWER : -1]:
            hooks.append(stage.register_forward_hook(lambda _module, _inputs, out: seen.append(out)))
        out = super().forward(x)
        for hook in hooks:
            hook.remove()
        self.lower = [head(y) for head, y in zip(self.lower_heads, reversed(seen), strict=True)]
        return out


class DeepOutlining(Outlining):
    """The fine stage's loss, plus a half and a quarter of it at half and quarter resolution."""

    def loss(self, network: nn.Module, batch: dict) -> Tensor:
        """Scalar loss of a batch; the weights add up to one, as nnU-Net's do."""
        guide, labels, total = self.guide(batch), phases(batch["labels"]), 1.0
        loss = self._loss(fine_logits(network, batch["image"], guide), labels)
        coarse = guide[:, : PHASES + 1]
        for k, correction in enumerate(network.lower, start=1):
            step, weight = 2**k, 0.5**k
            logits = F.avg_pool3d(coarse, step) + correction.float()
            shares = F.avg_pool3d(F.one_hot(labels, 1 + PHASES).movedim(-1, 1).float(), step)
            loss = loss + weight * self._loss(logits, shares.argmax(1))  # the label that fills most of a voxel
            total += weight
        return loss / total


def network(in_channels: int, out_channels: int, config, *, zero_head: bool = False, **options) -> VNet:
    """In place of `VNet`: the fine network, whose head starts at zero, is deeply supervised; the coarse one is not."""
    return (DeepVNet if zero_head else VNet)(in_channels, out_channels, config, zero_head=zero_head, **options)
