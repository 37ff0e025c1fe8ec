"""How dense this patient's tissues look in this scan: Hounsfield units drawn once per case."""

from __future__ import annotations

import numpy as np

from spineseg.anatomy.phantom.contrast import draw_contrast
from spineseg.anatomy.phantom.ranges import within, within_log

PHASES = ("none", "arterial", "portal")
# HU ranges per phase: arteries, veins, heart, renal cortex, liver, spleen
_ENHANCED = {
    "none": ((30, 52), (30, 52), (30, 52), (25, 40), (20, 68), (38, 56)),
    "arterial": ((200, 450), (55, 130), (140, 360), (110, 200), (50, 85), (75, 140)),
    "portal": ((115, 200), (110, 190), (110, 190), (140, 220), (75, 130), (95, 140)),
}
_ENHANCED_NAMES = ("artery", "vein", "heart", "kidney", "liver", "spleen")
_PLAIN = {
    "fat": (-124, -84), "skin": (-30, 60), "muscle": (34, 68), "lung": (-920, -740), "cord": (24, 46),
    "brain": (26, 42), "bowel": (5, 60), "stool": (-90, 90), "fluid": (-5, 20), "cartilage": (70, 160),
    "gas": (-1000, -870), "cortical": (480, 1150), "marrow": (10, 240), "tooth": (1400, 2300),
    "table": (-850, -450),
}  # fmt: skip


def draw_tissue(rng: np.random.Generator, spread: float = 1.0) -> dict[str, float | str]:
    """Draw the HU of each tissue, and the contrast phase that some of them follow.

    Args:
        rng: Source of every random number.
        spread: Width of every range; 0 gives the middle of each.

    Returns:
        `{tissue: HU}`, and `phase` (one of `PHASES`), `shell_mm` (cortex of ribs and pelvis), `streak` (share of fat in
        the muscles of the back, 0 to 1), `mottle` (HU, unevenness of soft tissue), `mottle_mm` (its grain) and the
        media of `contrast.draw_contrast`.
    """
    phase = str(rng.choice(PHASES, p=[0.35, 0.2, 0.45]))
    tissue: dict[str, float | str] = {"phase": phase}
    ranges = dict(zip(_ENHANCED_NAMES, _ENHANCED[phase], strict=True)) | _PLAIN
    for name, (low, high) in ranges.items():
        tissue[name] = within(rng, low, high, spread, least=-1024.0, most=3071.0)
    if phase == "portal":
        tissue["muscle"] += 8.0
    tissue["trabecular"] = tissue["marrow"]
    tissue["shell_mm"] = within(rng, 0.9, 2.6, spread, least=0.4)
    tissue["streak"] = within(rng, 0.0, 1.0, spread, least=0.0, most=1.3) ** 1.5
    tissue["mottle"] = within(rng, 2.0, 13.0, spread, least=0.0)
    tissue["mottle_mm"] = within_log(rng, 2.5, 6.5, spread)
    return tissue | draw_contrast(rng, spread)
