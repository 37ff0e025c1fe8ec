"""What was unpacked into a folder, one JSON line a file: unpacking goes on from it, and a changed byte is found."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from tqdm import tqdm

from spineseg.data import atomic
from spineseg.data.fetch.folder import write_error
from spineseg.data.fetched import LEDGER, Entry, parse
from spineseg.errors import CaseError

FETCH = "fetch again: only what is missing is unpacked"
AGAIN = f"delete it and {FETCH}"
Write = Callable[[str, int, str], None]


def read(folder: Path, origin: str) -> dict[str, Entry]:
    """Files that were unpacked from an archive already and still have their size.

    Args:
        folder: Where they were unpacked.
        origin: Which archive, such as its checksum; files of another one do not count.

    Returns:
        Their names, relative with forward slashes, and entries. Empty if there is no ledger.
    """
    header, entries, _, _ = parse(folder)
    if header != origin:
        return {}
    return {name: entry for name, entry in entries.items() if _size(folder / name) == entry.size}


def missing(folder: Path, origin: str) -> set[str]:
    """Files that were unpacked from an archive and are gone, or have another size."""
    header, entries, _, _ = parse(folder)
    return entries.keys() - read(folder, origin).keys() if header == origin else set()


def finished(folder: Path, origin: str) -> str | None:
    """Where the data lie, if everything was unpacked from an archive and every file still has its size.

    Args:
        folder: Where it was unpacked.
        origin: Which archive.

    Returns:
        A path relative to `folder`, None if something is missing.
    """
    header, entries, end, _ = parse(folder)
    whole = header == origin and end is not None and end["files"] == len(entries)
    return end["holds"] if whole and not missing(folder, origin) else None


@contextlib.contextmanager
def writing(folder: Path, origin: str) -> Iterator[Write]:
    """Open the ledger of a folder to add files; what an interrupted process wrote stays.

    Args:
        folder: An existing folder.
        origin: Which archive the files come from; a ledger of another one is begun anew.

    Yields:
        A function of name, size in bytes and sha256. A line is the system's, safe from a kill, when it returns.

    Raises:
        CaseError: If the ledger cannot be written.
    """
    path = folder / LEDGER
    try:
        if parse(folder)[0] != origin:
            atomic.write_text(path, _line(origin=origin))
        with open(path, "r+b") as file:
            text = file.read()
            if text and not text.endswith(b"\n"):  # cut in the middle of a line
                file.write(b"\n")

            def write(name: str, size: int, sha256: str) -> None:
                try:
                    file.write(_line(name=name, size=size, sha256=sha256).encode())
                    file.flush()
                except OSError as error:
                    raise write_error(path, error) from None

            yield write
            os.fsync(file.fileno())
    except OSError as error:
        raise write_error(path, error) from None


def finish(folder: Path, origin: str, holds: Path, names: Iterable[str]) -> None:
    """Note that everything is unpacked.

    Args:
        folder: Where it was unpacked.
        origin: Which archive.
        holds: The folder in it that the data lie in.
        names: Everything; what the ledger has beside these is forgotten.
    """
    _, entries, _, _ = parse(folder)
    lines = [_line(origin=origin)]
    lines += [_line(name=name, size=entries[name].size, sha256=entries[name].sha256) for name in names]
    lines += [_line(files=len(lines) - 1, holds=holds.relative_to(folder).as_posix())]
    try:
        atomic.write_text(folder / LEDGER, "".join(lines))
    except OSError as error:
        raise write_error(folder / LEDGER, error) from None


def verify(folder: Path, *, progress: bool = True) -> list[CaseError]:
    """Hash every file that was unpacked and compare with the ledger.

    Args:
        folder: What `fetch` returned, or a folder below it or above it up to the one it was unpacked in.
        progress: Show a bar.

    Returns:
        One error per file that is missing, changed or cannot be read, and per line of the ledger that is damaged;
        empty if all is as it was unpacked.

    Raises:
        CaseError: If no ledger is found.
    """
    folder = Path(folder).absolute()
    root = next((f for f in (folder, *folder.parents) if (f / LEDGER).is_file()), None)
    if root is None:
        raise CaseError("no-ledger", folder, f"no {LEDGER}", "a folder that was fetched", "fetch it first")
    _, entries, _, damaged = parse(root)
    remedy = "delete the ledger and fetch again: everything is unpacked anew"
    findings = [
        CaseError("ledger-damaged", root / LEDGER, f"line {number} is damaged", "lines as written", remedy)
        for number in damaged
    ]
    with tqdm(
        total=sum(entry.size for entry in entries.values()), desc="verifying", unit="B", unit_scale=True,
        disable=not progress, delay=1.0,
    ) as bar:  # fmt: skip
        for name, entry in entries.items():
            findings += _compared(root / name, entry)
            bar.update(entry.size)
    return findings


def _compared(path: Path, entry: Entry) -> list[CaseError]:
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            found = hashlib.file_digest(file, "sha256").hexdigest() if size == entry.size else f"{size} bytes"
    except FileNotFoundError:
        return [CaseError("file-missing", path, "no such file", "the file as unpacked", FETCH)]
    except OSError as error:
        reason = error.strerror or type(error).__name__
        return [CaseError("unreadable", path, f"the system says: {reason}", "a readable file", AGAIN)]
    if found == entry.sha256:
        return []
    found = f"sha256 {found}" if size == entry.size else found
    return [CaseError("file-changed", path, found, f"{entry.size} bytes, sha256 {entry.sha256}", AGAIN)]


def _size(path: Path) -> int | None:
    try:
        return None if path.is_symlink() else path.stat().st_size
    except OSError:
        return None


def _line(**values) -> str:
    return json.dumps(values) + "\n"
