"""Charts of scores: how good, for whom, and under which names. Tables come in, axes go out."""

from __future__ import annotations

import numpy as np
import seaborn as sns
from matplotlib.ticker import LogLocator, NullFormatter

from spineseg.anatomy.labels import REGIONS, VERTEBRAE
from spineseg.report.theme import (
    FAINT,
    INK,
    METHOD_COLOURS,
    METHOD_MARKERS,
    new_axes,
    region_palette,
    vertebra_axis,
    vertebra_palette,
)  # fmt: skip


def vertebra_dots(scores, summary, ax=None):
    """Draw the Dice of every vertebra of every scan as a dot, with the mean and its interval.

    Args:
        scores: Table with columns `vertebra`, `dice`; rows without Dice are not drawn.
        summary: Table with columns `vertebra`, `mean`, `low`, `high`.
        ax: Axes to draw on; new ones when None.

    Returns:
        The axes.
    """
    ax = ax or new_axes(height_in=3.2)
    sns.stripplot(
        scores.dropna(subset="dice"), x="vertebra", y="dice", order=VERTEBRAE, hue="vertebra", legend=False,
        palette=vertebra_palette(), size=4, jitter=0.22, alpha=0.75, ax=ax,
    )  # fmt: skip
    means = summary.set_index("vertebra").reindex(VERTEBRAE)
    places = np.arange(len(VERTEBRAE))
    ax.vlines(places + 0.36, means["low"], means["high"], color=INK, linewidth=1.2)
    ax.plot(places + 0.36, means["mean"], "_", color=INK, markersize=6, markeredgewidth=1.6)
    vertebra_axis(ax)
    ax.set(ylabel="Dice", ylim=(-0.03, 1.0))
    return ax


def vertebra_lines(summary, column="mean", label="mean Dice", ax=None):
    """Draw one mean per vertebra for several methods.

    Args:
        summary: Table with columns `method`, `vertebra`, `low`, `high` and `column`.
        column: Which column is the height.
        label: Of the vertical axis.
        ax: Axes to draw on; new ones when None.

    Returns:
        The axes.
    """
    ax = ax or new_axes(height_in=2.8)
    palette = vertebra_palette()
    places = np.arange(len(VERTEBRAE))
    for method, table in summary.groupby("method", sort=False):
        rows = table.set_index("vertebra").reindex(VERTEBRAE)
        colour = METHOD_COLOURS.get(method, INK)
        ax.fill_between(places, rows["low"], rows["high"], color=colour, alpha=0.15, linewidth=0)
        ax.plot(places, rows[column], color=colour, linewidth=1.4, zorder=2)
        ax.scatter(
            places, rows[column], color=[palette[v] for v in VERTEBRAE], edgecolor=colour, s=26, linewidth=0.8,
            marker=METHOD_MARKERS.get(method, "o"), zorder=3,
        )  # fmt: skip
        ax.plot([], [], color=colour, marker=METHOD_MARKERS.get(method, "o"), label=method)
    vertebra_axis(ax)
    ax.set(ylabel=label, ylim=(-0.02, 1.0))
    ax.legend()
    return ax


def region_intervals(summary, ax=None, *, label="mean Dice"):
    """Draw mean and interval per region and method.

    Args:
        summary: Table with columns `method`, `region`, `mean`, `low`, `high`.
        ax: Axes to draw on; new ones when None.
        label: Of the horizontal axis.

    Returns:
        The axes.
    """
    ax = ax or new_axes(height_in=2.2)
    palette, regions = region_palette(), list(REGIONS)
    methods = list(dict.fromkeys(summary["method"]))
    for row, method in enumerate(methods):
        part = summary[summary["method"] == method].set_index("region").reindex(regions)
        places = np.arange(len(regions)) + (row - (len(methods) - 1) / 2) * 0.3
        ax.hlines(places, part["low"], part["high"], color=METHOD_COLOURS.get(method, INK), linewidth=2)
        ax.scatter(
            part["mean"], places, color=[palette[r] for r in regions], edgecolor=METHOD_COLOURS.get(method, INK),
            marker=METHOD_MARKERS.get(method, "o"), s=40, zorder=3,
        )  # fmt: skip
        ax.plot([], [], color=METHOD_COLOURS.get(method, INK), marker=METHOD_MARKERS.get(method, "o"), label=method)
    ax.set_yticks(range(len(regions)), regions)
    ax.invert_yaxis()
    ax.set(xlabel=label, xlim=(0, 1))
    ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return ax


