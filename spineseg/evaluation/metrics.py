"""What two label maps agree on: overlap, centroids, names. Surface distances are in `surfaces.py`.

A vertebra fills about a thousandth of a scan, so every count here first drops the eight-voxel words in which both maps
are zero; the rest is one pass over what remains.
"""

from __future__ import annotations

import numpy as np

from spineseg.anatomy.labels import N_CLASSES
from spineseg.evaluation.surfaces import assd_mm, hd95_mm, nsd

__all__ = [
    "assd_mm",
    "binary_dice",
    "boxes",
    "centroids_mm",
    "confusion",
    "dice_matrix",
    "dice_per_class",
    "hd95_mm",
    "identification",
    "keep_largest",
    "nsd",
]


def confusion(reference, prediction) -> np.ndarray:
    """How many voxels of each reference class were given each predicted class.

    Args:
        reference: Label map, `(I, J, K)`, whole numbers 0..25.
        prediction: Label map of the same shape.

    Returns:
        `(26, 26)` int64 voxel counts; rows are the reference, columns the prediction, 0 is background.

    Raises:
        ValueError: If the shapes differ or a label is not one of 0..25.
    """
    reference, prediction = _as_labels("reference", reference), _as_labels("prediction", prediction)
    if reference.shape != prediction.shape:
        raise ValueError(
            f"prediction must lie on the grid of the reference {reference.shape}, got shape {prediction.shape}; "
            "resample it to the reference's own grid first"
        )
    (a, b), _ = _in_one_order(reference, prediction)
    (a, b), _ = _busy(a, b)
    code = a.astype(np.uint16) * N_CLASSES + b
    counts = np.bincount(code, minlength=N_CLASSES**2).astype(np.int64)
    counts[0] += reference.size - code.size  # the words that were skipped
    return counts.reshape(N_CLASSES, N_CLASSES)


def dice_matrix(counts) -> np.ndarray:
    """Dice of every reference class against every predicted class.

    Args:
        counts: `(26, 26)` voxel counts of `confusion`.

    Returns:
        `(26, 26)` float64, `2 n_rp / (n_r + n_p)`; `nan` where both classes are empty, 0 where one is.
    """
    total = counts.sum(1)[:, None] + counts.sum(0)[None, :]
    return np.divide(2.0 * counts, total, out=np.full(counts.shape, np.nan), where=total > 0)


def dice_per_class(reference, prediction) -> np.ndarray:
    """Dice of each class against the class of the same name.

    Args:
        reference: Label map, `(I, J, K)`, whole numbers 0..25.
        prediction: Label map of the same shape.

    Returns:
        `(26,)` float64, indexed by label, background included; `nan` if both are empty, 0 if exactly one is.

    Raises:
        ValueError: If the shapes differ or a label is not one of 0..25.
    """
    return np.diagonal(dice_matrix(confusion(reference, prediction))).copy()


def binary_dice(reference, prediction) -> float:
    """Dice of vertebra against background, whatever the names.

    Args:
        reference: Label map or mask, `(I, J, K)`.
        prediction: The same shape.

    Returns:
        Dice; `nan` if both are empty, 0 if exactly one is.

    Raises:
        ValueError: If the shapes differ or a label is not one of 0..25.
    """
    counts = confusion(reference, prediction)
    both, total = counts[1:, 1:].sum(), counts[1:].sum() + counts[:, 1:].sum()
    return float(2.0 * both / total) if total else float("nan")


def boxes(labels) -> np.ndarray:
    """Bounding box of each class in one pass.

    Args:
        labels: Label map, `(I, J, K)`, whole numbers 0..25.

    Returns:
        `(26, 3, 2)` int64, first index and one past the last along each axis; zeros for a class that is absent and for
        the background.

    Raises:
        ValueError: If a label is not one of 0..25.
    """
    labels = _as_labels("labels", labels)
    index, values = _places(labels)
    found = np.zeros((N_CLASSES, 3, 2), np.int64)
    present = np.unique(values)
    for axis, extent in enumerate(labels.shape):
        occupied = np.zeros((N_CLASSES, extent), bool)
        occupied[values, index[axis]] = True
        found[present, axis, 0] = occupied[present].argmax(1)
        found[present, axis, 1] = extent - occupied[present, ::-1].argmax(1)
    return found


def centroids_mm(labels, affine) -> np.ndarray:
    """Centre of mass of each class in the world.

    Args:
        labels: Label map, `(I, J, K)`, whole numbers 0..25.
        affine: `(4, 4)`, voxel index to RAS+ mm.

    Returns:
        `(26, 3)` float64 in mm, indexed by label; `nan` for a class that is absent and for the background.

    Raises:
        ValueError: If a label is not one of 0..25 or `affine` is not `(4, 4)`.
    """
    affine = np.asarray(affine, np.float64)
    if affine.shape != (4, 4):
        raise ValueError(f"affine must be (4, 4), voxel index to RAS+ mm, got shape {affine.shape}")
    index, values = _places(_as_labels("labels", labels))
    count = np.bincount(values, minlength=N_CLASSES).astype(np.float64)
    count[count == 0] = np.nan
    mean = np.stack([np.bincount(values, weights=i, minlength=N_CLASSES) / count for i in index], 1)
    return mean @ affine[:3, :3].T + affine[:3, 3]


