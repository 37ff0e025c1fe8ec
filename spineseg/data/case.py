"""One case: its name, its scan, its segmentation and the scheme that the segmentation is numbered in."""

from __future__ import annotations

from typing import NamedTuple

from spineseg.anatomy.labels import Scheme


class Case(NamedTuple):
    """What reading a case takes; a plain tuple of strings, so that it travels to worker processes.

    Attributes:
        case: Name.
        ct: Path of the scan; empty where only a label map is there.
        segmentation: Path of its label map, or of a folder with one file per class; empty where there is none.
        scheme: Name of a `Scheme`, or pairs such as `"26=S1 27=L5"`.
    """

    case: str
    ct: str
    segmentation: str = ""
    scheme: str = Scheme.SPINESEG.value

    @classmethod
    def of(cls, row) -> Case:
        """The case in a row of any kind: of a table, a mapping, or a tuple in the order above."""
        if isinstance(row, tuple) and not hasattr(row, "_fields"):
            return cls(*(str(value) for value in row))
        get = row.get if hasattr(row, "get") else lambda name: getattr(row, name, None)
        values = {name: get(name) for name in cls._fields}
        filled = {k: str(v) for k, v in values.items() if v is not None and v == v}  # nan from a table: not there
        return cls(**({"ct": ""} | filled))
