"""References that leave visible vertebrae unlabelled: what they cannot judge.

VerSe labels no sacrum, and no vertebra that the edge of the scan cuts, although both are visible. A prediction in them
is right, or at least no error that such a reference could show.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from spineseg.anatomy.labels import IDS, N_CLASSES, VERTEBRAE

MOSTLY = 0.5  # of a piece's voxels on labelled bone: more, and the piece is that bone under some name


def unjudged(reference, prediction, *, ignore: Sequence[str] = ()) -> np.ndarray:
    """Predicted voxels that an incomplete reference says nothing about.

    These are the voxels off the reference's vertebrae of

    - every piece of one name that reaches the edge of the scan and lies mostly off the reference: an unlabelled
      vertebra that the edge cuts. It is told by its place, not by its name, because the names may be shifted;
    - the names in `ignore`, such as the sacrum's.

    What lies on a vertebra of the reference is judged in any case: bone under a wrong name is a wrong name.

    Args:
        reference: Label map, `(I, J, K)`, whole numbers 0..25.
        prediction: Label map of the same shape.
        ignore: Names that the reference never labels.

    Returns:
        Boolean, `(I, J, K)`.

    Raises:
        ValueError: If the shapes differ or a name is unknown.
    """
    import cc3d  # here, not above: scores of complete references do without

    reference, prediction = np.asarray(reference), np.asarray(prediction)
    if reference.shape != prediction.shape:
        raise ValueError(f"prediction must lie on the grid of the reference {reference.shape}, got {prediction.shape}")
    if unknown := [n for n in ignore if n not in IDS]:
        raise ValueError(f"unknown vertebrae to ignore: {unknown}; known: {', '.join(VERTEBRAE)}")
    off = (reference == 0) & (prediction > 0)
    names = np.zeros(N_CLASSES, bool)
    names[[IDS[n] for n in ignore]] = True
    pieces = cc3d.connected_components(np.ascontiguousarray(prediction.astype(np.uint8)), connectivity=26)
    voxels = np.bincount(pieces.ravel())
    on_bone = np.bincount(pieces[reference > 0], minlength=len(voxels))
    unlabelled = _at_edge(pieces, len(voxels)) & (on_bone <= MOSTLY * voxels)
    unlabelled[0] = False
    return off & (unlabelled[pieces] | names[prediction])


def _at_edge(pieces: np.ndarray, n: int) -> np.ndarray:
    """`(n,)` bool: which pieces reach any of the six faces of the array."""
    found = np.zeros(n, bool)
    for axis in range(3):
        for end in (0, -1):
            found[np.unique(np.take(pieces, end, axis=axis))] = True
    return found
