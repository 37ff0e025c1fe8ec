"""Mean adult dimensions of the 25 levels in mm, before the patient's own scale.

Body, canal, pedicle and transverse span start from typical adult values, of the size that the cadaver studies of
Panjabi et al. report (Spine 1991 and 1992), without transcribing their tables. Disc heights, total depths and spinous
drops were read off CT masks of VerSe and TotalSegmentator patients. All were then rounded, smoothed and calibrated
until the painted volume of each level had the median of the real population (`VOLUME_ML`), their only target.
"""

from __future__ import annotations

import numpy as np

from spineseg.anatomy.labels import VERTEBRAE

COLUMNS = (
    "body_width",  # of the endplates, right to left
    "body_depth",  # of the endplates, anterior to posterior
    "body_height",  # along the body's axis; for C1 the anterior arch, for C2 without the dens
    "disc_below",  # thickness of the disc under it; for C1 0, there is none
    "canal_width",
    "canal_depth",
    "total_depth",  # anterior edge of the body to the tip of the spinous process, seen from above
    "transverse_span",  # tip to tip of the transverse processes
    "spinous_drop",  # how far the tip of the spinous process lies below the centre of the body
    "pedicle_width",
    "pedicle_height",
)

_TABLE = {
    # body: width, depth, height; disc; canal: width, depth; depth, span; drop; pedicle: width, height
    "C1": (12.0, 8.0, 11.0, 0.0, 28.0, 30.0, 46.0, 79.0, 2.0, 10.0, 12.0),
    "C2": (18.0, 15.5, 17.0, 5.0, 24.0, 19.0, 51.0, 55.0, 9.0, 9.0, 9.5),
    "C3": (17.5, 15.5, 12.2, 5.3, 23.0, 15.5, 44.5, 54.0, 8.0, 5.6, 7.4),
    "C4": (18.0, 15.5, 12.0, 5.3, 24.0, 15.5, 46.0, 55.0, 9.0, 5.4, 7.4),
    "C5": (18.5, 15.8, 11.9, 5.4, 24.6, 15.6, 49.0, 56.0, 10.5, 5.6, 7.0),
    "C6": (20.0, 16.4, 12.0, 5.5, 25.2, 15.8, 55.0, 57.0, 12.0, 6.0, 7.3),
    "C7": (22.5, 17.0, 13.2, 5.2, 24.4, 15.6, 63.0, 69.0, 15.0, 6.6, 7.5),
    "T1": (26.2, 18.1, 15.2, 4.6, 21.4, 16.0, 66.5, 75.0, 18.0, 8.4, 9.6),
    "T2": (26.6, 19.2, 16.8, 4.3, 19.4, 15.8, 68.4, 70.0, 20.5, 7.6, 11.4),
    "T3": (25.8, 20.7, 17.6, 4.1, 18.2, 15.8, 70.1, 66.0, 23.0, 6.2, 11.9),
    "T4": (25.6, 22.2, 18.0, 4.1, 17.4, 16.0, 72.5, 64.5, 25.5, 5.4, 12.1),
    "T5": (26.5, 23.9, 18.6, 4.3, 17.2, 16.0, 74.8, 63.5, 28.0, 5.4, 11.9),
    "T6": (27.4, 25.3, 19.2, 4.5, 17.2, 16.0, 75.6, 62.5, 30.0, 5.6, 12.0),
    "T7": (29.0, 27.1, 19.8, 4.7, 17.2, 16.0, 76.0, 61.5, 30.5, 6.0, 12.2),
    "T8": (30.5, 28.6, 20.4, 5.0, 17.4, 16.0, 75.3, 60.5, 29.5, 6.6, 12.8),
    "T9": (31.9, 29.6, 21.0, 5.4, 17.8, 16.0, 73.3, 59.0, 27.0, 7.2, 14.0),
    "T10": (34.0, 30.9, 22.2, 5.9, 18.2, 16.0, 72.6, 55.0, 24.0, 7.8, 15.0),
    "T11": (37.2, 32.2, 23.2, 6.4, 19.2, 16.6, 73.4, 49.0, 20.5, 8.6, 16.6),
    "T12": (40.7, 32.8, 24.6, 7.0, 21.6, 17.6, 76.2, 46.0, 18.5, 8.6, 16.4),
    "L1": (42.5, 33.5, 26.0, 7.8, 23.2, 17.8, 81.7, 70.0, 17.5, 8.4, 15.6),
    "L2": (44.3, 34.8, 26.6, 8.6, 23.6, 17.6, 86.8, 77.0, 17.0, 8.8, 15.0),
    "L3": (47.0, 36.2, 26.8, 9.6, 24.2, 17.4, 90.9, 85.0, 16.0, 10.4, 14.6),
    "L4": (49.1, 36.3, 26.8, 10.4, 25.2, 17.6, 89.6, 83.0, 14.5, 13.0, 14.8),
    "L5": (50.0, 35.4, 26.6, 10.2, 27.4, 18.0, 84.0, 95.0, 13.0, 18.0, 15.0),
    "S1": (48.5, 32.4, 28.0, 2.0, 31.0, 18.0, 62.0, 98.0, 12.0, 24.0, 18.0),
}

