"""What is written and read, against a parser that knows the format alone; fuzzed headers; damaged files."""

import gzip
import itertools
import math
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from made_files import OBLIQUE, PLAIN, SHAPE, ct, peak_mb, raw_bytes

from spineseg.data import checksum, nifti
from spineseg.errors import CaseError

# offset and struct format of each field, from the format's definition: nifti1.h and nifti2.h
NIFTI1 = {
    "dim": (40, "8h"), "datatype": (70, "h"), "bitpix": (72, "h"), "pixdim": (76, "8f"), "vox_offset": (108, "f"),
    "slope": (112, "f"), "intercept": (116, "f"), "units": (123, "b"), "descrip": (148, "80s"), "aux": (228, "24s"),
    "qform_code": (252, "h"), "sform_code": (254, "h"), "quatern": (256, "3f"), "qoffset": (268, "3f"),
    "srow": (280, "12f"), "intent_name": (328, "16s"), "magic": (344, "4s"), "db_name": (14, "18s"),
}  # fmt: skip
NIFTI2 = {
    "magic": (4, "8s"), "datatype": (12, "h"), "bitpix": (14, "h"), "dim": (16, "8q"), "pixdim": (104, "8d"),
    "vox_offset": (168, "q"), "slope": (176, "d"), "intercept": (184, "d"), "descrip": (240, "80s"),
    "aux": (320, "24s"), "qform_code": (344, "i"), "sform_code": (348, "i"), "quatern": (352, "3d"),
    "qoffset": (376, "3d"), "srow": (400, "12d"), "units": (500, "i"), "intent_name": (508, "16s"),
}  # fmt: skip
TYPES = {2: "B", 4: "h", 8: "i", 16: "f", 64: "d", 256: "b", 512: "H", 768: "I"}
CODE_OF = {"bool": 2, "uint8": 2, "int16": 4, "int32": 8, "float32": 16, "float64": 16, "int8": 256, "uint16": 512}
FUZZED, FLIPS, CUTS = 10_000, 500, 250  # headers; bit flips and truncations, per kind of file


def parse(data: bytes) -> dict:
    """Fields of a header, its byte order, affine and voxels."""
    sizes = {(o, struct.unpack_from(f"{o}i", data)[0]) for o in "<>"}
    order, size = next((o, n) for o, n in sizes if n in (348, 540))
    fields = {"order": order}
    for name, (offset, kind) in (NIFTI1 if size == 348 else NIFTI2).items():
        values = struct.unpack_from(order + kind, data, offset)
        fields[name] = values if len(values) > 1 else values[0]
    fields["sform"] = [*fields["srow"], 0.0, 0.0, 0.0, 1.0]
    fields["qform"] = quaternion_affine(fields["quatern"], fields["qoffset"], fields["pixdim"])
    fields["affine"] = fields["sform" if fields["sform_code"] > 0 else "qform"]
    count = math.prod(fields["dim"][1:4])
    kind = f"{order}{count}{TYPES[fields['datatype']]}"
    fields["voxels"] = struct.unpack_from(kind, data, int(fields["vox_offset"]))
    fields["end"] = int(fields["vox_offset"]) + struct.calcsize(kind)
    return fields


def quaternion_affine(bcd, origin, pixdim) -> list[float]:
    b, c, d = bcd
    a = math.sqrt(max(0.0, 1 - b * b - c * c - d * d))
    turn = (
        (a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)),
        (2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)),
        (2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - b * b - c * c),
    )
    size = (pixdim[1], pixdim[2], pixdim[3] * (-1 if pixdim[0] < 0 else 1))
    rows = [[turn[i][j] * size[j] for j in range(3)] + [origin[i]] for i in range(3)]
    return [*rows[0], *rows[1], *rows[2], 0.0, 0.0, 0.0, 1.0]


def corner_shift(one, other, shape) -> float:
    """Largest distance of a corner voxel's two places."""
    moves = [a - b for a, b in zip(one, other, strict=True)]
    corners = itertools.product(*((0, n - 1) for n in shape))
    return max(
        math.hypot(*(sum(moves[4 * r + c] * corner[c] for c in range(3)) + moves[4 * r + 3] for r in range(3)))
        for corner in corners
    )


