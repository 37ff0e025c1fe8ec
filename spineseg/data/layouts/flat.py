"""Layouts of plain files: the Kaggle set, pairs, scans alone, label maps alone."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from spineseg.data.layouts.listing import TEST, TRAIN, VALIDATION, Gathering, Listing, entries, stem_of
from spineseg.errors import CaseError

SCAN, MASK = "_ct", "_seg"
PATIENTS = "cases.csv"  # columns case, patient, split; beside the pairs, if someone knows
PLAIN = ("pairs", "ct", "labels")  # the layouts of a single folder


def is_kaggle(folder: Path) -> bool:
    """Whether there are `volumes/` and `segmentations/`."""
    return (folder / "volumes").is_dir() and (folder / "segmentations").is_dir()


def kaggle(folder: Path, scheme: str) -> Listing:
    """`volumes/<case>.nii` and `segmentations/<case>.nii`; either suffix, whatever the bytes are."""
    found = Gathering("kaggle", folder)
    scans, masks = (found.files(entries(folder / name)) for name in ("volumes", "segmentations"))
    found.pair(scans, masks, scheme)
    found.remarks.append("no patient is known, so the split is by scan")
    return found.done()


def is_pairs(folder: Path) -> bool:
    """Whether there are scans, and label maps `*_seg` too."""
    return _kinds(folder) == {True, False}


def pairs(folder: Path, scheme: str) -> Listing:
    """`<case>_ct.nii.gz` (or `<case>.nii.gz`) and `<case>_seg.nii.gz` in one folder; `cases.csv` may name the patients.

    Raises:
        CaseError: If `cases.csv` is there and unusable.
    """
    found = Gathering("pairs", folder)
    files = entries(folder)
    scans = found.files((p for p in files if not _is_mask(p)), optional=SCAN)
    known = _patients(found, folder / PATIENTS)
    found.pair(scans, found.files(files, MASK), scheme, **known)
    return found.done()


def _patients(found: Gathering, path: Path) -> dict[str, dict[str, str]]:
    if not path.is_file():
        return {}
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False).set_index("case")
        known = {name: table[name].to_dict() for name in ("patient", "split")}
        if unknown := sorted(set(known["split"].values()) - {"", TRAIN, VALIDATION, TEST}):
            raise ValueError(f"parts named {', '.join(unknown[:3])}")
    except (KeyError, ValueError) as error:
        expected = f"columns case, patient, split (empty, {TRAIN}, {VALIDATION} or {TEST})"
        remedy = "mend it or move it away"
        raise CaseError("cases-csv", path, f"an unusable table ({error})", expected, remedy) from None
    found.remarks.append(f"patients and parts of the split are read from {PATIENTS}")
    return known


def is_ct(folder: Path) -> bool:
    """Whether there are NIfTI files and none of them is a label map."""
    return _kinds(folder) == {False}


def ct(folder: Path, scheme: str) -> Listing:
    """Scans without segmentations, one file each."""
    found = Gathering("ct", folder)
    for name, path in found.files((p for p in entries(folder) if not _is_mask(p)), optional=SCAN).items():
        found.add(name, path)
    found.remarks.append("no segmentations: nothing to train on or to score")
    return found.done()


def is_labels(folder: Path) -> bool:
    """Whether there are label maps `*_seg` and no scans."""
    return _kinds(folder) == {True}


def labels(folder: Path, scheme: str) -> Listing:
    """`<case>_seg.nii.gz` without scans, as `spineseg predict` writes them: to be audited, not to be trained on."""
    found = Gathering("labels", folder)
    for name, path in found.files(entries(folder), MASK).items():
        found.add(name, "", path, scheme)
    found.remarks.append("no scans: label maps are looked at by themselves")
    return found.done()


def _is_mask(path: Path) -> bool:
    return stem_of(path).endswith(MASK)


def _kinds(folder: Path) -> set[bool]:
    """Whether the NIfTI files of a folder are label maps."""
    return {_is_mask(p) for p in entries(folder) if stem_of(p)}
