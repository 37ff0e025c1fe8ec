"""Charts of where the Dice went and of what each remedy changed. Tables come in, axes go out."""

from __future__ import annotations

import numpy as np
from matplotlib import patheffects

from spineseg.anatomy.labels import REGIONS
from spineseg.report.theme import FAINT, INK, new_axes, region_palette

STEP_COLOURS = {
    "absent": "#5b3a8c", "cut": "#8c6bb1", "shifted": "#d7301f", "missed": "#7f0000", "resolution": "#9a9a9a",
    "boundary": "#e6ab02",
}  # fmt: skip
HALO = [patheffects.withStroke(linewidth=3.0, foreground="white")]  # an interval must be seen on dark bars too


def waterfall(budget, axes=None):
    """Draw, region by region, the steps from a Dice of 1 down to the measured one, each with its interval.

    Args:
        budget: Table with columns `region`, `step`, `lost` and, where intervals are to be drawn, `low`, `high`; the
            steps of a region in the order to draw, all losses of a region adding up to one minus its measured Dice.
        axes: One axes per region; new ones when None.

    Returns:
        Array of axes.
    """
    regions = [r for r in REGIONS if (budget["region"] == r).any()]
    axes = new_axes(1, len(regions), height_in=2.9, sharey=True, squeeze=False)[0] if axes is None else axes
    palette = region_palette()
    for ax, region in zip(axes, regions, strict=True):
        part = budget[budget["region"] == region]
        lost = part["lost"].to_numpy(float)
        tops = 1 - np.concatenate([[0], np.cumsum(lost)])
        places = np.arange(len(part))
        ax.bar(places, lost, bottom=tops[1:], color=[STEP_COLOURS.get(s, INK) for s in part["step"]], width=0.75)
        ax.step(np.arange(-1, len(part)) + 0.5, tops, where="pre", color=INK, linewidth=0.6)
        if "low" in part:  # how far down from its own top the step could reach
            low, high = tops[:-1] - part["high"], tops[:-1] - part["low"]
            ax.vlines(places, low, high, color=INK, linewidth=1.4, path_effects=HALO)
        ax.bar(len(part), tops[-1], color=palette[region], width=0.75)
        ax.annotate(f"{tops[-1]:.2f}", (len(part), tops[-1]), ha="center", va="bottom", fontsize=8)
        ax.set_xticks(range(len(part) + 1), [*part["step"], "measured"], rotation=90)
        ax.set(xlabel=region, ylim=(0, 1.03))
    axes[0].set_ylabel("Dice")
    return axes


def remedy_effects(effects, ax=None):
    """Draw what each remedy changed, with its interval.

    Args:
        effects: Table with columns `remedy`, `region`, `change`, `low`, `high`.
        ax: Axes to draw on; new ones when None.

    Returns:
        The axes.
    """
    remedies = list(dict.fromkeys(effects["remedy"]))
    ax = ax or new_axes(height_in=0.8 + 0.6 * len(remedies))
    palette, regions = region_palette(), [r for r in REGIONS if (effects["region"] == r).any()]
    ax.axvline(0, color=FAINT, linewidth=0.8, zorder=0)
    for row, region in enumerate(regions):
        part = effects[effects["region"] == region].set_index("remedy").reindex(remedies)
        places = np.arange(len(remedies)) + (row - (len(regions) - 1) / 2) * 0.18
        ax.hlines(places, part["low"], part["high"], color=palette[region], linewidth=2)
        ax.plot(part["change"], places, "o", color=palette[region], markersize=5, label=region)
    ax.set_yticks(range(len(remedies)), remedies)
    ax.invert_yaxis()
    ax.set_xlabel("change of mean Dice")
    ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return ax


def remedy_steps(gains, axes=None):
    """Draw what each remedy gained in all and in each step of the error budget; to the right is better.

    Args:
        gains: Table with columns `remedy`, `measure`, `gain`, `low`, `high`; measures in the order to draw.
        axes: One axes per remedy; new ones when None.

    Returns:
        Array of axes.
    """
    remedies = list(dict.fromkeys(gains["remedy"]))
    measures = list(dict.fromkeys(gains["measure"]))
    if axes is None:
        axes = new_axes(1, max(len(remedies), 1), height_in=2.6, sharey=True, sharex=True, squeeze=False)[0]
    for ax, remedy in zip(axes, remedies, strict=False):
        part = gains[gains["remedy"] == remedy].set_index("measure").reindex(measures)
        colours = [STEP_COLOURS.get(m, INK) for m in measures]
        ax.axvline(0, color=FAINT, linewidth=0.8, zorder=0)
        ax.hlines(range(len(part)), part["low"], part["high"], color=colours, linewidth=2)
        ax.scatter(part["gain"], range(len(part)), color=colours, s=26, zorder=3)
        ax.set_xlabel(f"{remedy}\nDice gained")
    axes[0].set_yticks(range(len(measures)), measures)
    axes[0].set_ylim(max(len(measures), 1) - 0.5, -0.5)
    return axes
