"""What the notebooks read from scans: one case at a time, turned to RAS+ axes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import ndimage

from spineseg.config import Config
from spineseg.data import cohort, nifti
from spineseg.data.geometry import orientation_of, spacing_of, to_canonical
from spineseg.data.presence import presence
from spineseg.data.store import Store
from spineseg.report import tables
from spineseg.report.slices import BONE_WINDOW_HU


@dataclass(frozen=True)
class Scan:
    """A CT and its label map with RAS+ axes.

    Attributes:
        case: Name.
        ct_hu: `(I, J, K)`.
        labels: `(I, J, K)` uint8.
        affine: `(4, 4)`, voxel index to RAS+ mm.
    """

    case: str
    ct_hu: np.ndarray
    labels: np.ndarray
    affine: np.ndarray

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Voxel size in mm along I, J, K."""
        return spacing_of(self.affine)

    @property
    def indices(self) -> dict[str, int]:
        """The slice of each plane that holds the most of the spine."""
        return tables.busiest(self.labels)


def open_scan(row) -> Scan:
    """Read a case of the cohort.

    Args:
        row: With `case`, `ct`, `segmentation`.

    Returns:
        The scan.
    """
    ct, labels = nifti.read_pair(row.ct, row.segmentation)
    array, affine = to_canonical(ct.array, ct.affine)
    return Scan(str(row.case), array, to_canonical(labels.array, labels.affine)[0], affine)


def read_canonical(path) -> np.ndarray:
    """A label map from disk with RAS+ axes."""
    volume = nifti.read_labels(path)
    return to_canonical(volume.array, volume.affine)[0]


def fullest(cases: pd.DataFrame, vertebrae: pd.DataFrame) -> Scan:
    """The scan that shows the most vertebrae; of several, the one with most bone.

    Args:
        cases: Table of the cohort.
        vertebrae: Columns `case`, `vertebra`, `ml`.

    Returns:
        The scan.
    """
    seen = vertebrae.groupby("case").agg(count=("vertebra", "size"), ml=("ml", "sum"))
    name = seen.sort_values(["count", "ml"], kind="stable").index[-1]
    return open_scan(cases[cases["case"] == name].iloc[0])


def known_truth(config: Config) -> pd.DataFrame | None:
    """Visible share of each vertebra, which only phantoms know; None for real scans."""
    return cohort.truth(config) if config.cohort.layout == "phantom" else None


def headers(cases: pd.DataFrame) -> pd.DataFrame:
    """Voxel sizes and orientation of each case, from the headers alone.

    Args:
        cases: Table of the cohort.

    Returns:
        Columns of `tables.header_row`; cases whose header cannot be read are left out.
    """
    table = cohort.headers(cases)
    table = table[table["error"] == ""]
    return pd.DataFrame([tables.header_row(r.case, r.shape, r.spacing, r.orientation) for r in table.itertuples()])


def vertebrae(cases: pd.DataFrame, config: Config) -> pd.DataFrame:
    """Every vertebra of every case.

    Args:
        cases: Table of the cohort.
        config: Tells whether the cohort knows the visible shares, and how many processes may measure.

    Returns:
        Columns `case`, `vertebra`, `ml`, `at_border`, `median_hu`, `visible_share` (nan where it is not known).
    """
    table = presence(cases, workers=config.cohort.workers)
    table = table[table["voxels"] > 0].drop(columns="voxels")
    truth = known_truth(config)
    if truth is None:
        return table.assign(visible_share=np.nan)
    return table.merge(truth[["case", "vertebra", "visible_share"]], on=["case", "vertebra"], how="left")


def tissue(cases: pd.DataFrame, *, most: int = 24) -> pd.DataFrame:
    """HU by compartment, of at most `most` cases spread over the cohort (all voxels are read).

    Args:
        cases: Table of the cohort.
        most: Cases to read.

    Returns:
        Columns of `tables.hu_by_compartment`.
    """
    chosen = cases.iloc[np.unique(np.linspace(0, len(cases) - 1, min(most, len(cases))).round().astype(int))]
    scans = (open_scan(row) for row in chosen.itertuples())
    return pd.concat([tables.hu_by_compartment(s.case, s.ct_hu, s.labels, s.spacing) for s in scans], ignore_index=True)


def near_spine(labels, spacing, margin_mm: float) -> np.ndarray:
    """Voxels within a margin of any vertebra.

    Args:
        labels: `(I, J, K)` label map.
        spacing: Voxel size in mm along I, J, K.
        margin_mm: Largest distance.

    Returns:
        Boolean, of the same shape; all of it where there is no vertebra.
    """
    bone = np.asarray(labels) > 0
    if not bone.any():
        return np.ones(bone.shape, bool)
    return ndimage.distance_transform_edt(~bone, sampling=spacing) <= margin_mm


def margin_table(store: Store, margin_mm: float) -> pd.DataFrame:
    """How much of each prepared scan lies near its spine.

    Args:
        store: Prepared cases.
        margin_mm: As for `near_spine`.

    Returns:
        Columns `case`, `near_share` (of all voxels), `bone_share` (vertebrae, of all voxels), `stored_mb` and `raw_mb`
        (prepared folder and file of the scan on disk).
    """
    rows = []
    for row in store.table.itertuples():
        scan = store.load(str(row.case))
        near = near_spine(scan.labels, spacing_of(scan.affine), margin_mm)
        stored = sum(f.stat().st_size for f in store.path(str(row.case)).iterdir())
        rows.append(
            {
                "case": row.case,
                "near_share": near.mean(),
                "bone_share": (scan.labels > 0).mean(),
                "stored_mb": stored / 1e6,
                "raw_mb": Path(row.ct).stat().st_size / 1e6,
            }
        )
    return pd.DataFrame(rows)


def steps(store: Store, case: str) -> list[dict]:
    """One scan after each step of the preparation, for `slices.show_steps`.

    Args:
        store: Prepared cases.
        case: Name.

    Returns:
        The stored array as it lies on disk, on RAS+ axes, on the fine grid, on the coarse grid, and the fine grid with
        what lies far from the spine darkened.
    """
    row = next(r for r in store.table.itertuples() if str(r.case) == case)
    raw, turned, scan = nifti.read_ct(row.ct), open_scan(row), store.load(case)
    fine, coarse = spacing_of(scan.affine), spacing_of(scan.coarse_affine)
    at, coarse_at = tables.busiest(scan.labels)["sagittal"], tables.busiest(scan.coarse_labels)["sagittal"]
    near = near_spine(scan.labels, fine, store.config.inference.margin_mm)
    raw_step = {"image": raw.array, "spacing": raw.spacing, "index": raw.array.shape[0] // 2, "sides": False}
    return [
        raw_step | {"name": f"as stored ({orientation_of(raw.affine)})", "window_hu": BONE_WINDOW_HU},
        {"name": "turned to RAS", "image": turned.ct_hu, "spacing": turned.spacing, "index": turned.indices["sagittal"]}
        | {"window_hu": BONE_WINDOW_HU},
        {"name": f"{fine[0]:g} mm, windowed", "image": scan.image, "spacing": fine, "index": at},
        {"name": f"{coarse[0]:g} mm", "image": scan.coarse_image, "spacing": coarse, "index": coarse_at},
        {"name": "near the spine", "image": scan.image * np.where(near, 1.0, 0.3), "spacing": fine, "index": at},
    ]