# Volume in ml of vertebrae seen whole: 10th, 50th and 90th percentile over 218 CT scans at 1.5 mm
# (prada-1/nnunet-spine-segmentation, results/holdout_summary.json).
VOLUME_ML = {
    "C1": (10.3, 13.5, 17.3), "C2": (14.5, 18.4, 23.1), "C3": (9.6, 13.2, 18.2), "C4": (9.9, 12.8, 17.4),
    "C5": (10.7, 14.0, 19.2), "C6": (10.6, 14.7, 20.1), "C7": (12.6, 17.5, 23.1), "T1": (17.3, 22.8, 28.5),
    "T2": (18.1, 23.4, 29.5), "T3": (17.3, 22.4, 28.2), "T4": (18.2, 23.3, 29.9), "T5": (18.4, 25.4, 32.2),
    "T6": (19.5, 26.5, 35.3), "T7": (21.7, 29.2, 38.1), "T8": (22.6, 31.9, 41.5), "T9": (24.8, 34.5, 45.7),
    "T10": (30.4, 39.6, 50.6), "T11": (31.4, 42.3, 54.1), "T12": (36.5, 46.7, 59.0), "L1": (40.8, 52.9, 65.2),
    "L2": (44.4, 58.1, 71.8), "L3": (50.9, 64.8, 84.2), "L4": (50.7, 65.5, 75.9), "L5": (50.4, 61.8, 74.8),
    "S1": (33.8, 47.4, 59.2),
}  # fmt: skip

# Thickness of everything behind the body against the plan in `vertebra_*.py`, from calibration.
ARCH = {
    "C1": 1.03, "C2": 0.93, "C3": 1.07, "C4": 1.04, "C5": 1.09, "C6": 1.08, "C7": 1.14,
    "T1": 1.09, "T2": 1.06, "T3": 1.02, "T4": 1.01, "T5": 1.05, "T6": 1.01, "T7": 1.07, "T8": 1.10, "T9": 1.11,
    "T10": 1.15, "T11": 1.19, "T12": 1.17, "L1": 1.10, "L2": 1.11, "L3": 1.17, "L4": 1.12, "L5": 0.99, "S1": 0.90,
}  # fmt: skip


def dimensions() -> dict[str, np.ndarray]:
    """The mean dimensions, one array per column.

    Returns:
        `{name: (25,) float64 mm}` for the names in `COLUMNS`, in the order of `labels.VERTEBRAE`.
    """
    table = np.array([_TABLE[name] for name in VERTEBRAE], float)
    return {column: table[:, i].copy() for i, column in enumerate(COLUMNS)}
