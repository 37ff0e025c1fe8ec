"""The configured cohort as one table of cases, and what the headers of its scans say."""

from __future__ import annotations

import warnings
from collections import Counter

import numpy as np
import pandas as pd

from spineseg.config import Config
from spineseg.data import nifti
from spineseg.data.layouts import LAYOUTS, Listing, list_cases
from spineseg.data.phantom_cohort import case_name, cohort_folder, make_phantoms, n_phantoms, truth
from spineseg.data.presence import presence
from spineseg.data.pseudonyms import pseudonymised
from spineseg.errors import CaseError

__all__ = ["cases", "cohort_folder", "headers", "listing", "make_phantoms", "presence", "truth"]

PHANTOM = "phantom"
SHOWN = 5  # problems that a warning names


def listing(config: Config, *, progress: bool = True) -> Listing:
    """What the cohort's folder holds; a phantom cohort is made or completed first.

    Args:
        config: `cohort` says which layout (or `"auto"`), folder and label scheme, and whether cases of a folder get
            pseudonyms. Everything that a report shows comes from here, so there is no name that it could forget.
        progress: Show a bar while phantoms are made.

    Returns:
        The listing: cases, problems, remarks.

    Raises:
        CaseError: If the folder is missing or empty, or its layout or scheme cannot be told; the message says what to
            do.
    """
    if config.cohort.layout != PHANTOM:
        return _listed(config)
    folder = make_phantoms(config, progress=progress)
    names = {case_name(i) for i in range(n_phantoms(config))}  # a larger cohort may lie in the folder
    found = LAYOUTS["kaggle"].read(folder, "")
    table = found.table[found.table["case"].isin(names)].reset_index(drop=True)
    return Listing(PHANTOM, folder, table)


def _listed(config: Config) -> Listing:
    folder, layout = cohort_folder(config), config.cohort.layout
    if not config.cohort.pseudonyms:
        return list_cases(folder, layout, config.cohort.scheme)
    try:
        found = list_cases(folder, layout, config.cohort.scheme)
    except CaseError as error:  # what was found there can name files
        if not folder.is_dir() or error.code == "layout-ambiguous":
            raise
        remedy = f"`spineseg audit {folder} --layout {layout}` says what is wrong"
        raise CaseError(error.code, folder, "files that make no cohort", error.expected, remedy) from None
    return pseudonymised(found)


def cases(config: Config, *, progress: bool = True) -> pd.DataFrame:
    """The cohort as a table; cases that cannot be used (a file without its partner, two files) are named in a warning.

    Args:
        config: As in `listing`.
        progress: As in `listing`.

    Returns:
        DataFrame with `case`, `ct`, `segmentation` (absolute paths), `scheme`, `patient` and `split` (the official
        part, or empty), sorted by case.

    Raises:
        CaseError: As in `listing`.
    """
    found = listing(config, progress=progress)
    if found.problems:
        more = f" (and {len(found.problems) - SHOWN} more)" if len(found.problems) > SHOWN else ""
        shown = "; ".join(str(error) for _, error in found.problems[:SHOWN])
        if config.cohort.pseudonyms:
            kinds = Counter(error.code for _, error in found.problems)
            shown = (
                f"{', '.join(f'{code} {n}' for code, n in kinds.items())}; `spineseg audit` of the folder names them"
            )
            more = ""
        warnings.warn(f"{len(found.problems)} cases left out: {shown}{more}", stacklevel=2)
    return found.table


def headers(table: pd.DataFrame) -> pd.DataFrame:
    """Add what the headers say, without reading voxels.

    Args:
        table: From `cases`.

    Returns:
        The table with `shape`, `spacing` (mm), `orientation`, `voxels`, `extent_mm` (three numbers) and `error` (empty
        where the header is fine; the other new columns are missing where it is not).
    """
    rows = []
    for path in table["ct"]:
        try:
            head = nifti.header(path)
        except CaseError as error:
            rows.append({"error": str(error)})
            continue
        extent = tuple(n * s for n, s in zip(head.shape, head.spacing, strict=True))
        row = {"shape": head.shape, "spacing": head.spacing, "orientation": head.orientation}
        rows.append(row | {"voxels": int(np.prod(head.shape)), "extent_mm": extent, "error": ""})
    return pd.concat([table.reset_index(drop=True), pd.DataFrame(rows)], axis=1)
