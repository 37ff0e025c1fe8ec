"""Chart of what each choice of the cascade is worth. A table comes in, axes go out."""

from __future__ import annotations

import numpy as np

from spineseg.report.theme import FAINT, INK, METHOD_COLOURS, new_axes, region_palette

OFFSET = 0.16  # between the two measures of a row


def draw_changes(changes, measures, *, ax=None):
    """Draw how far each changed choice moved two measures, with its interval.

    Args:
        changes: Columns `choice`, `change`, `measure`, `gain`, `low`, `high`.
        measures: The measure over all vertebrae, and that over the neck or over crops.
        ax: Axes to draw on; new ones when None.

    Returns:
        The axes.
    """
    rows = list(dict.fromkeys(zip(changes["choice"], changes["change"], strict=True)))
    ax = ax or new_axes(height_in=0.9 + 0.3 * len(rows))
    ax.axvline(0, color=FAINT, linewidth=0.8, zorder=0)
    second = region_palette()["cervical"] if "neck" in measures[1] else METHOD_COLOURS["baseline"]
    for measure, colour, marker, side in zip(measures, (INK, second), "os", (-OFFSET, OFFSET), strict=True):
        part = changes[changes["measure"] == measure].set_index(["choice", "change"]).reindex(rows)
        places = np.arange(len(rows)) + side
        ax.hlines(places, part["low"], part["high"], color=colour, linewidth=1.4)
        ax.plot(part["gain"], places, marker, color=colour, markersize=4, label=measure)
    for row in range(1, len(rows)):
        if rows[row][0] != rows[row - 1][0]:
            ax.axhline(row - 0.5, color=FAINT, linewidth=0.5, zorder=0)
    ax.set_yticks(range(len(rows)), [f"{choice}: {change}" for choice, change in rows])
    ax.set_ylim(len(rows) - 0.4, -0.6)
    ax.set_xlabel("change of the score against the unchanged network")
    ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return ax
