"""nnU-Net's raw format: `imagesTr`, `labelsTr`, `dataset.json` with the names of the labels.

Source:
    https://github.com/MIC-DKFZ/nnUNet/blob/master/documentation/dataset_format.md
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from spineseg.anatomy.labels import IDS
from spineseg.data.layouts.listing import TEST, Gathering, Listing, entries
from spineseg.errors import CaseError

CHANNEL = "_0000"
DESCRIPTION = "dataset.json"


def is_nnunet(folder: Path) -> bool:
    """Whether there are `imagesTr/` and `labelsTr/`."""
    return (folder / "imagesTr").is_dir() and (folder / "labelsTr").is_dir()


def nnunet(folder: Path, scheme: str) -> Listing:
    """`imagesTr/<case>_0000.nii.gz`, `labelsTr/<case>.nii.gz`; `imagesTs` with `labelsTs`, if there, is the test part.

    The scheme is read from the names in `dataset.json` (`"L1": 20`, or `"20": "L1"` as in version 1).

    Raises:
        CaseError: If no scheme was given and the file names no vertebra.
    """
    found = Gathering("nnunet", folder)
    scheme = scheme or _named_scheme(found, folder / DESCRIPTION)
    for images, labels, part in (("imagesTr", "labelsTr", ""), ("imagesTs", "labelsTs", TEST)):
        files = entries(folder / images)
        scans, masks = found.files(files, CHANNEL), found.files(entries(folder / labels))
        if part and not masks:
            if scans:
                found.remarks.append(f"{len(scans)} scans in {images} have no label maps and are left out")
            continue
        if more := found.files(files, "_0001"):
            found.remarks.append(f"{len(more)} cases have further channels; only the first is read")
        found.pair(scans, masks, scheme, split=dict.fromkeys(scans, part))
    return found.done()


def _named_scheme(found: Gathering, path: Path) -> str:
    try:
        labels = json.loads(path.read_text(encoding="utf-8"))["labels"]
        plain = {k: v[0] if isinstance(v, list) and len(v) == 1 else v for k, v in labels.items()}
        pairs = [(k, v) if isinstance(v, list) or str(v).isdecimal() else (v, k) for k, v in plain.items()]
    except (OSError, ValueError, KeyError, AttributeError) as error:
        problem, expected = f"no readable list of labels ({type(error).__name__})", "a `labels` entry, or a scheme"
        raise CaseError("nnunet-labels", path, problem, expected, "set cohort.scheme (--scheme)") from None
    if several := [str(name) for name, i in pairs if vertebra_name(name) and isinstance(i, list)]:
        expected = "one number for each vertebra"
        raise CaseError("nnunet-labels", path, f"a region for {several[0]}", expected, "set cohort.scheme (--scheme)")
    ours = {int(i): name for name, i in ((vertebra_name(n), i) for n, i in pairs) if name and str(i).isdecimal()}
    if not ours:
        shown = ", ".join(str(name) for name, _ in pairs[:4])
        expected = "names such as L1 or vertebrae_L1"
        raise CaseError("nnunet-labels", path, f"labels named {shown}", expected, "set cohort.scheme (--scheme)")
    others = [str(name) for name, i in pairs if not vertebra_name(name) and str(i) != "0"]
    found.remarks.append(f"{len(ours)} vertebrae named in {path.name}")
    if others:
        found.remarks.append(f"{len(others)} other classes become background ({', '.join(others[:3])} ...)")
    return " ".join(f"{i}={name}" for i, name in sorted(ours.items()))


def vertebra_name(text) -> str:
    """`"C1"` of `"vertebrae_C1"`, `"vertebra c1"` or `"C1"`; empty for anything else."""
    name = re.sub(r"^vertebrae?[ _-]*", "", str(text).strip(), flags=re.IGNORECASE).upper()
    return name if name in IDS else ""
