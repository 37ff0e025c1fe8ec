"""Cases under names that tell nothing: a hospital's file name can hold a patient's, and a report shows names.

Each file is reached through a link that bears the pseudonym, so whatever is said of it (a table, a caption, an error)
has no other name to say. Who is who stands in a table beside the links, for its owner alone.
"""

from __future__ import annotations

import csv
import hashlib
import io
import os
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pandas as pd

from spineseg.data.atomic import atomic_path
from spineseg.data.layouts.listing import Listing, stem_of
from spineseg.errors import CaseError
from spineseg.paths import pseudonyms_folder

BLOCKS, BLOCK = 16, 1 << 14  # read of a scan, from its first byte to its last; slices of bone alone are mostly zeros
TABLE = "names.csv"  # in each cohort's folder of links
COLUMNS = ("case", "name", "patient", "ct", "segmentation")
LEFT_OUT = "left-out-{}"  # a case that cannot be used; what is wrong with it may hold its name
KINDS = {"ct": "_ct", "segmentation": "_seg"}


def pseudonymised(found: Listing) -> Listing:
    """The same cases under pseudonyms, their files reached through links.

    A case is called after the content of its scan (of its label map where there is no scan): the same on any machine,
    whatever else lies in the folder, and not to be found out from the name. Copies of one scan are numbered in the
    order of their names. A patient is called after the first of its cases in that order.

    Args:
        found: As the layout listed it.

    Returns:
        The listing, sorted by pseudonym; `names` has each case's own name. A problem keeps what was found unless that
        tells a name.

    Raises:
        CaseError: If the links cannot be made (code pseudonyms).
    """
    own = found.table.sort_values("case", ignore_index=True)
    names = list(_distinct([f"case-{_digest(r.ct or r.segmentation)}" for r in own.itertuples()]))
    place = hashlib.sha256(os.fsencode(f"{found.layout} {found.folder.absolute()}")).hexdigest()[:12]
    folder = pseudonyms_folder() / place
    table = own.assign(case=names, patient=pd.Series(names).groupby(own["patient"]).transform("first"))
    lost = {name: LEFT_OUT.format(i) for i, name in enumerate(sorted({name for name, _ in found.problems}), 1)}
    told, problems = (*own["case"], *lost), []
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _note(folder / TABLE, own.assign(case=names, name=own["case"])[list(COLUMNS)].to_dict("records"))
        for kind, ending in KINDS.items():
            table[kind] = [_link(folder, n + ending, target) for n, target in zip(names, own[kind], strict=True)]
        for i, (name, error) in enumerate(found.problems):
            path = _link(folder, f"{lost[name]}-{i}", error.path)
            what = "left out" if any(word in error.found for word in told) else error.found
            problems.append((lost[name], CaseError(error.code, path, what, error.expected, error.remedy)))
    except OSError as error:
        what = f"the system says: {error.strerror or type(error).__name__}"
        remedy = "point SPINESEG_HOME at one, or switch cohort.pseudonyms off"
        raise CaseError("pseudonyms", folder, what, "a folder of yours that can hold links", remedy) from None
    table = table.sort_values("case", ignore_index=True)
    return replace(found, table=table, problems=tuple(problems), names=dict(zip(names, own["case"], strict=True)))


def reveal(text: str) -> str:
    """A text for the console of the owner: links are replaced by what they lead to, pseudonyms get their names."""
    links = rf"{re.escape(str(pseudonyms_folder()))}/[0-9a-f]{{12}}/[\w.-]*\w"
    pseudonym = r"(?<![/\w])case-[0-9a-f]{8}(?:-\d+)?\b"

    def own(match: re.Match) -> str:
        word = match[0]
        if word.startswith("case-"):
            names = {row["case"]: row["name"] for row in known()}
            return f"{word} ({names[word]})" if word in names else word
        return os.readlink(word) if os.path.islink(word) else word

    return re.sub(f"{links}|{pseudonym}", own, text)


def known() -> Iterator[dict[str, str]]:
    """Who is who: `case, name, patient, ct, segmentation` of every case that has a pseudonym here."""
    for path in sorted(pseudonyms_folder().glob(f"*/{TABLE}")):
        yield from _rows(path)


def _digest(path: str) -> str:
    """Of the size of a file and of blocks spread over it; of nothing where it cannot be read."""
    digest = hashlib.sha256()
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            digest.update(str(size).encode())
            for i in range(BLOCKS):
                file.seek(max(size - BLOCK, 0) * i // (BLOCKS - 1))
                digest.update(file.read(BLOCK))
    except OSError:
        pass  # whoever reads the case says so
    return digest.hexdigest()[:8]


def _distinct(names: list[str]) -> Iterator[str]:
    """The names, a number after each but the first of those that are equal."""
    seen: dict[str, int] = {}
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        yield name if seen[name] == 1 else f"{name}-{seen[name]}"


def _link(folder: Path, name: str, target: str) -> str:
    """Path of a link to a file or folder, with its suffix; empty where there is none."""
    if not target:
        return ""
    stem = stem_of(Path(target))
    link, target = folder / (name + (Path(target).name[len(stem) :] if stem else "")), os.path.abspath(target)
    if not (link.is_symlink() and os.readlink(link) == target):
        temporary = link.with_name(f".{os.getpid()}-{link.name}")
        temporary.unlink(missing_ok=True)
        temporary.symlink_to(target)
        os.replace(temporary, link)
    return str(link)


def _note(path: Path, rows: list[dict[str, str]]) -> None:
    """Add cases to the table of who is who; those of before stay, older reports show them."""
    before = list(_rows(path)) if path.is_file() else []
    merged = {row["case"]: row for row in [*before, *rows]}
    if list(merged.values()) == before:
        return
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(merged.values())
    with atomic_path(path) as temporary, open(temporary, "xb", opener=_private) as file:
        file.write(text.getvalue().encode(errors="surrogateescape"))


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _rows(path: Path) -> Iterator[dict[str, str]]:
    with open(path, encoding="utf-8", errors="surrogateescape", newline="") as file:
        yield from csv.DictReader(file)
