"""Mean adult dimensions of the 25 levels in mm, before the patient's own scale.

Body, canal, pedicle and transverse span start from typical adult values, of the size that the cadaver studies of
Panjabi et al. report (Spine 1991 and 1992), without transcribing their tables. They were then held, level by level,
against the CT masks of nine VerSe and TotalSegmentator patients (`anatomy.real_masks`), each scaled to the phantom's
size; that set the total depths, the spinous drops, the spans and the heights in the neck. One or two old patients show
T5 to T10: where their bodies are lower than the neighbours', they were not followed. `ARCH` was calibrated last, until
the volume of each level had the median of the real population (`VOLUME_ML`).
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
    "C1": (12.0, 8.0, 11.0, 0.0, 29.5, 32.0, 46.0, 79.0, 2.0, 10.0, 12.0),
    "C2": (18.0, 15.5, 17.0, 5.0, 26.0, 19.0, 51.0, 55.0, 4.0, 9.0, 9.5),
    "C3": (18.5, 17.0, 13.2, 4.5, 23.0, 15.5, 41.5, 54.0, 11.0, 5.6, 7.4),
    "C4": (19.2, 17.0, 13.0, 4.5, 24.0, 15.5, 42.5, 55.0, 10.5, 5.4, 7.4),
    "C5": (20.0, 17.0, 12.9, 4.5, 24.6, 15.6, 46.5, 56.0, 9.5, 5.6, 7.0),
    "C6": (22.4, 17.5, 12.9, 4.7, 25.2, 15.8, 53.5, 57.0, 8.5, 6.0, 7.3),
    "C7": (24.5, 17.4, 14.0, 4.6, 24.4, 15.6, 61.0, 72.0, 11.5, 6.6, 7.5),
    "T1": (27.2, 18.5, 16.0, 4.3, 21.4, 16.5, 63.8, 76.5, 17.0, 8.4, 9.6),
    "T2": (27.6, 19.6, 16.8, 4.3, 19.4, 16.3, 64.8, 71.4, 19.5, 7.6, 11.4),
    "T3": (26.8, 21.1, 17.6, 4.1, 18.2, 16.3, 66.8, 67.3, 20.0, 6.2, 11.9),
    "T4": (26.6, 22.6, 18.0, 4.1, 17.4, 16.5, 70.4, 65.8, 22.0, 5.4, 12.1),
    "T5": (27.5, 24.4, 18.6, 4.3, 17.2, 16.5, 71.9, 64.8, 24.5, 5.4, 11.9),
    "T6": (28.5, 25.8, 19.2, 4.5, 17.2, 16.5, 72.4, 63.8, 27.5, 5.6, 12.0),
    "T7": (30.2, 27.6, 19.8, 4.7, 17.2, 16.5, 72.4, 62.7, 29.0, 6.0, 12.2),
    "T8": (32.5, 29.8, 20.4, 5.0, 17.4, 16.5, 72.4, 61.7, 26.0, 6.6, 12.8),
    "T9": (34.9, 31.2, 21.0, 5.4, 17.8, 16.5, 71.9, 60.2, 21.0, 7.2, 14.0),
    "T10": (37.5, 32.8, 22.2, 5.4, 18.2, 16.5, 72.4, 56.1, 16.0, 7.8, 15.0),
    "T11": (39.1, 33.5, 23.9, 5.9, 19.2, 17.1, 74.5, 50.0, 11.5, 8.6, 16.6),
    "T12": (42.7, 34.2, 25.3, 6.4, 21.6, 18.1, 78.0, 51.0, 10.0, 8.6, 16.4),
    "L1": (44.7, 34.9, 26.3, 7.0, 23.2, 18.3, 84.2, 71.4, 8.5, 8.4, 15.6),
    "L2": (46.5, 36.2, 26.9, 7.9, 23.6, 18.1, 89.2, 78.5, 8.5, 8.8, 15.0),
    "L3": (49.4, 37.6, 27.6, 8.7, 24.2, 17.9, 92.8, 86.7, 9.5, 10.4, 14.6),
    "L4": (51.6, 37.7, 27.6, 9.3, 25.2, 18.1, 91.3, 84.7, 10.5, 13.0, 14.8),
    "L5": (51.5, 36.1, 27.4, 9.0, 27.4, 18.0, 82.0, 95.0, 17.0, 18.0, 15.0),
    "S1": (48.5, 37.5, 25.0, 2.0, 26.0, 15.0, 63.0, 98.0, 18.0, 24.0, 18.0),
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
    "C1": 1.04, "C2": 0.92, "C3": 1.10, "C4": 1.04, "C5": 1.14, "C6": 1.14, "C7": 1.12,
    "T1": 1.10, "T2": 1.11, "T3": 1.05, "T4": 1.02, "T5": 1.07, "T6": 1.05, "T7": 1.09, "T8": 1.11, "T9": 1.14,
    "T10": 1.20, "T11": 1.14, "T12": 1.09, "L1": 1.02, "L2": 1.06, "L3": 1.08, "L4": 1.00, "L5": 0.93, "S1": 0.98,
}  # fmt: skip


def dimensions() -> dict[str, np.ndarray]:
    """The mean dimensions, one array per column.

    Returns:
        `{name: (25,) float64 mm}` for the names in `COLUMNS`, in the order of `labels.VERTEBRAE`.
    """
    table = np.array([_TABLE[name] for name in VERTEBRAE], float)
    return {column: table[:, i].copy() for i, column in enumerate(COLUMNS)}