def random_affine(rng, shear=0.0):
    affine = np.eye(4)
    turn = nib.eulerangles.euler2mat(*rng.uniform(-3, 3, 3)) @ np.diag(rng.choice([-1, 1], 3))
    skew = np.eye(3)
    skew[0, 2] = shear
    affine[:3, :3] = turn @ skew @ np.diag(rng.uniform(0.3, 6, 3))
    affine[:3, 3] = rng.uniform(-400, 400, 3)
    return affine


def random_array(rng, dtype):
    shape = tuple(rng.integers(2, 9, 3))
    if np.dtype(dtype).kind == "f":
        return rng.normal(0, 500, shape).astype(dtype)
    largest = 1 if dtype == "bool" else np.iinfo(dtype).max
    return rng.integers(0 if dtype == "bool" else np.iinfo(dtype).min, largest, shape, endpoint=True).astype(dtype)


@pytest.mark.parametrize("dtype", CODE_OF)
def test_what_is_written_holds_what_the_format_says(tmp_path, dtype):
    rng = np.random.default_rng(list(dtype.encode()))
    for i in range(40):
        array, shear = random_array(rng, dtype), 0.03 * (i % 4 == 0)
        affine = random_affine(rng, shear)
        array = np.asfortranarray(array) if i % 3 == 0 else array[::-1] if i % 3 == 1 else array
        path = nifti.write(tmp_path / ("a.nii.gz", "a.nii")[i % 2], array, affine)
        data = path.read_bytes()
        data = gzip.decompress(data) if path.suffix == ".gz" else data
        found = parse(data)
        assert found["order"] == "<" and found["magic"] == b"n+1\0" and found["vox_offset"] == 352
        assert data[348:352] == bytes(4) and len(data) == found["end"]
        assert found["dim"] == (3, *array.shape, 1, 1, 1, 1)
        assert found["datatype"] == CODE_OF[dtype] and found["bitpix"] == 8 * struct.calcsize(TYPES[CODE_OF[dtype]])
        assert (found["slope"], found["intercept"], found["units"], found["sform_code"]) == (1, 0, 2, 1)
        assert not any(found[text].strip(b"\0") for text in ("descrip", "aux", "intent_name", "db_name"))
        assert found["sform"] == pytest.approx(affine.ravel().tolist(), rel=1e-6, abs=1e-4)
        assert found["pixdim"][1:4] == pytest.approx(np.linalg.norm(affine[:3, :3], axis=0).tolist(), rel=1e-5)
        assert found["qform_code"] or shear
        if found["qform_code"]:
            assert corner_shift(found["qform"], found["sform"], array.shape) < 0.1
            assert shear or found["qform"] == pytest.approx(found["sform"], rel=1e-3, abs=2e-3)
        assert found["voxels"] == tuple(array.astype("float32" if dtype == "float64" else dtype).ravel("F").tolist())


@pytest.mark.parametrize("version", [nib.Nifti1Image, nib.Nifti2Image])
@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("forms", ["qform", "sform", "both"])
def test_the_reader_agrees_with_the_format_on_files_of_nibabel(tmp_path, version, order, forms):
    rng = np.random.default_rng(0)
    for i in range(25):
        dtype = ("uint8", "int16", "uint16", "int32", "float32", "float64", "int8", "uint32")[i % 8]
        affine, array = random_affine(rng), random_array(rng, dtype)
        image = version(array, affine, version.header_class(endianness=order), dtype=dtype)
        image.set_sform(affine, int(forms != "qform"))
        image.set_qform(affine, int(forms != "sform"))
        path = tmp_path / ("a.nii.gz", "a.nii")[i % 2]
        nib.save(image, path)
        data = path.read_bytes()
        found, head, volume = parse(gzip.decompress(data) if path.suffix == ".gz" else data), nifti.header(path), None
        volume = nifti.read(path)
        assert found["order"] == order and (found["qform_code"], found["sform_code"]) == (
            int(forms != "sform"),
            int(forms != "qform"),
        )
        assert head.shape == found["dim"][1:4] and head.offset == found["vox_offset"]
        assert head.promised_bytes == found["end"] and head.dtype.newbyteorder("=") == np.dtype(dtype)
        assert head.affine.ravel().tolist() == pytest.approx(found["affine"], rel=1e-5, abs=1e-4)
        assert volume.array.ravel("F").tolist() == list(found["voxels"])
        assert all(r.code == "xforms" for r in head.repairs) and volume.repairs == head.repairs  # rounded quaternions


