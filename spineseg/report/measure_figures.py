"""A measured spine in two pictures: the chart of its levels, and the sagittal slice with endplates and angles."""

from __future__ import annotations

import numpy as np

from spineseg.anatomy.alignment import CURVES
from spineseg.anatomy.clinical import Examination
from spineseg.anatomy.heights import PLACES
from spineseg.anatomy.labels import IDS
from spineseg.anatomy.rims import rim_line
from spineseg.data.affine import spacing_of, to_canonical
from spineseg.evaluation.findings import neighbours_median
from spineseg.report import slices
from spineseg.report.theme import FAINT, INK, new_axes

FLAG = "#e91e63"
FLAG_ON_BONE = "#ff9fc0"  # the same for small letters, which a black outline darkens
MARKS = {"anterior": ("<", "#1f77b4"), "middle": ("o", "#111111"), "posterior": (">", "#d95f02")}


def draw_chart(exam: Examination, flagged: set[str], norms: dict | None = None):
    """Heights of bodies and discs, and HU, level by level from the head down.

    Args:
        exam: From `clinical.examine`.
        flagged: Names that are written in the colour of findings.
        norms: `{measure: {level: (mean, standard deviation)}}` of a healthy cohort, drawn as bands; None for none.

    Returns:
        Three axes.
    """
    bone, gaps = exam.vertebrae, exam.discs
    levels = [IDS[v] for v in bone["vertebra"]]
    axes = new_axes(1, 3, height_in=max(2.6, 0.22 * len(levels) + 1.3), sharey=True)
    for place in PLACES:
        marker, colour = MARKS[place]
        column = f"height_{place}_mm"
        axes[0].plot(bone[column].astype(float), levels, marker, color=colour, markersize=4, label=place, linestyle="")
        below = [IDS[d.split("-")[0]] + 0.5 for d in gaps["disc"]]
        axes[1].plot(gaps[column].astype(float), below, marker, color=colour, markersize=4, linestyle="")
    hu = bone["hu_median"].astype(float)
    axes[2].plot(hu, levels, "o", color=INK, markersize=4, linestyle="", label="inner body")
    axes[2].plot(neighbours_median(hu), levels, "-", color=FAINT, zorder=0, label="its neighbours")
    for ax, measure, shift in ((axes[0], "height_middle_mm", 0.0), (axes[1], "disc_middle_mm", 0.5)):
        known = {level: v for level, v in (norms or {}).get(measure, {}).items() if level in levels}
        for level, (mean, deviation) in known.items():
            ax.fill_betweenx(
                [level + shift - 0.3, level + shift + 0.3], mean - 2 * deviation, mean + 2 * deviation, color=FAINT,
                alpha=0.5, linewidth=0, zorder=0,
            )  # fmt: skip
    axes[0].set_yticks(levels, bone["vertebra"])
    if levels:
        axes[0].set_ylim(max(levels) + 0.9, min(levels) - 0.6)
    for text in axes[0].get_yticklabels():
        if text.get_text() in flagged:
            text.set(color=FLAG, fontweight="bold")
    for ax, label in zip(axes, ("body height (mm)", "disc height (mm)", "HU"), strict=True):
        ax.set_xlabel(label)
        ax.grid(axis="y", color=FAINT, linewidth=0.4)
    axes[0].legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, columnspacing=0.8, handletextpad=0.1)
    axes[2].legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, columnspacing=0.8)
    return axes


def draw_sagittal(exam: Examination, ct_hu, labels, affine, flagged: set[str], *, ax=None):
    """The sagittal slice through most bodies, every endplate as a line, the ends of measured curves drawn out.

    Args:
        exam: From `clinical.examine`.
        ct_hu: `(I, J, K)`, or None for a black background.
        labels: `(I, J, K)`.
        affine: `(4, 4)` of both.
        flagged: Names of vertebrae whose endplates have the colour of findings.
        ax: Axes to draw on; new ones when None.

    Returns:
        The axes.
    """
    named, canonical = to_canonical(np.asarray(labels), affine)
    image = np.full(named.shape, -1000.0) if ct_hu is None else to_canonical(np.asarray(ct_hu), affine)[0]
    spacing, inverse = spacing_of(canonical), np.linalg.inv(canonical)
    middles = [inverse[:3, :3] @ b.middle + inverse[:3, 3] for b in exam.bodies.values()]
    index = int(np.clip(round(np.median([m[0] for m in middles])), 0, named.shape[0] - 1)) if middles else 0
    shape = named.shape
    ax = ax or new_axes(height_in=min(8.0, 6.6 * shape[2] * spacing[2] / (shape[1] * spacing[1]) + 0.4))
    slices.show_slice(image, spacing, index=index, labels=named, opacity=0.22, ax=ax)

    def on_page(points):
        voxel = np.asarray(points) @ inverse[:3, :3].T + inverse[:3, 3]
        return (shape[1] - voxel[:, 1] - 0.5) * spacing[1], (shape[2] - voxel[:, 2] - 0.5) * spacing[2]

    for body in exam.bodies.values():
        colour = FLAG if body.name in flagged else "white"
        for end, there in (("top", body.has_top), ("bottom", body.has_bottom)):
            if there and body.is_whole:
                ax.plot(*on_page(_line(body, end, 0.5)), color=colour, linewidth=1.4 if colour == FLAG else 0.7)
        x, y = on_page(body.world([[0.0, (body.front_mm + body.back_mm) / 2, 0.0]]))
        ink = FLAG_ON_BONE if colour == FLAG else colour
        ax.text(x[0], y[0], body.name, color=ink, fontsize=7, ha="center", va="center", path_effects=slices.OUTLINED)
    for name, ((upper, end_u), (lower, end_l), _) in CURVES.items():
        if np.isfinite(exam.angles[name]):
            for vertebra, end in ((upper, end_u), (lower, end_l)):
                ax.plot(*on_page(_line(exam.bodies[IDS[vertebra]], end, 1.6)), color="#ffd54f", linewidth=0.8)
            body = exam.bodies[IDS[lower]]
            x, y = on_page(body.world([[0.0, body.front_mm + 22.0, 12.0]]))
            text = f"{name.replace('_', ' ')}\n{exam.angles[name]:.0f}°"
            ax.text(
                x[0], y[0], text, color="#ffd54f", fontsize=7, ha="center", va="bottom", path_effects=slices.OUTLINED
            )
    ax.set_xlim(0, shape[1] * spacing[1])
    ax.set_ylim(shape[2] * spacing[2], 0)
    return ax


def _line(body, end, reach):
    """Two points of an endplate's line from rim to rim, `reach` depths from its middle."""
    ends = rim_line(body, end)
    forward = ends[1] - ends[0]
    return ends.mean(0) + np.outer([-reach, reach], forward / np.linalg.norm(forward)) * body.depth_mm
