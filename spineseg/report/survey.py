"""What the notebooks read from scans: one case at a time, turned to RAS+ axes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from spineseg.config import Config
from spineseg.data import cohort, nifti
from spineseg.data.geometry import spacing_of, to_canonical
from spineseg.data.presence import presence
from spineseg.report import tables


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