@pytest.mark.parametrize("degrees", [0.0, 0.003, 0.0267, 0.03, 0.1, 1.0])
def test_a_scan_turned_by_nearly_180_degrees_is_where_its_transforms_say(tmp_path, degrees):
    affine = np.eye(4)
    affine[:3, :3] = nib.eulerangles.euler2mat(math.pi - math.radians(degrees), 0.3 * math.radians(degrees), 0)
    image = nib.Nifti1Image(np.zeros((2, 400, 500), np.uint8), affine)
    for sform in (0, 1):
        image.set_qform(affine, 1)
        image.set_sform(affine, sform)
        nib.save(image, tmp_path / "a.nii.gz")
        head = nifti.header(tmp_path / "a.nii.gz")
        shift = corner_shift(head.affine.ravel().tolist(), affine.ravel().tolist(), head.shape)
        assert shift < (0.001 if sform else 0.5) and {r.code for r in head.repairs} <= {"xforms"}


# --- fuzzed headers


EXTREMES = [0, 1, -1, 2, 7, 8, 127, 255, 256, 32767, -32768, 2**31 - 1, -(2**31), 2**62, -(2**62)]
REALS = [0.0, -0.0, 1.0, -1.0, 0.5, 352.0, 1e-45, 1e-30, 1e30, 3.4e38, math.nan, math.inf, -math.inf, 1e300, -1e300]


def set_field(header: bytearray, rng, fields, order) -> None:
    """One number of one field, to an extreme or to a neighbour of what it was."""
    name = str(rng.choice([n for n, (_, kind) in fields.items() if kind[-1] != "s"]))
    offset, kind = fields[name]
    letter, count = kind[-1], int(kind[:-1] or 1)
    at = offset + struct.calcsize(letter) * int(rng.integers(count))
    (old,) = struct.unpack_from(order + letter, header, at)
    if letter in "fd":
        near = [old + 1, old * (1 + 1e-3), old * 1.5, -old, old / 3]
        value = float(rng.choice(near if rng.random() < 0.5 else REALS))
        value = math.copysign(math.inf, value) if letter == "f" and abs(value) > 3.4e38 else value
    else:
        bits = 8 * struct.calcsize(letter)
        near = [old + 1, old - 1, 2 * old, -old, old ^ 1 << int(rng.integers(bits - 1))]
        value = int(rng.choice(near if rng.random() < 0.5 else EXTREMES))
        value = (value + (1 << (bits - 1))) % (1 << bits) - (1 << (bits - 1))
    struct.pack_into(order + letter, header, at, value)


def mutate(data: bytes, rng, fields, order) -> bytes:
    header = bytearray(data)
    length = 540 if fields is NIFTI2 else 348
    how = rng.integers(4)
    if how == 0:  # all of it but the magic
        magic = fields["magic"][0]
        header[4:magic] = rng.bytes(magic - 4)
        header[magic + 8 : length] = rng.bytes(max(0, length - magic - 8))
    elif how == 1:
        for place in rng.integers(0, length, rng.integers(1, 9)):
            header[place] = rng.integers(256)
    else:
        for _ in range(rng.integers(1, 4)):
            set_field(header, rng, fields, order)
    return bytes(header)


