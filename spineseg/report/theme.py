"""One look for every figure: width, type, and one colour per vertebra, region and method."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.colors import ListedColormap, to_hex

from spineseg.anatomy.labels import IDS, REGIONS, VERTEBRAE, colours
from spineseg.config import ReportConfig

REFERENCE_REGION_LEVEL = {"cervical": "C4", "thoracic": "T6", "lumbar": "L3", "sacral": "S1"}
METHOD_COLOURS = {"baseline": "#9a9a9a", "cascade": "#111111"}  # grey against black: vertebrae own the hues
METHOD_MARKERS = {"baseline": "o", "cascade": "D"}
NETWORK_STYLES = {"baseline": ":", "coarse": "--", "fine": "-"}
INK, FAINT = "#222222", "#c8c8c8"


def use_theme() -> None:
    """Set the look of every figure that follows."""
    sns.set_theme(
        context="paper",
        style="ticks",
        rc={
            "figure.dpi": ReportConfig.figure_dpi,
            "savefig.dpi": ReportConfig.figure_dpi,
            "figure.facecolor": "white",
            "figure.constrained_layout.use": True,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.edgecolor": INK,
            "axes.labelsize": 9,
            "xtick.labelsize": 8,
            "ytick.labelsize": 8,
            "legend.fontsize": 8,
            "legend.frameon": False,
            "font.size": 9,
            "font.family": "sans-serif",
            "font.sans-serif": ["DejaVu Sans"],
            "image.interpolation": "nearest",
            "svg.hashsalt": "spineseg",
        },
    )


def new_axes(rows: int = 1, columns: int = 1, *, height_in: float = 3.0, **layout):
    """Axes on a figure of the book's width.

    Args:
        rows: Rows of axes.
        columns: Columns of axes.
        height_in: Height of the whole figure, inches.
        **layout: Passed to `plt.subplots`, such as `width_ratios`.

    Returns:
        One axes, or an array of them as `plt.subplots` shapes it.
    """
    use_theme()
    return plt.subplots(rows, columns, figsize=(ReportConfig.figure_width_in, height_in), **layout)[1]


def vertebra_palette() -> dict[str, str]:
    """Hex colour of each vertebra."""
    table = colours()
    return {name: to_hex(table[IDS[name]]) for name in VERTEBRAE}


def region_palette() -> dict[str, str]:
    """Hex colour of each region: that of a vertebra in its middle, so a region reads as its family."""
    palette = vertebra_palette()
    return {region: palette[REFERENCE_REGION_LEVEL[region]] for region in REGIONS}


def label_colormap() -> ListedColormap:
    """Colour map over the 26 classes; background is transparent. Use it with `vmin=0, vmax=25`."""
    rgba = np.hstack([colours(), np.ones((len(colours()), 1))])
    rgba[0, 3] = 0.0
    return ListedColormap(rgba)


def vertebra_axis(ax, *, axis: str = "x", label: str = "vertebra") -> None:
    """Write the 25 names on an axis whose positions are 0..24 and draw the borders of the regions."""
    ticks = range(len(VERTEBRAE))
    if axis == "x":
        ax.set_xticks(ticks, VERTEBRAE, rotation=90)
        ax.set_xlim(-0.6, len(VERTEBRAE) - 0.4)
        ax.set_xlabel(label)
    else:
        ax.set_yticks(ticks, VERTEBRAE)
        ax.set_ylim(len(VERTEBRAE) - 0.4, -0.6)
        ax.set_ylabel(label)
    draw = ax.axvline if axis == "x" else ax.axhline
    for border in np.cumsum(list(REGIONS.values()))[:-1]:
        draw(border - 0.5, color=FAINT, linewidth=0.6, zorder=0)
    for text in ax.get_xticklabels() if axis == "x" else ax.get_yticklabels():
        text.set_fontsize(7)
