"""Writing so that a reader never meets half a file: temporary name in the same folder, fsync, rename."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def atomic_path(path, *, drop: Path | None = None) -> Iterator[Path]:
    """Hand out a temporary name beside `path`; on success it is flushed to disk and takes the place of `path`.

    The old file stays intact until the rename; after an exception the temporary file is removed.

    Args:
        path: The file to be written; its folder is made when missing.
        drop: A file beside it that speaks of the old content; it goes just before the rename, so that a crash leaves
            the old file or the new one without it.

    Yields:
        The temporary path to write to; it keeps the suffixes of `path`.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{secrets.token_hex(4)}-{path.name}")
    try:
        yield temporary
        _flush(temporary)
        if drop is not None and os.path.lexists(drop):
            drop.unlink()
            _flush(drop.parent)
        os.replace(temporary, path)
        _flush(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_folder(path) -> Iterator[Path]:
    """Hand out a temporary folder beside `path`; on success it is renamed to `path` as a whole.

    A folder that another process finished first under the same name is kept and ours is dropped.

    Args:
        path: The folder to be made.

    Yields:
        The temporary folder to fill.
    """
    path = Path(path)
    temporary = path.with_name(f".{secrets.token_hex(4)}-{path.name}")
    temporary.mkdir(parents=True)
    try:
        yield temporary
        for file in temporary.iterdir():
            _flush(file)
        _flush(temporary)
        try:
            os.rename(temporary, path)
        except OSError:
            if not path.is_dir():
                raise
        _flush(path.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_text(path, text: str) -> None:
    """Write a UTF-8 text file atomically; bytes of file names that are no text are spelled out."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def _flush(path: Path) -> None:
    if os.name == "nt" and path.is_dir():  # Windows cannot open a folder
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
