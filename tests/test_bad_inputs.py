"""The 46 bad inputs: what each of them must cause.

Each row of `TABLE` makes one wrong file and says what reading it must give: an error that stops the case ("E") or a
volume with a remark ("W"). A row's name begins with the number of the input. What concerns whole cohorts is at the end.
"""

import contextlib
import itertools
import os
import re
import struct
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from gzip import compress as packed
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from builders import generate
from isal import isal_zlib
from made_files import OBLIQUE, PLAIN, SHAPE, code_of, ct, error_of, label_map, raw_bytes, raw_file

from spineseg.anatomy.labels import Scheme
from spineseg.cli import main
from spineseg.config import ClusterConfig, Config
from spineseg.data import checksum, cohort, nifti, payload
from spineseg.data.affine import to_canonical
from spineseg.data.audit import audit
from spineseg.data.case import Case
from spineseg.data.layouts import list_cases
from spineseg.data.reference import read_case
from spineseg.data.splits import split
from spineseg.data.store import prepare_cohort
from spineseg.learning.training import train
from spineseg.paths import run_folder

AGAIN = "download or copy it again"
ROOMY = 300  # MB that a reader may take, whatever a file claims


@dataclass(frozen=True)
class Bad:
    """One bad input.

    Attributes:
        name: Number of the input and what is wrong with it.
        make: Takes a folder, writes the file, returns what `read` takes.
        outcome: `"E"` or `"W"`.
        code: Of the error, or of the only remark.
        says: Pattern that the error's or the remark's words match.
        remedy: Pattern of the error's advice.
        read: How the file is read.
        array: Voxels that a repaired file holds; None where they do not matter.
    """

    name: str
    make: Callable
    outcome: str
    code: str
    says: str = ""
    remedy: str = ""
    read: Callable = nifti.read
    array: np.ndarray | None = field(default_factory=ct)


def header_field(name="a.nii", array=None, **fields):
    return lambda folder: raw_file(folder / name, ct() if array is None else array, fields=fields)


def voxels(array, name="a.nii.gz", **options):
    return lambda folder: raw_file(folder / name, array, **options)


def content(data, name="a.nii.gz"):
    def make(folder):
        (folder / name).write_bytes(data)
        return folder / name

    return make


def damaged(change, name="a.nii.gz", recorded=False):
    """A file whose bytes went through `change` after it was written; `recorded` keeps the hash beside it."""

    def make(folder):
        path = nifti.write(folder / name, ct(), OBLIQUE)
        path.write_bytes(change(path.read_bytes()))
        if not recorded:
            checksum.beside(path).unlink()
        return path

    return make


def flipped(place, bit=0):
    return lambda data: b"".join((data[:place], bytes([data[place] ^ 1 << bit]), data[place:][1:]))


