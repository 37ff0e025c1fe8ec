"""Charts of training: what is learned when, and what it costs. Tables come in, axes go out."""

from __future__ import annotations

import matplotlib.pyplot as plt

from spineseg.anatomy.labels import REGIONS, VERTEBRAE
from spineseg.report.theme import FAINT, INK, NETWORK_STYLES, new_axes, region_palette, vertebra_axis


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
    ax.plot([], [], color=FAINT, label="(grey) in training")
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
        history: Table with columns `network`, `epoch`, `vertebra`, `identified` (share of the validation items
            that hold it).
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