def identification(reference_mm, predicted_mm, *, radius_mm: float) -> np.ndarray:
    """Whether each vertebra was found under its own name.

    Vertebra i is identified if its predicted centroid lies within `radius_mm` of its reference centroid and no other
    reference centroid is closer.

    Args:
        reference_mm: `(26, 3)` centroids of the reference, from `centroids_mm`.
        predicted_mm: `(26, 3)` centroids of the prediction.
        radius_mm: Largest distance that counts, in mm.

    Returns:
        `(26,)` float64: 1 identified, 0 not, `nan` where the reference is absent. Its `nanmean` is the rate.

    Source:
        Sekuboyina et al., VerSe (2021), identification rate.
    """
    reference_mm, predicted_mm = np.asarray(reference_mm, float), np.asarray(predicted_mm, float)
    present = ~np.isnan(reference_mm[:, 0])
    distance = np.linalg.norm(predicted_mm[:, None] - reference_mm[None], axis=2)  # (26 predicted, 26 reference)
    own = np.diagonal(distance)
    nearest = np.where(np.isnan(distance), np.inf, distance).min(1)
    with np.errstate(invalid="ignore"):  # a missing prediction has nan distances and is not identified
        found = (own <= radius_mm) & (own <= nearest)
    return np.where(present, found.astype(float), np.nan)


def keep_largest(labels) -> np.ndarray:
    """Keep the largest connected piece of each class; the other pieces become background.

    Pieces touch by faces, edges or corners (26 neighbours). Of two equally large pieces the one with the
    smallest first index stays.

    Args:
        labels: Label map, `(I, J, K)`, whole numbers 0..25.

    Returns:
        A new uint8 label map of the same shape.

    Raises:
        ValueError: If a label is not one of 0..25.
    """
    import cc3d  # here, not above: training needs this module on machines that have nothing but torch

    labels = _as_labels("labels", labels)
    (flat,), order = _in_one_order(labels)
    index, values = _voxels(flat)
    if not len(index):
        return labels.copy(order="K")
    places = np.unravel_index(index, labels.shape, order=order)
    low = [int(along.min()) for along in places]
    # One pass over the whole spine: a box per class loses as soon as stray voxels stretch every box across the scan.
    spine = tuple(slice(first, int(along.max()) + 1) for first, along in zip(low, places, strict=True))
    pieces, n = cc3d.connected_components(labels[spine].copy(order="C"), connectivity=26, return_N=True)
    piece = pieces[tuple(along - first for first, along in zip(low, places, strict=True))]
    sizes = np.bincount(piece, minlength=n + 1)
    value_of = np.zeros(n + 1, np.uint8)
    value_of[piece] = values
    ascending = np.lexsort((-np.arange(n + 1), sizes))
    largest = np.zeros(N_CLASSES, np.int64)
    largest[value_of[ascending]] = ascending  # the last write, the largest piece, stays
    wins = np.zeros(n + 1, bool)
    wins[largest[1:]] = True
    wins[0] = False
    stays = wins[piece]
    kept = np.zeros(labels.shape, np.uint8, order=order)
    kept.reshape(-1, order=order)[index[stays]] = values[stays]
    return kept


def _as_labels(name: str, array) -> np.ndarray:
    """The array as uint8; whole numbers outside 0..255 are refused here, those above 25 where they are counted."""
    array = np.asarray(array)
    if array.dtype == bool:
        return array.view(np.uint8)
    if array.dtype == np.uint8:
        return array
    if not np.issubdtype(array.dtype, np.integer):
        raise ValueError(f"{name} must hold whole numbers 0..{N_CLASSES - 1}, got dtype {array.dtype}; cast it first")
    if array.size and (array.min() < 0 or array.max() >= N_CLASSES):
        _refuse(array.min() if array.min() < 0 else array.max())
    return array.astype(np.uint8)


def _refuse(value) -> None:
    raise ValueError(f"labels must be 0..{N_CLASSES - 1}, got {value}; map the scheme with anatomy.labels.lookup_table")


def _in_one_order(*arrays: np.ndarray) -> tuple[list[np.ndarray], str]:
    """Flat views of equally shaped arrays in one memory order; copies only where the layouts differ."""
    order = "F" if all(a.flags.f_contiguous for a in arrays) else "C"
    # a map that is mirrored along every axis flattens to a view that runs backwards
    return [np.ascontiguousarray(a.reshape(-1, order=order)) for a in arrays], order


def _busy(*flat: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
    """The voxels of the eight-voxel words in which any of the flat uint8 maps is not zero, and the index of the words.

    What is left over after the last whole word is always among the voxels.
    """
    whole = flat[0].size // 8 * 8
    words = [f[:whole].view(np.uint64) for f in flat]
    any_set = words[0] if len(words) == 1 else words[0] | words[1]
    busy = np.flatnonzero(any_set != 0)  # of booleans: three times as fast as of the words
    values = [np.concatenate([f[:whole].view(np.uint64)[busy].view(np.uint8), f[whole:]]) for f in flat]
    largest = max((int(v.max()) for v in values if v.size), default=0)
    if largest >= N_CLASSES:
        _refuse(largest)
    return values, busy


def _voxels(flat: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Flat index and value of the voxels that are not background."""
    (values,), busy = _busy(flat)
    tail = np.arange(flat.size // 8 * 8, flat.size)
    here = np.flatnonzero(values)
    word, byte = here // 8, here % 8
    inside = word < busy.size
    index = np.concatenate([busy[word[inside]] * 8 + byte[inside], tail[here[~inside] - busy.size * 8]])
    return index, values[here]


def _places(labels: np.ndarray) -> tuple[tuple[np.ndarray, ...], np.ndarray]:
    """Index along each axis and value of the voxels that are not background."""
    (flat,), order = _in_one_order(labels)
    index, values = _voxels(flat)
    return np.unravel_index(index, labels.shape, order=order), values
