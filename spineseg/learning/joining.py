"""Pieces that touch and are parts of one torn vertebra.

A vertebra that the fine stage tore is cut through bone: its parts share a broad face, lie at one height and together
are not much larger than a vertebra. Neighbours are parted by a disc and meet at their small facet joints.
"""

from __future__ import annotations

import numpy as np

from spineseg.anatomy.labels import VERTEBRAE
from spineseg.anatomy.phantom.levels import VOLUME_ML
from spineseg.learning.ordering import spacing_mm

FACE = 2.0  # least shared area over (volume of the smaller part) ^ (2/3); one side of a cube of that volume is 1
SMALL_FACE = 1.0  # the same where the smaller part holds less than `SMALL` of the usual volume of the level
SMALL = 0.2
APART = 0.5  # of the distance between neighbours: most that the parts' centres lie apart along the spine
FULL = 1.4  # of the usual volume of the level: most that the parts have together

_USUAL_ML = np.array([VOLUME_ML[name][1] for name in VERTEBRAE])


def faces_mm2(pieces: np.ndarray, spacing: np.ndarray) -> np.ndarray:
    """Area of the voxel faces that each two pieces share.

    Args:
        pieces: `(I, J, K)` uint8, 0 background, then 1 to n.
        spacing: `(3,)` mm.

    Returns:
        `(n, n)` mm^2, symmetric, 0 on the diagonal.
    """
    # what lies around the spine would take most of the time
    occupied = [np.flatnonzero(pieces.any(tuple({0, 1, 2} - {axis}))) for axis in range(3)]
    pieces = pieces[tuple(slice(at[0], at[-1] + 1) if len(at) else slice(0) for at in occupied)]
    n = int(pieces.max(initial=0)) + 1
    area = np.zeros((n, n))
    for axis in range(3):
        low, high = (np.moveaxis(pieces, axis, 0)[part] for part in (slice(-1), slice(1, None)))
        meet = (low != high) & (low > 0) & (high > 0)
        pairs = low[meet].astype(np.int64) * n + high[meet]
        area += np.bincount(pairs, minlength=n * n).reshape(n, n) * (np.prod(spacing) / spacing[axis])
    return (area + area.T)[1:, 1:]


def joined(
    area: np.ndarray, centres_mm: np.ndarray, volumes_ml: np.ndarray, names: np.ndarray, at_end: np.ndarray
) -> np.ndarray:
    """Which pieces are parts of one vertebra; those with the broadest faces are joined first.

    A smaller part on the first or last slice is left alone: it may be what the scan shows of the next vertebra, whose
    tips reach up to this one's facets.

    Args:
        area: `(n, n)` mm^2, of `faces_mm2`.
        centres_mm: `(n, 3)` world RAS.
        volumes_ml: `(n,)`, all above 0.
        names: `(n, 25)` mean probabilities; the likeliest says how far apart and how large vertebrae are there.
        at_end: `(n,)` bool, whether a piece reaches the top or the bottom of the scan.

    Returns:
        `(n,)` numbers from 0, the same for the parts of one vertebra.
    """
    area, centre, volume, names = (np.array(a, float) for a in (area, centres_mm, volumes_ml, names))
    end, owner = np.array(at_end, bool), np.arange(len(volume))
    between = np.append(spacing_mm(), spacing_mm()[-1])
    while len(volume) > 1:
        likeliest = names.argmax(1)
        step, usual = (np.maximum.outer(table[likeliest], table[likeliest]) for table in (between, _USUAL_ML))
        smaller = np.minimum.outer(volume, volume)
        face = area / (1000 * smaller) ** (2 / 3) / np.where(smaller < SMALL * usual, SMALL_FACE, FACE)
        face[np.abs(np.subtract.outer(centre[:, 2], centre[:, 2])) > APART * step] = 0.0
        face[np.add.outer(volume, volume) > FULL * usual] = 0.0
        face[np.where(np.less.outer(volume, volume), end[:, None], end[None])] = 0.0
        i, j = sorted(int(x) for x in np.unravel_index(face.argmax(), face.shape))
        if face[i, j] < 1.0:
            break
        share = volume[[i, j]] / (volume[i] + volume[j])
        for value in (centre, names):
            value[i] = share @ value[[i, j]]
        volume[i], end[i] = volume[i] + volume[j], end[i] | end[j]
        area[i] += area[j]
        area[:, i] += area[:, j]
        area[i, i] = 0.0
        area = np.delete(np.delete(area, j, 0), j, 1)
        centre, volume, names, end = (np.delete(value, j, 0) for value in (centre, volume, names, end))
        owner[owner == j] = i
        owner[owner > j] -= 1
    return owner
