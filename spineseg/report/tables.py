"""Small tables of scans for the notebooks: from label maps and headers to what a figure or a sentence needs."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import ndimage

from spineseg.anatomy.labels import IDS, VERTEBRAE
from spineseg.data.audit import Audit, Severity
from spineseg.evaluation.surfaces import within

pd.set_option("styler.format.escape", "html")  # else a `.style` table shows names of files as live markup
_AIR_HU, _SHELL_VOXELS, _NEAR_MM = -700.0, 1, 12.0


def presence(vertebrae: pd.DataFrame, cases) -> pd.DataFrame:
    """Scans x vertebrae, ordered by field of view: the highest vertebra first, then the lowest.

    Args:
        vertebrae: Columns `case`, `vertebra`, `visible_share` (nan: unknown, counted as whole).
        cases: Every case, so that a scan without a vertebra keeps its row.

    Returns:
        Share visible in [0, 1], nan where absent; cases as rows, the 25 vertebrae as columns.
    """
    shares = vertebrae.assign(visible_share=vertebrae["visible_share"].fillna(1.0))
    table = shares.pivot_table(index="case", columns="vertebra", values="visible_share")
    table = table.reindex(index=list(cases), columns=list(VERTEBRAE))
    seen = table.notna().to_numpy()
    first = np.where(seen.any(1), seen.argmax(1), len(VERTEBRAE))
    last = np.where(seen.any(1), len(VERTEBRAE) - 1 - seen[:, ::-1].argmax(1), 0)
    return table.iloc[np.lexsort((last, first))]


def occurrence(shares: pd.DataFrame) -> pd.Series:
    """Share of scans that show any of each vertebra, from the table of `presence`."""
    return shares.notna().mean()


def whole(vertebrae: pd.DataFrame) -> pd.DataFrame:
    """The rows of vertebrae seen whole: by their visible share where it is known, else by both neighbours being there.

    Args:
        vertebrae: Columns `case`, `vertebra`, `visible_share`.

    Returns:
        The chosen rows.
    """
    index = vertebrae["vertebra"].map(IDS)
    there = set(zip(vertebrae["case"], index, strict=True))
    last = len(VERTEBRAE)
    between = [
        (i == 1 or (case, i - 1) in there) and (i == last or (case, i + 1) in there)
        for case, i in zip(vertebrae["case"], index, strict=True)
    ]
    share = vertebrae["visible_share"]
    return vertebrae[np.where(share.notna(), share > 0.995, between).astype(bool)]


def hu_by_compartment(case: str, ct_hu, labels, spacing) -> pd.DataFrame:
    """Percentiles of HU in the vertebrae, around them and in the rest of one scan.

    Args:
        case: Name of the case.
        ct_hu: `(I, J, K)`.
        labels: `(I, J, K)` label map.
        spacing: Voxel size in mm along I, J, K.

    Returns:
        Columns `case`, `compartment`, `p05_hu`, `p50_hu`, `p95_hu`; compartments without a voxel are left out.
    """
    ct_hu, bone = np.asarray(ct_hu), np.asarray(labels) > 0
    core = ndimage.binary_erosion(bone, iterations=_SHELL_VOXELS)
    near = within(bone, spacing, _NEAR_MM)
    air = ct_hu < _AIR_HU
    compartments = {
        "vertebra, inside": core,
        "vertebra, surface voxels": bone & ~core,
        f"within {_NEAR_MM:g} mm around": near & ~bone,
        "rest of the body": ~near & ~air,
        "air and lung": air & ~near,
    }
    rows = [
        dict(zip(("p05_hu", "p50_hu", "p95_hu"), np.percentile(ct_hu[mask], (5, 50, 95)), strict=True))
        | {"case": case, "compartment": name}
        for name, mask in compartments.items()
        if mask.any()
    ]
    return pd.DataFrame(rows)


def header_row(case: str, shape, spacing, orientation: str) -> dict:
    """What a header says of one scan, in the axial plane and across it, whatever the order of its axes.

    Args:
        case: Name of the case.
        shape: Voxels along I, J, K.
        spacing: Voxel size in mm along I, J, K.
        orientation: Such as `RAS`.

    Returns:
        `case`, `orientation`, `in_plane_mm` (geometric mean), `slice_mm`, `megavoxels`.
    """
    axial = next(i for i, letter in enumerate(orientation) if letter in "SI")
    plane = [spacing[i] for i in range(3) if i != axial]
    return {
        "case": case, "orientation": orientation, "in_plane_mm": float(np.sqrt(np.prod(plane))),
        "slice_mm": float(spacing[axial]), "megavoxels": float(np.prod(shape)) / 1e6,
    }  # fmt: skip


def busiest(labels) -> dict[str, int]:
    """The slice of each plane that holds the most of the spine.

    Args:
        labels: `(I, J, K)` label map with RAS+ axes.

    Returns:
        `{sagittal, coronal, axial: index}`; the middle where there is no label.
    """
    bone = np.asarray(labels) > 0
    result = {}
    for axis, plane in enumerate(("sagittal", "coronal", "axial")):
        counts = bone.sum(axis=tuple(a for a in range(3) if a != axis))
        result[plane] = int(counts.argmax()) if counts.any() else bone.shape[axis] // 2
    return result


def box_about(mask, spacing, *, margin_mm: float) -> tuple[slice, slice, slice]:
    """Box around what is true in a mask, widened by a margin; everything where nothing is true."""
    found = ndimage.find_objects(np.asarray(mask).astype(np.uint8))
    if not found:
        return tuple(slice(0, n) for n in np.shape(mask))
    margins = [round(margin_mm / step) for step in spacing]
    return tuple(slice(max(s.start - m, 0), s.stop + m) for s, m in zip(found[0], margins, strict=True))


def crop_about(label: int, spacing, *arrays, reference, margin_mm: float = 25.0):
    """Cut the neighbourhood of one vertebra out of several arrays.

    Args:
        label: Identifier of the vertebra.
        spacing: Voxel size in mm along I, J, K.
        *arrays: Arrays `(I, J, K)` to cut.
        reference: `(I, J, K)` label map that holds the vertebra.
        margin_mm: Around its bounding box.

    Returns:
        The cut arrays, and the position within them of the sagittal slice that shows most of the vertebra.
    """
    mask = np.asarray(reference) == label
    box = box_about(mask, spacing, margin_mm=margin_mm)
    return [np.asarray(a)[box] for a in arrays], int(mask[box].sum(axis=(1, 2)).argmax())


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
    return within(bone, spacing, margin_mm)


def findings(found: Audit) -> pd.DataFrame:
    """What an audit found, kind by kind.

    Args:
        found: The audit.

    Returns:
        Rows by `severity` and `code`, the worst and the commonest first: `cases` (how many), `for example`.
    """
    table = found.table()
    order = [s.value for s in Severity]
    groups = table.groupby(["severity", "code"], sort=False)
    result = groups.agg(cases=("case", "nunique"), example=("what", "first"), first=("case", "first")).reset_index()
    result["rank"] = result["severity"].map(order.index)
    result = result.sort_values(["rank", "cases"], ascending=[True, False], kind="stable")
    result["for example"] = [f"{r.first}: {r.example}" if r.first else r.example for r in result.itertuples()]
    return result.set_index(["severity", "code"])[["cases", "for example"]]
