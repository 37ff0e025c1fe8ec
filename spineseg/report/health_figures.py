"""Figures of the chapter on health: parts of a vertebra, errors of measures, areas, reliability, severity."""

from __future__ import annotations

import numpy as np
import pandas as pd

from spineseg.anatomy.labels import IDS
from spineseg.report.health_results import SHOWN, UNITS
from spineseg.report.slices import show_slice
from spineseg.report.theme import FAINT, INK, new_axes

COLOURS = {
    "perfect masks": "#111111", "perfect masks, the same scans": "#777777", "predicted masks": "#1f77b4",
    "milder than trained on": "#d95f02", "predicted masks, trees of own labels alone": "#9ecae1",
    "network, perfect masks": "#7b3294", "network, predicted masks": "#c2a5cf",
}  # fmt: skip
BODY_COLOUR, ARCH_COLOUR = "#f2a541", "#3a6ea5"


def draw_parts(parts, ct_hu, affine, *, vertebra_mask):
    """Body and arch of a scan in the sagittal plane, and of one vertebra from above.

    Args:
        parts: `(I, J, K)` of `anatomy.parts.body_and_arch`, RAS+ axes.
        ct_hu: `(I, J, K)`.
        affine: `(4, 4)`.
        vertebra_mask: `(I, J, K)` bool, the vertebra that is shown from above.

    Returns:
        Two axes.
    """
    from matplotlib.colors import ListedColormap

    colours = ListedColormap([(0, 0, 0, 0), BODY_COLOUR, ARCH_COLOUR])
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    where = np.argwhere(vertebra_mask)
    middle = where.mean(0).round().astype(int)
    axes = new_axes(1, 2, height_in=3.6)
    for ax, plane, index in zip(axes, ("sagittal", "axial"), (middle[0], middle[2]), strict=True):
        show_slice(ct_hu, spacing, plane=plane, index=int(index), ax=ax)
        axis = {"sagittal": 0, "axial": 2}[plane]
        shown = np.take(parts, int(index), axis=axis).T[::-1, ::-1]
        ax.imshow(
            shown, cmap=colours, vmin=0, vmax=2, extent=ax.images[0].get_extent(), alpha=0.55, interpolation="none"
        )
    return axes


def draw_errors(rows: pd.DataFrame, coarse: pd.DataFrame):
    """Median (dot) to 90th percentile (end of the line) of absolute errors, with the aims.

    Args:
        rows: `health_results.errors` at the finer voxel size.
        coarse: Likewise at the coarser one.

    Returns:
        Two axes: lengths and angles.
    """
    axes = new_axes(1, 2, height_in=3.0)
    for ax, is_angle in zip(axes, (False, True), strict=True):
        own = [r for r in rows.itertuples() if (r.measure in UNITS) == is_angle and ", in a block" not in r.measure]
        theirs = coarse.set_index("measure")
        for y, row in enumerate(own):
            ax.plot([row.median, row.p90], [y, y], color=INK, linewidth=1.2)
            ax.plot(row.median, y, "o", color=INK, markersize=5)
            if row.measure in theirs.index:
                other = theirs.loc[row.measure]
                ax.plot([other["median"], other["p90"]], [y + 0.25] * 2, color=FAINT, linewidth=1.2)
                ax.plot(other["median"], y + 0.25, "o", color=FAINT, markersize=5)
            if row.target == row.target:
                ax.plot([row.target] * 2, [y - 0.3, y + 0.4], color="#d62728", linewidth=1.5)
        ax.set_yticks(range(len(own)), [r.measure for r in own])
        ax.invert_yaxis()
        ax.set_xlim(left=0)
        ax.set_xlabel(f"absolute error ({'degrees' if is_angle else 'mm'})")
    return axes


def draw_areas(table: pd.DataFrame, *, ax=None):
    """AUC with interval, per kind and part.

    Args:
        table: Of `health_results.areas`.
        ax: Axes to draw on; new ones when None.

    Returns:
        The axes.
    """
    ax = ax or new_axes(height_in=5.4)
    kinds = [k for k in SHOWN if k in set(table["kind"])]
    parts = [p for p in COLOURS if p in set(table["part"])]
    for n, part in enumerate(parts):
        for row in table[table["part"] == part].itertuples():
            y = kinds.index(row.kind) + 0.11 * (n - (len(parts) - 1) / 2)
            ax.plot([row.low, row.high], [y, y], color=COLOURS[part], linewidth=1)
            ax.plot(row.auc, y, "o", color=COLOURS[part], markersize=4, label=part if row.kind == kinds[0] else None)
    ax.axvline(0.5, color=FAINT, linewidth=0.8, zorder=0)
    ax.set_yticks(range(len(kinds)), [SHOWN[k] for k in kinds])
    ax.invert_yaxis()
    ax.set_xlabel("area under the ROC curve")
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2)
    return ax


def draw_trust(bins: pd.DataFrame, severity: pd.DataFrame):
    """Share of cases against the probability stated, and share called against severity.

    Args:
        bins: Rows of `reliability`: `confidence`, `correct`, `low`, `high`.
        severity: Of `health_results.severity_rows`.

    Returns:
        Two axes.
    """
    axes = new_axes(1, 2, height_in=2.8)
    axes[0].plot([0, 1], [0, 1], color=FAINT, linewidth=1, zorder=0)
    for row in bins.itertuples():
        axes[0].plot([row.confidence] * 2, [row.low, row.high], color=INK, linewidth=0.8)
    axes[0].plot(bins["confidence"], bins["correct"], "o", color=INK, markersize=4)
    axes[0].set_xlabel("probability stated")
    axes[0].set_ylabel("share of cases")
    known = severity[severity["cases"] > 0]
    middle, share = (known["low"] + known["high"]) / 2, known["called"] / known["cases"]
    axes[1].axvspan(0, 0.3, color=FAINT, alpha=0.4, linewidth=0)
    axes[1].plot(middle, share, "-o", color=INK, markersize=4)
    for x, y, n in zip(middle, share, known["cases"], strict=True):
        axes[1].annotate(f"{n:.0f}", (x, y), xytext=(0, 5), textcoords="offset points", ha="center", fontsize=7)
    axes[1].set_ylim(0, 1.12)
    axes[1].set_xlabel("severity planted")
    axes[1].set_ylabel("share called")
    return axes


def draw_real(rows: pd.DataFrame, *, ax=None):
    """Body heights of real patients level by level, one colour each: behind (triangle), in the middle, in front.

    Args:
        rows: Of `health_results.real_rows`.
        ax: Axes to draw on; new ones when None.

    Returns:
        The axes.
    """
    import seaborn as sns

    ax = ax or new_axes(height_in=3.2)
    cases = list(dict.fromkeys(rows["case"]))
    for case, colour in zip(cases, sns.color_palette("husl", len(cases)), strict=True):
        own = rows[rows["case"] == case]
        x = own["vertebra"].map(IDS) + 0.6 * (cases.index(case) / max(len(cases) - 1, 1) - 0.5)
        for place, marker in (("posterior", "^"), ("middle", "o"), ("anterior", "s")):
            label = case if place == "middle" else None
            ax.plot(x, own[f"height_{place}_mm"].astype(float), marker, color=colour, markersize=3.5, label=label)
    shown = sorted({IDS[v] for v in rows["vertebra"]})
    names = {i: v for v, i in IDS.items()}
    ax.set_xticks(shown, [names[i] for i in shown], rotation=90)
    ax.set_ylabel("body height (mm)")
    ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return ax
