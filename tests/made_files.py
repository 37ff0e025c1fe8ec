"""Small scans and label maps, and files written field by field so that each field can be wrong."""

import gzip
import pickle

import nibabel as nib
import numpy as np
import pytest

from spineseg.errors import CaseError

SHAPE = (13, 18, 9)
OBLIQUE = nib.affines.from_matvec(nib.eulerangles.euler2mat(0.2, -0.1, 0.15) @ np.diag([0.7, -0.9, 2.5]), [10, -20, 30])
PLAIN = np.diag([1.5, 1.5, 2.0, 1.0])


def ct(seed=0):
    """Air, soft tissue and a bone in Hounsfield units."""
    rng = np.random.default_rng(seed)
    array = rng.normal(-1000, 12, SHAPE)
    array[3:10, 3:15] = rng.normal(40, 15, (7, 12, 9))
    array[5:8, 6:11] = rng.normal(300, 90, (3, 5, 9))
    return array.astype(np.int16)


def label_map():
    """Two vertebrae, L1 and L2."""
    labels = np.zeros(SHAPE, np.uint8)
    labels[4:8, 5:9, 2:4], labels[4:8, 5:9, 4:7] = 20, 21
    return labels


def raw_bytes(array, *, affine=PLAIN, fields=(), offset=352, header=nib.Nifti1Header, order="<", code=True):
    """Header and voxels as they lie in an uncompressed file."""
    array = np.asarray(array)
    head = header(endianness=order)
    head.set_data_dtype(array.dtype.newbyteorder(order))
    head.set_data_shape(array.shape)
    if code:
        head.set_sform(affine, code=1)
    head["pixdim"][1:4] = 1.5, 1.5, 2.0
    head["magic"], head["vox_offset"] = (b"n+1" if header is nib.Nifti1Header else b"n+2"), offset
    for name, value in dict(fields).items():
        head[name] = value
    body = array.astype(array.dtype.newbyteorder(order)).tobytes(order="F")
    return head.binaryblock.ljust(offset, b"\0") + body


def raw_file(path, array, **options):
    """`raw_bytes` in a file, compressed if its name says so."""
    data = raw_bytes(array, **options)
    path.write_bytes(gzip.compress(data, 1) if path.name.endswith(".gz") else data)
    return path


def error_of(function, *args, **kwargs):
    """The error of a call: a `CaseError` of one line that says everything and survives pickling."""
    with pytest.raises(CaseError) as caught:
        function(*args, **kwargs)
    error = caught.value
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
    assert "\n" not in str(error) and error.found and error.expected and error.remedy
    assert all(part in str(error) for part in (error.path, error.found, error.expected, error.remedy))
    return error


def code_of(function, *args, **kwargs):
    """The code of that error."""
    return error_of(function, *args, **kwargs).code


def codes(volume):
    """Codes of what was mended."""
    return {repair.code for repair in volume.repairs}


def peak_mb(status="/proc/self/status"):
    """Largest resident memory that this process had."""
    with open(status) as file:
        return next(int(row.split()[1]) for row in file if row.startswith("VmHWM")) / 1024
