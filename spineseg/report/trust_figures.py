"""Charts of how far a prediction can be trusted: bone that is none, and confidence. Tables come in, axes go out."""

from __future__ import annotations

import numpy as np

from spineseg.report.theme import FAINT, INK, METHOD_COLOURS, METHOD_MARKERS, new_axes

LINEAR_ML, LEAST_ML = 0.1, 2.0  # below the first the axis is linear, so that 0 has a place; it reaches to the second
SPREAD = 0.28  # of the dots of a method about its line


def draw_false_volumes(cases, summary, *, limit_ml, ax=None):
    """Draw how much bone that is none each method painted into each scan.

    Args:
        cases: Columns `method`, `false_vertebra_ml`; one row per method and scan.
        summary: Columns `method`, `mean`, `low`, `high`, `median`, one row per method.
        limit_ml: Volume at which a faint line is drawn.
        ax: Axes to draw on; new ones when None.

    Returns:
        The axes.
    """
    methods = list(dict.fromkeys(cases["method"]))
    ax = ax or new_axes(height_in=0.9 + 0.55 * len(methods))
    ax.axvline(limit_ml, color=FAINT, linewidth=0.8, zorder=0)
    for row, method in enumerate(methods):
        ml = np.sort(cases.loc[cases["method"] == method, "false_vertebra_ml"].to_numpy(float))
        colour = METHOD_COLOURS.get(method, INK)
        # neighbours in size lie on different heights, so that many scans at 0 are seen to be many
        heights = row + SPREAD * (np.arange(len(ml)) % 7 - 3) / 3
        ax.scatter(ml, heights, s=14, color=colour, alpha=0.6, linewidth=0, marker=METHOD_MARKERS.get(method, "o"))
        line = summary[summary["method"] == method].iloc[0]
        ax.hlines(row + 0.42, line["low"], line["high"], color=INK, linewidth=1.6)
        ax.plot(line["mean"], row + 0.42, "o", color=INK, markersize=4)
        ax.plot(line["median"], row + 0.42, "|", color=INK, markersize=8, markeredgewidth=1.6)
    ax.set_xscale("symlog", linthresh=LINEAR_ML)
    top = max([LEAST_ML, *cases["false_vertebra_ml"].dropna(), *summary["high"].dropna()])
    ax.set_xlim(-0.02, 1.4 * top)
    ax.xaxis.set_major_formatter("{x:g}")
    ax.set_yticks(range(len(methods)), methods)
    ax.set_ylim(len(methods) - 0.4, -0.45)
    ax.set_xlabel("bone far from any vertebra / ml per scan")
    return ax


def draw_reliability(bins, ax=None):
    """Draw the share of right vertebrae against the confidence that was stated, one dot per bin.

    Args:
        bins: Columns `method`, `confidence`, `correct`, `low`, `high`, `n`; may be empty.
        ax: Axes to draw on; new ones when None.

    Returns:
        The axes.
    """
    ax = ax or new_axes(height_in=3.2)
    ax.plot([0, 1], [0, 1], color=FAINT, linewidth=0.8, zorder=0)
    for method, part in bins.groupby("method", sort=False):
        colour, marker = METHOD_COLOURS.get(method, INK), METHOD_MARKERS.get(method, "o")
        ax.vlines(part["confidence"], part["low"], part["high"], color=colour, linewidth=1.2, alpha=0.8)
        ax.plot(part["confidence"], part["correct"], color=colour, linewidth=0.8, alpha=0.5)
        ax.scatter(part["confidence"], part["correct"], color=colour, marker=marker, s=26, zorder=3)
        ax.plot([], [], color=colour, marker=marker, label=f"{method} (n = {part['n'].sum()})")
    ax.set(xlabel="stated confidence", ylabel="share identified", xlim=(-0.03, 1.03), ylim=(-0.03, 1.03))
    ax.set_aspect("equal")
    ax.text(0.04, 0.97, "too modest", transform=ax.transAxes, va="top", fontsize=7, color=INK, alpha=0.6)
    ax.text(0.97, 0.04, "too sure", transform=ax.transAxes, ha="right", fontsize=7, color=INK, alpha=0.6)
    if len(bins):
        ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    else:
        ax.text(0.5, 0.5, "no vertebra with a confidence", ha="center", fontsize=8, color=INK)
    return ax
