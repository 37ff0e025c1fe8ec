"""Scans: made, fetched, looked at, prepared."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Literal

import tyro

from spineseg.config import ClusterConfig, Config
from spineseg.errors import CASE_ERROR, USER_ERROR, CaseError

Positional = tyro.conf.Positional


def phantom(out: Positional[Path], cases: int = 8, seed: int = 0, spacing_mm: float = 3.0) -> int:
    """Write synthetic CTs with perfect labels, in the Kaggle layout.

    Args:
        out: Folder; gets volumes/, segmentations/, cases.csv and truth.csv.
        cases: How many.
        seed: Of the first case; case i has seed + i.
        spacing_mm: Voxel size in mm.
    """
    from spineseg.data.cohort import make_phantoms

    counts = {"cohort.train": cases, "cohort.validation": 0, "cohort.test": 0}
    values = {"cohort.folder": str(out.resolve()), "cohort.seed": seed, "cohort.spacing_mm": spacing_mm}
    print(make_phantoms(Config.load("demo", **values, **counts)))
    return 0


def fetch(source: Positional[str], to: Path | None = None, verify: bool = False) -> int:
    """Download a published data set: resumed where it broke off, checked, unpacked safely.

    Args:
        source: totalsegmentator, totalsegmentator-small or kaggle.
        to: Folder; data/raw/<source> by default.
        verify: Hash every file again and compare with what was fetched.
    """
    from spineseg.data.fetch import fetch as fetch_source
    from spineseg.data.fetch import verify as compare
    from spineseg.paths import raw_folder

    folder = fetch_source(source, to or raw_folder(source))
    if verify and (changed := compare(folder)):
        print("\n".join(map(str, changed)), file=sys.stderr)
        return CASE_ERROR
    print(f"{folder}: next, spineseg audit {folder}")
    return 0


def audit(
    folder: Positional[Path],
    layout: str = "auto",
    scheme: str = "",
    to: Path | None = None,
    json: bool = False,
    fix: Path | None = None,
    nan: Literal["refuse", "air"] = "refuse",
    assume_ras: bool = False,
    workers: int = ClusterConfig.workers,
    scheduler: str = ClusterConfig.scheduler,
) -> int:
    """Look for suspect cases in a data set; one line each: case, severity, code, what was found, what to do.

    Exit status: 0 nothing but notes, 1 errors or warnings, 2 could not run.

    Args:
        folder: The data set.
        layout: kaggle, totalsegmentator, verse, nnunet, pairs, ct, labels, or auto to detect it.
        scheme: Of the labels: spineseg, verse, totalsegmentator-v1 .. v3, or pairs such as "26=S1 27=L5".
        to: Folder for the page and the tables; _build/audit/<name> by default.
        json: Print the findings as JSON in place of lines.
        fix: New folder; every usable case is written there without the faults that can be mended, with a ledger.
        nan: With --fix, air sets missing values to -1000 HU.
        assume_ras: With --fix, take scans without orientation as RAS+.
        workers: Processes.
        scheduler: Address of a dask scheduler to use in place of processes here.
    """
    from spineseg.data.audit.repair import fix_set, new_folder
    from spineseg.data.layouts import list_cases
    from spineseg.report.audit_page import run_audit

    if workers < 1:
        raise ValueError(f"workers must be 1 or more, got {workers}")
    cluster = ClusterConfig(workers=workers, scheduler=scheduler)
    try:
        listing = list_cases(folder, layout, scheme)
        if fix:
            new_folder(fix, listing)  # refused before the work, not after it
        status = run_audit(listing, cluster, to=to, as_json=json)
        if fix:
            print(fix_set(listing, fix, cluster, nan=nan, assume_ras=assume_ras), file=sys.stderr)
        return status
    except CaseError as error:
        print(f"spineseg audit: {error}", file=sys.stderr)
        return USER_ERROR


def prepare(config: Config) -> int:
    """Bring every case of a cohort onto the networks' grids."""
    from spineseg.data import cohort
    from spineseg.data.pseudonyms import reveal
    from spineseg.data.store import prepare_cohort
    from spineseg.paths import store_folder

    listing = cohort.listing(config)
    print(listing)
    store = prepare_cohort(config, listing.table)
    failures = [*(error for _, error in listing.problems), *store.failures]
    for error in failures:
        print(reveal(str(error)), file=sys.stderr)
    print(f"{len(store.table)} cases prepared, {len(failures)} failed, in {store_folder()}")
    return CASE_ERROR if failures else 0


def who(cases: Positional[tuple[str, ...]] = ()) -> int:
    """Say which scans of yours the pseudonyms of a report stand for.

    Args:
        cases: Pseudonyms, such as case-1f8a90c3; all if none is given.
    """
    from spineseg.data.pseudonyms import known

    rows = [row for row in known() if not cases or row["case"] in cases]
    for row in rows:
        text = f"{row['case']}: {row['name']} of {row['patient']}, {row['ct'] or row['segmentation']}"
        print("".join(c if c.isprintable() else "?" for c in text))
    if unknown := [case for case in cases if case not in {row["case"] for row in rows}]:
        raise ValueError(f"no case is called {unknown[0]!r} here; `spineseg who` lists those that have a pseudonym")
    return 0
