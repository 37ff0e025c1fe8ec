"""Charts of a cohort and of its preparation. Tables come in, axes go out; nothing is computed here."""

from __future__ import annotations

import numpy as np
import seaborn as sns
from matplotlib.colors import to_rgba
from matplotlib.ticker import PercentFormatter

from spineseg.anatomy.labels import VERTEBRAE
from spineseg.report.theme import FAINT, INK, new_axes, vertebra_axis, vertebra_palette


def presence_map(presence, ax=None):
    """Draw which scan shows which vertebra, one row per scan.

    Args:
        presence: Scans as rows in the order to draw, vertebrae as columns; visible share in [0, 1], nan where absent.
        ax: Axes to draw on; new ones when None.

    Returns:
        The axes.
    """
    ax = ax or new_axes(height_in=min(1.6 + 0.09 * len(presence), 6.0))
    palette = vertebra_palette()
    shares = presence[list(VERTEBRAE)].to_numpy(float)
    pixels = np.ones((*shares.shape, 4))
    for column, name in enumerate(VERTEBRAE):
        pixels[:, column] = to_rgba(palette[name])
    pixels[..., 3] = np.nan_to_num(0.25 + 0.75 * shares, nan=0.0)
    ax.imshow(pixels, aspect="auto", interpolation="none")
    vertebra_axis(ax)
    ax.set_ylim(len(presence) - 0.5, -0.5)
    ax.set_yticks([])
    ax.set_ylabel("scans")
    return ax


def occurrence_bars(occurrence, population=None, ax=None):
    """Draw how often each vertebra occurs.

    Args:
        occurrence: Share of scans that show any of it, indexed by vertebra.
        population: The same share in real scans, drawn as ticks; None leaves them out.
        ax: Axes to draw on; new ones when None.

    Returns:
        The axes.
    """
    ax = ax or new_axes(height_in=2.6)
    palette = vertebra_palette()
    places = range(len(VERTEBRAE))
    ax.bar(places, occurrence[list(VERTEBRAE)], color=[palette[v] for v in VERTEBRAE], width=0.8)
    if population is not None:
        ax.plot(
            places, population[list(VERTEBRAE)], "_", color=INK, markersize=9, markeredgewidth=1.6, label="real scans"
        )
        ax.legend(loc="upper left")
    vertebra_axis(ax)
    ax.set_ylabel("scans that show it")
    ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    return ax


def volume_per_level(volumes, population=None, ax=None):
    """Draw the volume of every whole vertebra as a dot beside the spread of the real population.

    Args:
        volumes: Table with columns `vertebra`, `ml`; whole vertebrae only.
        population: Table indexed by vertebra with columns `p10_ml`, `p50_ml`, `p90_ml`; None leaves it out.
        ax: Axes to draw on; new ones when None.

    Returns:
        The axes.
    """
    ax = ax or new_axes(height_in=3.4)
    places = np.arange(len(VERTEBRAE))
    if population is not None:
        real = population.loc[list(VERTEBRAE)]
        ax.vlines(
            places + 0.28,
            real["p10_ml"],
            real["p90_ml"],
            color=INK,
            linewidth=1.2,
            label="real scans, 10th-90th percentile",
        )
        ax.plot(places + 0.28, real["p50_ml"], "_", color=INK, markersize=6, markeredgewidth=1.4)
    sns.stripplot(
        volumes, x="vertebra", y="ml", order=VERTEBRAE, hue="vertebra", palette=vertebra_palette(), legend=False,
        size=3, jitter=0.15, alpha=0.8, ax=ax,
    )  # fmt: skip
    vertebra_axis(ax)
    ax.set_ylabel("volume / ml")
    ax.set_ylim(0, None)
    if population is not None:
        ax.legend(loc="upper left")
    return ax


