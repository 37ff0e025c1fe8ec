"""A download that is not finished: its bytes, their running checksum, and a note of which file they belong to."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

from tqdm import tqdm

from spineseg.data import atomic
from spineseg.data.fetch.folder import write_error
from spineseg.errors import CaseError

STEP = 1 << 20  # bytes that are read at a time


def part_file(final: Path) -> Path:
    """Where the bytes of `final` are kept until they are complete."""
    return final.with_name(final.name + ".part")


def md5_of(path: Path, *, progress: bool):
    """Running md5 over a file."""
    digest = hashlib.md5(usedforsecurity=False)
    shown = {"desc": "checking", "unit": "B", "unit_scale": True, "disable": not progress, "delay": 1.0}
    with open(path, "rb") as file, tqdm(total=path.stat().st_size, **shown) as bar:
        while chunk := file.read(STEP):
            digest.update(chunk)
            bar.update(len(chunk))
    return digest


class Part:
    """The bytes of one file so far. Use it in a `with` block; they are kept when the block ends early.

    Args:
        final: Where the file goes once its checksum is right.
        md5: The checksum, in hexadecimal.
        size: Bytes of the whole file if they are known beforehand, else None.
        progress: Show a bar while bytes of an earlier attempt are checked.

    Raises:
        CaseError: If the folder cannot be written to.
    """

    def __init__(self, final: Path, *, md5: str, size: int | None, progress: bool):
        self.final, self.path = final, part_file(final)
        self._note = final.with_name(final.name + ".part.json")
        self._md5, self.pinned, self._progress = md5, size, progress
        self.total, self.etag, self.size = size, "", 0

    def __enter__(self) -> Part:
        try:
            self._recall()
            self._digest = hashlib.md5(usedforsecurity=False)
            if self.path.exists():
                self._digest = md5_of(self.path, progress=self._progress)
            self._file = open(self.path, "ab")
        except OSError as error:
            raise write_error(self.path, error) from None
        self.size = self._file.tell()
        if self.total is not None and self.size > self.total:
            self.restart()
        return self

    def __exit__(self, *_) -> None:
        try:
            self._file.close()
        except OSError as error:
            raise write_error(self.path, error) from None

    @property
    def is_complete(self) -> bool:
        """All bytes are there, as far as their number tells."""
        return self.total is not None and self.size == self.total

    def append(self, chunk: bytes) -> None:
        """Add bytes at the end.

        Raises:
            CaseError: If they cannot be written.
        """
        try:
            self._file.write(chunk)
            self._file.flush()  # a kill loses nothing that was received
        except OSError as error:
            raise write_error(self.path, error) from None
        self._digest.update(chunk)
        self.size += len(chunk)

    def restart(self) -> None:
        """Throw the bytes away."""
        try:
            self._file.truncate(0)
            self._note.unlink(missing_ok=True)
        except OSError as error:
            raise write_error(self.path, error) from None
        self._digest = hashlib.md5(usedforsecurity=False)
        self.size, self.etag, self.total = 0, "", self.pinned

    def belongs_to(self, etag: str, total: int | None) -> None:
        """Note which version of the file the bytes belong to, before the first of them is written."""
        if (etag, total) == (self.etag, self.total) and self._note.exists():
            return
        self.etag, self.total = etag, total
        try:
            atomic.write_text(self._note, json.dumps({"md5": self._md5, "etag": etag, "total": total}))
        except OSError as error:
            raise write_error(self._note, error) from None

    def finish(self) -> Path:
        """Give the file its name, if the checksum is right.

        Returns:
            The path of the finished file.

        Raises:
            CaseError: If the checksum is wrong; the bytes are deleted.
        """
        found = self._digest.hexdigest()
        try:
            os.fsync(self._file.fileno())
            self._file.close()
            self._note.unlink(missing_ok=True)
            if found == self._md5:
                os.replace(self.path, self.final)
                return self.final
            self.path.unlink()
        except OSError as error:
            raise write_error(self.path, error) from None
        raise checksum_error(self.final, found, self._md5, "its bytes were deleted; download it again")

    def _recall(self) -> None:
        try:
            note = json.loads(self._note.read_text(encoding="utf-8"))
            md5, etag, total = note["md5"], str(note["etag"]), note["total"]
        except (OSError, ValueError, KeyError, TypeError):
            return  # no note: the bytes may still be right, and the checksum decides
        if md5 != self._md5:
            self.path.unlink(missing_ok=True)
            return
        self.etag = etag
        if self.pinned is None and isinstance(total, int):
            self.total = total


def checksum_error(path: Path, found: str, expected: str, remedy: str) -> CaseError:
    """The error of a file whose md5 is not the published one."""
    return CaseError("checksum", path, f"md5 {found}", f"md5 {expected}", remedy)
