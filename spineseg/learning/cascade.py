"""The cascade: a coarse network names vertebrae on the whole scan, a fine one corrects its logits patch by patch."""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spineseg.anatomy.labels import N_CLASSES, N_VERTEBRAE
from spineseg.config import Config
from spineseg.data.geometry import resample_image
from spineseg.learning.sampling import padded, padding
from spineseg.learning.vnet import VNet

EXTRA_CHANNELS = 4  # into the fine network: level (linear, sine, cosine) and foreground probability
DRAW_CHANNELS = 2  # out of it, beside the logits: how strongly names are drawn to a level, and the level's correction


def build(config: Config, network: str) -> VNet:
    """The network of one stage.

    Args:
        config: Holds its `NetworkConfig`.
        network: `baseline`, `coarse` or `fine`.

    Returns:
        A V-Net with 26 outputs; the fine one has four inputs and two outputs more, and its head starts at zero.
    """
    fine = network == "fine"
    stage, window = getattr(config, network), config.preparation
    width = window.window_high_hu - window.window_low_hu
    standard = ((window.centre_hu - window.window_low_hu) / width, window.unit_hu / width)
    inputs, outputs = 1 + EXTRA_CHANNELS * fine, N_CLASSES + DRAW_CHANNELS * fine
    return VNet(inputs, outputs, stage.network, zero_head=fine, standard=standard)


def pad_to(image: Tensor, multiple) -> Tensor:
    """Pad `(N, C, I, J, K)` with air at the far ends until its sides divide by `multiple`."""
    target = padded(image.shape[2:], multiple)
    return F.pad(image, padding(image.shape[2:], target))


def coarse_logits(network: nn.Module, image: Tensor, multiple) -> Tensor:
    """Logits of a whole scan.

    Args:
        network: The coarse V-Net.
        image: `(1, I, J, K)` coarse scan in window units.
        multiple: Padding multiple along I, J, K.

    Returns:
        float32 `(26, I, J, K)`.
    """
    logits = network(pad_to(image[None], multiple))[0]
    return logits[:, : image.shape[1], : image.shape[2], : image.shape[3]].float()


def guidance(network: nn.Module, image: Tensor, config: Config) -> Tensor:
    """What the fine stage takes from the coarse one: its logits, and what they say of level and foreground.

    Args:
        network: The coarse V-Net.
        image: `(1, I, J, K)` coarse scan in window units.
        config: Padding multiple and period.

    Returns:
        float32 `(30, I, J, K)`: 26 logits and the four `level_channels`.
    """
    logits = coarse_logits(network, image, config.coarse.patch)
    return torch.cat((logits, level_channels(logits, config.guidance.period)))


def level_channels(logits: Tensor, period: float) -> Tensor:
    """What the coarse logits say about level and foreground, as inputs of the fine network.

    The level is the mean identifier of the 25 under their own softmax, so it is defined in the background too.

    Args:
        logits: `(26, I, J, K)` coarse logits.
        period: Vertebrae per turn: neighbours differ, and which way is up is plain.

    Returns:
        `(4, I, J, K)`: level / 25, its sine and cosine, foreground probability.
    """
    ids = torch.arange(1, N_CLASSES, dtype=logits.dtype, device=logits.device)
    level = (logits[1:].softmax(0) * ids[:, None, None, None]).sum(0)  # no matrix product: autocast would round it
    turn = level * (2 * math.pi / period)
    foreground = torch.sigmoid(logits[1:].logsumexp(0) - logits[0])
    return torch.stack([level / N_VERTEBRAE, turn.sin(), turn.cos(), foreground])


def upsampled(guide: Tensor, to_coarse: np.ndarray, shape) -> Tensor:
    """Guidance `(30, i, j, k)` on a fine grid of `shape`, trilinear, edge repeated."""
    return resample_image(guide, np.eye(4), to_coarse, shape, antialias=False)


def fine_logits(network: nn.Module, image: Tensor, guide: Tensor, period: float) -> Tensor:
    """Coarse logits plus the fine network's correction, names drawn to the level as the fine network corrects it.

    Args:
        network: The fine V-Net, five inputs and 28 outputs.
        image: `(N, 1, I, J, K)` patch in window units.
        guide: `(N, 30, I, J, K)`, `guidance` on the patch's grid.
        period: Vertebrae per turn, as in `level_channels`.

    Returns:
        float32 `(N, 26, I, J, K)`; the coarse logits as they are while the network gives zeros.
    """
    out = network(torch.cat((image, guide[:, N_CLASSES:]), 1)).float()
    strength, shift = out[:, N_CLASSES:].unbind(1)
    return drawn(guide[:, :N_CLASSES] + out[:, :N_CLASSES], guide[:, N_CLASSES] * N_VERTEBRAE + shift, strength, period)


def drawn(logits: Tensor, level: Tensor, strength: Tensor, period: float) -> Tensor:
    """Draw names towards a level; the odds of vertebra against background stay.

    To which of two neighbours a voxel between them belongs is the same question at every level, but corrections by name
    make a network learn it 25 times. Here one number moves a voxel up or down, whatever its name.

    Args:
        logits: `(N, 26, I, J, K)`.
        level: `(N, I, J, K)` identifiers, fractions between them.
        strength: `(N, I, J, K)`, what a name at the level itself gains.
        period: Vertebrae until the wave repeats; which of its crests is meant, the logits tell.

    Returns:
        `(N, 26, I, J, K)`.
    """
    names, turn = logits[:, 1:], 2 * math.pi / period
    ids = torch.arange(1, N_CLASSES, dtype=names.dtype, device=names.device).view(1, -1, 1, 1, 1) * turn
    level = level * turn
    cosine, sine = (strength * level.cos())[:, None], (strength * level.sin())[:, None]
    # strength * cos(ids - level) is added; no matrix product, as above
    moved = torch.addcmul(torch.addcmul(names, ids.cos(), cosine), ids.sin(), sine)
    gained = moved.logsumexp(1, keepdim=True) - names.logsumexp(1, keepdim=True)
    return torch.cat((logits[:, :1] + gained, moved), 1)