def hu_by_compartment(hu, ax=None):
    """Draw the spread of HU in each compartment, one thin bar per scan.

    Args:
        hu: Table with columns `case`, `compartment`, `p05_hu`, `p50_hu`, `p95_hu`.
        ax: Axes to draw on; new ones when None.

    Returns:
        The axes.
    """
    ax = ax or new_axes(height_in=2.8)
    names = list(dict.fromkeys(hu["compartment"]))
    for row, name in enumerate(names):
        part = hu[hu["compartment"] == name].sort_values("p50_hu")
        places = row + np.linspace(-0.32, 0.32, len(part)) if len(part) > 1 else np.array([float(row)])
        ax.hlines(places, part["p05_hu"], part["p95_hu"], color=FAINT, linewidth=1.2)
        ax.plot(part["p50_hu"], places, "o", color=INK, markersize=2.5)
    ax.set_yticks(range(len(names)), names)
    ax.invert_yaxis()
    ax.set_xlabel("CT number / HU (dot: median of one scan; line: its 5th to 95th percentile)")
    return ax


def spacing_dots(headers, ax=None):
    """Draw voxel size in the axial plane against the distance of slices.

    Args:
        headers: Table with columns `in_plane_mm`, `slice_mm`, one row per scan.
        ax: Axes to draw on; new ones when None.

    Returns:
        The axes.
    """
    ax = ax or new_axes(height_in=2.8)
    ax.axline((0, 0), slope=1, color=FAINT, linewidth=0.8, zorder=0)
    sns.scatterplot(headers, x="in_plane_mm", y="slice_mm", color=INK, s=18, alpha=0.6, ax=ax)
    ax.set(
        xlabel="voxel size in the axial plane / mm",
        ylabel="distance of axial slices / mm",
        xlim=(0, None),
        ylim=(0, None),
    )
    return ax


def orientation_bars(headers, ax=None):
    """Draw how many scans are stored in each orientation.

    Args:
        headers: Table with column `orientation`, such as `RAS`, one row per scan.
        ax: Axes to draw on; new ones when None.

    Returns:
        The axes.
    """
    ax = ax or new_axes(height_in=2.8)
    sns.countplot(headers, y="orientation", order=headers["orientation"].value_counts().index, color=FAINT, ax=ax)
    ax.set(xlabel="scans", ylabel="direction in which I, J, K grow")
    ax.xaxis.get_major_locator().set_params(integer=True)
    return ax


def grid_overview(headers, axes=None):
    """Draw voxel sizes and orientations side by side.

    Args:
        headers: As for `spacing_dots` and `orientation_bars`.
        axes: Two axes; new ones when None.

    Returns:
        The two axes.
    """
    rows = headers["orientation"].nunique()
    axes = new_axes(1, 2, height_in=min(2.6 + 0.08 * rows, 6.0)) if axes is None else axes
    spacing_dots(headers, axes[0])
    orientation_bars(headers, axes[1])
    return axes


def ceiling_curves(ceiling, ax=None):
    """Draw the Dice that a perfect segmentation keeps after a round trip through coarser voxels.

    Args:
        ceiling: Table with columns `spacing_mm`, `vertebra`, `ceiling`.
        ax: Axes to draw on; new ones when None.

    Returns:
        The axes.
    """
    ax = ax or new_axes(height_in=3.0)
    palette = vertebra_palette()
    spacings = sorted(ceiling["spacing_mm"].unique())
    for shade, spacing in zip(np.linspace(0.15, 0.7, len(spacings)), spacings, strict=True):
        mean = ceiling[ceiling["spacing_mm"] == spacing].groupby("vertebra")["ceiling"].mean().reindex(VERTEBRAE)
        ax.plot(range(len(mean)), mean, color=str(shade), linewidth=1, zorder=1)
        ax.scatter(range(len(mean)), mean, color=[palette[v] for v in VERTEBRAE], s=14, zorder=2)
        if mean.notna().any():
            last = int(np.flatnonzero(mean.notna())[-1])
            ax.annotate(
                f"{spacing:g} mm",
                (last, mean.iloc[last]),
                xytext=(8, 0),
                textcoords="offset points",
                va="center",
                fontsize=8,
            )
    vertebra_axis(ax)
    ax.set_xlim(-0.6, len(VERTEBRAE) + 1.6)
    ax.set_ylabel("Dice after the round trip")
    ax.set_ylim(None, 1.0)
    return ax