def halved(data):
    return data[: len(data) // 2]


def transforms(qform, code=1):
    """A file of nibabel with both transforms; the sform is `PLAIN`."""

    def make(folder):
        image = nib.Nifti1Image(ct(), PLAIN)
        image.set_qform(qform, code)
        nib.save(image, folder / "a.nii")
        return folder / "a.nii"

    return make


def moved(shift_mm, affine=PLAIN):
    result = affine.copy()
    result[0, 3] += shift_mm
    return result


def pair(labels, affine=OBLIQUE, scan=None):
    def make(folder):
        scan_path = nifti.write(folder / "ct.nii", ct() if scan is None else scan, OBLIQUE)
        return scan_path, nifti.write(folder / "seg.nii", labels, affine)

    return make


def labels_of_pair(paths):
    return read_case(Case("", *map(str, paths)))[1]


def claim(*shape, voxels=b""):
    """A header that claims `shape` int16 voxels, and what there is of them."""
    head = bytearray(raw_bytes(ct())[:352])
    struct.pack_into("<4h", head, 40, 3, *shape)
    return bytes(head) + voxels


def bomb(*shape, mebibytes, last=b""):
    """A claim, and zeros that pack a thousandfold; `last` ends them."""

    def make(folder):
        stream, path = isal_zlib.compressobj(1, wbits=31), folder / "a.nii.gz"
        parts = [claim(*shape), *[bytes(1 << 20)] * mebibytes, last]
        path.write_bytes(b"".join([*map(stream.compress, parts), stream.flush()]))
        return path

    return make


def with_gap(value):
    array = ct().astype(np.float32)
    array[0, 0, :3] = value
    return array


def filled_gap():
    return np.where(np.isnan(with_gap(np.nan)), np.float32(-1000), with_gap(np.nan))


def eight_bit():
    noise = np.random.default_rng(0).integers(0, 90, SHAPE, np.uint8)
    return np.clip((ct() + 1000) / 8, 0, 160).astype(np.uint8) + noise


def wrong_floor():
    array = ct()
    array[0] = -9758
    return array


def padded():
    array = ct()
    array[4:6] = -3024
    return array


def not_hu(name, array, says, remedy):
    return Bad(name, voxels(array), "E", "not-hu", says, remedy, nifti.read_ct)


def bad_labels(name, array, code, says, remedy="", scheme=Scheme.SPINESEG):
    return Bad(name, voxels(array), "E", code, says, remedy, partial(nifti.read_labels, scheme=scheme))


def mended_labels(name, array, code, says, mended):
    return Bad(name, voxels(array), "W", code, says, read=nifti.read_labels, array=mended)


def bad_pair(name, labels, code, says, affine=OBLIQUE):
    return Bad(name, pair(labels, affine), "E", code, says, "resample", labels_of_pair)


def mended_pair(name, code, says, **options):
    return Bad(name, pair(label_map(), **options), "W", code, says, read=labels_of_pair, array=label_map())


PAYLOAD = raw_bytes(ct())
WEB_PAGE = b"<!DOCTYPE html><html><body>404"
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n"
MR = np.abs(np.random.default_rng(0).normal(300, 250, SHAPE)).astype(np.int16)
AIR = partial(nifti.read_ct, nan="air")
RAS = partial(nifti.read, assume_ras=True)
THICK = np.diag([1.5, 1.5, 6.0, 1.0])
HASH = r"sha256 [0-9a-f]{64}"

BYTES = [
    Bad("01-gz-truncated", damaged(halved), "E", "gzip-truncated", "ends early", AGAIN),
    Bad("01-gz-truncated-hash-known", damaged(halved, recorded=True), "E", "gzip-truncated", HASH, AGAIN),
    Bad("01-gz-cut-in-the-header", damaged(lambda d: d[:60], recorded=True), "E", "header-short", HASH, AGAIN),
    Bad("01-raw-truncated", damaged(lambda d: d[:-1], "a.nii"), "E", "payload-short", "bytes", AGAIN),
    Bad("01-raw-truncated-hash-known", damaged(lambda d: d[:-1], "a.nii", True), "E", "payload-short", HASH, AGAIN),
    Bad("02-gz-with-a-short-payload", content(packed(PAYLOAD[:-100])), "E", "payload-short", r"\d bytes", AGAIN),
    Bad("03-gz-crc-wrong", damaged(flipped(-8)), "E", "gzip-damaged", "damaged", AGAIN),
    Bad("03-gz-length-wrong", damaged(flipped(-1)), "E", "gzip-damaged", "damaged", AGAIN),
    Bad("03-gz-one-bit-flipped", damaged(flipped(1500, 3)), "E", "gzip-damaged", "damaged", AGAIN),
    Bad("03-gz-bit-flipped-hash-known", damaged(flipped(1500, 3), recorded=True), "E", "gzip-damaged", HASH, AGAIN),
    Bad("03-raw-one-bit-flipped-hash-known", damaged(flipped(-3), "a.nii", True), "E", "hash", HASH, AGAIN),
    Bad("03-raw-header-bit-flipped-hash-known", damaged(flipped(70), "a.nii", True), "E", "dtype", HASH, AGAIN),
    Bad("04-gz-trailer-missing", damaged(lambda d: d[:-8]), "E", "gzip-truncated", "ends early", AGAIN),
    Bad("05-trailing-bytes", content(packed(PAYLOAD) + b"junk"), "W", "gzip-trailing"),
    Bad("05-one-trailing-byte", content(packed(PAYLOAD) + b"\x1f"), "W", "gzip-trailing"),
    Bad("05-bytes-after-the-last-voxel", content(packed(PAYLOAD + b"x" * 50)), "W", "trailing", "50 bytes"),
    Bad("05-two-members", content(packed(PAYLOAD[:999]) + packed(PAYLOAD[999:])), "W", "gzip-members", "2 gzip"),
    Bad("05-empty-members", content(packed(b"") * 1001), "E", "header-short", "0 bytes", AGAIN),
    Bad("05-members-without-end", content(packed(PAYLOAD[:600]) + packed(b"") * 1500), "E", "gzip-members", "1000"),
    Bad("06-empty", content(b""), "E", "empty", "0 bytes", AGAIN),
    Bad("07-web-page", content(WEB_PAGE), "E", "not-nifti", "a web page", "download"),
    Bad("07-lfs-pointer", content(POINTER), "E", "not-nifti", "a Git LFS pointer", "git lfs pull"),
    Bad("07-zip", content(b"PK\x03\x04" + b"0" * 400), "E", "not-nifti", "a ZIP archive", "convert"),
    Bad("07-dicom", content(b"\0" * 128 + b"DICM" + b"\0" * 400, "a.nii"), "E", "not-nifti", "a DICOM file", "convert"),
    Bad("07-json", content(b'{"shape": [1]}', "a.nii"), "E", "not-nifti", "a JSON text", "convert"),
    Bad("07-nrrd", content(b"NRRD0004\n", "a.nii"), "E", "not-nifti", "an NRRD file", "convert"),
    Bad("07-a-few-bytes", content(b"\1" * 20), "E", "header-short", "20 bytes", AGAIN),
    Bad("08-raw-named-gz", content(PAYLOAD), "W", "suffix", "uncompressed data named .gz"),
    Bad("08-gz-named-nii", content(packed(PAYLOAD), "a.nii"), "W", "suffix", "gzip data named .nii"),
]  # fmt: skip

HEADERS = [
    Bad("09-magic", header_field(magic=b"abc"), "E", "magic", "abc", "convert"),
    Bad("09-magic-of-a-pair", header_field(magic=b"ni1"), "E", "pair-of-files", "hdr/.img", "convert"),
    Bad("10-sizeof-hdr-0", header_field(sizeof_hdr=0), "W", "sizeof-hdr", "0"),
    Bad("10-sizeof-hdr-349", header_field(sizeof_hdr=349), "W", "sizeof-hdr", "349"),
    Bad("11-dtype-unknown", header_field(datatype=99), "E", "dtype", "unknown", "int16"),
    Bad("11-dtype-rgb", header_field(datatype=128), "E", "dtype", "RGB", "int16"),
    Bad("11-dtype-complex", header_field(datatype=32), "E", "dtype", "complex", "int16"),
    Bad("12-bitpix", header_field(bitpix=8), "W", "bitpix", "bitpix 8"),
    Bad("13-vox-offset-0", header_field(vox_offset=0), "E", "vox-offset", "byte 0", "convert"),
    Bad("14-vox-offset-nan", header_field(vox_offset=np.nan), "E", "vox-offset", "nan", "convert"),
    Bad("14-vox-offset-huge", header_field(vox_offset=1e30), "E", "vox-offset", r"1e\+30", "convert"),
    Bad("14-vox-offset-fraction", header_field(vox_offset=352.5), "E", "vox-offset", "352.5", "convert"),
    Bad("14-vox-offset-behind-the-end", header_field(vox_offset=1e6), "E", "payload-short", "promises", AGAIN),
    Bad("15-4d-of-one", header_field(dim=[4, *SHAPE, 1, 1, 1, 1]), "W", "squeezed", "4D"),
    Bad("15-5d-of-one", header_field(dim=[5, *SHAPE, 1, 1, 1, 1]), "W", "squeezed", "5D"),
    Bad("16-4d", header_field(dim=[4, 13, 9, 9, 2, 1, 1, 1]), "E", "4d", "4D", "split"),
    Bad("17-2d", header_field(dim=[2, 13, 18, 1, 1, 1, 1, 1]), "E", "2d", "single slice", "whole series"),
    Bad("17-one-slice", header_field(dim=[3, 13, 162, 1, 1, 1, 1, 1]), "E", "2d", "single slice", "whole series"),
    Bad("18-dim-0", header_field(dim=[3, 13, 0, 9, 1, 1, 1, 1]), "E", "dim", "below 1", "convert"),
    Bad("18-dim-negative", header_field(dim=[3, 13, -18, 9, 1, 1, 1, 1]), "E", "dim", "-18", "convert"),
    Bad("18-ndim-0", header_field(dim=[0, *SHAPE, 1, 1, 1, 1]), "E", "ndim", "0 dimensions", "convert"),
    Bad("18-ndim-9", header_field(dim=[9, *SHAPE, 1, 1, 1, 1]), "E", "ndim", "9 dimensions", "convert"),
    Bad("19-30000-cubed", content(packed(claim(30000, 30000, 30000))), "E", "too-large", "30000 x", "convert"),
    Bad("20-16-gb", content(packed(claim(2000, 2000, 2000))), "E", "too-large", "16000000352", "convert"),
    Bad("20-4-gb", content(packed(claim(1000, 1000, 2000))), "E", "payload-short", "4000000352", AGAIN),
    Bad("20-4-gb-raw", content(claim(1000, 1000, 2000), "a.nii"), "E", "payload-short", "4000000352", AGAIN),
    Bad("21-bomb-beyond-the-claim", bomb(*SHAPE, mebibytes=512), "E", "payload-long", "more than 1 MiB after"),
    Bad("21-bomb-as-claimed", bomb(512, 512, 1024, mebibytes=512), "E", "bomb", "of one value", "leave it out"),
]  # fmt: skip

VALUES = [
    Bad("22-nan", voxels(with_gap(np.nan)), "E", "nan", "3 missing", "air", nifti.read_ct),
    Bad("22-nan-as-air", voxels(with_gap(np.nan)), "W", "nan", "3 missing", read=AIR, array=filled_gap()),
    Bad("23-infinite", voxels(with_gap(np.inf)), "E", "infinite", "3 infinite", "convert", nifti.read_ct),
    Bad("23-infinite-as-air", voxels(with_gap(-np.inf)), "E", "infinite", "3 infinite", "convert", AIR),
    Bad("24-slope-0", header_field(scl_slope=0, scl_inter=5), "W", "slope", "slope 0, intercept 5"),
    Bad("24-slope-nan", header_field(scl_slope=np.nan), "W", "slope", "nan"),
    Bad("24-intercept-nan", header_field(scl_slope=1, scl_inter=np.nan), "W", "intercept", "nan"),
    Bad("24-slope-infinite", header_field(scl_slope=np.inf), "E", "slope", "inf", "write it again"),
    Bad("24-intercept-infinite", header_field(scl_slope=1, scl_inter=np.inf), "E", "slope", "inf", "write it again"),
    Bad("25-slope-1e30", header_field(scl_slope=1e30), "E", "slope", r"1e\+30", "write it again"),
    Bad("25-slope-negative", header_field(scl_slope=-1), "E", "slope", "-1", "write it again"),
]  # fmt: skip

HOUNSFIELD = [
    not_hu("40-unit-interval", ((ct() + 1100) / 2500).clip(0, 1).astype(np.float32), "unit interval", "windowing"),
    not_hu("40-eight-bit", eight_bit(), "an 8-bit image", "before windowing"),
    not_hu("40-plus-1024", (ct() + 1024).clip(0), r"shifted by \+1024", "subtract 1024"),
    not_hu("40-minus-9758", wrong_floor(), "-9758.*a wrong HU scale", "slope and intercept"),
    not_hu("40-eightfold", ct().astype(np.int32) * 8, "a wrong HU scale", "slope and intercept"),
    not_hu("40-1e300", np.full(SHAPE, 1e300) * np.arange(9), "a wrong HU scale", "slope and intercept"),
    not_hu("40-normalised", (ct() / 500).astype(np.float32), "a normalised image", "before normalisation"),
    not_hu("40-constant", np.zeros(SHAPE, np.int16), "a constant image", "export"),
    not_hu("40-label-map", label_map(), "a label map", "give the CT"),
    not_hu("41-uint16-wrap", ct().astype(np.uint16), "wrapped to unsigned 16-bit", "signed 16-bit"),
    not_hu("42-mr", MR, "MR", "give the CT"),
    Bad("43-thick-slices", voxels(ct(), affine=THICK, fields={"pixdim": [1, 1.5, 1.5, 6, 0, 0, 0, 0]}), "W",
        "thick-slices", "6 mm", read=nifti.read_ct),
]  # fmt: skip

GEOMETRY = [
    Bad("26-qform-of-other-axes", transforms(np.diag([-1.5, -1.5, 2, 1])), "E", "xforms", r"\(RAS\).*\(LPS\)", "code"),
    Bad("26-qform-0.2-mm-away", transforms(moved(0.2)), "E", "xforms", "0.2 mm apart", "set the wrong one's code"),
    Bad("26-qform-0.05-mm-away", transforms(moved(0.05)), "W", "xforms", "0.05 mm apart"),
    Bad("26-qform-impossible", header_field(qform_code=1, quatern_b=5), "W", "qform", "impossible rotation"),
    Bad("26-qform-impossible-alone", header_field(qform_code=1, quatern_b=5, sform_code=0), "E", "qform", "rotation"),
    Bad("26-pixdim-of-another-size", header_field(pixdim=[1, 3, 1.5, 2, 0, 0, 0, 0]), "W", "pixdim", r"\(3\.0, 1"),
    Bad("27-spacing-0", header_field(pixdim=[1, 0, 1, 1, 0, 0, 0, 0]), "E", "spacing", r"\(0\.0, 1", "fix the header"),
    Bad("27-spacing-negative", header_field(pixdim=[1, -1, 1, 1, 0, 0, 0, 0]), "E", "spacing", r"\(-1", "fix"),
    Bad("28-spacing-nan", header_field(pixdim=[1, np.nan, 1, 1, 0, 0, 0, 0]), "E", "spacing", "nan", "fix the header"),
    Bad("29-no-transform", voxels(ct(), code=False), "E", "no-orientation", "no orientation", "assume_ras"),
    Bad("29-no-transform-assumed", voxels(ct(), code=False), "W", "no-orientation", "no sform and no qform", read=RAS),
    Bad("30-affine-with-a-zero-row", header_field(srow_x=[0, 0, 0, 0]), "E", "affine", "0", "fix the header"),
    Bad("30-affine-singular", header_field(srow_x=[0, 1.5, 0, 0]), "E", "affine", "0", "fix the header"),
    Bad("30-affine-nan", header_field(srow_x=[np.nan, 0, 0, 0]), "E", "affine", "nan", "fix the header"),
    Bad("30-affine-huge", header_field(srow_x=[1.5, 0, 0, 1e30]), "E", "affine", "huge", "fix the header"),
    Bad("31-shear-of-1-degree", header_field(srow_x=[1.5, 0, 0.04, 0]), "W", "shear", "degrees|1.15"),
    Bad("31-shear-of-9-degrees", header_field(srow_x=[1.5, 0, 0.3, 0]), "E", "shear", "8.5 degrees", "resample"),
]  # fmt: skip

LABELS = [
    bad_pair("34-mask-of-another-shape", label_map()[:-1], "grid-shape", r"\(12, 18, 9\)"),
    bad_pair("35-mask-0.8-mm-away", label_map(), "grid-affine", "0.8 mm", moved(0.8, OBLIQUE)),
    mended_pair("35-mask-0.2-mm-away", "grid-affine", "0.2 mm", affine=moved(0.2, OBLIQUE)),
    bad_labels("36-label-26", label_map() + np.uint8(5), "labels-range", "5 to 26", "scheme"),
    bad_labels("36-label-negative", label_map().astype(np.int16) - 1, "labels-range", "-1 to 20"),
    bad_labels("36-label-315", label_map().astype(np.int16) * 15, "labels-range", "0 to 315", "", Scheme.VERSE),
    bad_labels("36-ct-for-a-mask", ct(), "labels-range", "labels from -1", "not the CT"),
    mended_labels("37-labels-0.0006-off", label_map() * np.float32(1.00003), "labels-float", "0.0006", label_map()),
    bad_labels("37-labels-0.002-off", label_map() * np.float32(1.0001), "labels-fractional", "0.002", "nearest"),
    bad_labels("37-labels-0.4-off", label_map() + np.float32(0.4), "labels-fractional", "0.4", "nearest"),
    bad_labels("37-labels-nan", np.where(label_map() > 0, np.float32(np.nan), 0), "nan", "missing", "fill the gaps"),
    mended_labels("38-empty-mask", label_map() * 0, "labels-empty", "no vertebra", label_map() * 0),
    mended_pair("39-labels-in-padding", "labels-in-padding", "voxels in", scan=padded()),
]

TABLE = [
    *BYTES,
    *HEADERS,
    *VALUES,
    *HOUNSFIELD,
    *GEOMETRY,
    *LABELS,
]


def listing(folder):
    return {p.name: (p.lstat().st_size, p.lstat().st_mtime_ns) for p in folder.iterdir()}


@pytest.mark.parametrize("bad", TABLE, ids=lambda bad: bad.name)
def test_a_bad_input_is_named_or_mended_and_nothing_is_written(bad, tmp_path):
    made = bad.make(tmp_path)
    before = listing(tmp_path)
    if bad.outcome == "E":
        error = error_of(bad.read, made)
        assert error.code == bad.code
        assert re.search(bad.says, f"{error.found} {error.expected}") and re.search(bad.remedy, error.remedy)
        assert error.path in (str(made) if isinstance(made, Path) else map(str, made))
    else:
        volume = bad.read(made)
        (repair,) = volume.repairs
        assert repair.code == bad.code and repair.used and re.search(bad.says, repair.found)
        assert bad.array is None or np.array_equal(volume.array, bad.array)
    assert listing(tmp_path) == before


def test_every_input_of_the_table_has_a_test():
    here = [name for name in globals() if re.match(r"test_\d\d_", name)]
    numbers = {int(bad.name[:2]) for bad in TABLE} | {int(name[5:7]) for name in here}
    assert numbers == set(range(1, 47)) and len({bad.name for bad in TABLE}) == len(TABLE)


@pytest.mark.parametrize("bad", [b for b in TABLE if b.name[:2] in ("19", "20", "21")], ids=lambda bad: bad.name)
def test_a_claim_does_not_cost_memory(bad, tmp_path):
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from made_files import peak_mb; from spineseg.data import nifti\n"
        "try: nifti.read(sys.argv[2])\n"
        "except nifti.CaseError as error: print(error.code, peak_mb())"
    )
    command = [sys.executable, "-c", code, str(Path(__file__).parent), str(bad.make(tmp_path))]
    name, peak = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert name == bad.code and float(peak) < ROOMY


