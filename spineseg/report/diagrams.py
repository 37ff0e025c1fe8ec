"""Drawings: the V-Net from the code's own shapes, and the parts of a vertebra on its own picture."""

from __future__ import annotations

from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from spineseg.report.slices import write_sides
from spineseg.report.theme import INK, new_axes

ARM, HALF = 0.78, 0.54  # step sideways per level and half the width of a stage, axes units
DIRECTION_COLOURS = {"input": "#e9e9e9", "down": "#a6c8e0", "up": "#b9d8a8", "out": "#f0b27a"}


def draw_vnet(stages, *, in_channels, patch, ax=None):
    """Draw a V-Net as the letter it is named after, from the shapes that its code reports.

    Args:
        stages: List of dicts in order of execution, as `learning.vnet.shapes` gives them.
        in_channels: Channels of the input.
        patch: Side lengths of the input, voxels.
        ax: Axes to draw on; new ones when None.

    Returns:
        The axes.
    """
    depth = max(s["level"] for s in stages)
    ax = ax or new_axes(height_in=1.2 + 0.75 * (depth + 1))
    start = dict(direction="input", level=0, channels=in_channels, shape=tuple(patch), convolutions=0, stage="input")
    nodes = [start, *stages]
    places = [_place(node, depth) for node in nodes]
    for node, (x, y) in zip(nodes, places, strict=True):
        _draw_stage(ax, node, x, y)
    for start, end in zip(places, places[1:], strict=False):
        _arrow(ax, start, end)
    down = {n["level"]: p for n, p in zip(nodes, places, strict=True) if n["direction"] == "down"}
    for node, (x, y) in zip(nodes, places, strict=True):
        if node["direction"] == "up":
            left = down[node["level"]]
            ax.annotate(
                "", (x - HALF, y), (left[0] + HALF, y),
                arrowprops={"arrowstyle": "->", "linestyle": ":", "color": INK, "linewidth": 0.9},
            )  # fmt: skip
            if x - left[0] < 2 * HALF + 1:
                continue
            ax.text((x + left[0]) / 2, y + 0.05, "concatenate", ha="center", va="bottom", fontsize=6.5, color=INK)
    xs = [x for x, _ in places]
    ax.set(xlim=(min(xs) - 0.6, max(xs) + 0.6), ylim=(-depth - 0.55, 0.55))
    ax.axis("off")
    return ax


def show_parts(panels, axes=None):
    """Draw bones with numbered parts and the names below.

    Args:
        panels: List of dicts as `specimen.anatomy_panels` makes them: `picture`, `extent`, `sides`, `parts`, `name`.
        axes: As many axes as panels; new ones when None.

    Returns:
        Array of axes.
    """
    axes = new_axes(1, len(panels), height_in=3.7, squeeze=False)[0] if axes is None else axes
    for ax, panel in zip(axes, panels, strict=True):
        ax.imshow(panel["picture"], extent=panel["extent"], interpolation="bilinear")
        ax.set_xticks([])
        ax.set_yticks([])
        write_sides(ax, panel["sides"], panel["extent"])
        parts = sorted(panel["parts"].items(), key=lambda item: item[1][1])
        for number, (_, (x, y)) in enumerate(parts, start=1):
            ax.plot(x, y, "o", color="white", markersize=8, markeredgecolor="black", markeredgewidth=0.5)
            ax.text(x, y, str(number), ha="center", va="center_baseline", fontsize=6.5, color="black")
        names = "\n".join(f"{number}  {name}" for number, (name, _) in enumerate(parts, start=1))
        ax.set_xlabel(panel["name"], fontsize=8)
        ax.annotate(
            names, (0.02, 0.0), xytext=(0, -24), xycoords="axes fraction", textcoords="offset points",
            fontsize=7, va="top", linespacing=1.4,
        )  # fmt: skip
        ax.set_anchor("N")
    return axes


def _place(node, depth):
    """Centre of a stage on the page: the way down is the left arm of the V, the way up the right arm."""
    arm, end = ARM * (depth - node["level"]), ARM * depth + 1.3
    x = {"input": -end, "down": -arm, "up": arm, "out": end}[node["direction"]]
    return x, -float(node["level"])


def _draw_stage(ax, node, x, y):
    box = FancyBboxPatch(
        (x - HALF + 0.04, y - 0.28), 2 * HALF - 0.08, 0.56, boxstyle="round,pad=0.02,rounding_size=0.06",
        facecolor=DIRECTION_COLOURS[node["direction"]], edgecolor=INK, linewidth=0.8,
    )  # fmt: skip
    ax.add_patch(box)
    count = node["convolutions"]
    what = {"input": "image", "out": "1³ convolution"}.get(
        node["direction"], f"{count} convolution{'s' * (count != 1)}"
    )
    shape = " × ".join(str(n) for n in node["shape"])
    ax.text(x, y + 0.13, f"{node['channels']} ch.", ha="center", va="center", fontsize=8, weight="bold")
    ax.text(x, y - 0.02, shape, ha="center", va="center", fontsize=6)
    ax.text(x, y - 0.17, what, ha="center", va="center", fontsize=6)


def _arrow(ax, start, end):
    (x0, y0), (x1, y1) = start, end
    if y0 == y1:
        tail, head = (x0 + HALF, y0), (x1 - HALF, y1)
    else:
        towards = 0.32 if y1 > y0 else -0.32
        tail, head = (x0 + 0.15, y0 + towards), (x1 - 0.15, y1 - towards)
    ax.add_patch(FancyArrowPatch(tail, head, arrowstyle="-|>", mutation_scale=8, color=INK, linewidth=1))
