"""Does the label map lie on the bone of its scan, and is the patient's left on the left?"""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd

from spineseg.anatomy.labels import IDS
from spineseg.data.affine import spacing_of, to_canonical
from spineseg.data.audit.measures import foreground_box

BONE_HU = 130.0  # brighter than muscle and most marrow; the shell of every vertebra is
SAMPLES = 20_000  # labelled voxels that are looked at
ACROSS_MM = 4.0  # from a labelled voxel to one that is not, across the surface
# More of the voxels inside the surface than outside are bone: by 0.52 and more in real pairs, by 0.14 and more in
# phantoms of 3 mm, by 0.08 at most where the label map was another's or lay 20 mm away. Blur and thin bone lower it, so
# what falls below is held against the same label map moved aside: in place, the step in HU is larger than nearby.
LEAST_EDGE, CLEAR_EDGE, CLEARLY_MORE = 0.1, 0.25, 0.1
ASIDE_MM, LEAST_GAIN_HU = (-24.0, -12.0, 12.0, 24.0), 10.0
HU_RANGE = (-150, 500)  # beyond it lung, metal and the shell would outweigh everything
AXES = {0: "left-right", 1: "front-back", 2: "head-foot"}
LUNG_LEVELS, LIVER_LEVELS = ("T6", "T10"), ("T11", "L1")
LEAST_SHARE = 0.03  # of the body in those slices; with less of the tissue there is nothing to tell the sides by
LEAST_HALF_MM = 100.0  # of body on each side; a narrower scan is a crop of the spine
LIVER_LEFT = -0.1  # (right - left) / (right + left) of soft tissue; phantoms have 0.17 to 0.45
LUNG_LEFT = 0.02  # the same of air in the lungs; phantoms have 0.05 and more


def check_placement(ct_hu: np.ndarray, labels: np.ndarray, affine, parts: pd.DataFrame) -> list[tuple[str, str]]:
    """Check a label map against its scan.

    Args:
        ct_hu: `(I, J, K)`.
        labels: `(I, J, K)` uint8, same grid.
        affine: `(4, 4)`, voxel index to RAS+ mm.
        parts: From `components`.

    Returns:
        Pairs of a code of `findings.CODES` and what was found.
    """
    ct_hu, canonical = to_canonical(ct_hu, affine)
    labels = to_canonical(labels, affine)[0]
    if foreground_box(labels) is None:
        return []
    return _on_bone(ct_hu, labels, spacing_of(canonical)) + _sides(ct_hu, canonical, parts)


def _on_bone(ct_hu: np.ndarray, labels: np.ndarray, spacing) -> list[tuple[str, str]]:
    pairs = _across(labels, spacing)
    here, step_hu = edge(ct_hu, *pairs)
    other_way = edge(ct_hu, *_across(np.flip(labels, 0), spacing))[0]  # a spine is nearly its own mirror image
    if other_way > here + CLEARLY_MORE:
        what = f"flipped {AXES[0]}, its surface is more of an edge of bone (contrast {other_way:.2f} for {here:.2f})"
        return [("label-mirrored", what)]
    if here >= LEAST_EDGE:
        return []
    flipped = {axis: edge(ct_hu, *_across(np.flip(labels, axis), spacing))[0] for axis in AXES}
    best = max(flipped, key=flipped.get)
    seen = f"the surface of the labels is no edge of bone (contrast {here:.2f}, {LEAST_EDGE} expected)"
    if flipped[best] >= CLEAR_EDGE:
        return [("label-mirrored", f"{seen}; flipped {AXES[best]} it is ({flipped[best]:.2f})")]
    aside = []
    for axis, mm in itertools.product((0, 1), ASIDE_MM):
        move = np.zeros(3, int)
        move[axis] = round(mm / spacing[axis])
        aside.append(edge(ct_hu, *(where + move for where in pairs))[1])
    return [("off-bone", seen)] if step_hu < max(aside) + LEAST_GAIN_HU else []