@pytest.mark.parametrize("row", ["19-30000-cubed", "20-16-gb", "20-4-gb", "20-4-gb-raw", "21-bomb-as-claimed"])
def test_nothing_is_allocated_for_an_implausible_claim(row, tmp_path, monkeypatch):
    bad = next(b for b in TABLE if b.name == row)
    path = bad.make(tmp_path)
    monkeypatch.setattr(np, "empty", lambda *_, **__: pytest.fail("allocated"))
    assert code_of(nifti.read, path) == bad.code
    assert row.startswith("21") or code_of(nifti.header, path) == bad.code  # already the header is not believed


def test_a_large_volume_with_one_small_vertebra_is_no_bomb(tmp_path):
    path = bomb(512, 512, 400, mebibytes=199, last=bytes((1 << 20) - 2) + b"\7\0")(tmp_path)
    assert path.stat().st_size * payload.BOMB_RATIO < 200 << 20
    assert nifti.read(path).array[-1, -1, -1] == 7


def test_32_a_left_handed_scan_is_read_as_it_is_and_written_back_equal(tmp_path):
    affine = np.diag([-1.5, 1.5, 2.0, 1.0])
    assert np.linalg.det(affine[:3, :3]) < 0
    volume = nifti.read(raw_file(tmp_path / "a.nii", ct(), affine=affine))
    again = nifti.read(nifti.write(tmp_path / "b.nii.gz", volume.array, volume.affine))
    assert volume.repairs == again.repairs == () and again.orientation == volume.orientation == "LAS"
    assert np.array_equal(again.array, ct()) and np.array_equal(again.affine, affine)


