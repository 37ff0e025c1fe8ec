"""What an audit says: one finding is a case, how bad, a stable code, what was found and what to do."""

from __future__ import annotations

import enum
from dataclasses import asdict, dataclass

from spineseg.data.payload import Repair
from spineseg.errors import CaseError


class Severity(enum.StrEnum):
    """How bad: an error is refused, a warning is used but suspect, a note is harmless and worth knowing."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


LOOK = "look at the picture; correct the label map or leave the case out"
RENAME = "look at the names; renumber the label map or leave the case out"
# what each check of ours finds, how bad that is and what to do; the reader's own faults bring their remedy along
CODES = {
    "label-order": (Severity.WARNING, RENAME),
    "label-upside-down": (Severity.WARNING, "check the orientation and the label scheme of the whole set"),
    "label-gap": (Severity.WARNING, LOOK),
    "label-skipped": (Severity.WARNING, RENAME),
    "label-crowded": (Severity.WARNING, LOOK),
    "label-doubled": (Severity.WARNING, RENAME),
    "label-stray": (Severity.WARNING, "remove the islands; keep the largest component of each vertebra"),
    "label-small": (Severity.WARNING, LOOK),
    "label-large": (Severity.WARNING, LOOK),
    "label-sliver": (Severity.NOTE, "score it apart: `sliver_share` in the configuration"),
    "label-cut-sideways": (Severity.WARNING, "leave these vertebrae out of scoring"),
    "off-bone": (Severity.WARNING, "check that scan and label map belong together"),
    "label-mirrored": (Severity.WARNING, "flip the label map along the named axis, or segment again"),
    "scan-mirrored": (Severity.WARNING, "compare with the original series; left and right may be exchanged"),
    "duplicate-scan": (Severity.WARNING, "keep one of the two"),
    "duplicate-turned": (Severity.WARNING, "keep the one whose orientation is right"),
    "duplicate-labels": (Severity.WARNING, "find the label map that belongs to the scan"),
    "patient-in-two-parts": (Severity.ERROR, "put all scans of a patient in one part of the split"),
    "scan-in-two-parts": (Severity.ERROR, "keep one of the two, or put both in one part of the split"),
    "bone-only": (Severity.NOTE, "score it apart; what a network reads from soft tissue is not there"),
    "known-bad": (Severity.WARNING, "leave it out of scoring; look before training on it"),
    "no-s1": (Severity.NOTE, "leave S1 out of scoring; do not train S1 on these scans"),
    "numbering": (Severity.NOTE, "compare the count with the publisher's"),
}
NOTED_REPAIRS = ("suffix", "squeezed", "gzip-members", "pixdim", "bitpix", "xforms")  # mended without any doubt
REPAIR_REMEDIES = {
    "labels-empty": "leave it out of training; it counts as a scan without vertebrae",
    "labels-in-padding": "leave those vertebrae out of scoring",
    "thick-slices": "expect less of the small vertebrae",
    "variant": "there is no class for it; leave the vertebra out of scoring",
    "class-overlap": "look at the border of the two",
    "shear": "none needed before a preparation; resample it for other tools",
}


@dataclass(frozen=True)
class Finding:
    """One fault of one case.

    Attributes:
        case: Name; empty for one of the whole set.
        severity: See `Severity`.
        code: Stable identifier of the kind of fault.
        what: What was found.
        remedy: What to do.
        path: File or folder.
        used: What a reader uses in place of a fault that it mended; empty for all other findings.
    """

    case: str
    severity: Severity
    code: str
    what: str
    remedy: str
    path: str = ""
    used: str = ""

    def __str__(self) -> str:
        text = f"{self.case or '-'} {self.severity} {self.code}: {self.what}; {self.remedy}"
        return "".join(c if c.isprintable() else "?" for c in text)  # names may hold control characters

    def to_dict(self) -> dict[str, str]:
        """Plain values, ready for JSON or a table."""
        return {k: str(v) for k, v in asdict(self).items()}


def found(case: str, code: str, what: str, path: str = "") -> Finding:
    """A finding of one of our own checks."""
    severity, remedy = CODES[code]
    return Finding(case, severity, code, what, remedy, path)


def of_error(case: str, error: CaseError) -> Finding:
    """The finding of a case that the reader refuses."""
    what = f"{error.found}, expected {error.expected}"
    return Finding(case, Severity.ERROR, error.code, what, error.remedy, error.path)


def of_repair(case: str, repair: Repair, path) -> Finding:
    """The finding of a fault that was mended while reading."""
    severity = Severity.NOTE if repair.code in NOTED_REPAIRS else Severity.WARNING
    remedy = REPAIR_REMEDIES.get(repair.code, "none needed; `--fix` writes it again without the fault")
    if repair.used.startswith("kept"):
        return Finding(case, severity, repair.code, repair.found, remedy, str(path))
    what = f"{repair.found}, used: {repair.used}"
    return Finding(case, severity, repair.code, what, remedy, str(path), repair.used)