def shift_histogram(shifts, ax=None):
    """Draw by how many places the names are off, one group of bars per method.

    Args:
        shifts: Table with columns `method`, `shift` (levels, 0 is right, negative is towards the head; missing where no
            prediction overlaps the vertebra) and `vertebrae`.
        ax: Axes to draw on; new ones when None.

    Returns:
        The axes.
    """
    ax = ax or new_axes(height_in=2.6)
    methods = list(dict.fromkeys(shifts["method"]))
    known = shifts["shift"].dropna().astype(int)
    low, high = min(known.min(), -2) if len(known) else -2, max(known.max(), 2) if len(known) else 2
    for column, method in enumerate(methods):
        part = shifts[shifts["method"] == method]
        places = part["shift"].astype(float).fillna(high + 2) + (column - (len(methods) - 1) / 2) * 0.38
        ax.bar(places, part["vertebrae"].astype(float), width=0.36, color=METHOD_COLOURS.get(method, INK), label=method)
    ax.axvline(0, color=FAINT, linewidth=0.8, zorder=0)
    step = max((high - low) // 12, 1)
    ticks = sorted({*range(0, high + 1, step), *range(0, low - 1, -step)})
    ax.set_xticks([*ticks, high + 2], [*(f"{t:+d}" if t else "0" for t in ticks), "not\nfound"])
    ax.set(xlabel="shift / levels (negative: the name is too high in the body)", ylabel="vertebrae")
    ax.legend()
    return ax


def dice_against(scores, x, *, label, log=False, ax=None):
    """Draw the Dice of each vertebra against a property of it.

    Args:
        scores: Table with columns `vertebra`, `dice` and `x`.
        x: Column for the horizontal axis.
        label: Of the horizontal axis, with its unit.
        log: Logarithmic horizontal axis.
        ax: Axes to draw on; new ones when None.

    Returns:
        The axes.
    """
    ax = ax or new_axes(height_in=2.6)
    sns.scatterplot(
        scores,
        x=x,
        y="dice",
        hue="vertebra",
        palette=vertebra_palette(),
        legend=False,
        s=16,
        alpha=0.75,
        linewidth=0,
        ax=ax,
    )
    ax.set(xlabel=label, ylabel="Dice", ylim=(-0.03, 1.0))
    if log:
        ax.set_xscale("log")
        ax.xaxis.set_major_locator(LogLocator(subs=(1, 3), numticks=8))
        ax.xaxis.set_major_formatter("{x:g}")
        ax.xaxis.set_minor_formatter(NullFormatter())
    return ax


def suspects(factors, axes=None):
    """Draw the Dice against volume, visible share and frequency in training, side by side.

    Args:
        factors: Columns `vertebra`, `dice`, `reference_ml`, `visible_share`, `training_share`; a column without any
            value is left out.
        axes: As many axes as columns with values; new ones when None.

    Returns:
        Array of axes.
    """
    labels = {
        "reference_ml": "volume in the scan / ml",
        "visible_share": "visible share of the vertebra",
        "training_share": "share of training scans with it",
    }
    known = [column for column in labels if factors[column].notna().any()]
    axes = new_axes(1, len(known), height_in=2.6, sharey=True, squeeze=False)[0] if axes is None else axes
    for ax, column in zip(axes, known, strict=True):
        dice_against(factors, column, label=labels[column], log=column == "reference_ml", ax=ax)
    return axes


def naming_against_outline(scores, ax=None):
    """Draw the Dice under the vertebra's own name against the Dice under the best-fitting name.

    A dot on the diagonal lost nothing to its name; a dot far below it is outlined well and called something else.

    Args:
        scores: Table with columns `vertebra`, `dice`, `best_match_dice`.
        ax: Axes to draw on; new ones when None.

    Returns:
        The axes.
    """
    ax = ax or new_axes(height_in=3.4)
    ax.plot([0, 1], [0, 1], color=FAINT, linewidth=0.8, zorder=0)
    sns.scatterplot(
        scores, x="best_match_dice", y="dice", hue="vertebra", palette=vertebra_palette(), legend=False, s=18,
        alpha=0.75, linewidth=0, ax=ax,
    )  # fmt: skip
    ax.set(xlabel="best-match Dice (whatever the name)", ylabel="named Dice", xlim=(-0.03, 1.0), ylim=(-0.03, 1.0))
    ax.set_aspect("equal")
    return ax


def name_confusion(confusion, ax=None):
    """Draw which names the voxels of each vertebra were given.

    Args:
        confusion: Names as rows (reference) and columns (prediction), `background` first; voxels.
        ax: Axes to draw on; new ones when None.

    Returns:
        The axes.
    """
    ax = ax or new_axes(height_in=5.0)
    shares = confusion.div(confusion.sum(axis=1), axis=0).iloc[1:]
    picture = ax.imshow(shares, cmap="Greys", vmin=0, vmax=1, aspect="auto", interpolation="none")
    vertebra_axis(ax, axis="y", label="reference")
    ax.set_xticks(range(len(confusion.columns)), ["none", *confusion.columns[1:]], rotation=90, fontsize=7)
    ax.set_xlabel("prediction")
    ax.plot([0.5, len(VERTEBRAE) + 0.5], [-0.5, len(VERTEBRAE) - 0.5], color=FAINT, linewidth=0.8)
    ax.figure.colorbar(picture, ax=ax, label="share of the vertebra's voxels", fraction=0.04)
    return ax
