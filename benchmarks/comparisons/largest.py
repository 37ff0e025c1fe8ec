"""The largest connected piece of every class."""

import numpy as np
import torch
from harness import OURS, Race, peer
from scene import spine, strays
from scipy import ndimage

from spineseg.anatomy.labels import N_CLASSES
from spineseg.evaluation.metrics import keep_largest


def loop(labels):
    """Class by class on the whole grid with scipy."""
    kept = np.zeros_like(labels)
    for value in range(1, N_CLASSES):
        pieces, n = ndimage.label(labels == value, np.ones((3, 3, 3)))
        if n:
            kept[pieces == 1 + np.bincount(pieces.ravel())[1:].argmax()] = value
    return kept


def races(quick: bool) -> list[Race]:
    """A label map of 250-cubed with 200 stray voxels."""
    labels = strays(spine(32 if quick else 250, 1), 2)
    monai = peer("skimage.measure") and peer("monai.transforms")  # which asks it for the pieces
    keep = monai and monai.KeepLargestConnectedComponent(applied_labels=list(range(1, N_CLASSES)), connectivity=3)
    sides = {
        OURS: lambda: keep_largest(labels),
        "MONAI": keep and (lambda: np.asarray(keep(torch.from_numpy(labels)[None])[0])),
        "scipy loop": lambda: loop(labels),
    }

    def check(results):
        different = {name: int((found != results[OURS]).sum()) for name, found in results.items()}
        assert not any(different.values()), different
        return {name: (True, f"{n} voxels differ") for name, n in different.items()}

    return [Race("keep the largest piece", sides, check, {"MONAI": 200.0}, rounds=0 if quick else 2)]
