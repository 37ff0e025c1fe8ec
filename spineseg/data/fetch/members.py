"""What an archive says that it holds, refused as a whole if any of it could do harm. Nothing is written here."""

from __future__ import annotations

import contextlib
import copy
import gzip
import re
import stat
import tarfile
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple

from spineseg.data.resources import size_text
from spineseg.errors import CaseError

OWN = ".spineseg-"  # names that begin so are ours
LONGEST_NAME = 255  # bytes between two slashes
LONGEST_READ = 16 << 20  # bytes that a tar header may ask for at once
UNREADABLE = (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, OSError, ValueError, NotImplementedError)


@dataclass(frozen=True)
class Caps:
    """Sizes above which an archive is taken for a bomb."""

    members: int = 1_000_000
    total_bytes: int = 1 << 40
    ratio: float = 100.0  # unpacked to packed, of the archive and of each member above `ratio_from`
    ratio_from: int = 64 << 20  # bytes; a small file may shrink by more in good faith


class Member(NamedTuple):
    """A file in an archive."""

    name: str  # relative, with forward slashes
    size: int  # bytes, as declared
    entry: zipfile.ZipInfo | tarfile.TarInfo


@contextlib.contextmanager
def opened(path: Path, caps: Caps) -> Iterator[tuple[list[Member], Callable[[Member], IO[bytes]]]]:
    """Open a zip or tar archive, told by its first bytes, and look through its directory.

    Args:
        path: `.zip`, `.tar` or `.tar.gz`.
        caps: What is too much.

    Yields:
        Its files in the order they lie in, and a function that opens one. A member may yield more bytes than it
        declares: the reader has to stop.

    Raises:
        CaseError: If the archive cannot be read, or a member is not an ordinary file or folder with a name inside the
            target, is there twice (also in other letter case), is encrypted, or is too much.
    """
    with contextlib.ExitStack() as stack:
        try:
            file = stack.enter_context(open(path, "rb"))
            is_zip = file.read(2) == b"PK"
            file.seek(0)
            if is_zip:
                archive = stack.enter_context(zipfile.ZipFile(file))
                members, reader = list(_zip_members(archive, path, caps)), _zip_reader(archive)
            else:
                archive = _tar(file, stack)
                members, reader = list(_tar_members(archive, path, caps)), archive.extractfile
        except UNREADABLE as error:
            found = f"not a readable archive ({type(error).__name__})"
            remedy = "delete it and download it again"
            raise CaseError("archive-unreadable", path, found, "a zip or tar file", remedy) from None
        _refuse_collisions(members, path)
        yield members, (lambda member: reader(member.entry))


def _zip_members(archive: zipfile.ZipFile, path: Path, caps: Caps) -> Iterator[Member]:
    watch = _Watch(path, caps)
    for entry in archive.infolist():
        name = _safe_name(entry.orig_filename, path)
        kind = stat.S_IFMT(entry.external_attr >> 16)  # 0 where the archive was made without Unix modes
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise _refusal("archive-link", path, name, "is a link or a device", "files and folders")
        if entry.is_dir() or kind == stat.S_IFDIR:
            watch.add(name, 0, 0)
            continue
        if entry.flag_bits & 0x41:
            raise _refusal("archive-encrypted", path, name, "is encrypted", "an open archive")
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):  # the others inflate without bound
            found = f"is packed by method {entry.compress_type}"
            raise _refusal("archive-method", path, name, found, "stored or deflated members")
        watch.add(name, entry.file_size, entry.compress_size)
        yield Member(name, entry.file_size, entry)


def _zip_reader(archive: zipfile.ZipFile) -> Callable[[zipfile.ZipInfo], IO[bytes]]:
    def read(entry: zipfile.ZipInfo) -> IO[bytes]:
        longer = copy.copy(entry)
        longer.file_size = 1 << 62  # zipfile stops at the declared size, and a longer member would not show
        return archive.open(longer)

    return read


class _Bounded:
    """A file whose reads are small: a tar header can ask for any number of bytes."""

    def __init__(self, file):
        self._file, self.seek, self.tell = file, file.seek, file.tell

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= LONGEST_READ:
            raise tarfile.ReadError(f"a header of {size} bytes")
        return self._file.read(size)


def _tar(file: IO[bytes], stack: contextlib.ExitStack) -> tarfile.TarFile:
    is_packed = file.read(2) == b"\x1f\x8b"
    file.seek(0)
    if is_packed:
        file = stack.enter_context(gzip.GzipFile(fileobj=file))
    return stack.enter_context(tarfile.open(fileobj=_Bounded(file), mode="r:"))


