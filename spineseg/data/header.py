"""What a NIfTI header claims, checked before a voxel is read: shape, type, scaling, geometry."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from nibabel.nifti1 import Nifti1Header
from nibabel.nifti2 import Nifti2Header

from spineseg.data import payload
from spineseg.data.affine import Placed, corner_shift_mm, orientation_of, shear_degrees, spacing_of
from spineseg.data.payload import Repair
from spineseg.errors import CaseError

LARGEST_BYTES = 1 << 32  # uncompressed; twice a whole body at 0.7 mm
LARGEST_SHEAR_DEGREES = 2.0  # a gantry tilt beyond it is not repaired by resampling
XFORM_TOLERANCE_MM = 0.1  # between qform and sform, at the corners of the scan
QUATERNION_ROUNDING = 1e-7  # of b * b + c * c + d * d, each stored as float32
REAL_TYPES = {2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4", 1024: "i8", 1280: "u8"}
REFUSED_TYPES = {0: "no", 1: "1-bit", 32: "complex64", 128: "RGB", 1536: "float128", 1792: "complex128", 2304: "RGBA"}
REWRITE = "convert it again from its source"


@dataclass(frozen=True)
class Header(Placed):
    """Geometry and storage of one file.

    Attributes:
        path: The file.
        shape: Voxels along I, J, K.
        affine: `(4, 4)` float64, voxel index to RAS+ mm.
        dtype: How voxels are stored, byte order included.
        slope, intercept: Value = stored * slope + intercept.
        offset: Bytes before the first voxel.
        opening: First bytes and size of the file.
        repairs: Faults that were mended.
    """

    path: Path
    shape: tuple[int, int, int]
    affine: np.ndarray
    dtype: np.dtype
    slope: float
    intercept: float
    offset: int
    opening: payload.Opening
    repairs: tuple[Repair, ...]

    @property
    def promised_bytes(self) -> int:
        """Bytes up to the last voxel."""
        return self.offset + math.prod(self.shape) * self.dtype.itemsize


def header(path, *, assume_ras: bool = False) -> Header:
    """Read and check the header; no voxel is inflated.

    Args:
        path: A `.nii` or `.nii.gz` file.
        assume_ras: Accept a file without any orientation as axis-aligned RAS+ at the origin.

    Returns:
        The header.

    Raises:
        CaseError: If the file is not one 3D scan of real numbers with a usable geometry.
    """
    path = Path(path)
    opening = payload.look(path)
    raw, repairs = _parse(path, opening.head)
    shape, squeezed = _shape(path, raw)
    dtype, odd_bits = _dtype(path, raw)
    slope, intercept, odd_scale = _scaling(path, raw)
    affine, odd_affine = _affine(path, raw, shape, assume_ras)
    repairs = (*opening.repairs, *repairs, *squeezed, *odd_bits, *odd_scale, *odd_affine)
    result = Header(path, shape, affine, dtype, slope, intercept, _offset(path, raw), opening, repairs)
    if result.promised_bytes > LARGEST_BYTES:
        found = f"a header that claims {shape[0]} x {shape[1]} x {shape[2]} voxels, {result.promised_bytes} bytes"
        raise CaseError("too-large", path, found, f"at most {LARGEST_BYTES >> 30} GiB", REWRITE)
    limit = opening.size * (payload.DEFLATE_LIMIT if opening.compressed else 1) + payload.STEP * opening.compressed
    if result.promised_bytes > limit:
        code, found = (
            "payload-short",
            f"a header that promises {result.promised_bytes} bytes in a file of {opening.size}",
        )
        raise CaseError(code, path, found, "as much data as the header promises", payload.AGAIN)
    return result


def _parse(path: Path, head: bytes):
    classes = {b"n+1\0": (Nifti1Header, 348, 344), b"n+2\0": (Nifti2Header, 540, 4)}
    for magic, (cls, length, position) in classes.items():
        if head[position : position + 4] == magic and len(head) >= length:
            return _assemble(cls, head[:length])
    if head[344:347] == b"ni1":
        raise CaseError(
            "pair-of-files", path, "a header without voxels (.hdr/.img pair)", "a single NIfTI file", REWRITE
        )
    if len(head) < 348:
        raise CaseError("header-short", path, f"{len(head)} bytes", "a header of 348 bytes", payload.AGAIN)
    raise CaseError("magic", path, f"no NIfTI magic, but {head[344:348]!r}", "'n+1' or 'n+2'", "convert it to NIfTI")


def _assemble(cls, block: bytes):
    size = len(block)
    order = next((o for o, name in (("<", "little"), (">", "big")) if int.from_bytes(block[:4], name) == size), None)
    if order:
        return cls(block, order, check=False), ()
    order = next((o for o in "<>" if 1 <= int(cls(block, o, check=False)["dim"][0]) <= 7), "<")
    raw = cls(block, order, check=False)
    return raw, (Repair("sizeof-hdr", f"sizeof_hdr {int(raw['sizeof_hdr'])}", str(size)),)


def _shape(path: Path, raw) -> tuple[tuple[int, int, int], tuple[Repair, ...]]:
    dims = [int(v) for v in raw["dim"]]
    n, expected = dims[0], "one 3D scan"
    if not 1 <= n <= 7:
        raise CaseError("ndim", path, f"{n} dimensions", expected, REWRITE)
    shape = tuple(dims[1 : n + 1])
    if any(size < 1 for size in shape):
        raise CaseError("dim", path, f"a dimension below 1: {shape}", "positive dimensions", REWRITE)
    if n > 3 and any(size > 1 for size in shape[3:]):
        raise CaseError("4d", path, f"{n}D data {shape}", expected, "split it and keep one volume")
    if n < 3 or min(shape[:3]) < 2:
        raise CaseError("2d", path, f"a single slice {shape}", expected, "convert the whole series")
    repairs = (Repair("squeezed", f"{n}D {shape}", f"3D {shape[:3]}"),) if n > 3 else ()
    return shape[:3], repairs


def _dtype(path: Path, raw) -> tuple[np.dtype, tuple[Repair, ...]]:
    code, bits = int(raw["datatype"]), int(raw["bitpix"])
    if code not in REAL_TYPES:
        name = REFUSED_TYPES.get(code, "unknown")
        expected = "whole or real numbers (uint8 .. float64)"
        raise CaseError("dtype", path, f"{name} voxels (data type {code})", expected, "convert it to int16")
    dtype = np.dtype(raw.endianness + REAL_TYPES[code])
    if bits != dtype.itemsize * 8:
        return dtype, (Repair("bitpix", f"bitpix {bits} for {dtype.name}", str(dtype.itemsize * 8)),)
    return dtype, ()


def _offset(path: Path, raw) -> int:
    offset, first = float(raw["vox_offset"]), 544 if isinstance(raw, Nifti2Header) else 352
    if not (math.isfinite(offset) and offset.is_integer() and first <= offset <= LARGEST_BYTES):
        raise CaseError(
            "vox-offset", path, f"voxels that start at byte {offset:g}", f"{first} or a little more", REWRITE
        )
    return int(offset)


def _scaling(path: Path, raw) -> tuple[float, float, tuple[Repair, ...]]:
    slope, intercept = float(raw["scl_slope"]), float(raw["scl_inter"])
    if math.isnan(slope) or slope == 0:
        odd = math.isnan(slope) or intercept != 0  # slope 0, intercept 0 is the standard's "no scaling"
        return 1.0, 0.0, (Repair("slope", f"slope {slope:g}, intercept {intercept:g}", "slope 1, intercept 0"),) * odd
    repairs = ()
    if math.isnan(intercept):
        intercept, repairs = 0.0, (Repair("intercept", "intercept nan", "0"),)
    if not (1e-6 <= slope <= 1e6 and abs(intercept) <= 1e6):
        found = f"slope {slope:g}, intercept {intercept:g}"
        raise CaseError("slope", path, found, "a positive slope near 1", "write it again with slope 1 and intercept 0")
    return slope, intercept, repairs


def _affine(path: Path, raw, shape, assume_ras: bool) -> tuple[np.ndarray, tuple[Repair, ...]]:
    pixdim = np.asarray(raw["pixdim"][1:4], np.float64)
    if not (np.isfinite(pixdim).all() and (pixdim > 0).all()):
        found = f"voxel size {tuple(float(v) for v in pixdim)} mm"
        raise CaseError("spacing", path, found, "three positive mm values", "fix the header or leave the case out")
    with np.errstate(all="ignore"):
        sform = raw.get_sform() if int(raw["sform_code"]) > 0 else None
        qform, repairs = _qform(path, raw, sform)
    if sform is None and qform is None:
        if not assume_ras:
            expected, remedy = "an sform or a qform", "convert it again, or pass assume_ras when it is known to be RAS+"
            raise CaseError("no-orientation", path, "no orientation", expected, remedy)
        qform = np.diag([*pixdim, 1.0])
        repairs += (Repair("no-orientation", "no sform and no qform", "RAS+ at the origin"),)
    affine = np.asarray(sform if sform is not None else qform, np.float64)
    repairs += _check_affine(path, affine)
    if sform is not None and qform is not None:
        with np.errstate(all="ignore"):
            shift = corner_shift_mm(affine, qform, shape)
        tolerance = XFORM_TOLERANCE_MM + _rounding_mm(raw, affine, shape)
        if not shift <= tolerance or orientation_of(affine) != orientation_of(qform):
            found = f"sform ({orientation_of(affine)}) and qform ({orientation_of(qform)}) {shift:.3g} mm apart"
            raise CaseError("xforms", path, found, "the same place twice", "set the wrong one's code to 0")
        if shift > 1e-3:
            repairs += (Repair("xforms", f"sform and qform {shift:.2g} mm apart", "sform"),)
    elif qform is None and np.abs(pixdim / spacing_of(affine) - 1).max() > 0.01:
        used = f"{tuple(round(v, 4) for v in spacing_of(affine))} of the sform"
        repairs += (Repair("pixdim", f"voxel size {tuple(round(float(v), 4) for v in pixdim)}", used),)
    return affine, repairs


def _qform(path: Path, raw, sform) -> tuple[np.ndarray | None, tuple[Repair, ...]]:
    if int(raw["qform_code"]) <= 0:
        return None, ()
    qform = quaternion_affine(raw)
    if qform is not None and np.isfinite(qform).all():
        return qform, ()
    if sform is None:
        raise CaseError("qform", path, "an impossible rotation in the qform", "a unit quaternion", REWRITE)
    return None, (Repair("qform", "an impossible rotation in the qform", "the sform"),)


def quaternion_affine(raw) -> np.ndarray | None:
    """The affine that a header's quaternion, offset and voxel size stand for; None if the quaternion is impossible.

    In float64; nibabel, in float32, takes any turn within 0.07 degrees of 180 for one by 180.

    Args:
        raw: A header of nibabel.

    Returns:
        `(4, 4)` float64.

    Source:
        nifti1.h, method 2.
    """
    b, c, d = (float(raw[f"quatern_{letter}"]) for letter in "bcd")
    rest = 1 - (b * b + c * c + d * d)
    if not rest > -1e-5:
        return None
    a = math.sqrt(max(rest, 0.0))
    scale = 2 / max(1.0, 1 - rest)  # not a unit quaternion by rounding
    step = np.array([1.0, 1.0, -1.0 if float(raw["pixdim"][0]) < 0 else 1.0]) * raw["pixdim"][1:4].astype(np.float64)
    turn = [
        [1 - scale * (c * c + d * d), scale * (b * c - a * d), scale * (b * d + a * c)],
        [scale * (b * c + a * d), 1 - scale * (b * b + d * d), scale * (c * d - a * b)],
        [scale * (b * d - a * c), scale * (c * d + a * b), 1 - scale * (b * b + c * c)],
    ]
    affine = np.eye(4)
    affine[:3, :3] = np.array(turn) * step
    affine[:3, 3] = [float(raw[f"qoffset_{axis}"]) for axis in "xyz"]
    return affine


def _rounding_mm(raw, affine: np.ndarray, shape) -> float:
    """How far a corner may move by rounding alone: near 180 degrees a float32 quaternion is vague about the angle."""
    rest = 1 - sum(float(raw[f"quatern_{letter}"]) ** 2 for letter in "bcd")
    radians = 2 * (math.sqrt(max(rest, 0.0) + QUATERNION_ROUNDING) - math.sqrt(max(rest - QUATERNION_ROUNDING, 0.0)))
    return radians * float(np.linalg.norm(np.multiply(shape, spacing_of(affine))))


def _check_affine(path: Path, affine: np.ndarray) -> tuple[Repair, ...]:
    expected, remedy = "an invertible affine in mm", "fix the header or leave the case out"
    if not np.isfinite(affine).all() or np.abs(affine).max() > 1e5:
        raise CaseError("affine", path, "an affine with nan or huge entries", expected, remedy)
    spacing = spacing_of(affine)
    if not 0.01 <= min(spacing) <= max(spacing) <= 100:
        raise CaseError("affine", path, f"voxels of {tuple(f'{s:.3g}' for s in spacing)} mm", expected, remedy)
    degrees = shear_degrees(affine)
    if not degrees <= LARGEST_SHEAR_DEGREES:
        found = f"axes {degrees:.1f} degrees away from right angles"
        expected = f"at most {LARGEST_SHEAR_DEGREES:g} degrees (gantry tilt)"
        raise CaseError("shear", path, found, expected, "resample it to a right-angled grid")
    used = "kept; preparing a case resamples it to right angles"
    return (Repair("shear", f"axes {degrees:.2f} degrees off", used),) * (degrees > 0.01)
