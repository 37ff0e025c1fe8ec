"""What a network in training is asked: names of voxels, or what the fine stage adds to a coarse network."""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spineseg.config import Config, StageConfig
from spineseg.learning.cascade import PHASES, coarse_logits, fine_input, fine_logits, guidance, named, phases, upsampled
from spineseg.learning.losses import loss_by_name
from spineseg.learning.sampling import rim_shift
from spineseg.learning.second_look import logits_from_labels

KEPT_BYTES = 2**30  # of guidance, on the device; the whole demo cohort fits


class Naming:
    """26 classes for each voxel: the baseline and the coarse stage.

    Args:
        stage: Names the loss.
    """

    def __init__(self, stage: StageConfig):
        self._loss = loss_by_name(stage.loss, naming=stage.naming_weight)

    def to(self, device) -> None:
        """Nothing to move."""

    def loss(self, network: nn.Module, batch: dict) -> Tensor:
        """Scalar loss of a batch."""
        return self._loss(network(batch["image"]).float(), batch["labels"])

    def judge(self, network: nn.Module, batch: dict) -> tuple[Tensor, Tensor]:
        """Loss of a single item, and its predicted labels `(I, J, K)`."""
        logits = network(batch["image"]).float()
        return self._loss(logits, batch["labels"]), logits[0].argmax(0)


def majority(labels: Tensor, step: int) -> Tensor:
    """Phase that fills most of each block of `step`-cubed voxels: `(N, I, J, K)` to `(N, I / step, ...)`."""
    shares = F.avg_pool3d(F.one_hot(labels.long(), 1 + PHASES).movedim(-1, 1).float(), step)
    return shares.argmax(1)


class Outlining:
    """Background and three phases: the fine stage.

    Args:
        config: Names the loss; limits what the coarse stage says.
        coarse: The trained coarse network; it is no longer changed.
    """

    def __init__(self, config: Config, coarse: nn.Module):
        self.config, self.coarse = config, coarse.eval()
        self._loss = loss_by_name(config.fine.loss, naming=config.fine.naming_weight)
        self._guides: OrderedDict[str, Tensor] = OrderedDict()

    def to(self, device) -> None:
        """Move the coarse network."""
        self.coarse = self.coarse.to(device)

    def loss(self, network: nn.Module, batch: dict) -> Tensor:
        """Scalar loss of a batch. A level of the decoder that is judged too counts half of the one above it; all
        weights add up to one.

        Source:
            Lee, Xie, Gallagher, Zhang, Tu: Deeply-Supervised Nets, 2015, arXiv 1409.5185; weights as in nnU-Net.
        """
        guide, labels = self.guide(batch), phases(batch["labels"])
        coarse, total, weights = guide[:, : PHASES + 1], 0.0, 0.0
        for k, correction in enumerate(network.at_scales(fine_input(batch["image"], guide))):
            here, target = (F.avg_pool3d(coarse, 2**k), majority(labels, 2**k)) if k else (coarse, labels)
            total = total + 0.5**k * self._loss(here + correction.float(), target)
            weights += 0.5**k
        return total / weights

    def judge(self, network: nn.Module, batch: dict) -> tuple[Tensor, Tensor]:
        """Loss of a single item, and its labels `(I, J, K)`, the coarse names that fit the phases."""
        logits = fine_logits(network, batch["image"], self.guide(batch))
        names = upsampled(self._logits(batch["coarse"][0])[1:], batch["to_coarse"][0], logits.shape[2:])
        return self._loss(logits, phases(batch["labels"])), named(logits[0], names)

    @torch.no_grad()
    def guide(self, batch: dict) -> Tensor:
        """Guidance `(N, 7, I, J, K)` on the grids of the patches of a batch."""
        scans = zip(*(batch[key] for key in ("case", "coarse", "whole", "found", "to_coarse")), strict=True)
        guides = [self._guide(*scan) for scan in scans]
        shape = batch["image"].shape[2:]
        return torch.stack([upsampled(g, m, shape) for g, m in zip(guides, batch["to_coarse"], strict=True)])

    @torch.no_grad()
    def _logits(self, image: Tensor) -> Tensor:
        return coarse_logits(self.coarse, image, self.config.coarse.patch)

    def _guide(self, case: str, image: Tensor, whole: bool, found: Tensor | None, to_coarse: np.ndarray) -> Tensor:
        """Guidance of a scan, or of a part of it; that of the latest whole scans is kept."""
        if not whole:
            logits = self._logits(image)
            if found is not None:
                logits = logits_from_labels(found.cpu().numpy(), logits, to_coarse @ rim_shift())
            return guidance(logits, self.config)
        if case in self._guides:
            self._guides.move_to_end(case)
            return self._guides[case]
        guide = self._guides[case] = guidance(self._logits(image), self.config)
        while sum(t.nbytes for t in self._guides.values()) > KEPT_BYTES:
            self._guides.popitem(last=False)
        return guide