def test_33_all_48_orientations_are_read_as_nibabel_reads_them(tmp_path):
    for order, signs in itertools.product(itertools.permutations(range(3)), itertools.product((-1, 1), repeat=3)):
        affine = np.eye(4)
        affine[:3, :3] = np.diag(np.multiply(signs, (0.7, 1.3, 2.9)))[list(order)]
        path = raw_file(tmp_path / "a.nii", ct(), affine=affine, fields={"pixdim": [1, 0.7, 1.3, 2.9, 0, 0, 0, 0]})
        volume = nifti.read(path)
        assert volume.repairs == () and np.array_equal(volume.array, ct())
        assert volume.orientation == "".join(nib.aff2axcodes(nib.load(path).affine))


@pytest.mark.parametrize(
    "name", ["a b.nii.gz", "снимок — é.nii.gz", "脊椎.nii", "a'b\"c$(d)&<e>.nii.gz", "a\\b\nc.nii"]
)
def test_46_spaces_and_other_alphabets_in_names_work(tmp_path, name):
    path = nifti.write(tmp_path / "a folder — é" / name, ct(), OBLIQUE)
    assert np.array_equal(nifti.read(path).array, ct()) and nifti.read(path).repairs == ()
    checked = subprocess.run(["sha256sum", "-c", f"{name}.sha256"], cwd=path.parent, capture_output=True)
    assert checked.returncode == 0


