"""The 25 vertebrae: identifiers, names, regions, colours and order, and the other schemes they come in.

`0` background, `1-7` C1-C7, `8-19` T1-T12, `20-24` L1-L5, `25` S1 (the first sacral vertebra only, not the sacrum).
This is the only module that knows these numbers.
"""

from __future__ import annotations

import colorsys
import enum

import numpy as np

REGIONS = {"cervical": 7, "thoracic": 12, "lumbar": 5, "sacral": 1}
VERTEBRAE = tuple(f"{region[0].upper()}{i}" for region, count in REGIONS.items() for i in range(1, count + 1))
IDS = {name: i for i, name in enumerate(VERTEBRAE, start=1)}
REGION_OF = {name: region for name in VERTEBRAE for region in REGIONS if region[0].upper() == name[0]}
N_VERTEBRAE = len(VERTEBRAE)
N_CLASSES = N_VERTEBRAE + 1  # with background


class Scheme(enum.Enum):
    """A published label scheme; never guessed from the numbers that a file happens to hold.

    Source:
        class maps of TotalSegmentator v1 and v2 and the VerSe challenge (Sekuboyina et al., 2021).
    """

    SPINESEG = "spineseg"
    TOTALSEGMENTATOR_V1 = "totalsegmentator-v1"
    TOTALSEGMENTATOR_V2 = "totalsegmentator-v2"
    VERSE = "verse"


def to_ours(scheme: Scheme) -> dict[int, int]:
    """Map each vertebra identifier of `scheme` to ours; identifiers that are not one of the 25 are left out.

    Args:
        scheme: The scheme that the label map was written in.

    Returns:
        `{their identifier: our identifier}`.
    """
    if scheme is Scheme.TOTALSEGMENTATOR_V1:  # L5 18 .. C1 41; that release has no S1
        return {42 - i: i for i in range(1, 25)}
    if scheme is Scheme.TOTALSEGMENTATOR_V2:  # S1 26, L5 27 .. C1 50
        return {51 - i: i for i in range(1, 26)}
    if scheme is Scheme.VERSE:  # 25 is L6 there, 26 the sacrum, 28 T13: none of them is one of ours
        return {i: i for i in range(1, 25)}
    return {i: i for i in range(1, N_CLASSES)}


def lookup_table(scheme: Scheme, largest: int = 255) -> np.ndarray:
    """Table that turns a label map of `scheme` into ours by indexing.

    Args:
        scheme: The scheme that the label map was written in.
        largest: Largest identifier that the label map may hold.

    Returns:
        `(largest + 1,)` uint8; 0 for everything that is not one of the 25.
    """
    table = np.zeros(largest + 1, np.uint8)
    for theirs, ours in to_ours(scheme).items():
        table[theirs] = ours
    return table


# A family of hues per region; inside a family lightness alternates so that neighbours differ in grey too.
_HUES = {"cervical": (0.52, 0.70), "thoracic": (0.22, 0.44), "lumbar": (0.04, 0.13), "sacral": (0.98, 0.98)}


def colours() -> np.ndarray:
    """One colour per class, the same in every figure and in 3D: neck blues, chest greens, lumbar oranges, sacrum red.

    Returns:
        `(26, 3)` float in [0, 1]; row 0, the background, is black.
    """
    table = [(0.0, 0.0, 0.0)]
    for region, count in REGIONS.items():
        low, high = _HUES[region]
        for i in range(count):
            hue = low + (high - low) * (i / max(count - 1, 1))
            lightness = (0.42, 0.68)[i % 2]
            table.append(colorsys.hls_to_rgb(hue, lightness, 0.80))
    return np.asarray(table)
