"""Audit a set: each case by itself, then all together; what is known of a file is not looked for again."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd

from spineseg.anatomy.phantom import levels
from spineseg.config import ClusterConfig
from spineseg.data import checksum
from spineseg.data.affine import orientation_of, spacing_of, to_canonical
from spineseg.data.audit.across import check_across
from spineseg.data.audit.chain import check_chain
from spineseg.data.audit.findings import Finding, Severity, found, of_error, of_repair
from spineseg.data.audit.measures import components
from spineseg.data.audit.placement import check_placement
from spineseg.data.case import Case
from spineseg.data.digest import code_version, content_hash, hash_files, remember, values_hash
from spineseg.data.layouts import Listing
from spineseg.data.parallel import map_cases
from spineseg.data.reference import read_case, read_reference, reference_hash
from spineseg.errors import CaseError
from spineseg.paths import store_folder

FACTS = ["case", "shape", "spacing_mm", "orientation", "first", "last", "count", "cut", "ml"]
BONE_ONLY_SHARE = 0.5  # of voxels that are not 0; soft tissue and air never are by half
HASHES = ["ct_hash", "values_hash", "labels_hash"]


@dataclass(frozen=True)
class Audit:
    """What was found in a set.

    Attributes:
        listing: The set.
        cases: One row per case: `case, shape, spacing_mm, orientation, first, last` (vertebra), `count` (of vertebrae),
            `cut` (those that touch the scan's edge), `ml` (of all), `errors, warnings, notes`; missing where a case
            cannot be read.
        findings: All, errors first, then by case.
    """

    listing: Listing
    cases: pd.DataFrame
    findings: tuple[Finding, ...]

    @property
    def is_clean(self) -> bool:
        """Whether nothing but notes was found."""
        return all(f.severity is Severity.NOTE for f in self.findings)

    def usable(self) -> pd.DataFrame:
        """Rows of the set's table without the cases that a reader refuses.

        Raises:
            CaseError: If it refuses all of them; the first one's.
        """
        refused = set(self.cases["case"][self.cases["shape"].isna()])
        table = self.listing.table[~self.listing.table["case"].isin(refused)].reset_index(drop=True)
        if table.empty:
            first = self.findings[0]
            found = f"no usable case; the first fault: {first.what}"
            raise CaseError("cohort", first.path or self.listing.folder, found, "one at least", first.remedy)
        return table

    def mended(self) -> list[str]:
        """Cases in which a fault was mended while reading."""
        return sorted({f.case for f in self.findings if f.used})

    def table(self) -> pd.DataFrame:
        """The findings as a table: columns as the fields of `Finding`."""
        rows = [f.to_dict() for f in self.findings]
        return pd.DataFrame(rows, columns=[f.name for f in fields(Finding)])


def audit(listing: Listing, cluster: ClusterConfig, *, parts: pd.Series | None = None, progress: bool = True) -> Audit:
    """Look at every case of a set.

    Args:
        listing: The set.
        cluster: Who works.
        parts: Part of the split by case, so that copies in two parts are found; None for the official one.
        progress: Show a bar.

    Returns:
        The audit.
    """
    cases = [Case.of(row) for row in listing.table.itertuples(index=False)]
    files = [case.ct or case.segmentation for case in cases]
    outcome = map_cases(audit_case, cases, cluster=cluster, title="audit", progress=progress, files=files)
    findings = [of_error(case, error) for case, error in listing.problems]
    rows = []
    for case, result in zip(cases, outcome, strict=True):
        if isinstance(result, CaseError):
            result = {"findings": [of_error(case.case, result).to_dict()], "facts": {}}
        findings += [Finding(**(f | {"severity": Severity(f["severity"])})) for f in result["findings"]]
        rows.append({"case": case.case} | result["facts"])
    facts = pd.DataFrame(rows, columns=[*FACTS, *HASHES])
    facts[HASHES] = facts[HASHES].astype(object).fillna("")
    findings += check_across(listing, facts, parts)
    severities = list(Severity)
    findings.sort(key=lambda f: (severities.index(f.severity), f.case, f.code))
    facts["count"] = facts["count"].astype("Int64")
    counts = pd.DataFrame({f"{s}s": _count(facts["case"], findings, s) for s in Severity})
    return Audit(listing, pd.concat([facts[FACTS], counts], axis=1), tuple(findings))


def audit_case(case: Case) -> dict:
    """Look at one case; remembered in the store as long as its files (by size and time of change) and this code last.

    Returns:
        `findings` (as `Finding.to_dict`) and `facts` (columns of `Audit.cases` and the hashes of voxels).

    Raises:
        CaseError: If it cannot be read.
    """
    hashes = [content_hash(case.ct)] if case.ct else [""]
    hashes += [reference_hash(case.segmentation), case.scheme] if case.segmentation else []
    files = [Path(p) for p in (case.ct, case.segmentation) if p]
    notes = [checksum.recorded(p)[0] or "" for p in files if p.is_file()]  # what the sidecars say is asked too
    parts = (*map(str, files), *hashes, *notes, code_version(), _audit_version())
    key = hashlib.sha256("/".join(parts).encode(errors="surrogateescape")).hexdigest()[:16]
    note = store_folder() / "audit" / f"{key}.json"
    if note.is_file():
        known = json.loads(note.read_text())
        return known | {"findings": [f | {"case": case.case} for f in known["findings"]]}
    result = _look(case)
    remember(note, json.dumps(result))
    return result


def _look(case: Case) -> dict:
    if case.ct:
        ct, labels = read_case(case)
    else:
        ct, labels = None, read_reference(case.segmentation, case.scheme)
    findings = [of_repair(case.case, r, v.path) for v in (ct, labels) if v is not None for r in v.repairs]
    placed = ct or labels
    facts = {
        "shape": " x ".join(map(str, placed.array.shape)),
        "spacing_mm": " x ".join(f"{s:.4g}" for s in spacing_of(placed.affine)),
        "orientation": orientation_of(placed.affine),
        "ct_hash": "" if ct is None else _voxel_hash(ct),
        "values_hash": "" if ct is None else values_hash(ct.array),
        "labels_hash": "" if labels is None or not labels.array.any() else _voxel_hash(labels),
    }
    if ct is not None and np.count_nonzero(ct.array) < BONE_ONLY_SHARE * ct.array.size:
        findings.append(found(case.case, "bone-only", "most of the scan is exactly 0 HU", case.ct))
    if labels is not None:
        parts = components(labels.array, labels.affine)
        marks = check_chain(parts)
        if ct is not None:
            marks += check_placement(ct.array, labels.array, ct.affine, parts)
        findings += [found(case.case, code, what, str(labels.path)) for code, what in marks]
        main = parts[parts["component"] == 0]
        names = main["vertebra"].tolist()
        facts |= {"first": names[0], "last": names[-1]} if names else {"first": "", "last": ""}
        facts |= {"count": len(names), "ml": round(float(parts["ml"].sum()), 1)}
        facts["cut"] = " ".join(main["vertebra"][main["faces"] != ""])
    return {"findings": [f.to_dict() for f in findings], "facts": facts}


def _voxel_hash(volume) -> str:
    """Of the voxels on RAS+ axes and the voxel size: equal however the scan was turned, packed or placed."""
    array, affine = to_canonical(volume.array, volume.affine)
    whole = array.astype(np.int16) if array.dtype == np.float32 else array
    array = whole if whole is array or np.array_equal(whole, array) else array  # a float copy of whole numbers
    digest = hashlib.sha256(repr((array.shape, np.round(spacing_of(affine), 3).tolist())).encode())
    for plane in np.moveaxis(array, 2, 0):  # the file's own order as far as it goes: small copies
        digest.update(np.ascontiguousarray(plane.T).tobytes())
    return digest.hexdigest()


@cache
def _audit_version() -> str:
    return hash_files([*sorted(Path(__file__).parent.glob("*.py")), levels.__file__])


def _count(cases: pd.Series, findings: list[Finding], severity: Severity) -> list[int]:
    names = pd.Series([f.case for f in findings if f.severity is severity], dtype=str).value_counts()
    return [int(names.get(case, 0)) for case in cases]
