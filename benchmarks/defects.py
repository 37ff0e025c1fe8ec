"""Known faults, planted into pairs of files on purpose: what an audit must find, and under which code."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from spineseg.anatomy.labels import IDS
from spineseg.data import nifti
from spineseg.data.affine import orientation_of, spacing_of, to_canonical


class Pair(NamedTuple):
    """Files of one case and of another one, which some faults copy from."""

    ct: Path
    segmentation: Path
    other_ct: Path
    other_segmentation: Path


class Defect(NamedTuple):
    """A fault and the codes of which at least one must be among the findings of the case."""

    plant: Callable[[Pair], None]
    codes: tuple[str, ...]


def on_bytes(change: Callable[[bytearray], bytes], which: str = "ct") -> Callable[[Pair], None]:
    """Plant a fault in a file's bytes."""

    def plant(pair: Pair) -> None:
        path = getattr(pair, which)
        path.write_bytes(change(bytearray(path.read_bytes())))
        path.with_name(path.name + ".sha256").unlink(missing_ok=True)

    return plant


def on_values(change: Callable[[np.ndarray], np.ndarray], which: str = "ct") -> Callable[[Pair], None]:
    """Plant a fault in a file's voxels, seen on RAS+ axes."""

    def plant(pair: Pair) -> None:
        path = getattr(pair, which)
        volume = nifti.read(path)
        array, affine = to_canonical(volume.array, volume.affine)
        nifti.write(path, np.ascontiguousarray(change(np.array(array))), affine)
        for other in {pair.ct, pair.segmentation} - {path}:  # the partner stays on the same grid
            partner = nifti.read(other)
            nifti.write(other, *to_canonical(partner.array, partner.affine))

    return plant


def on_labels(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Pair], None]:
    """Plant a fault in a label map."""
    return on_values(change, "segmentation")


def field(offset: int, form: str, *values) -> Callable[[bytearray], bytes]:
    """Overwrite a field of a little-endian NIfTI-1 header."""

    def change(data: bytearray) -> bytes:
        packed = bool(data[:2] == b"\x1f\x8b")
        plain = bytearray(gzip.decompress(bytes(data))) if packed else data
        struct.pack_into("<" + form, plain, offset, *values)
        return gzip.compress(bytes(plain), 1) if packed else bytes(plain)

    return change


def whole(labels: np.ndarray) -> list[int]:
    """Labels that are seen whole along the spine: neither the first nor the last in view."""
    return [int(v) for v in np.unique(labels)[1:]][1:-1]


def renamed(pairs: Callable[[list[int]], dict[int, int]]) -> Callable[[np.ndarray], np.ndarray]:
    """Give labels other numbers."""

    def change(labels: np.ndarray) -> np.ndarray:
        table = np.arange(256, dtype=np.uint8)
        for old, new in pairs([int(v) for v in np.unique(labels)[1:]]).items():
            table[old] = new
        return table[labels]

    return change


