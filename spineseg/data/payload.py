"""The bytes of a NIfTI file: compression told by magic, checked to the end, never more than the header promises."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
from isal import igzip_lib

from spineseg.errors import CaseError

BLOCK = 1 << 18  # bytes that are read from a file at a time; compressed and inflated they fit the cache
STEP = 1 << 20  # bytes that are inflated at a time
TOLERATED_TAIL = 1 << 20  # bytes after the last voxel, ignored with a remark; more is an attack or another format
DEFLATE_LIMIT = 1032  # largest ratio that deflate can reach
BOMB_RATIO = 900  # only long runs of one value pack so tightly: ...
BOMB_BYTES = 192 << 20  # ... beyond this size they are looked at before memory is taken for them
FREE_MEMBERS = 1000  # gzip members that a stream may have however little they hold ...
SMALL_MEMBER = 1024  # ... beyond it they must hold this many bytes on average: each costs a decompressor
LONGEST_HEADER = 540  # NIfTI-2
GZIP_MAGIC = b"\x1f\x8b"

AGAIN = "download or copy it again"
REPACK = "unpack it and compress it again"


class Repair(NamedTuple):
    """A fault that was mended while reading: what was found and what is used instead."""

    code: str
    found: str
    used: str


class Opening(NamedTuple):
    """The first bytes of a file."""

    compressed: bool
    head: bytes
    size: int
    repairs: tuple[Repair, ...]


@contextlib.contextmanager
def opened(path: Path):
    """Open a file for reading; whatever the operating system objects to becomes a `CaseError`."""
    try:
        with open(path, "rb") as file:
            yield file
    except FileNotFoundError:
        raise CaseError("missing", path, "no such file", "a NIfTI file", "check the path or restore the file") from None
    except OSError as error:
        reason = error.strerror or type(error).__name__
        remedy = "check the path, its permissions and the disk"
        raise CaseError("unreadable", path, f"the system says: {reason}", "a readable file", remedy) from None


def look(path: Path) -> Opening:
    """Read the header's bytes, inflating no more than these.

    Raises:
        CaseError: If the file is missing, empty, or plainly something else (a web page, a Git LFS pointer, an archive).
    """
    with opened(path) as file:
        start = file.read(1 << 14)
        size = file.seek(0, 2)
    if not start:
        raise CaseError("empty", path, "0 bytes", "a NIfTI file", AGAIN)
    compressed = start[:2] == GZIP_MAGIC
    if compressed:
        head = _first_bytes(path, start)
    else:
        _refuse_other_formats(path, start)
        head = start[:LONGEST_HEADER]
    named_gz = path.name.lower().endswith(".gz")
    repairs = ()
    if compressed != named_gz:
        what = "gzip data named .nii" if compressed else "uncompressed data named .gz"
        repairs = (Repair("suffix", what, "read by its magic bytes"),)
    return Opening(compressed, head, size, repairs)


def read_payload(path: Path, opening: Opening, promised: int, seen=None) -> tuple[np.ndarray, tuple[Repair, ...]]:
    """Read everything up to the last voxel, and a gzip stream to its end so that CRC and length are checked.

    Args:
        path: The file.
        opening: What `look` returned for it.
        promised: Bytes of header, extensions and voxels together, as the header claims.
        seen: A hash that takes every byte of the file on the way; None to hash nothing.

    Returns:
        `(promised,)` uint8, writable, and the repairs.

    Raises:
        CaseError: If the file is cut, damaged, or holds far less or more than its header promises.
    """
    if opening.compressed:
        if promised > opening.size * DEFLATE_LIMIT + STEP:
            raise _too_short(path, f"{opening.size} compressed bytes", promised)
        if promised > max(BOMB_BYTES, BOMB_RATIO * opening.size):
            _refuse_one_value(path, opening, promised)
        return _inflate(path, promised, seen)
    if opening.size < promised:
        raise _too_short(path, f"{opening.size} bytes", promised)
    repairs = _tail(path, opening.size - promised)
    payload = np.empty(promised, np.uint8)
    into, filled = memoryview(payload), 0
    with opened(path) as file:
        while count := file.readinto(into[filled : filled + STEP]):
            if seen is not None:
                seen.update(into[filled : filled + count])  # while it is in the cache
            filled += count
        _hash_rest(file, seen)
    if filled < promised:  # the file shrank while it was read
        raise _too_short(path, f"{filled} bytes", promised)
    return payload, repairs


def _inflate(path: Path, promised: int, seen) -> tuple[np.ndarray, tuple[Repair, ...]]:
    payload = np.empty(promised, np.uint8)  # pages are touched only as they fill
    into = memoryview(payload)
    filled = extra = members = 0
    junk = False
    data, stream = b"", None
    with opened(path) as file:

        def more() -> bytes:
            block = file.read(BLOCK)
            if seen is not None:
                seen.update(block)
            return block

        while True:
            if stream is None or stream.eof:
                data = (stream.unused_data if stream else b"") or more()
                if len(data) == 1:
                    data += more()
                if not data:
                    break
                if data[:2] != GZIP_MAGIC:
                    junk = True
                    break
                stream, members = igzip_lib.IgzipDecompressor(igzip_lib.DECOMP_GZIP), members + 1
                if members > FREE_MEMBERS and filled < members * SMALL_MEMBER:
                    found = f"more than {FREE_MEMBERS} gzip members with next to nothing in them"
                    raise CaseError("gzip-members", path, found, "one gzip stream", REPACK)
            elif stream.needs_input:
                data = more()
                if not data:
                    found = f"the gzip stream ends early, after {filled} of {promised} bytes"
                    raise CaseError("gzip-truncated", path, found, "a complete gzip file", AGAIN)
            block = _inflated(stream, data, STEP, path)
            data = b""
            keep = min(len(block), promised - filled)
            into[filled : filled + keep] = block if keep == len(block) else block[:keep]
            filled, extra = filled + keep, extra + len(block) - keep
            if extra > TOLERATED_TAIL:
                _tail(path, extra)
        _hash_rest(file, seen)
    if filled < promised:
        raise _too_short(path, f"{filled} bytes", promised)
    repairs = _tail(path, extra)
    if members > 1:
        repairs += (Repair("gzip-members", f"{members} gzip members", "joined"),)
    if junk:
        repairs += (Repair("gzip-trailing", "bytes after the end of the gzip stream", "ignored"),)
    return payload, repairs


def _refuse_one_value(path: Path, opening: Opening, promised: int) -> None:
    """Inflate without keeping anything, until a second value or a fault shows up."""
    stream, total = igzip_lib.IgzipDecompressor(igzip_lib.DECOMP_GZIP), 0
    with opened(path) as file, contextlib.suppress(igzip_lib.IsalError):  # faults are for the reader to name
        while total < promised:
            block = stream.decompress(file.read(BLOCK) if stream.needs_input else b"", STEP)
            if not block or (total and block.count(block[:1]) < len(block)):  # the first holds the header
                return
            total += len(block)
        found = f"{opening.size} bytes that unpack to {promised} of one value"
        remedy = "leave it out, or crop it when it is an empty label map"
        raise CaseError("bomb", path, found, "a scan or a label map", remedy)


def _hash_rest(file, seen) -> None:
    while seen is not None and (block := file.read(BLOCK)):
        seen.update(block)


def _tail(path: Path, extra: int) -> tuple[Repair, ...]:
    if extra > TOLERATED_TAIL:
        found = f"more than {TOLERATED_TAIL >> 20} MiB after the last voxel"
        raise CaseError(
            "payload-long", path, found, "as much data as the header promises", "write it again from its source"
        )
    return (Repair("trailing", f"{extra} bytes after the last voxel", "ignored"),) if extra else ()


def _too_short(path: Path, found: str, promised: int) -> CaseError:
    return CaseError("payload-short", path, found, f"the {promised} bytes that its header promises", AGAIN)


def _first_bytes(path: Path, start: bytes) -> bytes:
    head = b""
    stream = igzip_lib.IgzipDecompressor(igzip_lib.DECOMP_GZIP)
    while len(head) < LONGEST_HEADER and not stream.eof:
        block = _inflated(stream, start, LONGEST_HEADER - len(head), path)
        start = b""
        if not block:
            break
        head += block
    return head


def _inflated(stream, data: bytes, most: int, path: Path) -> bytes:
    try:
        return stream.decompress(data, most)
    except igzip_lib.IsalError as error:
        damage = str(error)
    # raised out here, because isal's error cannot be pickled, not even as the context of ours
    raise CaseError("gzip-damaged", path, f"damaged gzip data ({damage})", "an intact file", AGAIN)


def _refuse_other_formats(path: Path, start: bytes) -> None:
    text = start.lstrip()[:200].lower()
    guesses = {
        "a web page": text.startswith(b"<"),
        "a Git LFS pointer": text.startswith(b"version https://git-lfs"),
        "a ZIP archive": start.startswith(b"PK\x03\x04"),
        "a DICOM file": start[128:132] == b"DICM",
        "a JSON text": text.startswith((b"{", b"[")),
        "an NRRD file": start.startswith(b"NRRD"),
    }
    for guess, yes in guesses.items():
        if yes and start[344:348] not in (b"n+1\0", b"ni1\0"):
            remedy = "fetch the file itself (`git lfs pull`)" if "LFS" in guess else "download or convert it again"
            raise CaseError("not-nifti", path, guess, "a NIfTI file", remedy)
