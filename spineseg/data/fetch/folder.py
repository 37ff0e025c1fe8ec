"""The folder that data go into: it can be written to, has room, and belongs to one process at a time."""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from spineseg.errors import CaseError

try:
    import fcntl
except ImportError:  # Windows has none: there two processes are not kept apart
    fcntl = None

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


def write_error(path: Path, error: OSError) -> CaseError:
    """What the operating system says about writing to `path`, as the error of this case."""
    reason = error.strerror or type(error).__name__
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        remedy = "free some space and run the same command again; it goes on from there"
        return CaseError("disk-full", path, f"the system says: {reason}", "room to write", remedy)
    remedy = "check its permissions, or name another folder"
    return CaseError("unwritable", path, f"the system says: {reason}", "a path that can be written to", remedy)
