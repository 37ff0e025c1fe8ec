"""The 25 vertebrae: identifiers, names, regions, colours and order, and the other schemes they come in.

`0` background, `1-7` C1-C7, `8-19` T1-T12, `20-24` L1-L5, `25` S1 (the first sacral vertebra only, not the sacrum).
This is the only module that knows these numbers.
"""

from __future__ import annotations

import colorsys
import enum
from collections.abc import Mapping

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
        class maps of TotalSegmentator v1, v2 and v3 and the VerSe challenge (Sekuboyina et al., 2021).
    """

    SPINESEG = "spineseg"
    TOTALSEGMENTATOR_V1 = "totalsegmentator-v1"
    TOTALSEGMENTATOR_V2 = "totalsegmentator-v2"
    TOTALSEGMENTATOR_V3 = "totalsegmentator-v3"
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
    if scheme is Scheme.TOTALSEGMENTATOR_V3:  # as v2, but 26 is L6 there and S1 is gone
        return {51 - i: i for i in range(1, 25)}
    if scheme is Scheme.VERSE:  # see VARIANTS: 25 is L6 there
        return {i: i for i in range(1, 25)}
    return {i: i for i in range(1, N_CLASSES)}


# identifiers of vertebrae that have no class of ours; their voxels become background, and a reader says so
VARIANTS = {Scheme.VERSE: {25: "L6", 28: "T13"}, Scheme.TOTALSEGMENTATOR_V3: {26: "L6"}}


def parse_scheme(text: str) -> Scheme | dict[int, int]:
    """Read the name of a scheme, or a map of its own such as `"26=S1 27=L5"`.

    Args:
        text: Value of a `Scheme`, or pairs of their identifier and our name, separated by spaces.

    Returns:
        The scheme, or `{their identifier: our identifier}`.

    Raises:
        ValueError: If it is neither; the message lists the known names.
    """
    known = [scheme.value for scheme in Scheme]
    if text in known:
        return Scheme(text)
    pairs = [pair.partition("=") for pair in text.split()]
    if not pairs or any(not i.isdecimal() or name not in IDS for i, _, name in pairs):
        raise ValueError(f"a label scheme must be {', '.join(known)}, or pairs such as '26=S1 27=L5', got {text!r}")
    table = {int(i): IDS[name] for i, _, name in pairs}
    if len(table) < len(pairs) or not all(0 < i < 256 for i in table):
        raise ValueError(f"a label scheme must give each identifier of 1 to 255 once, got {text!r}")
    return table


def lookup_table(scheme: Scheme | Mapping[int, int], largest: int = 255) -> np.ndarray:
    """Table that turns a label map of `scheme` into ours by indexing.

    Args:
        scheme: The scheme that the label map was written in, or a map of its own.
        largest: Largest identifier that the label map may hold.

    Returns:
        `(largest + 1,)` uint8; 0 for everything that is not one of the 25.
    """
    table = np.zeros(largest + 1, np.uint8)
    for theirs, ours in (to_ours(scheme) if isinstance(scheme, Scheme) else scheme).items():
        if theirs <= largest:
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
