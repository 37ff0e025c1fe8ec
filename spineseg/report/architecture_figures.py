"""Charts of networks, losses and lengths under equal budgets. Tables come in, axes go out."""

from __future__ import annotations

import numpy as np

from spineseg.report.budgets import ALL, OURS
from spineseg.report.theme import FAINT, INK, METHOD_COLOURS, new_axes, region_palette

PLAN_STYLES = {"100": "-", "continued": ":"}
OFFSET = 0.17  # between two marks of one row


def draw_tradeoff(rows, axes=None):
    """Draw Dice against memory and against time, one dot per network.

    Args:
        rows: Of `budgets.cost_rows`.
        axes: Three axes; new ones when None.

    Returns:
        Array of axes.
    """
    axes = new_axes(1, 3, height_in=3.0, sharey=True) if axes is None else axes
    labels = {
        "memory_gb": "memory of a 96-cubed patch (GB)",
        "step_s": "training step (s)",
        "predict_s": "prediction of a scan (s)",
    }  # fmt: skip
    marks = "osD^vP*Xdp"
    for ax, (column, label) in zip(axes, labels.items(), strict=True):
        for mark, row in zip(marks, rows.to_dict("records"), strict=False):
            colour = INK if row["name"] == OURS else METHOD_COLOURS["baseline"]
            ax.vlines(row[column], row["low"], row["high"], color=FAINT, linewidth=1.2, zorder=1)
            ax.plot(row[column], row["mean"], mark, color=colour, markersize=6, label=row["name"], linestyle="none")
        ax.set_xscale("log")
        ax.set_xlabel(label)
        ticks = np.geomspace(rows[column].min(), rows[column].max(), 3)
        ax.set_xticks(ticks, [f"{t:.2g}" for t in ticks])
        ax.minorticks_off()
    axes[0].set_ylabel("Dice")
    axes[0].figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return axes


def draw_gains(steps, time, axes=None):
    """Draw what each network gains over ours, at equal steps and in equal time, over all vertebrae and over the neck.

    Args:
        steps: Of `budgets.compared`, equal steps.
        time: The same, equal time.
        axes: Two axes; new ones when None.

    Returns:
        Array of axes.
    """
    names = [n for n in dict.fromkeys([*steps["name"], *time["name"]]) if n != OURS]
    axes = new_axes(1, 2, height_in=0.9 + 0.42 * len(names), sharey=True) if axes is None else axes
    both = (("equal steps", steps, "o", INK, -OFFSET), ("equal time", time, "s", METHOD_COLOURS["baseline"], OFFSET))
    for ax, region in zip(axes, (ALL, "cervical"), strict=True):
        ax.axvline(0, color=FAINT, linewidth=0.8, zorder=0)
        for label, table, mark, colour, side in both:
            part = table[table["region"] == region].set_index("name").reindex(names)
            if part["gain"].isna().all():
                continue
            places = np.arange(len(names)) + side
            ax.hlines(places, part["gain_low"], part["gain_high"], color=colour, linewidth=1.4)
            ax.plot(part["gain"], places, mark, color=colour, markersize=4, label=label)
        ax.set_xlabel(f"gain in Dice, {'all vertebrae' if region == ALL else 'neck'}")
    axes[0].set_yticks(range(len(names)), names)
    axes[0].set_ylim(len(names) - 0.5, -0.5)
    axes[1].legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return axes


def draw_regions(table, ax=None):
    """Draw the mean of each name per region, with its interval over scans.

    Args:
        table: Of `budgets.compared`.
        ax: Axes to draw on; new ones when None.

    Returns:
        The axes.
    """
    names, palette = list(dict.fromkeys(table["name"])), region_palette()
    ax = ax or new_axes(height_in=0.9 + 0.36 * len(names))
    for number, (region, colour) in enumerate(palette.items()):
        part = table[table["region"] == region].set_index("name").reindex(names)
        places = np.arange(len(names)) + (number - 1.5) * 0.18
        ax.hlines(places, part["low"], part["high"], color=colour, linewidth=1.2, alpha=0.6)
        ax.plot(part["mean"], places, "o", color=colour, markersize=4, label=region)
    ax.set_yticks(range(len(names)), names)
    ax.set_ylim(len(names) - 0.4, -0.6)
    ax.set_xlim(-0.02, 1)
    ax.set_xlabel("Dice")
    ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return ax


