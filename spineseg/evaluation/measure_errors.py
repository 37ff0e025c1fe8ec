"""How far measurements are off at a voxel size: error bars from phantoms of known geometry.

Source:
    `benchmarks/morphometry.py`, `benchmarks/results/morphometry.json`, part `perfect`: 90th percentile of the absolute
    error on label maps of 1, 1.5 and 3 mm in random poses. A test holds the numbers here against that file.
"""

from __future__ import annotations

import numpy as np

SPACINGS_MM = (1.0, 1.5, 3.0)
P90 = {
    "body height": (0.18, 0.36, 1.84),
    "disc height": (0.21, 0.37, 1.55),
    "wedge angle": (0.86, 1.24, 4.53),
    "angle across a disc": (1.06, 1.45, 5.46),
    "slip": (0.25, 0.39, 1.5),
    "canal": (0.22, 0.35, 1.09),
}
UNITS = {"wedge angle": "degrees", "angle across a disc": "degrees"}


def error_bars(spacing_mm: float) -> dict[str, float]:
    """Errors that nine of ten values stay within, between the voxel sizes that were tried and beyond in proportion.

    Args:
        spacing_mm: Cube root of the voxel volume.

    Returns:
        `{"<measure> (<unit>)": value}`, for outlines as good as the phantom's own; a prediction's add to them.

    Raises:
        ValueError: If the spacing is not positive.
    """
    if not spacing_mm > 0:
        raise ValueError(f"spacing_mm must be positive, got {spacing_mm}")
    beyond = max(spacing_mm / SPACINGS_MM[-1], 1.0)
    return {
        f"{name} ({UNITS.get(name, 'mm')})": round(float(np.interp(spacing_mm, SPACINGS_MM, values)) * beyond, 2)
        for name, values in P90.items()
    }
