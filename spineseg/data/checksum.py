"""The sha256 that lies beside a file, as `sha256sum` writes it: made with the file, checked whenever it is read."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from spineseg.data import fetched
from spineseg.data.payload import AGAIN, Repair
from spineseg.errors import CaseError

SUFFIX = ".sha256"
LONGEST_BYTES = 1 << 16  # of a sidecar; a list of a whole download is not one
LINE = re.compile(rb"(\\?)([0-9a-fA-F]{64})(?: [ *](.+))?")  # a backslash first: the name is written with escapes


@dataclass(frozen=True)
class Sidecar:
    """What lies beside a file that is being read.

    Attributes:
        wanted: The recorded hash; None where there is none.
        seen: Takes the file's bytes while they are read; None when there is nothing to compare with.
        repairs: Says that a sidecar is unusable.
    """

    wanted: str | None
    seen: hashlib._Hash | None
    repairs: tuple[Repair, ...]


def beside(path) -> Path:
    """Where the hash of `path` is kept."""
    path = Path(path)
    return path.with_name(path.name + SUFFIX)


def noted(path) -> Path:
    """The file whose name stands in the hash: `path`, or what it links to if no hash lies beside the link."""
    path = Path(path)
    return path.parent / os.readlink(path) if path.is_symlink() and not beside(path).exists() else path


def line(path, sha256: str) -> bytes:
    """The one line of a sidecar; `sha256sum -c` reads it."""
    name = os.fsencode(Path(path).name)
    escaped = name.replace(b"\\", b"\\\\").replace(b"\n", b"\\n").replace(b"\r", b"\\r")
    return b"\\" * (escaped != name) + sha256.encode() + b"  " + escaped + b"\n"


def recorded(path) -> tuple[str | None, tuple[Repair, ...]]:
    """The hash that lies beside a file, or else the one that it was fetched with.

    Returns:
        64 hexadecimal digits, or None where there is neither, or a sidecar that does not speak of this file; in the
        last case a remark, too.
    """
    path = noted(path)
    try:
        with open(beside(path), "rb") as file:
            text = file.read(LONGEST_BYTES + 1)
    except FileNotFoundError:
        return fetched.recorded(path), ()
    except OSError as error:
        return None, (Repair("sidecar", f"{SUFFIX} not readable: {error.strerror or type(error).__name__}", "ignored"),)
    names = (None, line(path, "").lstrip(b"\\").strip())
    found = [LINE.fullmatch(row.rstrip(b"\r")) for row in text.split(b"\n")] if len(text) <= LONGEST_BYTES else []
    hashes = {m[2].decode().lower() for m in found if m and m[3] in names}
    if len(hashes) != 1:
        return None, (Repair("sidecar", f"a {SUFFIX} without one hash of this file", "ignored"),)
    return hashes.pop(), ()


@contextlib.contextmanager
def checked(path) -> Iterator[Sidecar]:
    """Compare what is read inside with the hash that lies beside the file.

    Any other fault of a file that is not the recorded one is told with both hashes: the damage is its likely cause.

    Args:
        path: The file.

    Yields:
        The sidecar; its `seen` must have taken every byte of the file when the block ends.

    Raises:
        CaseError: If the file is not the recorded one.
    """
    wanted, repairs = recorded(path)
    sidecar = Sidecar(wanted, hashlib.sha256() if wanted else None, repairs)
    try:
        yield sidecar
    except CaseError as error:
        if wanted and (actual := hash_of(path)) not in (None, wanted):
            found = f"{error.found}, in a file of sha256 {actual}"
            raise CaseError(error.code, path, found, f"sha256 {wanted}", AGAIN) from None
        raise
    if wanted and (actual := sidecar.seen.hexdigest()) != wanted:
        note = f"the {SUFFIX} beside it" if beside(noted(path)).exists() else f"its line in {fetched.LEDGER}"
        remedy = f"{AGAIN}; if it was changed on purpose, delete {note}"
        raise CaseError("hash", path, f"a file of sha256 {actual}", f"sha256 {wanted}", remedy)


def hash_of(path) -> str | None:
    """sha256 of a file's bytes; None if it cannot be read."""
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None
