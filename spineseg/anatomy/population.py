"""The real population that a cohort is held against: volume and occurrence of each vertebra.

Source:
    218 CT scans at 1.5 mm, `results/holdout_summary.json` of prada-1/nnunet-spine-segmentation.
"""

from __future__ import annotations

import pandas as pd

from spineseg.anatomy.labels import VERTEBRAE
from spineseg.anatomy.phantom.levels import VOLUME_ML

SCANS = 218
SCANS_WITH = (
    40, 39, 35, 42, 66, 105, 125,
    127, 129, 134, 134, 133, 130, 138, 150, 161, 167, 170, 165,
    155, 142, 126, 119, 117, 116,
)  # C1 .. S1: scans that contain any of it  # fmt: skip


def population() -> pd.DataFrame:
    """The real population, one row per vertebra.

    Returns:
        Table indexed by vertebra: `p10_ml`, `p50_ml`, `p90_ml` (volume of vertebrae seen whole) and `share` (of scans
        that contain any of it, in [0, 1]).
    """
    table = pd.DataFrame.from_dict(VOLUME_ML, orient="index", columns=["p10_ml", "p50_ml", "p90_ml"])
    table["share"] = [count / SCANS for count in SCANS_WITH]
    return table.loc[list(VERTEBRAE)].rename_axis("vertebra")