def _across(labels: np.ndarray, spacing) -> tuple[np.ndarray, np.ndarray]:
    """Indices `(n, 3)` of labelled voxels near the surface, and of the voxels `ACROSS_MM` beyond it."""
    box = foreground_box(labels)
    where = np.argwhere(labels[box])
    where = where[:: max(1, len(where) // SAMPLES)] + [s.start for s in box]
    inside, outside = [], []
    for axis, sign in itertools.product(range(3), (-1, 1)):
        beyond = where.copy()
        beyond[:, axis] += sign * max(1, round(ACROSS_MM / spacing[axis]))
        kept = ((beyond >= 0) & (beyond < labels.shape)).all(1)
        here, there = where[kept], beyond[kept]
        free = labels[tuple(there.T)] == 0
        inside.append(here[free])
        outside.append(there[free])
    return np.concatenate(inside), np.concatenate(outside)


def edge(ct_hu: np.ndarray, inside: np.ndarray, outside: np.ndarray) -> tuple[float, float]:
    """How much a surface is an edge of bone.

    Args:
        ct_hu: `(I, J, K)`.
        inside: `(n, 3)` indices of voxels within it.
        outside: `(n, 3)` indices of the voxels beyond it.

    Returns:
        Share of bone (`BONE_HU`) inside less that outside, and the mean step in HU; 0 where nothing lies in the scan.
    """
    kept = ((inside >= 0) & (inside < ct_hu.shape) & (outside >= 0) & (outside < ct_hu.shape)).all(1)
    if not kept.any():
        return 0.0, 0.0
    within, beyond = (ct_hu[tuple(where[kept].T)].astype(np.float32) for where in (inside, outside))
    share = (within > BONE_HU).mean() - (beyond > BONE_HU).mean()
    return float(share), float(np.clip(within, *HU_RANGE).mean() - np.clip(beyond, *HU_RANGE).mean())


def _sides(ct_hu: np.ndarray, affine, parts: pd.DataFrame) -> list[tuple[str, str]]:
    """The heart takes room from the left lung, the liver fills the right; both the other way round is mirrored."""
    lung = _difference(ct_hu, affine, parts, LUNG_LEVELS, (-1000, -500))
    liver = _difference(ct_hu, affine, parts, LIVER_LEVELS, (20, 160))
    if liver is None or liver > LIVER_LEFT or (lung is not None and lung > LUNG_LEFT):
        return []
    what = f"soft tissue in front of {'-'.join(LIVER_LEVELS)} is {-liver:.0%} heavier on the left"
    more = "" if lung is None else f", and the left lung is no smaller at {'-'.join(LUNG_LEVELS)}"
    return [("scan-mirrored", what + more)]


def _difference(ct_hu, affine, parts, levels, window) -> float | None:
    """(right - left) / (right + left) of the voxels in a window of HU, over slices between two levels; None unseen."""
    main = parts[(parts["component"] == 0) & (parts["label"] >= IDS[levels[0]]) & (parts["label"] <= IDS[levels[1]])]
    if len(main) < 2:
        return None
    centres = main[["r_mm", "a_mm", "s_mm"]].to_numpy()
    index = np.rint((centres - affine[:3, 3]) @ np.linalg.inv(affine[:3, :3]).T).astype(int)
    low, high = index[:, 2].min(), index[:, 2].max()
    middle, front = (int(np.median(index[:, axis])) for axis in (0, 1))
    half = min(middle, ct_hu.shape[0] - 1 - middle)
    slab = ct_hu[middle - half : middle + half + 1, :, max(low, 0) : high + 1]
    slab = slab[:, max(front, 0) :]  # the organs lie in front of the spine; the room behind is the table's
    body = _inside_body(slab)
    chosen = (slab >= window[0]) & (slab <= window[1]) & body
    left, right = int(chosen[:half].sum()), int(chosen[half + 1 :].sum())
    if left + right < LEAST_SHARE * max(int(body.sum()), 1) or half * spacing_of(affine)[0] < LEAST_HALF_MM:
        return None  # a crop of the spine, or none of this tissue
    return (right - left) / (right + left)


def _inside_body(slab: np.ndarray) -> np.ndarray:
    """Between the outermost soft tissue of each row from right to left: leaves out the air around the patient."""
    tissue = slab > -200
    return np.logical_or.accumulate(tissue, 0) & np.logical_or.accumulate(tissue[::-1], 0)[::-1]
