"""TotalSegmentator's own releases: a folder per subject, a file per class.

Source:
    Wasserthal et al. 2023; Zenodo records 10047292 (v2.0.1) and 6802614 (v1).
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from spineseg.anatomy.labels import IDS
from spineseg.data.layouts.listing import TEST, TRAIN, VALIDATION, Gathering, Listing, entries, stem_of
from spineseg.data.reference import CLASS_FILE, class_files
from spineseg.errors import CaseError

PARTS = {"train": TRAIN, "val": VALIDATION, "validation": VALIDATION, "test": TEST, "": ""}
AGAIN = "unpack the subject again"
SCAN, MASKS, TABLE = "ct", "segmentations", "meta.csv"


def is_totalsegmentator(folder: Path) -> bool:
    """Whether a subfolder holds `ct.nii.gz` beside `segmentations/`."""
    return any(_scan(p) and (p / MASKS).is_dir() for p in entries(folder) if p.is_dir())


def totalsegmentator(folder: Path, scheme: str) -> Listing:
    """`<subject>/ct.nii.gz`, `<subject>/segmentations/vertebrae_<name>.nii.gz`, `meta.csv` with the official split.

    The release is told by its classes: v2 has S1, v1 and v3 have not, v3 has L6.
    """
    found = Gathering("totalsegmentator", folder)
    parts = _official_split(found, folder / TABLE)
    subjects = [p for p in entries(folder) if p.is_dir() and not p.name.startswith(".")]
    classes: set[str] = set()
    kept: dict[Path, set[str]] = {}
    for subject in subjects:
        scan, masks = _scan(subject), subject / MASKS
        if not scan and not masks.is_dir():
            continue
        if not scan:
            found.refuse(subject.name, "no-scan", subject, f"no {SCAN}.nii.gz", "a scan", AGAIN)
        elif not (names := set(class_files(masks))):
            expected = f"{MASKS}/{CLASS_FILE.format('L1')}.nii.gz and so on"
            found.refuse(subject.name, "no-segmentation", subject, "no file of a vertebra", expected, AGAIN)
        else:
            kept[subject] = names
            classes |= names | ({"L6"} & {stem_of(p).removeprefix(CLASS_FILE.format("")) for p in entries(masks)})
    for subject, names in kept.items():  # an absent vertebra has an empty file, so a file that is not there was lost
        if lost := sorted((classes & IDS.keys()) - names, key=IDS.get):
            what = f"no file of {', '.join(lost[:3])}{' ...' * (len(lost) > 3)}, which other subjects have"
            found.refuse(subject.name, "class-missing", subject / MASKS, what, "a file of each class", AGAIN)
        else:
            paths = (_scan(subject).absolute(), (subject / MASKS).absolute())
            found.add(subject.name, *paths, split=parts.get(subject.name, ""))
    found.remarks.append(_release(classes))
    return found.done()


def _release(classes: set[str]) -> str:
    if "S1" in classes:
        return "release v2 (it has S1)"
    what = "release v3 (L6, no S1)" if "L6" in classes else "release v1 (no S1)"
    return f"{what}: the first sacral vertebra is background here, so nothing can learn or be scored on S1"


def _scan(subject: Path) -> Path | None:
    return next((p for p in entries(subject) if stem_of(p) == SCAN), None)


def _official_split(found: Gathering, path: Path) -> dict[str, str]:
    if not path.is_file():
        found.remarks.append(f"no {TABLE}, so no official split")
        return {}
    try:
        table = pd.read_csv(path, sep=";", encoding="utf-8-sig", dtype=str, keep_default_na=False)
        words = table["split"].str.strip().str.lower()
        if unknown := sorted(set(words) - PARTS.keys()):
            raise ValueError(f"parts named {', '.join(unknown[:3])}")
        parts = dict(zip(table["image_id"], words.map(PARTS), strict=True))
    except (KeyError, ValueError) as error:
        expected = "columns image_id and split (train, val, test), separated by semicolons"
        raise CaseError("meta-csv", path, f"an unusable table ({error})", expected, "unpack it again") from None
    counts = pd.Series(list(parts.values())).value_counts()
    found.remarks.append("official split " + "/".join(str(counts.get(p, 0)) for p in (TRAIN, VALIDATION, TEST)))
    return parts
