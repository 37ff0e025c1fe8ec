"""The reference segmentation of a case: one label map in any scheme, or a folder with one file per vertebra."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from spineseg.anatomy.labels import IDS, VARIANTS, VERTEBRAE, Scheme, parse_scheme
from spineseg.data import nifti
from spineseg.data.case import Case
from spineseg.data.digest import content_hash
from spineseg.data.nifti import SUFFIXES, Repair, Volume
from spineseg.data.pairing import grid_shift_mm, matched
from spineseg.errors import CaseError

CLASS_FILE = "vertebrae_{}"  # as TotalSegmentator names them
_ALL = {i: i for i in range(1, 256)}  # keeps every identifier
REMEDY = "segment the case again, or leave it out"


def read_case(case: Case, *, nan: str = "refuse", assume_ras: bool = False) -> tuple[Volume, Volume | None]:
    """Read the scan of a case, and its label map if it has one.

    Args:
        case: Which.
        nan: As in `nifti.read_ct`.
        assume_ras: As in `nifti.read`; for the scan and a label map in one file.

    Returns:
        The CT and its label map in our scheme on the CT's grid, or None.

    Raises:
        CaseError: If either is unusable or the two do not share a grid.
    """
    if not case.ct:
        raise no_scan(case.segmentation)
    ct = nifti.read_ct(case.ct, nan=nan, assume_ras=assume_ras)
    if not case.segmentation:
        return ct, None
    return matched(ct, read_reference(case.segmentation, case.scheme, assume_ras=assume_ras))


def no_scan(segmentation: str) -> CaseError:
    """The error of a label map without a scan."""
    found, remedy = "a label map without a scan", "put its scan beside it"
    return CaseError("no-scan", segmentation, found, "a scan and its label map", remedy)


def read_reference(path, scheme: str = Scheme.SPINESEG.value, *, assume_ras: bool = False) -> Volume:
    """Read a label map, or merge a folder of class files into one.

    Class files are merged by the name of the vertebra, never by their place in a list. A voxel that two classes claim
    goes to the upper vertebra (the smaller of our labels), and how many there were is said in `repairs`.

    Args:
        path: A NIfTI file, or a folder that holds `vertebrae_<name>.nii.gz`.
        scheme: As in `parse_scheme`; a folder of class files has names and needs none.
        assume_ras: As in `nifti.read`; not for class files.

    Returns:
        The label map, uint8, 0 .. 25.

    Raises:
        CaseError: If a file is unusable, or class files lie on different grids or hold anything but one class.
        ValueError: If the scheme is not known.
    """
    path = Path(path)
    if path.is_dir():
        return _merge(path)
    known = parse_scheme(scheme)
    variants = VARIANTS.get(known, {}) if isinstance(known, Scheme) else {}
    if not variants:
        return nifti.read_labels(path, scheme=known, assume_ras=assume_ras)
    counts = np.bincount(nifti.read_labels(path, scheme=_ALL, assume_ras=assume_ras).array.ravel(order="K"))
    volume = nifti.read_labels(path, scheme=known, assume_ras=assume_ras)
    seen = [f"{name} ({counts[i]} voxels)" for i, name in variants.items() if i < len(counts) and counts[i]]
    said = (Repair("variant", f"{' and '.join(seen)}, no class here", "background"),) if seen else ()
    return Volume(volume.array, volume.affine, volume.path, volume.repairs + said)


def class_files(folder) -> dict[str, Path]:
    """File of each vertebra in a folder, C1 first; those without a file are left out."""
    names = {name: [Path(folder) / (CLASS_FILE.format(name) + s) for s in SUFFIXES] for name in VERTEBRAE}
    found = {name: [p for p in paths if p.is_file()] for name, paths in names.items()}
    return {name: paths[0] for name, paths in found.items() if paths}


def reference_hash(path) -> str:
    """Content hash of a label map, or of the class files of a folder."""
    if not Path(path).is_dir():
        return content_hash(path)
    parts = [f"{name} {content_hash(file)}" for name, file in class_files(path).items()]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _merge(folder: Path) -> Volume:
    files = class_files(folder)
    if not files:
        expected = f"files such as {CLASS_FILE.format('L1')}.nii.gz"
        raise CaseError("class-files", folder, "no file of a vertebra", expected, "unpack the case again")
    merged, first, overlap, repairs = None, None, 0, []
    for name, file in files.items():
        volume = nifti.read(file)
        where = _claimed(volume)
        if merged is None:
            first, merged = volume, np.zeros(volume.array.shape, np.uint8, order="F")
        grid_shift_mm(volume, first, what="a class file", remedy=REMEDY)
        repairs += [r for r in volume.repairs if r not in repairs]
        flat = merged.ravel(order="K")  # a view
        free = flat[where] == 0
        overlap += int(np.count_nonzero(~free))
        flat[where[free]] = IDS[name]
    if overlap:
        repairs.append(Repair("class-overlap", f"{overlap} voxels claimed twice", "the upper vertebra's"))
    if not merged.any():
        repairs.append(Repair("labels-empty", "no vertebra", "kept; left out of Dice and counted"))
    return Volume(merged, first.affine, folder, tuple(repairs))


def _claimed(volume: Volume) -> np.ndarray:
    """Flat indices (in the file's order) of the voxels of a class file."""
    flat = volume.array.ravel(order="K")
    where = np.flatnonzero(flat)
    values = flat[where]
    low, high = (values.min(), values.max()) if len(where) else (0, 0)
    if low != high or high not in (0, 1, 255) or len(where) == flat.size:
        found = f"values from {flat.min():g} to {flat.max():g}"
        raise CaseError("class-values", volume.path, found, "0 and 1, the voxels of one class", REMEDY)
    return where
