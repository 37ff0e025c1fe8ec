"""Charts of speed and memory. A table comes in, axes go out."""

from __future__ import annotations

import numpy as np

from spineseg.report.speed import BAND, PEER
from spineseg.report.theme import FAINT, INK, METHOD_COLOURS, new_axes

MET, BARE = INK, METHOD_COLOURS["baseline"]


def draw_ratios(rows, *, ax=None):
    """Draw how many times better each comparison came out, with its aim.

    Args:
        rows: `name`, `peer`, `ratio`, `target` of `speed.comparisons`.
        ax: Axes to draw on; new ones when None.

    Returns:
        The axes.
    """
    rows = rows[rows["ratio"].notna()].reset_index(drop=True)
    ax = ax or new_axes(height_in=0.9 + 0.25 * len(rows))
    ax.axvline(1, color=FAINT, linewidth=0.8, zorder=0)
    aimed = rows["target"].notna()
    ax.hlines(rows.index, 1, rows["ratio"], color=FAINT, linewidth=1.2, zorder=1)
    for chosen, colour, label in ((aimed, MET, "measured, with an aim"), (~aimed, BARE, "measured")):
        if chosen.any():
            ax.plot(rows["ratio"][chosen], rows.index[chosen], "o", color=colour, markersize=4, label=label)
    ax.plot(rows["target"][aimed], rows.index[aimed], "|", color=INK, markersize=11, label="aim")
    ax.set_xscale("log")
    ax.xaxis.set_major_formatter("{x:g}")
    ax.set_yticks(rows.index, [f"{r['name']}: {r['peer']}" for _, r in rows.iterrows()])
    ax.set_ylim(len(rows) - 0.4, -0.6)
    ax.set_xlabel("times as fast, or times less memory")
    ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return ax


def draw_memory(rows, *, ax=None):
    """Draw predicted against measured memory.

    Args:
        rows: `predicted_mb`, `measured_mb` of `speed.memory_rows`.
        ax: Axes to draw on; new ones when None.

    Returns:
        The axes.
    """
    ax = ax or new_axes(height_in=3.2)
    top = 1.1 * float(rows[["predicted_mb", "measured_mb"]].to_numpy().max())
    ax.plot([0, top], [0, top], color=FAINT, linewidth=0.8, label="equal")
    ax.fill_between(
        [0, top],
        [0, (1 - BAND) * top],
        [0, (1 + BAND) * top],
        color=FAINT,
        alpha=0.3,
        linewidth=0,
        label=f"within {BAND:.0%}",
    )
    ax.plot(rows["measured_mb"], rows["predicted_mb"], "o", color=INK, markersize=4)
    ax.set_xlim(0, top)
    ax.set_ylim(0, top)
    ax.set_xlabel("measured peak of the process (MB)")
    ax.set_ylabel("predicted (MB)")
    ax.legend(loc="upper left")
    return ax


def draw_growth(rows):
    """Draw time, and memory where it is flat or not, against size, one panel for each curve.

    Args:
        rows: Of `speed.growth_rows`.

    Returns:
        The axes, `(2, curves)`: time above memory.
    """
    names = list(dict.fromkeys(rows["what"]))
    panels = np.reshape(new_axes(2, len(names), height_in=3.8, sharex="col"), (2, len(names)))
    for column, name in enumerate(names):
        part = rows[rows["what"] == name]
        time, memory = panels[:, column]
        linear = part["seconds"].iloc[-1] * part["x"] / part["x"].iloc[-1]
        time.plot(part["x"], linear, color=FAINT, linewidth=1, label="linear")
        for panel, key in ((time, "seconds"), (memory, "peak_mb")):
            panel.plot(part["x"], part[key], "o-", color=INK, markersize=3, linewidth=1)
            panel.set_xscale("log")
            panel.set_xticks(part["x"].iloc[[0, -1]], [_short(v) for v in part["x"].iloc[[0, -1]]])
            panel.tick_params(labelsize=7)
            panel.minorticks_off()
        time.set_yscale("log")
        ends = part["seconds"].iloc[[0, -1]]
        time.set_yticks(ends, [f"{v:.2g}" for v in ends])
        time.minorticks_off()
        memory.set_ylim(0, 1.15 * float(part["peak_mb"].max()))
        time.annotate(name, (0.5, 1.04), xycoords="axes fraction", ha="center", fontsize=8)
        memory.set_xlabel(part["of"].iloc[0], fontsize=7)
    panels[0, 0].set_ylabel("time (s)")
    panels[0, 0].legend(fontsize=6, loc="upper left")
    panels[1, 0].set_ylabel("peak memory (MB)")
    return panels


def _short(value: float) -> str:
    """Thousands as k."""
    return f"{value / 1000:.0f}k" if value >= 10_000 else f"{value:.0f}"


def draw_gpu(rows, *, ax=None):
    """Draw the time of a training step on a GPU, a group of bars for each size.

    Args:
        rows: Of `speed.gpu_rows`.
        ax: Axes to draw on; new ones when None.

    Returns:
        The axes.
    """
    ax = ax or new_axes(height_in=3.0)
    table = rows.pivot_table(index=["side", "batch", "type"], columns="network", values="step_ms", sort=True)
    shades = [FAINT if name == PEER else shade for name, shade in zip(table, (FAINT, MET, BARE), strict=False)]
    thick = 0.8 / table.shape[1]
    for number, (name, shade) in enumerate(zip(table, shades, strict=True)):
        ax.bar(
            np.arange(len(table)) + (number - (table.shape[1] - 1) / 2) * thick,
            table[name],
            thick,
            color=shade,
            label=name,
        )
    ax.set_xticks(range(len(table)), [f"{side}-cubed\nbatch {batch}, {kind}" for side, batch, kind in table.index])
    ax.set_ylabel("training step (ms)")
    ax.legend(loc="upper left")
    return ax


def draw_spent(rows, *, ax=None):
    """Draw where the time went, one bar for each step and measurement.

    Args:
        rows: Of `speed.spent_rows`; the total is left out.
        ax: Axes to draw on; new ones when None.

    Returns:
        The axes.
    """
    rows = rows.drop(index="total")
    ax = ax or new_axes(height_in=0.9 + 0.32 * len(rows))
    names, thick = list(rows.columns), 0.8 / len(rows.columns)
    shades = [BARE, INK] if len(names) > 1 else [INK]
    for number, (name, shade) in enumerate(zip((names[0], names[-1])[: len(shades)], shades, strict=True)):
        ax.barh(np.arange(len(rows)) + (number - 0.5) * thick, rows[name], thick, color=shade, label=name)
    ax.set_yticks(range(len(rows)), rows.index)
    ax.invert_yaxis()
    ax.set_xlabel("time (s)")
    ax.legend(loc="lower right")
    return ax
