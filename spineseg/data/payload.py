"""The bytes of a NIfTI file: compression told by magic, checked to the end, never more than the header promises."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
from isal import igzip_lib

from spineseg.errors import CaseError

STEP = 1 << 20  # bytes that are inflated at a time
TOLERATED_TAIL = (
    1 << 20
)  # bytes after the last voxel that are ignored with a remark; more is an attack or another format
DEFLATE_LIMIT = 1032  # largest ratio that deflate can reach
LONGEST_HEADER = 540  # NIfTI-2

AGAIN = "download or copy it again"


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
    compressed = start[:2] == b"\x1f\x8b"
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


def read_payload(path: Path, opening: Opening, promised: int) -> tuple[np.ndarray, tuple[Repair, ...]]:
    """Read everything up to the last voxel, and a gzip stream to its end so that CRC and length are checked.

    Args:
        path: The file.
        opening: What `look` returned for it.
        promised: Bytes of header, extensions and voxels together, as the header claims.

    Returns:
        `(promised,)` uint8, writable, and the repairs.

    Raises:
        CaseError: If the file is cut, damaged, or holds far less or more than its header promises.
    """
    if opening.compressed:
        if promised > opening.size * DEFLATE_LIMIT + STEP:
            raise _too_short(path, f"{opening.size} compressed bytes", promised)
        return _inflate(path, promised)
    if opening.size < promised:
        raise _too_short(path, f"{opening.size} bytes", promised)
    with opened(path) as file:
        payload = np.fromfile(file, np.uint8, promised)
    if len(payload) < promised:  # the file shrank while it was read
        raise _too_short(path, f"{len(payload)} bytes", promised)
    return payload, _tail(path, opening.size - promised)


def _inflate(path: Path, promised: int) -> tuple[np.ndarray, tuple[Repair, ...]]:
    payload = np.empty(promised, np.uint8)  # pages are touched only as they fill
    filled = extra = members = 0
    junk = False
    data, stream = b"", None
    with opened(path) as file:
        while True:
            if stream is None or stream.eof:
                data = (stream.unused_data if stream else b"") or file.read(STEP)
                if len(data) < 2 and data:
                    data += file.read(STEP)
                if not data:
                    break
                if data[:2] != b"\x1f\x8b":
                    junk = True
                    break
                stream, members = igzip_lib.IgzipDecompressor(igzip_lib.DECOMP_GZIP), members + 1
            elif stream.needs_input:
                data = file.read(STEP)
                if not data:
                    found = f"the gzip stream ends early, after {filled} of {promised} bytes"
                    raise CaseError("gzip-truncated", path, found, "a complete gzip file", AGAIN)
            try:
                block = stream.decompress(data, STEP)
            except igzip_lib.IsalError as error:
                raise CaseError("gzip-damaged", path, f"damaged gzip data ({error})", "an intact file", AGAIN) from None
            data = b""
            keep = min(len(block), promised - filled)
            payload[filled : filled + keep] = np.frombuffer(block, np.uint8, keep)
            filled, extra = filled + keep, extra + len(block) - keep
            if extra > TOLERATED_TAIL:
                _tail(path, extra)
    if filled < promised:
        raise _too_short(path, f"{filled} bytes", promised)
    repairs = _tail(path, extra)
    if members > 1:
        repairs += (Repair("gzip-members", f"{members} gzip members", "joined"),)
    if junk:
        repairs += (Repair("gzip-trailing", "bytes after the end of the gzip stream", "ignored"),)
    return payload, repairs


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
    try:
        while len(head) < LONGEST_HEADER and not stream.eof:
            block = stream.decompress(start, LONGEST_HEADER - len(head))
            start = b""
            if not block:
                break
            head += block
    except igzip_lib.IsalError as error:
        raise CaseError("gzip-damaged", path, f"damaged gzip data ({error})", "an intact file", AGAIN) from None
    return head


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
