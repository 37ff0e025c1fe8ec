"""What the notebooks read from scans: one case at a time, turned to RAS+ axes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from spineseg.config import Config
from spineseg.data import cohort, nifti
from spineseg.data.audit import Audit, audit
from spineseg.data.case import Case
from spineseg.data.geometry import spacing_of, to_canonical
from spineseg.data.presence import presence
from spineseg.data.reference import read_case, read_reference
from spineseg.data.splits import split
from spineseg.data.store import Store
from spineseg.evaluation.ceiling import resolution_ceiling
from spineseg.learning.cascade import build
from spineseg.learning.predicting import predict_cohort
from spineseg.learning.training import METHODS, train
from spineseg.learning.vnet import count_parameters
from spineseg.paths import run_folder
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


def audited(config: Config) -> Audit:
    """The audit of the cohort, with the split that a training would use."""
    listing = cohort.listing(config)
    try:
        parts = split(listing.table, config).set_index("case")["split"]
    except ValueError:  # too few cases to split; a training says so
        parts = None
    return audit(listing, config.cluster, parts=parts)


def open_scan(row) -> Scan:
    """Read a case of the cohort.

    Args:
        row: Of the cohort's table.

    Returns:
        The scan; its label map is empty where there is no segmentation.
    """
    case = Case.of(row)
    ct, labels = read_case(case)
    array, affine = to_canonical(ct.array, ct.affine)
    named = np.zeros(ct.array.shape, np.uint8) if labels is None else labels.array
    return Scan(case.case, array, to_canonical(named, ct.affine)[0], affine)


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
        The scan; the first one where no scan shows a vertebra.
    """
    if vertebrae.empty:
        return open_scan(cases.iloc[0])
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
    table = presence(cases, cluster=config.cluster)
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
        scan = store.load(str(row.case)).with_labels()
        near = tables.near_spine(scan.labels, spacing_of(scan.affine), margin_mm)
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


def history(config: Config) -> tuple[pd.DataFrame, pd.DataFrame]:
    """What a run wrote while it trained.

    Args:
        config: Names the run.

    Returns:
        One row per network and epoch, and one per network, epoch and vertebra.
    """
    folder = run_folder(config.run)
    return pd.read_csv(folder / "history.csv"), pd.read_csv(folder / "history_vertebrae.csv")


def cost(epochs: pd.DataFrame, config: Config) -> pd.DataFrame:
    """What each network of a run cost.

    Args:
        epochs: First table of `history`.
        config: Holds the networks.

    Returns:
        Table indexed by network: minutes, million parameters, steps.
    """
    last = epochs.groupby("network", sort=False)[["seconds", "step"]].max()
    millions = [count_parameters(build(config, name)) / 1e6 for name in last.index]
    return pd.DataFrame(
        {"minutes": last["seconds"] / 60, "million parameters": millions, "steps": last["step"]}, index=last.index
    )


def ceiling(cases: pd.DataFrame, spacings_mm) -> pd.DataFrame:
    """Resolution ceiling of each vertebra of some cases at several voxel sizes.

    Args:
        cases: Rows of the cohort's table.
        spacings_mm: Voxel sizes.

    Returns:
        Columns `case`, `vertebra`, `spacing_mm`, `ceiling`.
    """
    tables = []
    for row in cases[cases["segmentation"] != ""].itertuples():
        volume = read_reference(row.segmentation, Case.of(row).scheme)
        tables += [resolution_ceiling(volume.array, volume.affine, mm, case=str(row.case)) for mm in spacings_mm]
    columns = ["case", "vertebra", "spacing_mm", "ceiling"]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=columns)


def ensure_trained(config: Config) -> None:
    """Train the methods of a run that has no networks of them yet; a run that has some is left as it is."""
    folder = run_folder(config.run) / "checkpoints"
    for method, networks in METHODS.items():
        if not all((folder / f"{name}-best.safetensors").is_file() for name in networks):
            train(config, method)


def predictions(config: Config, cases: pd.DataFrame) -> pd.DataFrame:
    """Where the label maps of the test cases lie; what is missing is predicted.

    Args:
        config: Names the run.
        cases: Table of the cohort.

    Returns:
        Columns `method`, `case`, `prediction` (path).
    """
    tables = [predict_cohort(config, method, cases).assign(method=method) for method in METHODS]
    return pd.concat(tables, ignore_index=True)[["method", "case", "prediction"]]


def parameters(config: Config) -> dict[str, int]:
    """How many values each network of the configuration trains, as `<network>_parameters`."""
    names = [name for networks in METHODS.values() for name in networks]
    return {f"{name}_parameters": count_parameters(build(config, name)) for name in names}


def skipped_steps(epochs: pd.DataFrame) -> int:
    """Steps of all networks of a run that were left out for a gradient that was not finite."""
    return int(epochs.groupby("network")["skipped_steps"].max().sum())


def training_cases(config: Config) -> list[str]:
    """Names of the cases that the run was trained on, as its folder records them."""
    parts = pd.read_csv(run_folder(config.run) / "splits.csv", dtype=str)
    return parts["case"][parts["split"] == "train"].tolist()


def settings(config: Config) -> dict[str, str | float]:
    """How each network was set up, as `<network>_loss`, `<network>_norm` and `<network>_rate` (peak learning rate)."""
    stages = {name: getattr(config, name) for networks in METHODS.values() for name in networks}
    losses = {f"{name}_loss": stage.loss for name, stage in stages.items()}
    norms = {f"{name}_norm": stage.network.norm for name, stage in stages.items()}
    return losses | norms | {f"{name}_rate": stage.learning_rate for name, stage in stages.items()}
