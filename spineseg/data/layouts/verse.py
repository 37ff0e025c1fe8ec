"""VerSe: BIDS names, scans and label maps in two trees.

Source:
    Sekuboyina et al. 2021, Loeffler et al. 2020; https://github.com/anjany/verse.
"""

from __future__ import annotations

import re
from pathlib import Path

from spineseg.anatomy.labels import Scheme
from spineseg.data.layouts.listing import TEST, TRAIN, VALIDATION, Gathering, Listing, stem_of

SCAN, MASK, PREFIX = "_ct", "_seg-vert_msk", "sub-"
PLACES = ("", "*/", "rawdata/*/", "*/rawdata/*/", "derivatives/*/", "*/derivatives/*/")
PART = re.compile(r"(?:^|[\d_-])(training|validation|test)$")


def is_verse(folder: Path) -> bool:
    """Whether there is a label map `sub-*_seg-vert_msk` where BIDS puts it, here or one folder below."""
    return any(stem_of(p) for place in PLACES for p in folder.glob(f"{place}{PREFIX}*{MASK}.nii*"))


def verse(folder: Path, scheme: str) -> Listing:
    """`rawdata/sub-*/sub-*_ct.nii.gz` and `derivatives/sub-*/sub-*_seg-vert_msk.nii.gz`, here or one folder below.

    The patient is the first part of the name: `sub-verse401_split-verse253` is a scan of `sub-verse401`. The part of
    the official split is in the name of the folder above (`dataset-verse19training`, `dataset-03test`).
    """
    found = Gathering("verse", folder)
    files = {p for place in PLACES for p in folder.glob(f"{place}*{PREFIX}*.nii*")}
    files = [p for p in files if p.name.lstrip("._").startswith(PREFIX)]
    scans, masks = found.files(files, SCAN), found.files(files, MASK)
    patients = {name: name.partition("_")[0] for name in scans}
    parts = {name: _part(path.relative_to(folder.absolute())) for name, path in scans.items()}
    found.pair(scans, masks, scheme or Scheme.VERSE.value, patient=patients, split=parts)
    found.remarks.append("label scheme verse: 25 is L6 and 28 is T13 there, neither has a class here; no S1")
    if not any(parts.values()):
        found.remarks.append("no folder names a part of the official split")
    return found.done()


def _part(path: Path) -> str:
    names = {"training": TRAIN, "validation": VALIDATION, "test": TEST}
    found = (PART.search(folder.lower()) for folder in path.parts[:-1])
    return next((names[match[1]] for match in found if match), "")