def _swapped(present: list[int]) -> dict[int, int]:
    a, b = present[len(present) // 2 - 1 : len(present) // 2 + 1]
    return {a: b, b: a}


def _one_lower(present: list[int]) -> dict[int, int]:
    """From the middle down every name is one too low, as after a missing class file; what would be below S1 is gone."""
    return {v: v + 1 if v < IDS["S1"] else 0 for v in present[len(present) // 2 :]}


def _second_copy(labels: np.ndarray) -> np.ndarray:
    names = whole(labels)
    return np.where(labels == names[-1], np.uint8(names[0]), labels)


def _islands(labels: np.ndarray) -> np.ndarray:
    label, result = whole(labels)[0], labels.copy()
    k = int(np.argwhere(labels == label)[:, 2].mean())
    result[1:3, 1:3, k], result[-3:-1, 1:3, k] = label, label
    return result


def _shaved(labels: np.ndarray) -> np.ndarray:
    label = whole(labels)[len(whole(labels)) // 2]
    where = np.argwhere(labels == label)
    keep = where[np.linalg.norm(where - where.mean(0), axis=1).argsort()[: len(where) // 8]]
    result = np.where(labels == label, 0, labels).astype(np.uint8)
    result[tuple(keep.T)] = label
    return result


def _swollen(labels: np.ndarray) -> np.ndarray:
    label, result = whole(labels)[len(whole(labels)) // 2], labels.copy()
    low, high = np.argwhere(labels == label).min(0), np.argwhere(labels == label).max(0)
    grown = tuple(slice(max(a - 4, 1), min(b + 5, n - 1)) for a, b, n in zip(low, high, labels.shape, strict=True))
    result[grown] = np.where(result[grown] == 0, label, result[grown])
    return result


def _lowered(mm: float) -> Callable[[Pair], None]:
    """Move a label map sideways within its array."""

    def plant(pair: Pair) -> None:
        step = round(mm / spacing_of(to_canonical(*_array(pair.segmentation))[1])[0])
        on_labels(lambda labels: np.roll(labels, step, 0))(pair)

    return plant


def _array(path: Path):
    volume = nifti.read(path)
    return volume.array, volume.affine


def _moved_affine(pair: Pair) -> None:
    array, affine = _array(pair.segmentation)
    affine = affine.copy()
    affine[:3, 3] += 10
    nifti.write(pair.segmentation, array, affine)


def _copy(pair: Pair) -> None:
    for source, target in ((pair.other_ct, pair.ct), (pair.other_segmentation, pair.segmentation)):
        nifti.write(target, *to_canonical(*_array(source)))  # turned, so that the bytes differ


def _mirrored_copy(pair: Pair) -> None:
    for source, target in ((pair.other_ct, pair.ct), (pair.other_segmentation, pair.segmentation)):
        array, affine = _array(source)
        axis = next(i for i, letter in enumerate(orientation_of(affine)) if letter in "LR")
        nifti.write(target, np.ascontiguousarray(np.flip(array, axis)), affine)


def _mirrored(pair: Pair) -> None:
    for path in (pair.ct, pair.segmentation):
        array, affine = _array(path)
        axis = next(i for i, letter in enumerate(orientation_of(affine)) if letter in "LR")
        nifti.write(path, np.ascontiguousarray(np.flip(array, axis)), affine)


def _foreign_labels(pair: Pair) -> None:
    """The label map of another case, cut or filled up to this scan's grid."""
    labels, _ = to_canonical(*_array(pair.other_segmentation))
    array, affine = to_canonical(*_array(pair.ct))
    result = np.zeros(array.shape, np.uint8)
    common = tuple(slice(0, min(a, b)) for a, b in zip(array.shape, labels.shape, strict=True))
    result[common] = labels[common]
    nifti.write(pair.ct, np.ascontiguousarray(array), affine)
    nifti.write(pair.segmentation, result, affine)


def _padded(pair: Pair) -> None:
    labels, _ = to_canonical(*_array(pair.segmentation))
    k = int(np.argwhere(labels == whole(labels)[0])[:, 2].mean())

    def change(ct_hu: np.ndarray) -> np.ndarray:
        ct_hu[:, :, k:] = -3024
        return ct_hu

    on_values(change)(pair)


def _wrapped(ct_hu: np.ndarray) -> np.ndarray:
    return ct_hu.astype(np.int16).view(np.uint16)


def _thick(pair: Pair) -> None:
    for path in (pair.ct, pair.segmentation):
        array, affine = to_canonical(*_array(path))
        affine = affine @ np.diag([1, 1, 12 / spacing_of(affine)[2], 1])
        nifti.write(path, np.ascontiguousarray(array), affine)


DEFECTS = {
    "cut-short": Defect(on_bytes(lambda d: d[: len(d) // 2]), ("payload-short",)),
    "empty-file": Defect(on_bytes(lambda _: b""), ("empty",)),
    "web-page": Defect(on_bytes(lambda _: b"<!DOCTYPE html><title>404</title>" * 20), ("not-nifti",)),
    "lfs-pointer": Defect(on_bytes(lambda _: b"version https://git-lfs.github.com/spec/v1\n" * 9), ("not-nifti",)),
    "gzip-flip": Defect(
        on_bytes(lambda d: (lambda z: z[:900] + bytes([z[900] ^ 4]) + z[901:])(gzip.compress(bytes(d), 1))),
        ("gzip-damaged",),
    ),
    "gzip-cut": Defect(on_bytes(lambda d: gzip.compress(bytes(d), 1)[:-8]), ("gzip-truncated",)),
    "rgb": Defect(on_bytes(field(70, "h", 128)), ("dtype",)),
    "offset-0": Defect(on_bytes(field(108, "f", 0.0)), ("vox-offset",)),
    "huge-claim": Defect(on_bytes(field(42, "3h", 30000, 30000, 30000)), ("too-large",)),
    "spacing-0": Defect(on_bytes(field(80, "f", 0.0)), ("spacing",)),
    "no-orientation": Defect(on_bytes(field(252, "2h", 0, 0)), ("no-orientation",)),
    "qform-elsewhere": Defect(on_bytes(field(268, "f", 500.0)), ("xforms",)),
    "slope": Defect(on_bytes(field(112, "f", 1e30)), ("slope",)),
    "4d": Defect(on_bytes(field(40, "h", 4)), ("squeezed",)),
    "nan": Defect(on_values(lambda a: np.where(a == a.max(), np.nan, a).astype(np.float32)), ("nan",)),
    "plus-1024": Defect(on_values(lambda a: (a.clip(-1024) + 1024).astype(np.int16)), ("not-hu",)),
    "unit": Defect(on_values(lambda a: ((a + 1000.0) / 4000).clip(0, 1).astype(np.float32)), ("not-hu",)),
    "8-bit": Defect(on_values(lambda a: ((a + 1000.0) / 16).clip(0, 255).astype(np.uint8)), ("not-hu",)),
    "constant": Defect(on_values(lambda a: np.zeros_like(a)), ("not-hu",)),
    "wrapped": Defect(on_values(_wrapped), ("not-hu",)),
    "thick": Defect(_thick, ("thick-slices",)),
    "other-shape": Defect(
        lambda pair: nifti.write(pair.segmentation, _array(pair.segmentation)[0][:-1], _array(pair.segmentation)[1]),
        ("grid-shape",),
    ),
    "other-place": Defect(_moved_affine, ("grid-affine",)),
    "label-26": Defect(on_labels(renamed(lambda p: {p[-1]: 26})), ("labels-range",)),
    "fractions": Defect(on_labels(lambda a: a * np.float32(0.9)), ("labels-fractional",)),
    "no-labels": Defect(on_labels(lambda a: np.zeros_like(a)), ("labels-empty",)),
    "in-padding": Defect(_padded, ("labels-in-padding",)),
    "swapped": Defect(on_labels(renamed(_swapped)), ("label-order",)),
    "reversed": Defect(on_labels(renamed(lambda p: dict(zip(p, p[::-1], strict=True)))), ("label-upside-down",)),
    "skipped": Defect(on_labels(renamed(_one_lower)), ("label-skipped",)),
    "hole": Defect(on_labels(renamed(lambda p: {p[len(p) // 2]: 0})), ("label-gap",)),
    "twice": Defect(on_labels(_second_copy), ("label-doubled",)),
    "islands": Defect(on_labels(_islands), ("label-stray",)),
    "shaved": Defect(on_labels(_shaved), ("label-small",)),
    "swollen": Defect(on_labels(_swollen), ("label-large",)),
    "flipped-labels": Defect(on_labels(lambda a: a[:, ::-1]), ("label-mirrored", "off-bone")),
    "shifted-labels": Defect(_lowered(45.0), ("off-bone", "label-mirrored")),
    "foreign-labels": Defect(_foreign_labels, ("off-bone", "label-mirrored", "duplicate-labels")),
    "copy": Defect(_copy, ("duplicate-scan",)),
    "mirrored-copy": Defect(_mirrored_copy, ("duplicate-turned",)),
    "mirrored-scan": Defect(_mirrored, ("scan-mirrored",)),
    "partner-missing": Defect(lambda pair: pair.segmentation.unlink(), ("no-segmentation",)),
}  # fmt: skip
