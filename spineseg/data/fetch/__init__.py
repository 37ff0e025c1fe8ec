"""Public data sets onto this disk: pinned, resumed, checked, unpacked without harm."""

from __future__ import annotations

import difflib
from pathlib import Path

from spineseg.data.fetch import kaggle, ledger
from spineseg.data.fetch.folder import claimed
from spineseg.data.fetch.ledger import verify
from spineseg.data.fetch.partial import checksum_error, md5_of, part_file
from spineseg.data.fetch.sources import SOURCES, Source
from spineseg.data.fetch.transfer import Patience, download
from spineseg.data.fetch.unpacking import unpack
from spineseg.data.resources import need_space

__all__ = ["SOURCES", "Patience", "Source", "fetch", "verify"]


def fetch(
    source: str,
    to: Path,
    *,
    progress: bool = True,
    keep_archive: bool = True,
    patience: Patience | None = None,
) -> Path:
    """Download and unpack a public data set, or the rest of it if an earlier attempt was interrupted.

    Nothing is asked of the network if all of it is there.

    Args:
        source: One of `SOURCES`.
        to: Folder; gets the archive, and a folder with the source's name.
        progress: Show bars.
        keep_archive: Keep the archive after everything is unpacked.
        patience: How long a server is waited for, and how often.

    Returns:
        The folder that holds the data.

    Raises:
        ValueError: If the source is not known; the known ones are listed.
        CaseError: If the folder cannot be written to, the disk has no room, the download fails, the archive could do
            harm, or members of it are corrupt (then all others are unpacked).
    """
    if source not in SOURCES:
        near = difflib.get_close_matches(source, SOURCES, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise ValueError(f"unknown source {source!r}: {hint}known: {', '.join(SOURCES)}")
    pinned, patience = SOURCES[source], patience or Patience()
    with claimed(to) as folder:
        if pinned.kaggle:
            return kaggle.download(pinned, folder, patience=patience, progress=progress)
        data = folder / pinned.name
        if (holds := ledger.finished(data, pinned.md5)) is not None:
            return data / holds
        archive = _archive(pinned, folder, patience, progress)
        holds = unpack(archive, data, origin=pinned.md5, progress=progress)
        if not keep_archive:
            archive.unlink()
        return holds


def _archive(source: Source, folder: Path, patience: Patience, progress: bool) -> Path:
    """The archive with the right checksum: the one that is there, or a new one."""
    path = folder / source.file
    if path.exists():
        found = md5_of(path, progress=progress).hexdigest()
        if found != source.md5:
            raise checksum_error(path, found, source.md5, "delete it and run the same command again")
        return path
    part = part_file(path)
    left = max(source.archive_bytes - (part.stat().st_size if part.exists() else 0), 0)
    unpacked = sum(entry.size for entry in ledger.read(folder / source.name, source.md5).values())
    need_space(folder, left + max(source.least_bytes - unpacked, 0), "the archive and the data in it")
    at_most = 2 * source.archive_bytes  # of an archive whose size is not published
    settings = {"size": source.size, "at_most": at_most, "patience": patience, "progress": progress}
    return download(source.url, path, md5=source.md5, **settings)
