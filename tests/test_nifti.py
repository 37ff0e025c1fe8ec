import gzip
import pickle
import struct

import nibabel as nib
import numpy as np
import pytest

from spineseg.anatomy.labels import Scheme
from spineseg.data import header as header_module
from spineseg.data import nifti
from spineseg.errors import CaseError
from spineseg.paths import real_ct_folder

SHAPE = (13, 18, 9)
OBLIQUE = nib.affines.from_matvec(nib.eulerangles.euler2mat(0.2, -0.1, 0.15) @ np.diag([0.7, -0.9, 2.5]), [10, -20, 30])


def ct(seed=0):
    rng = np.random.default_rng(seed)
    array = rng.normal(-1000, 12, SHAPE)
    array[3:10, 3:15] = rng.normal(40, 15, (7, 12, 9))
    array[5:8, 6:11] = rng.normal(300, 90, (3, 5, 9))
    return array.astype(np.int16)


def raw_file(path, array, *, affine=None, fields=(), offset=352, header=nib.Nifti1Header, order="<", code=True):
    """A file written field by field, so that each field can be wrong."""
    array = np.asarray(array)
    head = header(endianness=order)
    head.set_data_dtype(array.dtype.newbyteorder(order))
    head.set_data_shape(array.shape)
    if code:
        head.set_sform(np.diag([1.5, 1.5, 2.0, 1]) if affine is None else affine, code=1)
    head["pixdim"][1:4] = 1.5, 1.5, 2.0
    head["magic"], head["vox_offset"] = (b"n+1" if header is nib.Nifti1Header else b"n+2"), offset
    for name, value in dict(fields).items():
        head[name] = value
    body = array.astype(array.dtype.newbyteorder(order)).tobytes(order="F")
    data = head.binaryblock.ljust(offset, b"\0") + body
    path.write_bytes(gzip.compress(data, 1) if path.name.endswith(".gz") else data)
    return path


def code_of(function, *args, **kwargs):
    with pytest.raises(CaseError) as caught:
        function(*args, **kwargs)
    error = caught.value
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
    assert "\n" not in str(error) and error.found and error.expected and error.remedy
    assert error.path in str(error)
    return error.code


def codes(volume):
    return {repair.code for repair in volume.repairs}


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int32, np.float32])
def test_what_is_written_is_read_back_equal(tmp_path, name, dtype):
    array = np.abs(ct()).astype(dtype)
    volume = nifti.read(nifti.write(tmp_path / name, array, OBLIQUE))
    assert volume.array.dtype == dtype and np.array_equal(volume.array, array)
    assert np.allclose(volume.affine, OBLIQUE, atol=1e-5)
    assert volume.repairs == ()


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_nibabel_reads_the_same_voxels_and_affine(tmp_path, name):
    image = nib.load(nifti.write(tmp_path / name, ct(), OBLIQUE))
    assert np.array_equal(np.asanyarray(image.dataobj), ct()) and np.allclose(image.affine, OBLIQUE, atol=1e-5)
    assert np.allclose(image.get_qform(), image.get_sform(), atol=1e-4)
    assert int(image.header["qform_code"]) == int(image.header["sform_code"]) == 1


def test_files_of_nibabel_are_read_as_nibabel_reads_them(tmp_path):
    image = nib.Nifti1Image(ct(), OBLIQUE)
    image.header.set_slope_inter(1, -24)
    nib.save(image, tmp_path / "a.nii.gz")
    volume = nifti.read_ct(tmp_path / "a.nii.gz")
    assert np.allclose(volume.array, nib.load(tmp_path / "a.nii.gz").get_fdata())
    assert volume.orientation == "".join(nib.aff2axcodes(OBLIQUE))


def test_int16_without_scaling_is_a_view_of_the_bytes(tmp_path):
    array = nifti.read(nifti.write(tmp_path / "a.nii.gz", ct(), OBLIQUE)).array
    assert array.dtype == np.int16 and not array.flags.owndata and array.flags.f_contiguous and array.flags.writeable


def test_free_text_is_blank_in_what_is_written(tmp_path):
    image = nib.load(nifti.write(tmp_path / "a.nii", ct(), OBLIQUE))
    assert all(
        bytes(image.header[name]).strip(b"\0") == b"" for name in ("descrip", "aux_file", "db_name", "intent_name")
    )