def test_46_a_missing_file_a_folder_and_a_symlink_loop_are_named(tmp_path):
    (tmp_path / "loop.nii").symlink_to(tmp_path / "loop.nii")
    for path, code in {"no.nii": "missing", "": "unreadable", "loop.nii": "unreadable"}.items():
        error = error_of(nifti.read, tmp_path / path)
        assert error.code == code and error.path == str(tmp_path / path) and "check the path" in error.remedy


@contextlib.contextmanager
def as_plain_user(folder):
    """A folder that may only be read, by someone for whom permissions hold."""
    folder.chmod(0o555)
    if is_root := os.geteuid() == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        if is_root:
            os.seteuid(0)
        folder.chmod(0o755)


def test_46_a_read_only_folder_is_named_and_nothing_is_left_in_it(tmp_path):
    path = nifti.write(tmp_path / "a.nii.gz", ct(), OBLIQUE)
    before = listing(tmp_path)
    with as_plain_user(tmp_path):
        error = error_of(nifti.write, path, ct(1), OBLIQUE)
    assert error.code == "unwritable" and "Permission denied" in error.found and "another folder" in error.remedy
    assert listing(tmp_path) == before


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_46_a_full_disk_leaves_the_old_file_with_its_hash_and_nothing_else(tmp_path, monkeypatch, name):
    path = nifti.write(tmp_path / name, ct(), OBLIQUE)
    before = listing(tmp_path)

    def full(temporary, mode):
        assert Path(temporary).parent == tmp_path
        return open("/dev/full", mode)

    monkeypatch.setattr(nifti, "open", full, raising=False)
    error = error_of(nifti.write, path, ct(1), OBLIQUE)
    assert error.code == "unwritable" and "No space left" in error.found and "free some space" in error.remedy
    assert listing(tmp_path) == before and np.array_equal(nifti.read(path).array, ct())


