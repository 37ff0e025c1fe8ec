"""CT slices as radiologists read them: sagittal with superior up and anterior left, coronal and axial with the
patient's right on the left. Every array here has RAS+ axes (`data.geometry.to_canonical`)."""

from __future__ import annotations

import numpy as np
from matplotlib import patheffects

from spineseg.anatomy.labels import N_VERTEBRAE, VERTEBRAE
from spineseg.config import ReportConfig
from spineseg.report.theme import label_colormap, new_axes

PLANES = {"sagittal": 0, "coronal": 1, "axial": 2}
SIDES = {"sagittal": ("A", "P", "S", "I"), "coronal": ("R", "L", "S", "I"), "axial": ("R", "L", "A", "P")}
OUTLINED = [patheffects.withStroke(linewidth=1.2, foreground="black")]
BONE_WINDOW_HU = (-500.0, 1300.0)  # L 400 / W 1800


def slice_of(array, plane: str, index: int) -> np.ndarray:
    """One slice turned the way it is read.

    Args:
        array: `(I, J, K)` with RAS+ axes.
        plane: `sagittal`, `coronal` or `axial`.
        index: Position along the axis that the plane fixes.

    Returns:
        `(rows, columns)`, row 0 at the top of the page. All three planes flip both axes: I, J and K grow towards the
        right, the front and the head, which the page shows on the left, on the left or top, and at the top.

    Raises:
        ValueError: If the plane is unknown.
    """
    if plane not in PLANES:
        raise ValueError(f"plane must be one of {', '.join(PLANES)}, got {plane!r}")
    return np.take(np.asarray(array), index, axis=PLANES[plane]).T[::-1, ::-1]


def show_slice(
    image,
    spacing,
    *,
    plane="sagittal",
    index,
    labels=None,
    window_hu=BONE_WINDOW_HU,
    opacity=0.6,
    names=False,
    sides=True,
    ax=None,
):
    """Draw one slice, with its label map on top if there is one.

    Args:
        image: `(I, J, K)` HU, or the unit interval when `window_hu` is None.
        spacing: Voxel size in mm along I, J, K.
        plane: `sagittal`, `coronal` or `axial`.
        index: Position along the axis that the plane fixes.
        labels: `(I, J, K)` label map, or None.
        window_hu: Lowest and highest HU shown, printed in the picture; None for an image in [0, 1].
        opacity: Of the label map.
        names: Write each vertebra's name beside its piece of the slice.
        sides: Write the sides of the body and a scale bar; False where the axes are not RAS+.
        ax: Axes to draw on; new ones when None.

    Returns:
        The axes.
    """
    ax = ax or new_axes(height_in=5.0)
    low, high = window_hu or (0.0, 1.0)
    picture = slice_of(image, plane, index)
    across, down = (spacing[axis] for axis in range(3) if axis != PLANES[plane])
    extent = (0, picture.shape[1] * across, picture.shape[0] * down, 0)
    ax.set_facecolor("black")
    ax.imshow(picture, cmap="gray", vmin=low, vmax=high, extent=extent, aspect="equal")
    if labels is not None:
        colours_on_top = slice_of(labels, plane, index)
        ax.imshow(
            colours_on_top, cmap=label_colormap(), vmin=0, vmax=N_VERTEBRAE, extent=extent, alpha=opacity,
            aspect="equal", interpolation="none",
        )  # fmt: skip
        if names:
            _write_names(ax, colours_on_top, across, down)
    ax.set_xticks([])
    ax.set_yticks([])
    if sides:
        write_sides(ax, SIDES[plane], extent)
    if window_hu is not None:
        text = f"L {(low + high) / 2:.0f} / W {high - low:.0f} HU"
        ax.text(0.98, 0.01, text, transform=ax.transAxes, ha="right", va="bottom", color="white", fontsize=6)
    return ax


def show_pair(image, labels, spacing, *, indices, axes=None, names=True, **options):
    """Draw a scan in the sagittal and the coronal plane with its label map.

    Args:
        image: `(I, J, K)` HU.
        labels: `(I, J, K)` label map.
        spacing: Voxel size in mm along I, J, K.
        indices: `{plane: index}` with the sagittal and the coronal position.
        axes: Two axes; new ones when None.
        names: Write the vertebrae's names.
        **options: Passed to `show_slice`.

    Returns:
        The two axes.
    """
    axes = new_axes(1, 2, height_in=5.2) if axes is None else axes
    for ax, plane in zip(axes, ("sagittal", "coronal"), strict=True):
        show_slice(image, spacing, plane=plane, index=indices[plane], labels=labels, names=names, ax=ax, **options)
    axes[0].set_anchor("E")  # side by side, however narrow each is
    axes[1].set_anchor("W")
    return axes


def show_comparison(image, reference, prediction, spacing, *, index, plane="sagittal", heading="", axes=None):
    """Draw CT, reference and prediction of one slice side by side.

    Args:
        image: `(I, J, K)` HU.
        reference: `(I, J, K)` label map.
        prediction: `(I, J, K)` label map.
        spacing: Voxel size in mm along I, J, K.
        index: Position of the slice.
        plane: Which plane.
        heading: Written up the left side, such as the case and its Dice.
        axes: Three axes; new ones when None.

    Returns:
        The three axes.
    """
    axes = new_axes(1, 3, height_in=3.2) if axes is None else axes
    for ax, labels, name in zip(axes, (None, reference, prediction), ("CT", "reference", "prediction"), strict=True):
        show_slice(image, spacing, plane=plane, index=index, labels=labels, names=labels is not None, ax=ax)
        ax.set_xlabel(name)
    axes[0].set_ylabel(heading)
    return axes


