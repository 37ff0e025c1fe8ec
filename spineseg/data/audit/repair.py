"""Write a set anew without the faults that can be mended, and a ledger of every change; the source is never touched."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from spineseg.anatomy.labels import Scheme
from spineseg.config import ClusterConfig
from spineseg.data import atomic, nifti
from spineseg.data.case import Case
from spineseg.data.digest import content_hash
from spineseg.data.layouts import Listing
from spineseg.data.layouts.flat import PATIENTS
from spineseg.data.parallel import map_cases
from spineseg.data.payload import Repair
from spineseg.data.reference import read_case, read_reference, reference_hash
from spineseg.data.resources import need_space
from spineseg.errors import CaseError

COLUMNS = ["case", "source", "source_sha256", "written", "written_sha256", "code", "found", "used"]
RAW_SHARE = 1.2  # of the set's own size: what it takes when everything is written compressed, with room to spare


def fix_set(
    listing: Listing, folder, cluster: ClusterConfig, *, nan: str = "refuse", assume_ras: bool = False, progress=True
) -> str:
    """Write every usable case of a set as a pair in our own scheme, with a right header and a hash beside it.

    What a reader mends is mended for good: headers, suffixes, gzip members, scaling, float labels, class files, foreign
    schemes, grids less than half a voxel apart; missing values and a missing orientation only if asked for. A fault
    that needs a person (labels out of order, mirrored scans, copies) is left as it is.

    Args:
        listing: The set.
        folder: A new folder; gets `<case>_ct.nii.gz`, `<case>_seg.nii.gz`, `cases.csv` (patient and
            official part of each) and `ledger.csv`. The ledger has one row per
            change, and one without a change for each file that needed none; a case that cannot be used has its error in
            `code` and `found`, and nothing in `written`.
        cluster: Who works.
        nan: `"refuse"`, or `"air"` to set missing values to -1000 HU.
        assume_ras: Take a scan without orientation as RAS+.
        progress: Show a bar.

    Returns:
        What was done, in a line.

    Raises:
        CaseError: If the folder is not new, lies within the set, or the disk is too full.
    """
    folder = new_folder(folder, listing)
    jobs = [(Case.of(row), str(folder), nan, assume_ras) for row in listing.table.itertuples(index=False)]
    files = [job[0].ct or job[0].segmentation for job in jobs]
    outcome = map_cases(_fix_one, jobs, cluster=cluster, title="fix", progress=progress, files=files)
    rows = [_refusal(case, error) for case, error in listing.problems]
    for job, result in zip(jobs, outcome, strict=True):
        rows += [_refusal(job[0].case, result)] if isinstance(result, CaseError) else result
    ledger = pd.DataFrame(rows, columns=COLUMNS).fillna("")
    atomic.write_text(folder / "ledger.csv", ledger.to_csv(index=False))
    who = listing.table[["case", "patient", "split"]]
    who = who[who["case"].isin(ledger["case"][ledger["written"] != ""])]
    atomic.write_text(folder / PATIENTS, who.to_csv(index=False))
    written = ledger[ledger["written"] != ""]
    refused = ledger[ledger["written"] == ""]["case"].nunique()
    changes = int(((written["code"] != "") & ~written["used"].str.startswith("kept")).sum())
    counts = f"{written['case'].nunique()} cases written with {changes} changes, {refused} refused"
    return f"{counts}: {folder / 'ledger.csv'}"


def _fix_one(job) -> list[dict[str, str]]:
    case, folder, nan, assume_ras = job
    ct, labels = None, None
    if case.ct:
        ct, labels = read_case(case, nan=nan, assume_ras=assume_ras)
    else:
        labels = read_reference(case.segmentation, case.scheme, assume_ras=assume_ras)
    rows = []
    for source, volume, ending in ((case.ct, ct, "ct"), (case.segmentation, labels, "seg")):
        if volume is None:
            continue
        path = nifti.write(Path(folder) / f"{case.case}_{ending}.nii.gz", volume.array, volume.affine)
        same = {"case": case.case, "source": source, "source_sha256": reference_hash(source)}
        same |= {"written": path.name, "written_sha256": content_hash(path)}
        repairs = [*volume.repairs, *(_renumbered(case) if volume is labels else ())]
        changes = [r._asdict() for r in repairs] or [{"code": "", "found": "", "used": ""}]
        rows += [same | change for change in changes]
    return rows


def _renumbered(case: Case) -> tuple[Repair, ...]:
    """What happens to the numbers of a label map that is not in our scheme."""
    if Path(case.segmentation).is_dir():
        return (Repair("scheme", "a file for each class", "one label map in our scheme"),)
    if case.scheme != Scheme.SPINESEG.value:
        return (Repair("scheme", case.scheme, "our scheme; all other classes are background"),)
    return ()


def _refusal(case: str, error: CaseError) -> dict[str, str]:
    return {"case": case, "source": error.path, "code": error.code, "found": f"{error.found}; {error.remedy}"}


def new_folder(folder, listing: Listing) -> Path:
    """Make the folder that a set is written anew into.

    Raises:
        CaseError: If it is not new, lies within the set, or the disk is too full.
    """
    folder, source = Path(folder).resolve(), listing.folder.resolve()
    if folder == source or source in folder.parents:
        raise CaseError("inside-source", folder, "a folder within the set", "a folder elsewhere", "name another folder")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise CaseError("not-empty", folder, "a folder with files", "a new folder", "name another folder")
    folder.mkdir(parents=True, exist_ok=True)
    paths = [Path(p) for p in (*listing.table["ct"], *listing.table["segmentation"]) if p]
    needed = RAW_SHARE * sum(f.stat().st_size for p in paths for f in ([p] if p.is_file() else p.glob("vertebrae_*")))
    need_space(folder, int(needed), "the cases")
    return folder
