"""A vertebral body with the discs above and below it, upright and centred, as a small network sees it."""

from __future__ import annotations

import numpy as np

from spineseg.anatomy.bodies import Body
from spineseg.anatomy.density import sampled

CROP = (24, 24, 32)  # points to the right, forwards and upwards
CROP_STEP_MM = 2.0
CENTRE_HU, UNIT_HU = 100.0, 300.0  # marrow, and how far tissues are apart


def crop_of(body: Body, ct_hu: np.ndarray, labels: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """Crop a scan around a body in its own frame.

    Args:
        body: From `anatomy.bodies.bodies_of`.
        ct_hu: `(I, J, K)`.
        labels: `(I, J, K)` on the same grid.
        affine: `(4, 4)` of it.

    Returns:
        `(2, *CROP)` float16: HU against marrow, and the mask of this vertebra, linear between voxels; air outside.
    """
    axes = [(np.arange(n) - (n - 1) / 2) * CROP_STEP_MM for n in CROP]
    points = body.world(np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3))
    hu = np.nan_to_num(sampled(ct_hu, affine, points), nan=-1000.0)
    mask = np.nan_to_num(sampled(labels == body.level, affine, points))
    image = np.clip((hu - CENTRE_HU) / UNIT_HU, -4.0, 4.0)
    return np.stack([image, mask]).reshape(2, *CROP).astype(np.float16)
