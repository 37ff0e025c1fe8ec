import hashlib
import os
import subprocess
from functools import partial
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from made_files import OBLIQUE, PLAIN, SHAPE, code_of, codes, ct, error_of, label_map, raw_file

from spineseg.anatomy.labels import Scheme
from spineseg.data import checksum, nifti
from spineseg.data import header as header_module
from spineseg.data.case import Case
from spineseg.data.reference import read_case
from spineseg.errors import CaseError
from spineseg.paths import real_ct_folder


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


def test_a_write_that_fails_at_the_rename_leaves_the_old_file_alone(tmp_path, monkeypatch):
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


# --- the hash beside a file


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_the_hash_is_written_as_sha256sum_writes_it(tmp_path, name):
    for seed in (0, 1):
        path = nifti.write(tmp_path / name, ct(seed), OBLIQUE)
        printed = subprocess.run(["sha256sum", name], cwd=tmp_path, capture_output=True, check=True).stdout
        assert checksum.beside(path).read_bytes() == printed
    assert sorted(p.name for p in tmp_path.iterdir()) == [name, f"{name}.sha256"]


def test_another_file_than_the_recorded_one_is_refused_with_both_hashes(tmp_path):
    path = nifti.write(tmp_path / "a.nii", ct(), OBLIQUE)
    wanted = hashlib.sha256(path.read_bytes()).hexdigest()
    data = raw_file(path, ct(1)).read_bytes()
    error = error_of(nifti.read, path)
    assert error.code == "hash" and error.found.endswith(hashlib.sha256(data).hexdigest())
    assert error.expected == f"sha256 {wanted}" and "delete the .sha256 beside it" in error.remedy
    assert nifti.header(path).shape == SHAPE  # the header alone hashes nothing
    checksum.beside(path).unlink()
    assert nifti.read(path).repairs == ()


def test_each_byte_is_hashed_once(tmp_path, monkeypatch):
    class Counting:
        def __init__(self):
            self.real, self.size = hashlib_sha256(), 0
            counters.append(self)

        def update(self, data):
            self.size += len(data)
            self.real.update(data)

        def hexdigest(self):
            return self.real.hexdigest()

    hashlib_sha256, counters = hashlib.sha256, []
    array = np.random.default_rng(0).integers(-1000, 1000, (120, 110, 100)).astype(np.int16)
    for name in ("a.nii", "a.nii.gz"):
        path = nifti.write(tmp_path / name, array, PLAIN)
        with monkeypatch.context() as patch:
            patch.setattr(checksum.hashlib, "sha256", Counting)
            assert np.array_equal(nifti.read(path).array, array)
        assert counters.pop().size == path.stat().st_size and not counters


def rows(path, digest):
    name = path.name.encode()
    return {
        "one row": digest + b"  " + name + b"\n",
        "binary": digest + b" *" + name + b"\n",
        "upper case": digest.upper() + b"  " + name,
        "hash alone": digest + b"\n",
        "windows": digest + b"  " + name + b"\r\n",
        "among others": b"0" * 64 + b"  other.nii\n" + digest + b"  " + name + b"\n",
    }


@pytest.mark.parametrize("kind", rows(Path("a"), b""))
def test_any_row_of_sha256sum_counts(tmp_path, kind):
    path = nifti.write(tmp_path / "a.nii.gz", ct(), OBLIQUE)
    right = hashlib.sha256(path.read_bytes()).hexdigest().encode()
    checksum.beside(path).write_bytes(rows(path, right)[kind])
    assert nifti.read(path).repairs == ()
    checksum.beside(path).write_bytes(rows(path, b"a" * 64)[kind])
    assert code_of(nifti.read, path) == "hash"


@pytest.mark.parametrize(
    "text",
    [b"", b"\0\xff\n", b"not a hash  a.nii\n", b"a" * 63 + b"  a.nii\n", b"a" * 64 + b"  b.nii\n",
     b"a" * 64 + b"  a.nii\n" + b"b" * 64 + b"  a.nii\n", b"a" * 64 + b"  a.nii\n" + b"\n" * (1 << 16), None],
)  # fmt: skip
def test_a_malformed_hash_is_a_remark(tmp_path, text):
    path = nifti.write(tmp_path / "a.nii", ct(), OBLIQUE)
    checksum.beside(path).unlink()
    checksum.beside(path).mkdir() if text is None else checksum.beside(path).write_bytes(text)
    volume = nifti.read(path)
    assert codes(volume) == {"sidecar"} and np.array_equal(volume.array, ct())


