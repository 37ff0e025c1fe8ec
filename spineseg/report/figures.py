"""Charts of a cohort, of its preparation and of training. Tables come in, axes go out; nothing is computed here."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.colors import to_rgba
from matplotlib.ticker import PercentFormatter

from spineseg.anatomy.labels import REGIONS, VERTEBRAE
from spineseg.report.theme import FAINT, INK, NETWORK_STYLES, new_axes, region_palette, vertebra_axis, vertebra_palette


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


def loss_curves(history, ax=None):
    """Draw training and validation loss of each network against epochs.

    Args:
        history: Table with columns `network`, `epoch`, `train_loss`, `validation_loss`.
        ax: Axes to draw on; new ones when None.

    Returns:
        The axes.
    """
    ax = ax or new_axes(height_in=2.8)
    for network, part in history.groupby("network", sort=False):
        style = NETWORK_STYLES.get(network, "-")
        ax.plot(part["epoch"], part["train_loss"], style, color=FAINT, linewidth=1.5)
        seen = part.dropna(subset="validation_loss")
        ax.plot(seen["epoch"], seen["validation_loss"], style, color=INK, linewidth=1.5, marker=".", label=network)
    ax.plot([], [], color=FAINT, label="(grey) on training patches")
    ax.set(xlabel="epoch", ylabel="loss")
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.legend()
    return ax


def region_curves(history, axes=None):
    """Draw validation Dice per region against epochs, one panel per network.

    Args:
        history: Table with columns `network`, `epoch`, `dice_<region>` and `dice_binary`.
        axes: As many axes as networks; new ones when None.

    Returns:
        Array of axes.
    """
    networks = list(dict.fromkeys(history["network"]))
    axes = new_axes(1, len(networks), height_in=2.8, sharey=True, squeeze=False)[0] if axes is None else axes
    palette = region_palette()
    for ax, network in zip(axes, networks, strict=True):
        part = history[history["network"] == network]
        for column, name, colour in [("dice_binary", "any vertebra", INK)] + [
            (f"dice_{r}", r, palette[r]) for r in REGIONS
        ]:
            seen = part.dropna(subset=column)
            style = "--" if column == "dice_binary" else "-"
            ax.plot(
                seen["epoch"], seen[column], style, color=colour, linewidth=1.6, marker=".", markersize=4, label=name
            )
        ax.set(xlabel=f"epoch ({network})", ylim=(0, 1))
        ax.xaxis.get_major_locator().set_params(integer=True)
    axes[0].set_ylabel("validation Dice")
    axes[-1].legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return axes


def identification_maps(history, axes=None):
    """Draw, epoch by epoch, which vertebrae a network names right: one heat map per network.

    Args:
        history: Table with columns `network`, `epoch`, `vertebra`, `identified` (share of validation scans with it).
        axes: As many axes as networks; new ones when None.

    Returns:
        Array of axes.
    """
    networks = list(dict.fromkeys(history["network"]))
    axes = new_axes(1, len(networks), height_in=3.8, sharey=True, squeeze=False)[0] if axes is None else axes
    for ax, network in zip(axes, networks, strict=True):
        part = history[history["network"] == network]
        table = part.pivot_table(index="vertebra", columns="epoch", values="identified").reindex(VERTEBRAE)
        epochs = list(table.columns)
        ax.set_facecolor("#eeeeee")  # never seen in validation
        picture = ax.imshow(table, cmap="cividis", vmin=0, vmax=1, aspect="auto", interpolation="none")
        vertebra_axis(ax, axis="y", label="vertebra" if ax is axes[0] else "")
        step = max(len(epochs) // 6, 1)
        ax.set_xticks(range(0, len(epochs), step), [f"{e:g}" for e in epochs[::step]])
        ax.set_xlabel(f"epoch ({network})")
    plt.colorbar(picture, ax=list(axes), label="share named right", fraction=0.04)
    return axes


def cost_bars(cost, axes=None):
    """Draw what each network costs: minutes, parameters, steps.

    Args:
        cost: Table indexed by network; one panel per column, whose name is the axis label.
        axes: As many axes as columns; new ones when None.

    Returns:
        Array of axes.
    """
    axes = new_axes(1, len(cost.columns), height_in=1.7, sharey=True, squeeze=False)[0] if axes is None else axes
    for ax, column in zip(axes, cost.columns, strict=True):
        bars = ax.barh(cost.index, cost[column], color=FAINT, height=0.6)
        ax.bar_label(bars, fmt="{:.3g}", padding=2, fontsize=8)
        ax.set_xlabel(column)
        ax.margins(x=0.25)
    axes[0].invert_yaxis()
    return axes
