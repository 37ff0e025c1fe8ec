"""The folder that data go into: it can be written to, has room, and belongs to one process at a time."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from spineseg.errors import CaseError

try:
    import fcntl
except ImportError:  # Windows has none: there two processes are not kept apart
    fcntl = None

SPARE_BYTES = 64 << 20  # stay free beside what is written
LOCK = ".fetch.lock"


@contextlib.contextmanager
def claimed(folder: Path) -> Iterator[Path]:
    """Make a folder, see that it can be written to, and keep other processes out of it until the block ends.

    The lock goes with the process that holds it, even if that is killed; the file that carries it stays.

    Args:
        folder: The folder; its parents are made too.

    Yields:
        The folder as an absolute path.

    Raises:
        CaseError: If it cannot be made or written to, or another process is fetching into it.
    """
    folder = Path(folder).absolute()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
        handle = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise write_error(folder, error) from None
    try:
        if fcntl is not None:
            _lock(handle, folder)
        yield folder
    finally:
        os.close(handle)


def _lock(handle: int, folder: Path) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        found, remedy = "another process is fetching into this folder", "wait for it, or end it, then run this again"
        raise CaseError("busy", folder, found, "one process at a time", remedy) from None
    except OSError:
        pass  # a network folder without locks


def need_space(folder: Path, needed: int, purpose: str) -> None:
    """See that the disk has room before anything is written.

    Args:
        folder: An existing folder on the disk in question.
        needed: Bytes that will be written.
        purpose: What they are, for the message.

    Raises:
        CaseError: If it has not; code `disk-full`.
    """
    free = shutil.disk_usage(folder).free
    if needed + SPARE_BYTES > free:
        expected = f"{size_text(needed)} for {purpose} and {size_text(SPARE_BYTES)} to spare"
        remedy = "free some space, or name a folder on another disk"
        raise CaseError("disk-full", folder, f"{size_text(free)} free", expected, remedy)


def write_error(path: Path, error: OSError) -> CaseError:
    """What the operating system says about writing to `path`, as the error of this case."""
    reason = error.strerror or type(error).__name__
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        remedy = "free some space and run the same command again; it goes on from there"
        return CaseError("disk-full", path, f"the system says: {reason}", "room to write", remedy)
    remedy = "check its permissions, or name another folder"
    return CaseError("unwritable", path, f"the system says: {reason}", "a path that can be written to", remedy)


def size_text(size: float) -> str:
    """A number of bytes for people, such as `23.58 GB`."""
    for unit, least in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= least:
            return f"{size / least:.2f} {unit}"
    return f"{size:.0f} bytes"