def killed_at(step, path, array):
    """Write in a process that dies at its `step`-th call that changes the folder; says whether it died."""
    if child := os.fork():
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    calls = iter(range(1000))

    def deadly(real, *args, **kwargs):
        return os._exit(9) if next(calls) == step else real(*args, **kwargs)

    for name in ("replace", "unlink", "fsync"):
        setattr(os, name, partial(deadly, getattr(os, name)))
    nifti.write(path, array, OBLIQUE)
    os._exit(0)


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_a_writer_killed_at_any_step_leaves_no_file_with_a_wrong_hash(tmp_path, name):
    path, outcomes = tmp_path / name, []
    for step in range(100):
        nifti.write(path, ct(0), OBLIQUE)
        died = killed_at(step, path, ct(1))
        array = nifti.read(path).array  # which compares the hash where there is one
        outcomes.append(next(seed for seed in (0, 1) if np.array_equal(array, ct(seed))))
        if not died:
            break
    assert len(outcomes) > 6 and outcomes == sorted(outcomes) and outcomes[0] == 0 and outcomes[-1] == 1
    assert checksum.beside(path).is_file()


# --- the header


def test_slope_zero_means_no_scaling_without_a_remark(tmp_path):
    volume = nifti.read(raw_file(tmp_path / "a.nii", ct(), fields={"scl_slope": 0, "scl_inter": 0}))
    assert volume.repairs == () and volume.array.dtype == np.int16


def test_slope_and_intercept_are_applied(tmp_path):
    volume = nifti.read(raw_file(tmp_path / "a.nii", ct(), fields={"scl_slope": 2.5, "scl_inter": -3}))
    assert volume.array.dtype == np.float32 and np.allclose(volume.array, ct() * 2.5 - 3)
    stored = (ct().clip(-1024).astype(np.int32) + 1024).astype(np.uint16)
    shifted = nifti.read(raw_file(tmp_path / "b.nii", stored, fields={"scl_slope": 1, "scl_inter": -1024}))
    assert shifted.array.dtype == np.int16 and np.array_equal(shifted.array, ct().clip(-1024))


@pytest.mark.parametrize("header", [nib.Nifti1Header, nib.Nifti2Header])
@pytest.mark.parametrize("order", "<>")
def test_both_byte_orders_and_both_versions_are_read(tmp_path, header, order):
    offset = 352 if header is nib.Nifti1Header else 544
    path = raw_file(tmp_path / "a.nii", ct(), header=header, order=order, offset=offset)
    volume = nifti.read(path)
    assert np.array_equal(volume.array, ct()) and volume.array.dtype.isnative and volume.repairs == ()


def test_voxels_that_start_at_an_odd_byte_are_read(tmp_path):
    assert np.array_equal(nifti.read(raw_file(tmp_path / "a.nii", ct(), offset=353)).array, ct())


# --- the values


def test_missing_values_are_refused_or_air_and_nothing_else(tmp_path):
    with pytest.raises(ValueError, match="'refuse' or 'air'"):
        nifti.read_ct(nifti.write(tmp_path / "a.nii", ct(), OBLIQUE), nan="zero")


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


def test_another_scheme_is_mapped_by_name(tmp_path):
    theirs = np.where(label_map() == 20, 31, np.where(label_map() == 21, 30, 0)).astype(np.uint8)
    theirs[0, 0, 0] = 117  # a rib
    path = nifti.write(tmp_path / "a.nii", theirs, OBLIQUE)
    assert np.array_equal(nifti.read_labels(path, scheme=Scheme.TOTALSEGMENTATOR_V2).array, label_map())


def test_the_label_map_of_a_pair_lies_where_its_ct_lies(tmp_path):
    scan = nifti.write(tmp_path / "ct.nii", ct(), OBLIQUE)
    for shift, expected in ((0.2, {"grid-affine"}), (0.0, set())):
        moved = OBLIQUE.copy()
        moved[0, 3] += shift
        _, labels = read_case(Case.of(("", scan, nifti.write(tmp_path / "a.nii", label_map(), moved))))
        assert codes(labels) == expected and np.allclose(labels.affine, OBLIQUE, atol=1e-5)


def test_all_real_pairs_are_read():
    folder = real_ct_folder() / "pairs"
    if not folder.is_dir():
        pytest.skip(f"no real scans in {folder}")
    for path in sorted(folder.glob("*_ct.nii.gz")):
        scan, labels = read_case(Case.of(("", path, path.with_name(path.name.replace("_ct.", "_seg.")))))
        reference = nib.load(path)
        assert np.array_equal(scan.array, np.asanyarray(reference.dataobj)) and scan.array.dtype == np.int16
        assert np.array_equal(scan.affine, reference.affine) and labels.array.any()
        with pytest.raises(CaseError, match="a label map"):
            nifti.read_ct(labels.path)


def test_the_largest_accepted_volume_is_a_whole_body():
    assert header_module.LARGEST_BYTES >= 512 * 512 * 2600 * 2
