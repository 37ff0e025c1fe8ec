"""How far measurements are off at a voxel size: error bars from phantoms of known geometry.

Source:
    `benchmarks/morphometry.py`, `benchmarks/results/morphometry.json`, part `perfect`: 90th percentile of the absolute
    error on label maps of 1, 1.5 and 3 mm in random poses. A test holds the numbers here against that file.
"""

from __future__ import annotations

import numpy as np

SPACINGS_MM = (1.0, 1.5, 3.0)
P90 = {
    "body height": (0.24, 0.5, 1.77),
    "disc height": (0.26, 0.48, 1.44),
    "wedge angle": (1.23, 1.78, 4.49),
    "angle across a disc": (1.76, 2.42, 5.77),
    "slip": (0.3, 0.46, 2.27),
    "canal": (0.23, 0.35, 1.12),
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