# --- whole sets


def set_of_pairs(folder, count=3):
    """Pairs with two vertebrae each, all different."""
    for i in range(count):
        made = generate(i, spacing_mm=3.0)
        nifti.write(folder / f"p{i}_ct.nii.gz", made.ct_hu, made.affine)
        nifti.write(folder / f"p{i}_seg.nii.gz", made.labels, made.affine)
    return folder


@pytest.fixture
def pairs(tmp_path, monkeypatch):
    monkeypatch.setenv("SPINESEG_HOME", str(tmp_path / "home"))
    return set_of_pairs(tmp_path / "set")


def prepared(folder, **overrides):
    values = {"cohort.layout": "auto", "cohort.folder": str(folder), "cluster.workers": 1}
    config = Config.load("smoke", **(values | overrides))
    return config, prepare_cohort(config, progress=False)


def test_43_a_spine_cut_by_the_field_of_view_is_a_warning(pairs):
    volume = nifti.read_labels(pairs / "p1_seg.nii.gz")
    ct_hu = nifti.read_ct(pairs / "p1_ct.nii.gz").array
    for name, array in (("ct", ct_hu), ("seg", volume.array)):
        nifti.write(pairs / f"p1_{name}.nii.gz", np.array(array[7:]), volume.affine)
    found = audit(list_cases(pairs), ClusterConfig(workers=1), progress=False).findings
    cut = [f for f in found if f.code == "label-cut-sideways"]
    assert [f.case for f in cut] == ["p1"] and cut[0].severity == "warning" and "T12 (right), L1 (right)" in cut[0].what


