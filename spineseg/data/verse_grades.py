"""VerSe's table of fractures: a row per scan, a column per vertebra with its Genant grade."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd

from spineseg.anatomy.labels import IDS

SCAN, PATIENT = "verse_ID", "subject_ID"
GRADE = re.compile(r"^([TL]\d+)_fx-g$")


def is_verse_table(columns) -> bool:
    """Whether these are the columns of VerSe's table: `verse_ID` and one or more such as `L1_fx-g`."""
    return SCAN in columns and any(GRADE.match(str(c)) for c in columns)


def read_grades(path: Path) -> pd.DataFrame:
    """Grades of every vertebra that was graded.

    Args:
        path: The table as CSV. VerSe's authors publish it as a spreadsheet; save its first sheet as CSV.

    Returns:
        `names` (a tuple of the names that a folder of the scan may have), `place` (such as L1) and `grade` (0 to 3).
        What is empty was not graded; T13 and L6, which have no label here, are left out.

    Raises:
        ValueError: If a column is missing or a grade is not 0, 1, 2 or 3.

    Source:
        Supplement of Loeffler et al., A Vertebral Segmentation Dataset with Fracture Grading, Radiology: Artificial
        Intelligence 2(4), 2020 (PMC8082364). The names of the columns are those that public code reads from it; the
        table itself was not at hand.
    """
    table = pd.read_csv(path)
    if not is_verse_table(table.columns):
        raise ValueError(f"{path} must have the columns {SCAN} and such as L1_fx-g, got {', '.join(table.columns[:8])}")
    rows = []
    for row in table[table[SCAN].notna()].to_dict("records"):
        scan = int(row[SCAN])
        patient = int(row[PATIENT]) if pd.notna(row.get(PATIENT)) else scan
        names = (f"verse{scan:03d}", f"sub-verse{scan:03d}", f"sub-verse{patient:03d}_split-verse{scan:03d}")
        for column, grade in row.items():
            match = GRADE.match(str(column))
            if match is None or match[1] not in IDS or pd.isna(grade):
                continue
            if grade not in (0, 1, 2, 3):
                raise ValueError(
                    f"{path}: a Genant grade is 0, 1, 2 or 3, got {grade!r} in {column} of verse{scan:03d}"
                )
            rows.append((names, match[1], int(grade)))
    return pd.DataFrame(rows, columns=["names", "place", "grade"])
