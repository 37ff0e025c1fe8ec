"""Faults that only show when cases are held beside each other: copies, leakage, gaps in the numbering."""

from __future__ import annotations

import re

import pandas as pd

from spineseg.data.audit.findings import Finding, found
from spineseg.data.audit.known import KNOWN_BAD
from spineseg.data.layouts import Listing


def check_across(listing: Listing, facts: pd.DataFrame, parts: pd.Series | None = None) -> list[Finding]:
    """Compare the cases of a set.

    Args:
        listing: The set.
        facts: One row per readable case: `case, ct_hash, values_hash, labels_hash` (empty where there is none).
        parts: Part of the split by case; None for the official one, where there is one.

    Returns:
        The findings.
    """
    if parts is None:
        parts = listing.table.set_index("case")["split"]
    result = _copies(facts, parts)
    called = {listing.names.get(case, case): case for case in listing.table["case"]}
    reported = KNOWN_BAD.get(listing.layout, {}).items()
    result += [found(called[name], "known-bad", why) for name, why in reported if name in called]
    for patient, rows in listing.table.assign(part=listing.table["case"].map(parts)).groupby("patient"):
        inside = rows[rows["part"] != ""]
        if inside["part"].nunique() > 1:
            shown = ", ".join(f"{r.case} ({r.part})" for r in inside.itertuples())
            result.append(found(inside["case"].iloc[0], "patient-in-two-parts", f"patient {patient} has {shown}"))
    if any("no S1" in remark for remark in listing.remarks) and listing.layout == "totalsegmentator":
        remark = next(r for r in listing.remarks if "no S1" in r)
        result.append(found("", "no-s1", remark, str(listing.folder)))
    return result + _numbering(listing)


def _copies(facts: pd.DataFrame, parts: pd.Series) -> list[Finding]:
    result, said = [], set()
    for column, code, what in (
        ("ct_hash", "duplicate-scan", "the same voxels as"),
        ("values_hash", "duplicate-turned", "the same values in another order (turned or mirrored) as"),
        ("labels_hash", "duplicate-labels", "the same label map, on another scan, as"),
    ):
        for _, rows in facts[facts[column] != ""].groupby(column):
            names = rows["case"].tolist()
            copies = [name for name in names[1:] if (name, names[0]) not in said]
            said.update((name, names[0]) for name in names[1:])
            if not copies:
                continue
            result += [found(name, code, f"{what} {names[0]}") for name in copies]
            split = {name: parts.get(name, "") for name in names}
            if code != "duplicate-labels" and len(set(split.values()) - {""}) > 1:
                shown = ", ".join(f"{name} ({part})" for name, part in split.items())
                result.append(found(names[0], "scan-in-two-parts", f"one scan under {shown}"))
    return result


def _numbering(listing: Listing) -> list[Finding]:
    if listing.names:  # pseudonyms have no gaps
        return []
    names = [re.fullmatch(r"(\D*)(\d{3,})", case) for case in listing.table["case"]]
    if not names or not all(names) or len({match[1] for match in names}) > 1:
        return []
    numbers = {int(match[2]) for match in names}
    if max(numbers) - min(numbers) >= 2 * len(numbers):  # accession numbers, not a count
        return []
    absent = sorted(set(range(min(numbers), max(numbers) + 1)) - numbers)
    if not absent:
        return []
    shown = ", ".join(map(str, absent[:6])) + (" ..." if len(absent) > 6 else "")
    what = f"{len(absent)} of the numbers {min(numbers)} to {max(numbers)} are missing ({shown})"
    return [found("", "numbering", what, str(listing.folder))]