def show_cases(cases, *, plane="sagittal"):
    """Draw several cases below each other, each as CT, reference and prediction.

    Args:
        cases: List of dicts with the arguments of `show_comparison`.
        plane: Which plane.

    Returns:
        `(cases, 3)` axes.
    """
    # each row as high as its picture needs at a third of the width, within reason
    width_in = ReportConfig.figure_width_in / 3
    heights = [min(max(_height_share(case, plane) * width_in, 1.2), 4.2) + 0.25 for case in cases]
    grid = new_axes(len(cases), 3, height_in=sum(heights), squeeze=False, height_ratios=heights)
    for case, axes in zip(cases, grid, strict=True):
        show_comparison(**case, plane=plane, axes=axes)
    return grid


def show_atlas(pictures, *, columns=4):
    """Draw an atlas of small crops: the reference's outline against the prediction's colours.

    Args:
        pictures: List of dicts: `image`, `reference`, `prediction` (`(I, J, K)` crops), `spacing`, `index`, `label`
            (the vertebra that is outlined), `title`.
        columns: Pictures per row.

    Returns:
        Array of axes; unused ones are hidden.
    """
    rows = -(-len(pictures) // columns)
    tallest = max((_height_share(p) for p in pictures), default=1.0)
    height_in = max(rows, 1) * (ReportConfig.figure_width_in / columns * tallest + 0.4)
    grid = new_axes(max(rows, 1), columns, height_in=height_in, squeeze=False)
    for ax in grid.flat[len(pictures) :]:
        ax.set_visible(False)
    for ax, picture in zip(grid.flat, pictures, strict=False):
        show_slice(picture["image"], picture["spacing"], index=picture["index"], labels=picture["prediction"], ax=ax)
        outline = slice_of(picture["reference"], "sagittal", picture["index"]) == picture["label"]
        _, sj, sk = picture["spacing"]
        across, down = (np.arange(outline.shape[1]) + 0.5) * sj, (np.arange(outline.shape[0]) + 0.5) * sk
        if outline.any() and min(outline.shape) > 1:
            ax.contour(across, down, outline, levels=[0.5], colors="white", linewidths=1.2)
        ax.set_xlabel(picture["title"], fontsize=7)
    return grid


def show_steps(steps, *, plane="sagittal", height_in=3.4):
    """Draw one scan after each step of a pipeline, all at the same scale.

    Args:
        steps: List of dicts: `name`, `image`, `spacing`, `index`, and optionally `labels`, `window_hu` and `sides`.
        plane: Which plane.
        height_in: Height of the figure, inches.

    Returns:
        Array of axes.
    """
    axes = new_axes(1, len(steps), height_in=height_in, squeeze=False)[0]
    for ax, step in zip(axes, steps, strict=True):
        show_slice(
            step["image"], step["spacing"], plane=plane, index=step["index"], labels=step.get("labels"),
            window_hu=step.get("window_hu"), sides=step.get("sides", True), ax=ax,
        )  # fmt: skip
        ax.set_xlabel(step["name"], fontsize=8)
    return axes


def _height_share(picture, plane="sagittal"):
    """Height over width of a slice on the page."""
    across, down = (
        picture["reference"].shape[axis] * picture["spacing"][axis] for axis in range(3) if axis != PLANES[plane]
    )
    return down / across


def write_sides(ax, sides, extent):
    """Write the sides of the body and a scale bar into a picture.

    Args:
        ax: Axes of the picture.
        sides: Letters at its left, right, top and bottom; the last one is left out, it is the top's opposite.
        extent: As given to `imshow`, mm.
    """
    style = {"transform": ax.transAxes, "color": "white", "fontsize": 7}
    ax.text(0.02, 0.5, sides[0], ha="left", va="center", **style)
    ax.text(0.98, 0.5, sides[1], ha="right", va="center", **style)
    ax.text(0.5, 0.985, sides[2], ha="center", va="top", **style)
    length = 50 if extent[1] > 120 else 20
    x, y = 0.04 * extent[1], 0.965 * extent[2]
    ax.plot([x, x + length], [y, y], color="white", linewidth=1.5, solid_capstyle="butt")
    ax.text(x, y - 0.01 * extent[2], f"{length} mm", color="white", fontsize=6, va="bottom")


def _write_names(ax, labels, across, down):
    for value in np.unique(labels[labels > 0]):
        rows, columns = np.nonzero(labels == value)
        # the front edge is to the left in a sagittal slice: names stand clear of the bone behind the picture's spine
        x, y = (columns.min() - 0.5) * across, (rows.mean() + 0.5) * down
        room = x > 0.12 * labels.shape[1] * across  # else the name would leave the picture: write it on the bone
        ax.annotate(
            VERTEBRAE[value - 1], (x, y), xytext=(-3 if room else 4, 0), textcoords="offset points",
            ha="right" if room else "left", va="center", color="white", fontsize=6, path_effects=OUTLINED,
        )  # fmt: skip
