"""How dense this patient's tissues look in this scan: Hounsfield units drawn once per case."""

from __future__ import annotations

import numpy as np

PHASES = ("none", "arterial", "portal")
# HU ranges per phase: arteries, veins, heart, renal cortex, liver, spleen
_ENHANCED = {
    "none": ((35, 50), (35, 50), (35, 50), (28, 38), (45, 65), (42, 54)),
    "arterial": ((220, 400), (60, 120), (150, 320), (120, 190), (60, 80), (80, 130)),
    "portal": ((130, 190), (120, 180), (120, 180), (150, 210), (90, 125), (105, 135)),
}
_ENHANCED_NAMES = ("artery", "vein", "heart", "kidney", "liver", "spleen")


def draw_tissue(rng: np.random.Generator) -> dict[str, float | str]:
    """Draw the HU of each tissue, and the contrast phase that some of them follow.

    Args:
        rng: Source of every random number.

    Returns:
        `{tissue: HU}`, and `phase` (one of `PHASES`), `shell_mm` (cortex of ribs and pelvis), `streak` (share of fat in
        the muscles of the back, 0 to 1).
    """
    phase = str(rng.choice(PHASES, p=[0.35, 0.2, 0.45]))
    tissue: dict[str, float | str] = {"phase": phase}
    for name, (low, high) in zip(_ENHANCED_NAMES, _ENHANCED[phase], strict=True):
        tissue[name] = rng.uniform(low, high)
    plain = {
        "fat": (-118, -88), "skin": (-10, 50), "muscle": (42, 64), "lung": (-900, -780), "cord": (28, 42),
        "brain": (30, 40), "bowel": (15, 55), "stool": (-60, 70), "fluid": (-2, 15), "cartilage": (80, 140),
        "gas": (-1000, -900), "cortical": (520, 1080), "marrow": (40, 190), "tooth": (1500, 2600),
        "table": (-760, -560),
    }  # fmt: skip
    for name, (low, high) in plain.items():
        tissue[name] = rng.uniform(low, high)
    if phase == "portal":
        tissue["muscle"] += 8.0
    tissue["trabecular"] = tissue["marrow"]
    tissue["shell_mm"] = rng.uniform(1.2, 2.4)
    tissue["streak"] = rng.uniform(0.0, 1.0) ** 1.5
    return {k: v if isinstance(v, str) else float(v) for k, v in tissue.items()}
