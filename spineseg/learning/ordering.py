"""Vertebrae come in one order: names that agree with it along the whole spine are made likelier.

A hidden Markov chain runs down the scan, one step per coarse slice. Its state is the vertebra that the slice passes
through; from one slice to the next the state stays or moves on to the vertebra below. Forward and backward passes turn
the coarse network's evidence, slice by slice, into the probability of each name given the evidence of the whole spine.

Source:
    Rabiner: A tutorial on hidden Markov models, 1989, section III (the two passes).
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from spineseg.anatomy.labels import N_VERTEBRAE, REGION_OF, VERTEBRAE
from spineseg.config import OrderingConfig


def slice_evidence(logits: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """What each slice says about the name of its vertebra.

    Args:
        logits: `(26, I, J, K)` coarse logits; K grows towards the head.

    Returns:
        `(K, 25)` mean log-probability of each name among the 25, weighted by foreground probability, and `(K,)` the
        expected number of vertebra voxels. Slices are ordered from the head down.
    """
    names = logits[1:].log_softmax(0)
    foreground = torch.sigmoid(logits[1:].logsumexp(0) - logits[0])
    mass = foreground.sum((0, 1))  # (K,)
    mean = (names * foreground).sum((1, 2)).T / mass.clamp(min=1e-6)[:, None]
    return mean.flip(0).double().cpu().numpy(), mass.flip(0).double().cpu().numpy()


def chain(evidence: np.ndarray, mass: np.ndarray, spacing_mm: float, options: OrderingConfig) -> np.ndarray:
    """Probability of each name in each slice, given all slices.

    Args:
        evidence: `(K, 25)` from `slice_evidence`.
        mass: `(K,)` expected vertebra voxels.
        spacing_mm: Distance of slices.
        options: Usual heights, and what a slice counts for.

    Returns:
        `(K, 25)`, each row sums to 1.
    """
    onward = np.array([min(spacing_mm / getattr(options, f"{REGION_OF[v]}_mm"), 0.9) for v in VERTEBRAE])
    onward[-1] = 0.0  # nothing is below S1: the chain ends there
    step = np.diag(1 - onward) + np.diag(onward[:-1], 1)
    skip = np.diag((onward[:-2] * onward[1:-1]) ** 2, 2)  # two steps at once, for the flat C1 and C2
    step = (step + skip) / (step + skip).sum(1, keepdims=True)
    # the chain travels only where there is bone: air above the skull must not count as a row of vertebrae
    travel = np.minimum(np.minimum(mass, np.roll(mass, 1)), 1.0)[:, None, None]
    steps = (1 - travel) * np.eye(N_VERTEBRAE) + travel * step  # (K, 25, 25), from the slice above into slice k
    strength = options.weight * mass / (mass + options.half_voxels)
    likelihood = np.exp(strength[:, None] * (evidence - evidence.max(1, keepdims=True)))
    forward, backward = np.empty_like(likelihood), np.ones_like(likelihood)
    state = np.full(N_VERTEBRAE, 1 / N_VERTEBRAE)  # any vertebra may be the first in view
    for k, like in enumerate(likelihood):
        state = (state if k == 0 else state @ steps[k]) * like
        forward[k] = state = state / state.sum()
    for k in range(len(likelihood) - 2, -1, -1):
        ahead = steps[k + 1] @ (likelihood[k + 1] * backward[k + 1])
        backward[k] = ahead / ahead.sum()
    posterior = forward * backward
    return posterior / posterior.sum(1, keepdims=True)


def ordered(logits: Tensor, spacing_mm: float, options: OrderingConfig) -> Tensor:
    """Coarse logits whose names agree along the spine; the probability of being vertebra at all is left alone.

    Args:
        logits: `(26, I, J, K)` coarse logits; K grows towards the head.
        spacing_mm: Of the coarse grid.
        options: Of the chain.

    Returns:
        Logits of the same shape.
    """
    evidence, mass = slice_evidence(logits)
    if mass.max() < 1:
        return logits
    posterior = chain(evidence, mass, spacing_mm, options)
    reach = max(1, round(options.reach_mm / spacing_mm))
    prior = (
        torch.from_numpy(posterior[::-1].T.copy()).clamp_(min=options.least).log_().to(logits)
    )  # (25, K), K towards the head
    prior = F.max_pool1d(prior, 2 * reach + 1, stride=1, padding=reach)
    names = logits[1:] + prior[:, None, None, :]
    names = names + (logits[1:].logsumexp(0) - names.logsumexp(0))
    return torch.cat((logits[:1], names))