def test_a_gz_file_holds_neither_name_nor_time(tmp_path):
    first = nifti.write(tmp_path / "a.nii.gz", ct(), OBLIQUE).read_bytes()
    assert nifti.write(tmp_path / "b.nii.gz", ct(), OBLIQUE).read_bytes() == first


def test_a_sheared_grid_is_written_with_its_sform_alone(tmp_path):
    sheared = np.eye(4)
    sheared[0, 2] = 0.03
    volume = nifti.read(nifti.write(tmp_path / "a.nii", np.zeros((60, 60, 60), np.uint8), sheared))
    assert np.allclose(volume.affine, sheared) and codes(volume) == {"shear"}


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path, monkeypatch):
    path = nifti.write(tmp_path / "a.nii", ct(), OBLIQUE)
    before = path.read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    assert code_of(nifti.write, path, ct(1), OBLIQUE) == "unwritable"
    assert path.read_bytes() == before and [p.name for p in tmp_path.iterdir()] == ["a.nii"]


@pytest.mark.parametrize(
    "name, array, affine, match",
    [
        ("a.mha", ct(), np.eye(4), "suffix|end in"),
        ("a.nii", ct()[0], np.eye(4), "three axes"),
        ("a.nii", ct() * 1j, np.eye(4), "complex128"),
        ("a.nii", ct(), np.zeros((4, 4)), "invertible"),
    ],
)
def test_what_cannot_be_written_is_refused_by_name(tmp_path, name, array, affine, match):
    with pytest.raises(ValueError, match=match):
        nifti.write(tmp_path / name, array, affine)


def test_the_header_alone_says_shape_spacing_and_orientation(tmp_path):
    head = nifti.header(nifti.write(tmp_path / "a.nii.gz", ct(), np.diag([-0.7, -0.8, 2.5, 1])))
    assert head.shape == SHAPE and head.orientation == "LPS" and np.allclose(head.spacing, (0.7, 0.8, 2.5))


# --- the bytes


def test_every_truncation_of_a_gz_file_is_found(tmp_path):
    data = nifti.write(tmp_path / "a.nii.gz", ct(), OBLIQUE).read_bytes()
    bad = tmp_path / "bad.nii.gz"
    for keep in [1, 2, 10, *range(20, len(data), 97), len(data) - 8, len(data) - 1]:
        bad.write_bytes(data[:keep])
        code = code_of(nifti.read, bad)
        assert code in {"gzip-truncated", "gzip-damaged", "header-short", "payload-short", "magic"}, keep


def test_every_bit_flip_in_a_gz_file_is_found_or_harmless(tmp_path):
    path = nifti.write(tmp_path / "a.nii.gz", ct(), OBLIQUE)
    data, good = path.read_bytes(), nifti.read(path).array
    rng, found = np.random.default_rng(0), 0
    for _ in range(300):
        place, bit = int(rng.integers(len(data))), int(rng.integers(8))
        path.write_bytes(data[:place] + bytes([data[place] ^ 1 << bit]) + data[place + 1 :])
        try:
            assert np.array_equal(nifti.read(path).array, good)  # flips in the gzip header's unused fields
        except CaseError:
            found += 1
    assert found > 290


def test_a_wrong_crc_and_a_wrong_length_are_found(tmp_path):
    path = nifti.write(tmp_path / "a.nii.gz", ct(), OBLIQUE)
    data = path.read_bytes()
    for place in (-8, -1):
        wrong = bytearray(data)
        wrong[place] ^= 1
        path.write_bytes(wrong)
        assert code_of(nifti.read, path) == "gzip-damaged"


def test_a_valid_gz_with_a_short_payload_is_refused(tmp_path):
    path = nifti.write(tmp_path / "a.nii.gz", ct(), OBLIQUE)
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes())[:-100]))
    assert code_of(nifti.read, path) == "payload-short"


def test_a_raw_file_cut_short_is_refused(tmp_path):
    path = nifti.write(tmp_path / "a.nii", ct(), OBLIQUE)
    path.write_bytes(path.read_bytes()[:-1])
    assert code_of(nifti.read, path) == "payload-short"


def test_trailing_bytes_and_two_members_are_read_with_a_remark(tmp_path):
    path = nifti.write(tmp_path / "a.nii.gz", ct(), OBLIQUE)
    data, payload = path.read_bytes(), gzip.decompress(path.read_bytes())
    path.write_bytes(data + b"junk")
    assert codes(nifti.read(path)) == {"gzip-trailing"}
    path.write_bytes(gzip.compress(payload[:1000]) + gzip.compress(payload[1000:]))
    volume = nifti.read(path)
    assert codes(volume) == {"gzip-members"} and np.array_equal(volume.array, ct())
    path.write_bytes(gzip.compress(payload + b"x" * 50))
    assert codes(nifti.read(path)) == {"trailing"}


