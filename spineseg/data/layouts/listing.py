"""What a folder turned out to hold: a table of cases, and what was wrong with the others."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from spineseg.data.case import Case
from spineseg.data.nifti import SUFFIXES
from spineseg.errors import CaseError

COLUMNS = [*Case._fields, "patient", "split"]
TRAIN, VALIDATION, TEST = "train", "validation", "test"


@dataclass(frozen=True)
class Listing:
    """Cases of one folder.

    Attributes:
        layout: Name of the layout.
        folder: Where its cases lie.
        table: `case, ct, segmentation, scheme, patient, split`, sorted by case: absolute paths (empty where there is
            none), the name of the patient (the case's where none is known), the official part of the split or "".
        problems: Name and error of each case that was left out.
        remarks: What a user should know about the folder.
        names: Own name of each case, where `table` has pseudonyms; never shown.
    """

    layout: str
    folder: Path
    table: pd.DataFrame
    problems: tuple[tuple[str, CaseError], ...] = ()
    remarks: tuple[str, ...] = ()
    names: Mapping[str, str] = field(default_factory=dict, repr=False)

    def __str__(self) -> str:
        left = f" ({len(self.problems)} more left out)" if self.problems else ""
        lines = [f"{self.folder}: layout {self.layout}, {len(self.table)} cases{left}", *self.remarks]
        return "; ".join(lines)


class Gathering:
    """Collects cases, problems and remarks while a folder is read."""

    def __init__(self, layout: str, folder: Path):
        self.layout, self.folder = layout, folder
        self.rows: list[dict[str, str]] = []
        self.problems: list[tuple[str, CaseError]] = []
        self.remarks: list[str] = []
        self._skipped: set[Path] = set()
        self._double: set[str] = set()
        self._names: set[str] = set()

    def files(self, paths: Iterable[Path], ending: str = "", *, optional: str = "") -> dict[str, Path]:
        """Name of the case to file, for NIfTI files; a second file of a case is a problem of that case.

        Args:
            paths: Any files.
            ending: What the stem must end in; it is no part of the name.
            optional: What the stem may end in besides; no part of the name either.
        """
        found: dict[str, Path] = {}
        for path in sorted(paths):
            if path.name.startswith("._"):
                self._skipped.add(path)
            elif (stem := stem_of(path)) and stem.endswith(ending) and stem != ending:
                name = stem.removesuffix(ending).removesuffix(optional)
                if (first := found.setdefault(name, path.absolute())) != path.absolute():
                    self._twice(name, path, f"a second file of {name} beside {first.name}")
        return found

    def pair(self, scans: Mapping[str, Path], masks: Mapping[str, Path], scheme: str, **more) -> None:
        """Add the cases that have both files; a file without its partner is a problem.

        Args:
            scans: Case to scan.
            masks: Case to segmentation.
            scheme: Of the segmentations.
            **more: `patient` and `split`: case to value.
        """
        for name, path in scans.items():
            if name not in masks:
                remedy = "restore the segmentation or move the scan away"
                self.refuse(name, "no-segmentation", path, "a scan alone", "its segmentation", remedy)
        for name, path in masks.items():
            if name not in scans:
                remedy = "restore the scan or move the segmentation away"
                self.refuse(name, "no-scan", path, "a segmentation alone", "its scan", remedy)
        for name in scans.keys() & masks.keys():
            self.add(name, scans[name], masks[name], scheme, **{k: v.get(name, "") for k, v in more.items()})

    def add(self, case: str, ct="", segmentation="", scheme: str = "", *, patient: str = "", split: str = "") -> None:
        """Add one case; a second one of the same name is a problem, and so is the first."""
        if case in self._names:
            self._twice(case, ct or segmentation, f"a second case named {case}")
        self._names.add(case)
        values = (case, str(ct), str(segmentation), scheme or Case._field_defaults["scheme"], patient or case, split)
        self.rows.append(dict(zip(COLUMNS, values, strict=True)))

    def refuse(self, case: str, *error) -> None:
        """Leave a case out; takes its name and what `CaseError` takes."""
        self.problems.append((case, CaseError(*error)))

    def _twice(self, case: str, path, what: str) -> None:
        self._double.add(case)
        remedy = "keep the one that you trust and move the other away"
        self.refuse(case, "two-files", path, what, "one file", remedy)

    def done(self) -> Listing:
        """The listing, without the cases that have two files."""
        if self._skipped:
            self.remarks.append(f"{len(self._skipped)} files of macOS metadata (._*) skipped")
        rows = [row for row in self.rows if row["case"] not in self._double]
        table = pd.DataFrame(rows, columns=COLUMNS).astype(str).sort_values("case", ignore_index=True)
        return Listing(self.layout, self.folder, table, tuple(self.problems), tuple(self.remarks))


def stem_of(path: Path) -> str:
    """File name without `.nii` or `.nii.gz`; empty for other and hidden files."""
    if path.name.startswith("."):
        return ""
    return next((path.name[: -len(s)] for s in SUFFIXES if path.name.lower().endswith(s)), "")


def entries(folder: Path) -> list[Path]:
    """What lies in a folder; nothing where there is none."""
    return sorted(folder.iterdir()) if folder.is_dir() else []
