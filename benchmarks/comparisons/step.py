"""One training step beside MONAI's V-Net and beside our own with the paper's kernels."""

import math

import torch
from harness import OURS, Race, peer
from scene import spine
from stepping import stepper

from spineseg.anatomy.labels import N_CLASSES
from spineseg.config import NetworkConfig
from spineseg.learning.losses import dice_ce_loss
from spineseg.learning.precision import bf16_pays
from spineseg.learning.vnet import VNet

WIDTHS = (16, 32, 64, 128, 256)


def races(quick: bool) -> list[Race]:
    """One patch of 64-cubed, 26 classes, the V-Net's five widths; in bf16 too where the processor has it."""
    side = 32 if quick else 64
    generator = torch.Generator().manual_seed(0)
    labels = torch.from_numpy(spine(side, 0))[None]
    image = torch.rand((1, 1, side, side, side), generator=generator)
    nets, losses = peer("monai.networks.nets"), peer("monai.losses")
    widths = (4, 8, 16) if quick else WIDTHS
    counts = (1, 2, 3, 3, 3)[: len(widths)]

    def ours(bf16, kernel=3):
        config = NetworkConfig(channels=widths, convolutions=counts, kernel=kernel)
        return stepper(VNet(1, N_CLASSES, config), dice_ce_loss, image, labels, bf16)

    def of_monai(bf16):
        loss = losses.DiceCELoss(include_background=False, to_onehot_y=True, softmax=True, batch=True)
        network = nets.VNet(in_channels=1, out_channels=N_CLASSES)
        return stepper(network, lambda logits, target: loss(logits, target[:, None].long()), image, labels, bf16)

    def check(results):
        assert all(math.isfinite(float(value)) for value in results.values()), results
        return dict.fromkeys(results, (False, "other networks, other numbers"))

    found = []
    for bf16 in (False, True) if bf16_pays(image.device) else (False,):
        torch.manual_seed(0)
        sides = {OURS: ours(bf16), "spineseg, 5-cubed": ours(bf16, 5), "MONAI VNet": nets and of_monai(bf16)}
        found.append(
            Race(
                f"training step, {'bf16' if bf16 else 'fp32'}", sides, check, {"MONAI VNet": 2.5},
                memory={"MONAI VNet": None, "spineseg, 5-cubed": None}, rounds=0 if quick else 2,
            )
        )  # fmt: skip
    return found