def test_44_the_same_scan_in_two_parts_stops_before_the_start(pairs):
    ct, labels = nifti.read_ct(pairs / "p0_ct.nii.gz"), nifti.read_labels(pairs / "p0_seg.nii.gz")
    turned = [to_canonical(volume.array, volume.affine) for volume in (ct, labels)]
    for name in ("p1", "p2"):  # other bytes, the same voxels
        nifti.write(pairs / f"{name}_ct.nii", np.ascontiguousarray(turned[0][0]), turned[0][1])
        nifti.write(pairs / f"{name}_seg.nii", np.ascontiguousarray(turned[1][0]), turned[1][1])
        for file in pairs.glob(f"{name}_*.nii.gz*"):
            file.unlink()
    config, _ = prepared(pairs, run="leak")
    with pytest.raises(ValueError, match=r"case-\w+.*case-\w+.*hold the same scan.*remove one"):
        train(config, "baseline")
    assert not run_folder(config.run).exists()


def test_44_a_mirrored_copy_in_another_part_stops_before_the_start(pairs):
    for name in ("p1", "p2"):
        for kind, read in (("ct", nifti.read_ct), ("seg", nifti.read_labels)):
            volume = read(pairs / f"p0_{kind}.nii.gz")
            nifti.write(pairs / f"{name}_{kind}.nii.gz", np.ascontiguousarray(volume.array[::-1]), volume.affine)
    config, _ = prepared(pairs, run="leak")
    with pytest.raises(ValueError, match="hold the same scan"):
        train(config, "baseline")


