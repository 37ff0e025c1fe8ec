"""The cascade: a coarse network names the whole scan; a fine one outlines vertebrae and tells neighbours apart."""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spineseg.anatomy.labels import N_CLASSES, N_VERTEBRAE
from spineseg.config import Config
from spineseg.data.geometry import resample_image
from spineseg.learning.architectures import make_network
from spineseg.learning.sampling import padded, padding

STAGES = ("coarse", "fine")
PHASES = 3  # names repeat their phase after three vertebrae, so that neighbours, and their neighbours, differ
LEVEL_CHANNELS = 3  # where along the spine: linear, sine, cosine


def build(config: Config, network: str) -> nn.Module:
    """The network of one stage.

    Args:
        config: Holds its `NetworkConfig`.
        network: `baseline`, `coarse` or `fine`.

    Returns:
        A network with 26 outputs; the fine one has four inputs more and four outputs, and its head starts at zero.

    Raises:
        MissingExtra: If its architecture needs a library that is not installed.
    """
    fine = network == "fine"
    stage, window = getattr(config, network), config.preparation
    width = window.window_high_hu - window.window_low_hu
    standard = ((window.centre_hu - window.window_low_hu) / width, window.unit_hu / width)
    inputs, outputs = (2 + LEVEL_CHANNELS, 1 + PHASES) if fine else (1, N_CLASSES)
    return make_network(inputs, outputs, stage.network, zero_head=fine, lower=stage.deep_supervision, standard=standard)


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


def phases(labels: Tensor) -> Tensor:
    """Phase of each label: 0 for background, else 1, 2 or 3, from one vertebra to the next down the spine."""
    return torch.where(labels > 0, labels % PHASES + 1, 0)


def guidance(logits: Tensor, config: Config) -> Tensor:
    """What the fine stage is told: logits of background and the three phases, and which level this is.

    A phase has the summed probability of its names. Log-odds are cut off: where the coarse stage is sure and wrong, the
    fine one must be able to say so. The level is the mean identifier of the 25 under their own softmax, so it is
    defined in the background too.

    Args:
        logits: `(26, I, J, K)` coarse logits.
        config: Limit of the log-odds.

    Returns:
        `(7, I, J, K)`: 4 logits, the background's 0; level / 25, and its sine and cosine, one turn for three vertebrae.
    """
    limit = config.guidance.limit
    names = logits[1:].log_softmax(0)
    phase = torch.stack([names[(p - 1) % PHASES :: PHASES].logsumexp(0) for p in range(PHASES)])  # phase p + 1
    odds = (logits[1:].logsumexp(0) - logits[0]).clamp(-limit, limit)
    ids = torch.arange(1, N_CLASSES, dtype=logits.dtype, device=logits.device)
    level = (names.exp() * ids[:, None, None, None]).sum(0)  # no matrix product: autocast would round it
    turn = level * (2 * math.pi / PHASES)
    channels = torch.stack([torch.zeros_like(odds), level / N_VERTEBRAE, turn.sin(), turn.cos()])
    return torch.cat((channels[:1], odds + phase.clamp(min=-limit), channels[1:]))


def upsampled(guide: Tensor, to_coarse: np.ndarray, shape) -> Tensor:
    """Guidance `(7, i, j, k)` on a fine grid of `shape`, trilinear, edge repeated."""
    return resample_image(guide, np.eye(4), to_coarse, shape, antialias=False)


def fine_input(image: Tensor, guide: Tensor) -> Tensor:
    """What the fine network sees.

    Args:
        image: `(N, 1, I, J, K)` patch in window units.
        guide: `(N, 7, I, J, K)`, `guidance` on the patch's grid.

    Returns:
        `(N, 5, I, J, K)`: image, the coarse stage's probability of a vertebra, and its level.
    """
    coarse, level = guide[:, : PHASES + 1], guide[:, PHASES + 1 :]
    vertebra = coarse[:, 1:].logsumexp(1, keepdim=True).sigmoid()
    return torch.cat((image, vertebra, level), 1)


def fine_logits(network: nn.Module, image: Tensor, guide: Tensor) -> Tensor:
    """Coarse logits of background and the three phases plus the fine network's correction.

    Args:
        network: The fine V-Net, five inputs and four outputs.
        image: As of `fine_input`.
        guide: As of `fine_input`.

    Returns:
        float32 `(N, 4, I, J, K)`; the coarse logits as they are while the network gives zeros.
    """
    return guide[:, : PHASES + 1] + network(fine_input(image, guide)).float()


def named(logits: Tensor, names: Tensor) -> Tensor:
    """Labels of one patch: the likeliest coarse name of each voxel among those of its phase.

    Args:
        logits: `(4, I, J, K)` of `fine_logits`.
        names: `(25, I, J, K)` coarse logits of the names on the patch's grid.

    Returns:
        int64 `(I, J, K)`, 0 to 25.
    """
    phase = logits.argmax(0)
    own = phases(torch.arange(1, N_CLASSES, device=names.device)).view(-1, 1, 1, 1)
    label = torch.where(own == phase, names, -math.inf).argmax(0) + 1
    return torch.where(phase > 0, label, 0)
