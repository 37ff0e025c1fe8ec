"""What the vertebrae of a first look tell a second one: coarse logits that agree with them.

The coarse stage doubts most where little is in view, and the fine stage, guided by its doubt, tears vertebrae between
phases. Once they are found and named as one sequence, the sequence is a better guide: it gives each of them one phase
and its neighbours others, whether the names are right or all of them are shifted.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from spineseg.anatomy.labels import N_CLASSES

DOUBT = 0.02  # share of the coarse stage's own probabilities that is kept


def logits_from_labels(labels: np.ndarray, logits: Tensor, to_coarse: np.ndarray) -> Tensor:
    """Coarse logits in which the voxels of each vertebra have its name; where nothing was found, background.

    Args:
        labels: `(I, J, K)` uint8 on the fine grid, 0 to 25.
        logits: `(26, i, j, k)` of the coarse stage.
        to_coarse: `(4, 4)`, fine index to coarse index.

    Returns:
        float32 `(26, i, j, k)`: the logarithm of the share of each coarse voxel that a label fills.
    """
    shape = logits.shape[1:]
    voxels = np.argwhere(labels)
    place = np.rint(voxels @ to_coarse[:3, :3].T + to_coarse[:3, 3]).astype(int)
    place = np.ravel_multi_index(tuple(np.clip(place, 0, np.array(shape) - 1).T), shape)
    cells = int(np.prod(shape))
    filled = np.bincount(labels[tuple(voxels.T)].astype(int) * cells + place, minlength=N_CLASSES * cells)
    share = np.clip(filled.reshape(N_CLASSES, *shape) * abs(np.linalg.det(to_coarse[:3, :3])), 0.0, 1.0)
    share[0] = np.clip(1.0 - share[1:].sum(0), 0.0, 1.0)
    found = torch.from_numpy(share).to(logits).float().log()  # minus infinity where a name fills nothing
    return torch.logaddexp(found + math.log(1 - DOUBT), logits.float().log_softmax(0) + math.log(DOUBT))