@pytest.mark.parametrize(
    "content, guess",
    [
        (b"", "0 bytes"),
        (b"<!DOCTYPE html><html><body>404", "a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "a Git LFS pointer"),
        (b"PK\x03\x04" + b"0" * 400, "a ZIP archive"),
        (b"\0" * 128 + b"DICM" + b"\0" * 400, "a DICOM file"),
        (b"\1" * 1000, "no NIfTI magic"),
        (b"\1" * 20, "20 bytes"),
    ],
)
def test_other_files_are_named_for_what_they_are(tmp_path, content, guess):
    path = tmp_path / "a.nii.gz"
    path.write_bytes(content)
    with pytest.raises(CaseError, match=guess):
        nifti.read(path)


def test_a_missing_file_a_folder_and_a_symlink_loop_are_case_errors(tmp_path):
    assert code_of(nifti.read, tmp_path / "no.nii") == "missing"
    assert code_of(nifti.read, tmp_path) == "unreadable"
    (tmp_path / "loop.nii").symlink_to(tmp_path / "loop.nii")
    assert code_of(nifti.read, tmp_path / "loop.nii") == "unreadable"


def test_spaces_and_other_alphabets_in_names_are_fine(tmp_path):
    path = nifti.write(tmp_path / "снимок 1 — é.nii.gz", ct(), OBLIQUE)
    assert np.array_equal(nifti.read(path).array, ct())


def test_the_magic_bytes_decide_and_not_the_suffix(tmp_path):
    plain, packed = nifti.write(tmp_path / "a.nii", ct(), OBLIQUE), nifti.write(tmp_path / "b.nii.gz", ct(), OBLIQUE)
    for data, name in ((plain.read_bytes(), "c.nii.gz"), (packed.read_bytes(), "d.nii")):
        (tmp_path / name).write_bytes(data)
        volume = nifti.read(tmp_path / name)
        assert np.array_equal(volume.array, ct()) and codes(volume) == {"suffix"}


def test_a_header_that_claims_a_huge_volume_is_refused_before_anything_is_allocated(tmp_path, monkeypatch):
    path = raw_file(tmp_path / "a.nii.gz", ct())
    data = bytearray(gzip.decompress(path.read_bytes())[:400])
    monkeypatch.setattr(np, "empty", lambda *_, **__: pytest.fail("allocated"))
    struct.pack_into("<4h", data, 40, 3, 30000, 30000, 30000)
    path.write_bytes(gzip.compress(bytes(data)))
    assert code_of(nifti.read, path) == "too-large"
    struct.pack_into("<4h", data, 40, 3, 1000, 1000, 2000)
    path.write_bytes(gzip.compress(bytes(data)))
    assert code_of(nifti.read, path) == "payload-short"
    (tmp_path / "raw.nii").write_bytes(bytes(data))
    assert code_of(nifti.read, tmp_path / "raw.nii") == "payload-short"


def test_a_deflate_bomb_is_not_inflated_beyond_the_promise(tmp_path):
    path = raw_file(tmp_path / "a.nii.gz", ct())
    payload = gzip.decompress(path.read_bytes())
    path.write_bytes(gzip.compress(payload + bytes(64 << 20), 1))
    assert code_of(nifti.read, path) == "payload-long"


# --- the header


@pytest.mark.parametrize(
    "fields, code",
    [
        ({"magic": b"abc"}, "magic"),
        ({"magic": b"ni1"}, "pair-of-files"),
        ({"datatype": 99}, "dtype"),
        ({"datatype": 128}, "dtype"),
        ({"datatype": 32}, "dtype"),
        ({"vox_offset": 0}, "vox-offset"),
        ({"vox_offset": np.nan}, "vox-offset"),
        ({"vox_offset": 1e30}, "vox-offset"),
        ({"vox_offset": 352.5}, "vox-offset"),
        ({"vox_offset": 1e6}, "payload-short"),
        ({"dim": [0, 13, 18, 9, 1, 1, 1, 1]}, "ndim"),
        ({"dim": [9, 13, 18, 9, 1, 1, 1, 1]}, "ndim"),
        ({"dim": [3, 13, 0, 9, 1, 1, 1, 1]}, "dim"),
        ({"dim": [3, 13, -18, 9, 1, 1, 1, 1]}, "dim"),
        ({"dim": [2, 13, 18, 1, 1, 1, 1, 1]}, "2d"),
        ({"dim": [3, 13, 162, 1, 1, 1, 1, 1]}, "2d"),
        ({"dim": [4, 13, 9, 9, 2, 1, 1, 1]}, "4d"),
        ({"scl_slope": np.inf}, "slope"),
        ({"scl_slope": 1e30}, "slope"),
        ({"scl_slope": -1}, "slope"),
        ({"scl_slope": 1, "scl_inter": np.inf}, "slope"),
        ({"pixdim": [1, 0, 1, 1, 0, 0, 0, 0]}, "spacing"),
        ({"pixdim": [1, -1, 1, 1, 0, 0, 0, 0]}, "spacing"),
        ({"pixdim": [1, np.nan, 1, 1, 0, 0, 0, 0]}, "spacing"),
        ({"srow_x": [0, 0, 0, 0]}, "affine"),
        ({"srow_x": [np.nan, 0, 0, 0]}, "affine"),
        ({"srow_x": [1.5, 0, 0, 1e30]}, "affine"),
        ({"srow_x": [0, 1.5, 0, 0]}, "affine"),
        ({"srow_x": [1.5, 0, 0.3, 0]}, "shear"),
    ],
)
@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_an_impossible_header_is_refused(tmp_path, fields, code, name):
    assert code_of(nifti.read, raw_file(tmp_path / name, ct(), fields=fields)) == code


@pytest.mark.parametrize(
    "fields, code",
    [
        ({"sizeof_hdr": 0}, "sizeof-hdr"),
        ({"bitpix": 8}, "bitpix"),
        ({"dim": [4, 13, 18, 9, 1, 1, 1, 1]}, "squeezed"),
        ({"dim": [5, 13, 18, 9, 1, 1, 1, 1]}, "squeezed"),
        ({"scl_slope": np.nan}, "slope"),
        ({"scl_slope": 0, "scl_inter": 5}, "slope"),
        ({"scl_slope": 1, "scl_inter": np.nan}, "intercept"),
        ({"srow_x": [1.5, 0, 0.04, 0]}, "shear"),
        ({"pixdim": [1, 3, 1.5, 2, 0, 0, 0, 0]}, "pixdim"),
        ({"qform_code": 1, "quatern_b": 5}, "qform"),
    ],
)
def test_a_repairable_header_is_read_with_a_remark(tmp_path, fields, code):
    volume = nifti.read(raw_file(tmp_path / "a.nii", ct(), fields=fields))
    assert codes(volume) == {code} and np.array_equal(volume.array, ct())


def test_slope_zero_means_no_scaling_without_a_remark(tmp_path):
    volume = nifti.read(raw_file(tmp_path / "a.nii", ct(), fields={"scl_slope": 0, "scl_inter": 0}))
    assert volume.repairs == () and volume.array.dtype == np.int16


def test_slope_and_intercept_are_applied(tmp_path):
    volume = nifti.read(raw_file(tmp_path / "a.nii", ct(), fields={"scl_slope": 2.5, "scl_inter": -3}))
    assert volume.array.dtype == np.float32 and np.allclose(volume.array, ct() * 2.5 - 3)
    stored = (ct().clip(-1024).astype(np.int32) + 1024).astype(np.uint16)
    shifted = nifti.read(raw_file(tmp_path / "b.nii", stored, fields={"scl_slope": 1, "scl_inter": -1024}))
    assert shifted.array.dtype == np.int16 and np.array_equal(shifted.array, ct().clip(-1024))


def test_qform_and_sform_that_disagree_are_refused(tmp_path):
    image = nib.Nifti1Image(ct(), np.diag([1.5, 1.5, 2, 1]))
    image.set_qform(np.diag([-1.5, -1.5, 2, 1]), 1)
    nib.save(image, tmp_path / "a.nii")
    with pytest.raises(CaseError, match=r"sform \(RAS\) and qform \(LPS\)"):
        nifti.read(tmp_path / "a.nii")
    moved = np.diag([1.5, 1.5, 2, 1])
    moved[0, 3] = 0.05
    image.set_qform(moved, 1)
    nib.save(image, tmp_path / "a.nii")
    assert codes(nifti.read(tmp_path / "a.nii")) == {"xforms"}


def test_a_file_without_orientation_needs_permission(tmp_path):
    path = raw_file(tmp_path / "a.nii", ct(), code=False)
    assert code_of(nifti.read, path) == "no-orientation"
    volume = nifti.read(path, assume_ras=True)
    assert codes(volume) == {"no-orientation"} and np.allclose(volume.spacing, (1.5, 1.5, 2.0))


@pytest.mark.parametrize("header", [nib.Nifti1Header, nib.Nifti2Header])
@pytest.mark.parametrize("order", "<>")
def test_both_byte_orders_and_both_versions_are_read(tmp_path, header, order):
    offset = 352 if header is nib.Nifti1Header else 544
    path = raw_file(tmp_path / "a.nii", ct(), header=header, order=order, offset=offset)
    volume = nifti.read(path)
    assert np.array_equal(volume.array, ct()) and volume.array.dtype.isnative and volume.repairs == ()


def test_voxels_that_start_at_an_odd_byte_are_read(tmp_path):
    assert np.array_equal(nifti.read(raw_file(tmp_path / "a.nii", ct(), offset=353)).array, ct())


def test_random_headers_cause_case_errors_and_nothing_else(tmp_path):
    path = raw_file(tmp_path / "a.nii", ct())
    data, rng = path.read_bytes(), np.random.default_rng(0)
    for _ in range(500):
        wrong = bytearray(data)
        for place in rng.integers(0, 348, 6):
            wrong[place] = rng.integers(256)
        path.write_bytes(wrong)
        try:
            assert np.asarray(nifti.read_ct(path).array).ndim == 3
        except CaseError as error:
            assert error.remedy


# --- the values


def test_missing_values_are_refused_or_air(tmp_path):
    array = ct().astype(np.float32)
    array[0, 0, :3] = np.nan
    path = nifti.write(tmp_path / "a.nii", array, OBLIQUE)
    assert code_of(nifti.read_ct, path) == "nan"
    volume = nifti.read_ct(path, nan="air")
    assert (volume.array[0, 0, :3] == -1000).all() and codes(volume) == {"nan"}
    with pytest.raises(ValueError, match="'refuse' or 'air'"):
        nifti.read_ct(path, nan="zero")


def test_infinite_values_are_refused(tmp_path):
    array = ct().astype(np.float32)
    array[0, 0, 0] = -np.inf
    path = nifti.write(tmp_path / "a.nii", array, OBLIQUE)
    assert code_of(nifti.read_ct, path) == "infinite"
    assert code_of(nifti.read_ct, path, nan="air") == "infinite"


def _eight_bit():
    return np.clip((ct() + 1000) / 8, 0, 255).astype(np.uint8) + np.random.default_rng(0).integers(
        0, 90, SHAPE, np.uint8
    )


@pytest.mark.parametrize(
    "array, guess",
    [
        (np.zeros(SHAPE, np.int16), "a constant image"),
        (np.arange(np.prod(SHAPE)).reshape(SHAPE).astype(np.uint8) % 26, "a label map"),
        (((ct() + 1100) / 2500).clip(0, 1).astype(np.float32), "unit interval"),
        ((ct() / 500).astype(np.float32), "a normalised image"),
        (_eight_bit(), "an 8-bit image"),
        (ct().astype(np.uint16), "wrapped to unsigned 16-bit"),
        (ct().astype(np.int32) * 8, "a wrong HU scale"),
        ((ct() + 1024).clip(0), r"shifted by \+1024"),
        (np.abs(np.random.default_rng(0).normal(300, 250, SHAPE)).astype(np.int16), "MR"),
        (np.full(SHAPE, 1e300) * np.arange(9), "a wrong HU scale"),
    ],
)
def test_what_is_not_in_hounsfield_units_is_named(tmp_path, array, guess):
    path = raw_file(tmp_path / "a.nii.gz", array)
    with pytest.raises(CaseError, match=guess):
        nifti.read_ct(path)


def test_a_ct_of_bone_alone_is_accepted(tmp_path):
    rng = np.random.default_rng(0)
    array = np.zeros(SHAPE, np.int16)
    array[4:7, 5:9] = rng.integers(200, 1400, (3, 4, 9))
    assert np.array_equal(nifti.read_ct(nifti.write(tmp_path / "a.nii", array, OBLIQUE)).array, array)


@pytest.mark.parametrize("dtype", [np.int32, np.int64, np.float64])
def test_a_ct_is_int16_or_float32(tmp_path, dtype):
    array = nifti.read_ct(raw_file(tmp_path / "a.nii", ct().astype(dtype))).array
    assert array.dtype == (np.float32 if dtype is np.float64 else np.int16) and np.array_equal(array, ct())


# --- label maps


def label_map():
    labels = np.zeros(SHAPE, np.uint8)
    labels[4:8, 5:9, 2:4], labels[4:8, 5:9, 4:7] = 20, 21
    return labels


def test_float_labels_near_whole_numbers_are_rounded(tmp_path):
    near = label_map().astype(np.float32) * np.float32(1.00003)
    volume = nifti.read_labels(nifti.write(tmp_path / "a.nii", near, OBLIQUE))
    assert volume.array.dtype == np.uint8 and np.array_equal(volume.array, label_map())
    assert codes(volume) == {"labels-float"}


@pytest.mark.parametrize(
    "array, code",
    [
        (label_map() + np.float32(0.4), "labels-fractional"),
        (label_map() + np.uint8(5), "labels-range"),
        (label_map().astype(np.int16) - 1, "labels-range"),
        (ct(), "labels-range"),
        (np.where(label_map() > 0, np.nan, 0).astype(np.float32), "nan"),
    ],
)
def test_what_is_not_a_label_map_is_refused(tmp_path, array, code):
    assert code_of(nifti.read_labels, nifti.write(tmp_path / "a.nii", array, OBLIQUE)) == code


def test_another_scheme_is_mapped_by_name(tmp_path):
    theirs = np.where(label_map() == 20, 31, np.where(label_map() == 21, 30, 0)).astype(np.uint8)
    theirs[0, 0, 0] = 117  # a rib
    path = nifti.write(tmp_path / "a.nii", theirs, OBLIQUE)
    assert np.array_equal(nifti.read_labels(path, scheme=Scheme.TOTALSEGMENTATOR_V2).array, label_map())


def test_an_empty_label_map_is_kept_with_a_remark(tmp_path):
    volume = nifti.read_labels(nifti.write(tmp_path / "a.nii", np.zeros(SHAPE, np.uint8), OBLIQUE))
    assert codes(volume) == {"labels-empty"}


def test_a_pair_must_share_one_grid(tmp_path):
    scan = nifti.write(tmp_path / "ct.nii", ct(), OBLIQUE)
    other_shape = nifti.write(tmp_path / "a.nii", label_map()[:-1], OBLIQUE)
    assert code_of(nifti.read_pair, scan, other_shape) == "grid-shape"
    for shift, expected in ((0.2, {"grid-affine"}), (0.0, set())):
        moved = OBLIQUE.copy()
        moved[0, 3] += shift
        _, labels = nifti.read_pair(scan, nifti.write(tmp_path / "a.nii", label_map(), moved))
        assert codes(labels) == expected and np.allclose(labels.affine, OBLIQUE, atol=1e-5)
    moved[0, 3] += 0.6
    assert code_of(nifti.read_pair, scan, nifti.write(tmp_path / "a.nii", label_map(), moved)) == "grid-affine"


def test_labels_in_the_scanners_padding_are_reported(tmp_path):
    array = ct()
    array[4:6] = -3024
    scan = nifti.write(tmp_path / "ct.nii", array, OBLIQUE)
    _, labels = nifti.read_pair(scan, nifti.write(tmp_path / "a.nii", label_map(), OBLIQUE))
    assert codes(labels) == {"labels-in-padding"}


def test_all_real_pairs_are_read():
    folder = real_ct_folder() / "pairs"
    if not folder.is_dir():
        pytest.skip(f"no real scans in {folder}")
    for path in sorted(folder.glob("*_ct.nii.gz")):
        scan, labels = nifti.read_pair(path, path.with_name(path.name.replace("_ct.", "_seg.")))
        reference = nib.load(path)
        assert np.array_equal(scan.array, np.asanyarray(reference.dataobj)) and scan.array.dtype == np.int16
        assert np.array_equal(scan.affine, reference.affine) and labels.array.any()
        with pytest.raises(CaseError, match="a label map"):
            nifti.read_ct(labels.path)


def test_the_largest_accepted_volume_is_a_whole_body():
    assert header_module.LARGEST_BYTES >= 512 * 512 * 2600 * 2
