"""Numbers on their way from a cell into the prose around it."""

from __future__ import annotations

import numbers

import numpy as np


def quote(**values) -> None:
    """Glue values under their names, so that the text of any page can quote them, and print them for JupyterLab.

    Args:
        **values: Numbers or words; NumPy scalars become plain ones, because pages format the stored text.

    Raises:
        TypeError: If a value is neither a number nor a word.
    """
    from myst_nb import glue  # the book's dependency, which a machine that only trains need not have

    shown = []
    for name, value in values.items():
        if isinstance(value, np.generic):
            value = value.item()
        if not isinstance(value, numbers.Number | str):
            raise TypeError(f"{name} must be a number or a word, got {type(value).__name__}")
        glue(name, value, display=False)
        shown.append(f"{name} {value:.3f}" if isinstance(value, float) else f"{name} {value}")
    print(" · ".join(shown))


def higher_or_lower(value: float, other: float, *, tolerance: float = 0.005) -> str:
    """The word for how `value` stands to `other`: `higher than`, `lower than` or `about the same as`."""
    if abs(value - other) <= tolerance:
        return "about the same as"
    return "higher than" if value > other else "lower than"
