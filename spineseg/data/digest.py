"""What a file's content is called: hashes of scans, remembered as long as the file does not change, and of sources."""

from __future__ import annotations

import hashlib
import json
from functools import cache
from pathlib import Path

from spineseg.data import atomic
from spineseg.errors import CaseError
from spineseg.paths import store_folder


def hash_files(paths) -> str:
    """Short sha256 over the names and bytes of files."""
    digest = hashlib.sha256()
    for path in paths:
        digest.update(Path(path).name.encode() + b"\0" + Path(path).read_bytes())
    return digest.hexdigest()[:12]


@cache
def code_version() -> str:
    """Short hash of this floor's sources: prepared data made by other code are not ours."""
    return hash_files(sorted(Path(__file__).parent.glob("*.py")))


def content_hash(path) -> str:
    """sha256 of a file; remembered in the store under its path, size and time of change.

    Raises:
        CaseError: If the file cannot be read.
    """
    path = Path(path).absolute()
    try:
        status = path.stat()
        note = store_folder() / "inputs" / f"{hashlib.sha256(str(path).encode()).hexdigest()[:16]}.json"
        stamp = [str(path), status.st_size, status.st_mtime_ns]
        try:
            known = json.loads(note.read_text())
            if known["stamp"] == stamp:
                return known["sha256"]
        except (OSError, ValueError, KeyError, TypeError):
            pass  # not remembered, or written by something else: hash again
        with open(path, "rb") as file:
            value = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        found = f"the system says: {error.strerror or type(error).__name__}"
        raise CaseError("unreadable", path, found, "a readable file", "check the path and its permissions") from None
    atomic.write_text(note, json.dumps({"stamp": stamp, "sha256": value}))
    return value
