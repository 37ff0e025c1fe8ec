"""The best Dice that a working grid allows: the reference itself, resampled there and back."""

from __future__ import annotations

import numpy as np
import pandas as pd

from spineseg.anatomy.labels import VERTEBRAE
from spineseg.evaluation.metrics import confusion, dice_matrix


def resolution_ceiling(labels, affine, spacing_mm: float, *, case: str = "") -> pd.DataFrame:
    """Dice of a label map with itself after it went to a grid of another voxel size and back onto its own.

    Args:
        labels: Label map, `(I, J, K)` uint8, 0..25.
        affine: `(4, 4)`, voxel index to RAS+ mm.
        spacing_mm: Voxel size of the working grid.
        case: Name for the column `case`.

    Returns:
        One row for each vertebra that the map holds: `case`, `vertebra`, `spacing_mm`, `ceiling`; 0 for a vertebra
        that the working grid loses.
    """
    import torch  # here, not above: scores need no torch

    from spineseg.data.geometry import back_to_original, grid_at, resample_labels, to_canonical

    labels, affine = np.asarray(labels, np.uint8), np.asarray(affine, np.float64)
    canonical, canonical_affine = to_canonical(labels, affine)
    working_affine, working_shape = grid_at(canonical_affine, canonical.shape, spacing_mm)
    tensor = torch.from_numpy(np.ascontiguousarray(canonical))
    # the same two moves as preparation makes with the reference and inference with the prediction
    working = resample_labels(tensor, canonical_affine, working_affine, working_shape, antialias=True)
    back = back_to_original(working, working_affine, affine, labels.shape).numpy()
    counts = confusion(labels, back)
    dice = np.diagonal(dice_matrix(counts))
    rows = [
        {"case": case, "vertebra": name, "spacing_mm": float(spacing_mm), "ceiling": float(dice[i])}
        for i, name in enumerate(VERTEBRAE, start=1)
        if counts[i].any()
    ]
    return pd.DataFrame(rows, columns=["case", "vertebra", "spacing_mm", "ceiling"])