def test_44_one_patient_in_two_parts_stops_before_the_start(tmp_path):
    for part in ("training", "test"):
        name = f"sub-verse7_{part}"
        made = generate(len(part), spacing_mm=3.0)
        tree = tmp_path / f"dataset-verse19{part}"
        nifti.write(tree / "rawdata/sub-verse7" / f"{name}_ct.nii.gz", made.ct_hu, made.affine)
        nifti.write(tree / "derivatives/sub-verse7" / f"{name}_seg-vert_msk.nii.gz", made.labels, made.affine)
    values = {"cohort.layout": "verse", "cohort.folder": str(tmp_path), "cohort.pseudonyms": False}
    config = Config.load("smoke", **values)
    with pytest.raises(ValueError, match=r"patient 'sub-verse7' is in test and train"):
        split(cohort.cases(config), config)


def test_45_a_case_without_its_partner_stops_and_the_others_go_on(pairs, capsys):
    (pairs / "p1_seg.nii.gz").unlink()
    (pairs / "._p0_ct.nii.gz").write_bytes(b"Mac OS X resource fork")
    options = ["--cohort.layout", "auto", "--cohort.folder", str(pairs), "--workers", "1"]
    assert main(["prepare", *options]) == 1
    said = capsys.readouterr()
    assert "2 cases prepared, 1 failed" in said.out and "1 files of macOS metadata (._*) skipped" in said.out
    assert "p1_ct.nii.gz: a scan alone; expected its segmentation; restore the segmentation" in said.err