def _tar_members(archive: tarfile.TarFile, path: Path, caps: Caps) -> Iterator[Member]:
    watch, packed = _Watch(path, caps), path.stat().st_size
    for entry in archive:
        if entry.isdir() and entry.name in (".", ""):
            continue
        name = _safe_name(entry.name, path)
        if not (entry.isreg() or entry.isdir()):
            raise _refusal("archive-link", path, name, "is a link or a device", "files and folders")
        watch.add(name, entry.size, packed)
        try:
            tarfile.data_filter(entry, str(path.parent / "any"))  # what extracting with filter="data" would refuse
        except tarfile.FilterError:
            raise _refusal("archive-path", path, name, "leads outside the folder", "names inside it") from None
        if entry.isreg():
            yield Member(name, entry.size, entry)
    archive.fileobj.seek(archive.offset)
    rest = archive.fileobj.read(tarfile.BLOCKSIZE)
    if len(rest) < tarfile.BLOCKSIZE:  # tarfile takes a missing end and a broken header for the end
        raise tarfile.ReadError("no end")
    while rest:  # to the end of the gzip stream, where its checksum is
        if rest.strip(b"\0"):
            raise tarfile.ReadError("data after the last member")
        rest = archive.fileobj.read(1 << 20)


class _Watch:
    """Counts members and bytes while the directory is read, so that a bomb is not even listed to its end."""

    def __init__(self, path: Path, caps: Caps):
        self.path, self.caps, self.packed = path, caps, max(path.stat().st_size, 1)
        self.members = self.bytes = 0

    def add(self, name: str, size: int, packed: int) -> None:
        self.members, self.bytes = self.members + 1, self.bytes + size
        caps = self.caps
        if self.members > caps.members:
            self._refuse(name, f"more than {caps.members} members", f"at most {caps.members}")
        if size < 0 or self.bytes > caps.total_bytes:
            most = size_text(caps.total_bytes)
            self._refuse(name, f"{size_text(self.bytes)} when unpacked", f"at most {most}")
        for unpacked, stored in ((self.bytes, self.packed), (size, packed)):
            if unpacked > caps.ratio_from and unpacked > caps.ratio * max(stored, 1):
                found = f"{size_text(unpacked)} unpacked from {size_text(stored)}"
                self._refuse(name, found, f"at most {caps.ratio:g} times as much")

    def _refuse(self, name: str, found: str, expected: str) -> None:
        remedy = "do not unpack it; download it again from its publisher"
        raise CaseError("archive-bomb", self.path, f"{found}, up to member {_shown(name)}", expected, remedy)


def _safe_name(name: str, path: Path) -> str:
    """The member's name with single slashes and without `.`, if it lies inside the target on every system."""
    parts = PurePosixPath(name).parts
    try:
        too_long = any(len(part.encode()) > LONGEST_NAME for part in parts)
    except UnicodeEncodeError:
        raise _refusal("archive-path", path, name, "has a name that is not text", "plain names") from None
    if not parts or too_long or re.search(r"[\x00-\x1f\x7f]", name):
        raise _refusal("archive-path", path, name, "has no usable name", "plain names")
    if name.startswith("/") or ".." in parts or "\\" in name or ":" in name:  # C:x, and streams, on Windows
        raise _refusal("archive-path", path, name, "leads outside the folder", "names inside it")
    if parts[0].casefold().startswith(OWN):
        raise _refusal("archive-path", path, name, "has a name of this program's own files", "other names")
    return "/".join(parts)


def _refuse_collisions(members: list[Member], path: Path) -> None:
    """Two names that one file system or another holds for the same, or a file where a folder must be."""
    files, folders = {}, {}
    for member in members:
        parts = member.name.split("/")
        for depth in range(1, len(parts)):
            name = "/".join(parts[:depth])
            if folders.setdefault(_folded(name), name) != name:
                raise _refusal("archive-twice", path, member.name, "lies in a folder that has two spellings", "one")
        if files.setdefault(_folded(member.name), member) is not member:
            raise _refusal("archive-twice", path, member.name, "is there twice, but for letter case", "each name once")
    if both := files.keys() & folders.keys():
        name = files[min(both)].name
        raise _refusal("archive-twice", path, name, "is a file and a folder", "each name once")


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name.casefold())


def _refusal(code: str, path: Path, name: str, found: str, expected: str) -> CaseError:
    remedy = "do not unpack it; download it again from its publisher"
    return CaseError(code, path, f"member {_shown(name)} {found}", expected, remedy)


def _shown(name: str) -> str:
    text = ascii(name)
    return text if len(text) <= 120 else f"{text[:117]}..."
