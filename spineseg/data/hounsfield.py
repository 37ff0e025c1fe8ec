"""Is this a CT in Hounsfield units? Named guesses for what it may be instead."""

from __future__ import annotations

import numpy as np

from spineseg.errors import CaseError

SAMPLES = 2_000_000  # voxels that the distribution is judged on, evenly spread; the extremes are taken over all


def check_hounsfield(path, array: np.ndarray) -> None:
    """Refuse what cannot be a CT in HU.

    A CT whose soft tissue was set to 0 (bone only) passes: it has no small positive values.

    Args:
        path: The file, for the message.
        array: `(I, J, K)` values after slope and intercept, finite.

    Raises:
        CaseError: Naming the likely kind: constant, label map, unit interval, 8-bit, wrapped, shifted, MR.
    """
    low, high = float(array.min()), float(array.max())
    if guess := _guess(array, low, high):
        kind, remedy = guess
        found = f"values from {low:g} to {high:g}, which look like {kind}"
        raise CaseError("not-hu", path, found, "a CT in Hounsfield units (air near -1000)", remedy)


def _guess(array: np.ndarray, low: float, high: float) -> tuple[str, str] | None:
    if low == high:
        return "a constant image", "export the scan again"
    flat = array.ravel(order="K")
    sample = flat[:: max(1, flat.size // SAMPLES)]
    if low >= 0 and high < 256 and (sample == np.rint(sample)).all() and np.unique(sample).size <= 64:
        return "a label map", "give the CT, not its segmentation"
    if low >= -1.001 and high <= 1.001:
        return "a CT scaled to the unit interval", "give the scan before windowing"
    if high - low < 50:
        return "a normalised image", "give the scan before normalisation"
    if low > -100 and high < 256:
        return "an 8-bit image", "give the scan before windowing"
    if low >= 0 and 50000 < high < 65536:
        return "negative values wrapped to unsigned 16-bit", "convert it again as signed 16-bit"
    if low < -5000 or high > 40000:
        return "a wrong HU scale", "check slope and intercept, or leave the case out"
    soft = float(((sample > 900) & (sample < 1250)).mean())
    if low >= -50 and soft > 0.1:
        return "a CT shifted by +1024", "apply the rescale intercept (subtract 1024)"
    if low > -50 and float(((sample > 5) & (sample < 150)).mean()) > 0.01:
        return "MR, or a CT whose negative values were cut off", "give the CT in Hounsfield units"
    return None
