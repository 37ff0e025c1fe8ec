"""The only reader and writer of scans: NIfTI in and out, checked to the last byte."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from isal import isal_zlib
from nibabel.nifti1 import Nifti1Header

from spineseg.anatomy.labels import N_VERTEBRAE, Scheme, lookup_table
from spineseg.data import checksum
from spineseg.data.affine import Placed, corner_shift_mm
from spineseg.data.atomic import atomic_path
from spineseg.data.header import REWRITE, XFORM_TOLERANCE_MM, Header, header, quaternion_affine
from spineseg.data.hounsfield import check_hounsfield
from spineseg.data.payload import STEP, Repair, read_payload
from spineseg.errors import CaseError

__all__ = ["Header", "Volume", "header", "read", "read_ct", "read_labels", "write"]

SUFFIXES = (".nii.gz", ".nii")
LABEL_TOLERANCE = 1e-3  # how far a float label may lie from a whole number
THICK_SLICE_MM = 5.0  # beyond it a vertebra is a few slices high
GZIP_LEVEL = 1  # of isal; 3 % larger than level 2 at the same speed as a copy


@dataclass(frozen=True)
class Volume(Placed):
    """Voxels and where they are.

    Attributes:
        array: `(I, J, K)`, in the file's own (Fortran) order; a view of the bytes read where no scaling applies.
        affine: `(4, 4)` float64, voxel index to RAS+ mm.
        path: The file.
        repairs: Faults that were mended while reading, for the audit table.
    """

    array: np.ndarray
    affine: np.ndarray
    path: Path
    repairs: tuple[Repair, ...] = ()


def read(path, *, assume_ras: bool = False) -> Volume:
    """Read a scan. Magic bytes tell compression; a gzip stream is read to its end (CRC and length checked).

    Where a `.sha256` lies beside the file its bytes are hashed as they are read, and compared.

    Args:
        path: A `.nii` or `.nii.gz` file.
        assume_ras: Accept a file without any orientation as axis-aligned RAS+ at the origin.

    Returns:
        The volume in the stored type where slope is 1 and intercept 0; with a whole intercept the smallest of int16 and
        int32 that holds the result; else float32.

    Raises:
        CaseError: If the file is damaged, is not the one that its `.sha256` records, or is not one 3D scan.
    """
    with checksum.checked(path) as sidecar:
        head = header(path, assume_ras=assume_ras)
        payload, repairs = read_payload(head.path, head.opening, head.promised_bytes, sidecar.seen)
    stored = payload[head.offset :].view(head.dtype) if head.offset % head.dtype.itemsize == 0 else None
    if stored is None:  # voxels that start at an odd byte cannot be viewed in place
        stored = np.frombuffer(payload[head.offset :].tobytes(), head.dtype)
    if not stored.dtype.isnative:
        stored = stored.byteswap(inplace=stored.flags.writeable).view(stored.dtype.newbyteorder("="))
    array = _scaled(stored, head.slope, head.intercept).reshape(head.shape, order="F")
    return Volume(array, head.affine, head.path, (*head.repairs, *repairs, *sidecar.repairs))


def read_ct(path, *, nan: str = "refuse", assume_ras: bool = False) -> Volume:
    """Read a CT.

    Args:
        path: A `.nii` or `.nii.gz` file.
        nan: What to do with missing values: `"refuse"`, or `"air"` to set them to -1000 HU.
        assume_ras: As in `read`.

    Returns:
        The volume in HU, int16 where the file holds whole numbers that fit, else float32.

    Raises:
        CaseError: As in `read`, or if values are missing or infinite, or cannot be HU (the message names the guess).
        ValueError: If `nan` is neither `"refuse"` nor `"air"`.
    """
    if nan not in ("refuse", "air"):
        raise ValueError(f"nan must be 'refuse' or 'air', got {nan!r}")
    volume = read(path, assume_ras=assume_ras)
    array, repairs = volume.array, volume.repairs
    if array.dtype.kind == "f":
        array, more = _finite(volume.path, array, nan)
        repairs += more
        # beyond float32 is beyond HU; the check below names it
        array = np.clip(array, -1e9, 1e9).astype(np.float32) if array.dtype != np.float32 else array
    check_hounsfield(volume.path, array)
    if array.dtype.kind in "iu" and array.dtype != np.int16:  # the check bounds values to -5000 .. 40000
        array = array.astype(np.int16 if array.max() <= 32767 else np.float32)
    if (thickest := max(volume.spacing)) > THICK_SLICE_MM:
        repairs += (Repair("thick-slices", f"slices {thickest:.3g} mm apart", "kept; small vertebrae blur"),)
    return Volume(array, volume.affine, volume.path, repairs)


def read_labels(path, *, scheme: Scheme = Scheme.SPINESEG, assume_ras: bool = False) -> Volume:
    """Read a label map.

    Args:
        path: A `.nii` or `.nii.gz` file.
        scheme: The scheme that it was written in; identifiers that are not one of the 25 vertebrae become background.
        assume_ras: As in `read`.

    Returns:
        The volume as uint8, 0 .. 25.

    Raises:
        CaseError: As in `read`, or if a value is not whole or, in our own scheme, outside 0 .. 25.
    """
    volume = read(path, assume_ras=assume_ras)
    array, repairs = volume.array, volume.repairs
    remedy = "give the segmentation, not the CT, or name its label scheme"
    if array.dtype.kind == "f":
        array, _ = _finite(volume.path, array, "refuse")
        whole = np.rint(array)
        distance = float(np.abs(array - whole).max())
        if distance > LABEL_TOLERANCE:
            found = f"labels up to {distance:.3g} away from whole numbers"
            raise CaseError(
                "labels-fractional", volume.path, found, "whole numbers", "resample labels by nearest voxel"
            )
        if distance > 0:
            repairs += (Repair("labels-float", f"labels up to {distance:.2g} off", "rounded"),)
        array = whole
    low, high = int(array.min()), int(array.max())
    largest = N_VERTEBRAE if scheme is Scheme.SPINESEG else 255
    if low < 0 or high > largest:
        raise CaseError("labels-range", volume.path, f"labels from {low} to {high}", f"0 to {largest}", remedy)
    array = array if array.dtype == np.uint8 else array.astype(np.uint8)
    if scheme is not Scheme.SPINESEG:
        array = lookup_table(scheme)[array]
    if not array.any():
        repairs += (Repair("labels-empty", "no vertebra", "kept; left out of Dice and counted"),)
    return Volume(array, volume.affine, volume.path, repairs)


def write(path, array, affine) -> Path:
    """Write a volume: atomically, with sform and qform set to code 1 and no free text, and its hash beside it.

    The hash is named as the file with `.sha256` behind, in the format of `sha256sum`. A crash leaves the old file or
    the new one, never with the other's hash.

    Args:
        path: Ends in `.nii` or `.nii.gz`.
        array: `(I, J, K)`; bool is stored as uint8, float64 as float32.
        affine: `(4, 4)`, voxel index to RAS+ mm.

    Returns:
        The path.

    Raises:
        ValueError: If the suffix, the shape, the type or the affine cannot be written.
        CaseError: If the folder cannot be written to or the disk is full; an old file stays intact.
    """
    path, array, affine = Path(path), np.asarray(array), np.asarray(affine, np.float64)
    if not path.name.endswith(SUFFIXES):
        raise ValueError(f"path must end in .nii or .nii.gz, got {path.name!r}")
    if array.ndim != 3 or not all(1 <= n <= 32767 for n in array.shape):
        raise ValueError(f"array must have three axes of 1 to 32767 voxels, got {array.shape}")
    if affine.shape != (4, 4) or not np.isfinite(affine).all() or abs(np.linalg.det(affine)) < 1e-12:
        raise ValueError(f"affine must be an invertible 4 x 4 matrix, got {affine.tolist()}")
    array = array.astype({"bool": np.uint8, "float64": np.float32}.get(array.dtype.name, array.dtype), copy=False)
    if array.dtype.name not in ("uint8", "int8", "int16", "uint16", "int32", "float32"):
        raise ValueError(f"array must hold 8, 16 or 32-bit numbers, got {array.dtype.name}")
    head = _header_bytes(array, affine)
    voxels = np.asfortranarray(array.astype(array.dtype.newbyteorder("<"), copy=False)).reshape(-1, order="F")
    note, seen = checksum.beside(path), hashlib.sha256()
    try:
        with atomic_path(note) as line, atomic_path(path, drop=note) as temporary, open(temporary, "wb") as file:
            for block in _packed(head, memoryview(voxels).cast("B"), path.name.endswith(".gz")):
                seen.update(block)
                file.write(block)
            line.write_bytes(checksum.line(path, seen.hexdigest()))
    except OSError as error:
        found = f"cannot write: {error.strerror or type(error).__name__}"
        remedy = "choose another folder, free some space or change its permissions"
        raise CaseError("unwritable", path, found, "a writable folder with room", remedy) from None
    return path


def _packed(head: bytes, voxels: memoryview, compress: bool) -> Iterator[bytes | memoryview]:
    blocks = [head, *(voxels[i : i + STEP] for i in range(0, len(voxels), STEP))]
    if not compress:
        yield from blocks
        return
    stream = isal_zlib.compressobj(GZIP_LEVEL, wbits=31)  # 31: gzip, without name or time
    yield from map(stream.compress, blocks)
    yield stream.flush()


def _header_bytes(array: np.ndarray, affine: np.ndarray) -> bytes:
    raw = Nifti1Header(endianness="<")  # descrip, aux_file, db_name and intent_name stay empty
    raw.set_data_dtype(array.dtype.newbyteorder("<"))
    raw.set_data_shape(array.shape)
    raw.set_sform(affine, code=1)
    raw.set_qform(affine, code=1, strip_shears=True)
    if corner_shift_mm(raw.get_sform(), quaternion_affine(raw), array.shape) > XFORM_TOLERANCE_MM:
        raw["qform_code"] = 0  # a sheared grid has no quaternion
    raw.set_xyzt_units("mm")
    raw["magic"], raw["vox_offset"], raw["scl_slope"], raw["scl_inter"] = b"n+1", 352, 1, 0
    return raw.binaryblock + bytes(4)  # no extension


def _scaled(stored: np.ndarray, slope: float, intercept: float) -> np.ndarray:
    if slope == 1 and intercept == 0:
        return stored
    if stored.dtype.kind in "iu" and slope == 1 and intercept.is_integer() and stored.dtype.itemsize <= 4:
        low, high = int(stored.min()) + int(intercept), int(stored.max()) + int(intercept)
        if low >= -32768 and high <= 32767:
            return (stored.astype(np.int32) + np.int32(intercept)).astype(np.int16)
    with np.errstate(over="ignore", invalid="ignore"):
        return (stored.astype(np.float64) * slope + intercept).astype(np.float32)


def _finite(path: Path, array: np.ndarray, nan: str) -> tuple[np.ndarray, tuple[Repair, ...]]:
    if np.isfinite(array).all():
        return array, ()
    missing = np.isnan(array)
    count, infinite = int(missing.sum()), int(np.isinf(array).sum())
    if infinite:
        raise CaseError("infinite", path, f"{infinite} infinite values", "finite values", REWRITE)
    if nan == "refuse":
        remedy = "fill the gaps, or read with nan='air' to set them to -1000 HU"
        raise CaseError("nan", path, f"{count} missing values (nan)", "finite values", remedy)
    return np.where(missing, array.dtype.type(-1000), array), (Repair("nan", f"{count} missing values", "-1000 HU"),)
