"""Whole phantom spines as label maps, without the scan around them: quick enough to be measured by the dozen."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

import numpy as np
import pandas as pd

from spineseg.anatomy.morphometry import measure
from spineseg.anatomy.phantom.canvas import Canvas
from spineseg.anatomy.phantom.planting import Pathology
from spineseg.anatomy.phantom.spine import Spine, draw_spine
from spineseg.anatomy.phantom.vertebra_raster import Pose, draw_poses, rasterise

MARGIN_MM = 0.45  # how far labels reach outside the bone, the middle of what is drawn for a scan


def whole_spine(
    seed: int, *, spacing_mm: float = 1.5, pathology: Pathology | None = None, turn: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The labels of the patient that `phantom.generate` draws from the same seed, all levels in view.

    Arches and label margin are drawn anew, since in a scan they come after the tissue.

    Args:
        seed: Decides everything.
        spacing_mm: Of the cubic voxels.
        pathology: What is planted.
        turn: `(3, 3)` rotation of the patient on the grid; None leaves it straight.

    Returns:
        uint8 `(I, J, K)` with an empty border, and the `(4, 4)` affine, voxel index to RAS+ mm.

    Raises:
        ValueError: If the spacing is not positive.
    """
    if not spacing_mm > 0:
        raise ValueError(f"spacing_mm must be positive, got {spacing_mm}; 1 to 3 is usual")
    poses = poses_of(seed, pathology=pathology, turn=turn)
    centres = np.array([pose.centre_mm for pose in poses])
    canvas = Canvas(centres.min(0), np.ceil(np.ptp(centres, 0) / spacing_mm) + 1, (spacing_mm,) * 3)
    raster = rasterise(canvas, poses, MARGIN_MM)
    names = np.array([0] + [pose.level + 1 for pose in poses], np.uint8)  # where one level occurs twice, one label
    affine = canvas.affine
    affine[:3, 3] += spacing_mm * (np.array([start for start, _ in raster.span]) - 1.0)
    return np.pad(names[raster.owner.cpu().numpy()], 1), affine


def poses_of(seed: int, *, pathology: Pathology | None = None, turn: np.ndarray | None = None) -> list[Pose]:
    """Size and place of every vertebra in `whole_spine`, C1 first."""
    spine, rng = _patient(seed, pathology)
    poses = draw_poses(spine, rng)
    if turn is None:
        return poses
    return [dataclasses.replace(p, centre_mm=turn @ p.centre_mm, rotation=turn @ p.rotation) for p in poses]


def has_usual_count(seed: int) -> bool:
    """Whether the patient of a seed has neither a vertebra more nor one less."""
    return not _patient(seed)[0].variant


def _patient(seed: int, pathology: Pathology | None = None) -> tuple[Spine, np.random.Generator]:
    """The spine of a seed as `generate` draws it, and the generator that its poses are drawn from."""
    streams = [np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(5)]
    return draw_spine(streams[0], pathology, seed), streams[3]


def measured_phantoms(seeds: Iterable[int], *, spacing_mm: float = 1.5) -> pd.DataFrame:
    """Measure the vertebrae of several phantoms; patients with a vertebra more or less are left out.

    A name that comes twice would be measured as one vertebra, and its neighbours would stand too far apart.

    Args:
        seeds: One patient each.
        spacing_mm: Of the label maps, and of the lattice on which they are measured.

    Returns:
        `seed` and the columns of `morphometry.measure`, a row per vertebra; empty without seeds.
    """
    tables = [
        measure(*whole_spine(seed, spacing_mm=spacing_mm), step_mm=spacing_mm).assign(seed=int(seed))
        for seed in seeds
        if has_usual_count(seed)
    ]
    return pd.concat(tables, ignore_index=True) if tables else measure(np.zeros((1, 1, 1), np.uint8), np.eye(4))