def fuzz(folder: Path, count: int) -> None:
    """Read mutated files; prints how many were refused and read, the seconds and the peak of memory."""
    rng, refused, start = np.random.default_rng(0), 0, time.perf_counter()
    originals = [
        (raw_bytes(ct(), header=cls, order=order, offset=offset), fields, order)
        for cls, fields, offset in ((nib.Nifti1Header, NIFTI1, 352), (nib.Nifti2Header, NIFTI2, 544))
        for order in "<>"
    ]
    for i in range(count):
        data = mutate(*(originals[i % 4][:1]), rng, *originals[i % 4][1:])
        path = folder / ("a.nii.gz" if i % 3 == 0 else "a.nii")
        path.write_bytes(gzip.compress(data, 1) if i % 3 == 0 else data)
        read = (nifti.read, nifti.read_ct, nifti.read_labels)[i % 7 % 3]
        try:
            volume = read(path, assume_ras=i % 5 == 0)
        except CaseError as error:
            assert error.found and error.expected and error.remedy and "\n" not in str(error)
            refused += 1
            continue
        assert volume.array.ndim == 3 and min(volume.array.shape) >= 2 and volume.array.dtype.isnative
        assert np.isfinite(volume.affine).all() and abs(np.linalg.det(volume.affine)) > 1e-9
        assert 0.01 <= min(volume.spacing) <= max(volume.spacing) <= 100
        assert read is not nifti.read_ct or np.isfinite(volume.array).all()
        assert read is not nifti.read_labels or volume.array.max() <= 25
    print(refused, count - refused, time.perf_counter() - start, peak_mb())


def test_ten_thousand_fuzzed_headers_are_refused_by_name_or_read_in_little_memory():
    here, memory = str(Path(__file__).parent), Path("/dev/shm")
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import test_integrity as t; t.fuzz(t.Path(sys.argv[2]), t.FUZZED)"
    )
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        command = [sys.executable, "-W", "error", "-c", code, here, folder]
        done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    refused, read, seconds, peak = map(float, done.stdout.split())
    assert refused + read == FUZZED and refused > FUZZED / 4 and read > FUZZED / 10
    assert seconds < 60 and peak < 300


# --- damaged files


def damages(data: bytes, rng):
    for place, bit in zip(rng.integers(0, len(data), FLIPS), rng.integers(0, 8, FLIPS), strict=True):
        flipped = bytearray(data)
        flipped[place] ^= 1 << bit
        yield bytes(flipped)
    for keep in rng.integers(0, len(data), CUTS):
        yield data[:keep]


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_no_bit_flip_and_no_truncation_passes_unseen_beside_a_hash(tmp_path, name):
    path = nifti.write(tmp_path / name, ct(), OBLIQUE)
    wanted = checksum.recorded(path)[0]
    for data in damages(path.read_bytes(), np.random.default_rng(0)):
        path.write_bytes(data)
        with pytest.raises(CaseError) as caught:
            nifti.read(path)
        assert wanted in str(caught.value) and "again" in caught.value.remedy


def test_damaged_gz_files_are_refused_or_hold_the_same_scan_without_a_hash_too(tmp_path):
    path = nifti.write(tmp_path / "a.nii.gz", ct(), OBLIQUE)
    checksum.beside(path).unlink()
    good, refused = nifti.read(path), 0
    for data in damages(path.read_bytes(), np.random.default_rng(1)):
        path.write_bytes(data)
        try:
            volume = nifti.read(path)
        except CaseError:
            refused += 1
        else:  # flips in the unused fields of the gzip header
            assert np.array_equal(volume.array, good.array) and np.array_equal(volume.affine, good.affine)
    assert refused > 0.99 * (FLIPS + CUTS)


def test_a_damaged_pair_of_large_files_is_refused(tmp_path):
    array = np.random.default_rng(0).integers(-1000, 1000, (160, 150, 140)).astype(np.int16)
    for name in ("a.nii", "a.nii.gz"):
        path = nifti.write(tmp_path / name, array, PLAIN)
        data = bytearray(path.read_bytes())
        for place in (1 << 18, 1 << 20, len(data) - 5):  # where blocks of the reader meet
            for at in (place - 1, place):
                data[at] ^= 16
                path.write_bytes(data)
                with pytest.raises(CaseError, match="sha256"):
                    nifti.read(path)
                data[at] ^= 16
        path.write_bytes(data)
        assert np.array_equal(nifti.read(path).array, array) and array.shape != SHAPE