def draw_mass(rows, axes=None):
    """Draw whose voxels a loss's gradient falls on over a training, one panel for each loss.

    Args:
        rows: Of `budgets.mass_rows`.
        axes: As many axes as losses; new ones when None.

    Returns:
        Array of axes.
    """
    names = list(dict.fromkeys(rows["name"]))
    columns = 3
    if axes is None:
        height = 1.6 * -(-len(names) // columns) + 0.5
        axes = new_axes(-(-len(names) // columns), columns, height_in=height, sharex=True, sharey=True, squeeze=False)
    axes = np.ravel(axes)
    colours = {"background": FAINT} | region_palette()
    for ax, name in zip(axes, names, strict=False):
        for group, colour in colours.items():
            part = rows[(rows["name"] == name) & (rows["group"] == group)]
            ax.plot(100 * part["done"], 100 * part["mass"], color=colour, linewidth=1.6, label=group)
            share = 100 * part["voxels"].mean()
            ax.plot([101, 106], [share, share], color=colour, linewidth=1.6, clip_on=False)
        ax.set_yscale("log")
        ax.set_ylim(0.01, 130)
        ax.yaxis.set_major_formatter("{x:g}")
        ax.annotate(name, (0.03, 0.04), xycoords="axes fraction", fontsize=7)
    for ax in axes[len(names) :]:
        ax.set_visible(False)
    figure = axes[0].figure
    figure.supxlabel("training done (%)", fontsize=9)
    figure.supylabel("gradient (%)", fontsize=9)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=5)
    return axes


def draw_lengths(rows, axes=None):
    """Draw validation loss and Dice against epochs for every planned length, one column for each stage.

    Args:
        rows: Of `budgets.length_rows`.
        axes: `(2, stages)`; new ones when None.

    Returns:
        Array of axes.
    """
    stages = list(dict.fromkeys(rows["stage"]))
    axes = new_axes(2, len(stages), height_in=4.2, sharex=True, squeeze=False) if axes is None else axes
    palette = region_palette()
    for column, stage in enumerate(stages):
        for planned, style in PLAN_STYLES.items():
            part = (
                rows[(rows["stage"] == stage) & (rows["planned"] == planned)].groupby("epoch").mean(numeric_only=True)
            )
            if part.empty:
                continue
            label = "planned for 100" if planned.isdigit() else "40, 70, then 100"
            axes[0, column].plot(part.index, part["validation_loss"], style, color=INK, linewidth=1.3, label=label)
            for region, colour in palette.items():
                axes[1, column].plot(part.index, part[f"dice_{region}"], style, color=colour, linewidth=1.3)
        axes[1, column].set_xlabel(f"epoch ({stage})")
        axes[1, column].set_ylim(0, None)
    axes[0, 0].set_ylabel("validation loss")
    axes[1, 0].set_ylabel("validation Dice")
    axes[0, -1].legend()
    for region, colour in palette.items():
        axes[1, -1].plot([], [], color=colour, label=region)
    axes[1, -1].legend()
    return axes


def draw_memory(rows, *, band, ax=None):
    """Draw predicted by measured memory, one row for each network.

    Args:
        rows: Of `network_costs.measured_rows`.
        band: To either side of 1, drawn as a band.
        ax: Axes to draw on; new ones when None.

    Returns:
        The axes.
    """
    names = list(dict.fromkeys(rows["network"]))
    ax = ax or new_axes(height_in=0.9 + 0.32 * len(names))
    ax.axvspan(1 - band, 1 + band, color=FAINT, alpha=0.3, linewidth=0)
    ax.axvline(1, color=FAINT, linewidth=0.8)
    marks = dict(zip(dict.fromkeys(zip(rows["type"], rows["recompute"], strict=True)), "osD^", strict=False))
    for (kind, again), mark in marks.items():
        part = rows[(rows["type"] == kind) & (rows["recompute"] == again)]
        label = kind + (", computed again" if again else "")
        ax.plot(part["ratio"], [names.index(n) for n in part["network"]], mark, color=INK, markersize=5, label=label,
                markerfacecolor="none")  # fmt: skip
    ax.set_yticks(range(len(names)), names)
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.set_xlabel("memory foretold / measured")
    ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return ax
