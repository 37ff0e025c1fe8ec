"""What a file's content is called: hashes of scans, remembered as long as the file does not change, and of sources."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from functools import cache
from pathlib import Path

import numpy as np

from spineseg.anatomy import labels
from spineseg.data import atomic
from spineseg.errors import CaseError
from spineseg.paths import store_folder

COUNTED_AT_ONCE = 1 << 20  # voxels


def hash_files(paths) -> str:
    """Short sha256 over the names and bytes of files."""
    digest = hashlib.sha256()
    for path in paths:
        digest.update(Path(path).name.encode() + b"\0" + Path(path).read_bytes())
    return digest.hexdigest()[:12]


@cache
def code_version() -> str:
    """Short hash of this floor's sources and the label schemes: prepared data made by other code are not ours."""
    return hash_files([*sorted(Path(__file__).parent.glob("*.py")), labels.__file__])


def values_hash(ct_hu: np.ndarray) -> str:
    """sha256 of how often each value occurs: equal for copies of a scan, however stored, turned or mirrored."""
    if ct_hu.dtype != np.int16:
        ct_hu = np.rint(np.clip(ct_hu, -32768, 32767)).astype(np.int16)
    flat, counts = ct_hu.ravel(order="K").view(np.uint16), np.zeros(65536, np.int64)
    for start in range(0, flat.size, COUNTED_AT_ONCE):  # counting takes eight bytes a value
        counts += np.bincount(flat[start : start + COUNTED_AT_ONCE], minlength=65536)
    return hashlib.sha256(counts.tobytes()).hexdigest()


def remember(note: Path, text: str) -> None:
    """Keep what was found out for the next time; a folder that cannot be written costs the next time, not this one."""
    with contextlib.suppress(OSError):
        atomic.write_text(note, text)


def content_hash(path) -> str:
    """sha256 of a file; remembered in the store under its path, size and time of change.

    Raises:
        CaseError: If the file cannot be read.
    """
    path = Path(path).absolute()
    try:
        status = path.stat()
        note = store_folder() / "inputs" / f"{hashlib.sha256(os.fsencode(path)).hexdigest()[:16]}.json"
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
    remember(note, json.dumps({"stamp": stamp, "sha256": value}))
    return value
