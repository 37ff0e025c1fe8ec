"""Which vertebrae each case shows, how large and how dense: the table behind the first look at a cohort."""

from __future__ import annotations

import hashlib
import io
import warnings

import numpy as np
import pandas as pd

from spineseg.anatomy.labels import N_CLASSES, VERTEBRAE
from spineseg.config import ClusterConfig
from spineseg.data.case import Case
from spineseg.data.digest import code_version, content_hash, remember
from spineseg.data.parallel import map_cases
from spineseg.data.reference import no_scan, read_case, reference_hash
from spineseg.errors import CaseError
from spineseg.paths import store_folder


def presence(table: pd.DataFrame, *, cluster: ClusterConfig, progress: bool = True) -> pd.DataFrame:
    """Measure every vertebra of every case on the scan's own grid; remembered per case in the store.

    Args:
        table: From `cohort.cases`.
        cluster: Who measures.
        progress: Show a bar.

    Returns:
        DataFrame with 25 rows per case: `case, vertebra, voxels, ml, at_border` (touches the scan's edge), `median_hu`
        (nan where absent); nothing is present in a scan without segmentation. Cases that cannot be read are left out
        with a warning that names them.
    """
    jobs = [Case.of(row) for row in table.itertuples(index=False)]
    frames = []
    files = [job.ct for job in jobs]
    for result in map_cases(_measure, jobs, cluster=cluster, title="vertebrae", progress=progress, files=files):
        if isinstance(result, CaseError):
            warnings.warn(str(result), stacklevel=2)
        else:
            frames.append(result)
    columns = ["case", "vertebra", "voxels", "ml", "at_border", "median_hu"]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=columns)


def measure_vertebrae(ct_hu: np.ndarray, labels: np.ndarray, affine) -> pd.DataFrame:
    """Volume, border contact and density of the 25 vertebrae in one scan.

    Args:
        ct_hu: `(I, J, K)`.
        labels: `(I, J, K)` uint8, same grid.
        affine: `(4, 4)`, voxel index to RAS+ mm.

    Returns:
        25 rows: `vertebra, voxels, ml, at_border, median_hu` (nan where absent).
    """
    voxels = np.bincount(labels.ravel(order="K"), minlength=N_CLASSES)[1:N_CLASSES]
    faces = np.concatenate([labels.take(edge, axis).ravel() for axis in range(3) for edge in (0, -1)])
    at_border = np.bincount(faces, minlength=N_CLASSES)[1:N_CLASSES] > 0
    inside = labels > 0
    medians = pd.Series(ct_hu[inside]).groupby(labels[inside]).median()
    ml = voxels * abs(np.linalg.det(np.asarray(affine)[:3, :3])) / 1000
    median_hu = medians.reindex(range(1, N_CLASSES)).to_numpy(float)
    columns = {"vertebra": VERTEBRAE, "voxels": voxels, "ml": ml, "at_border": at_border, "median_hu": median_hu}
    return pd.DataFrame(columns)


def _measure(case: Case) -> pd.DataFrame:
    if not case.ct:
        raise no_scan(case.segmentation)
    hashes = [content_hash(case.ct), *([reference_hash(case.segmentation), case.scheme] if case.segmentation else [])]
    parts = (*hashes, code_version())
    note = store_folder() / "presence" / f"{hashlib.sha256('/'.join(parts).encode()).hexdigest()[:16]}.csv"
    if note.is_file():
        table = pd.read_csv(note)
    else:
        ct, labels = read_case(case)
        array = np.zeros(ct.array.shape, np.uint8) if labels is None else labels.array
        text = measure_vertebrae(ct.array, array, ct.affine).to_csv(index=False)
        remember(note, text)
        table = pd.read_csv(io.StringIO(text))
    table.insert(0, "case", case.case)
    return table
