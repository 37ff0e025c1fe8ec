"""Phantom beside real, level by level. Tables come in, axes go out; nothing is computed here."""

from __future__ import annotations

import numpy as np
import seaborn as sns

from spineseg.anatomy.labels import VERTEBRAE
from spineseg.anatomy.real_masks import MEASURES
from spineseg.report.theme import INK, new_axes, vertebra_axis, vertebra_palette

LABELS = {
    "volume_ml": "volume / ml",
    "width_mm": "width / mm",
    "depth_mm": "depth / mm",
    "height_mm": "height of the body / mm",
    "spacing_mm": "distance to the next / mm",
    "tilt_degrees": "forward tilt / degrees",
}


def measures_per_level(phantoms, real, axes=None):
    """Draw six measures of every vertebra, a dot per phantom beside the range of the real masks.

    Args:
        phantoms: Table with columns `vertebra` and the measures; nan is not drawn.
        real: Table with columns `measure`, `vertebra`, `median`, `low`, `high`.
        axes: Array of six axes; new ones when None.

    Returns:
        The array of axes.
    """
    axes = new_axes(3, 2, height_in=6.6, sharex=True) if axes is None else axes
    for ax, measure in zip(np.ravel(axes), MEASURES, strict=True):
        sns.stripplot(
            phantoms, x="vertebra", y=measure, order=VERTEBRAE, hue="vertebra", palette=vertebra_palette(),
            legend=False, size=2.6, jitter=0.12, alpha=0.8, ax=ax,
        )  # fmt: skip
        rows = real[real["measure"] == measure]
        places = rows["vertebra"].map(VERTEBRAE.index).to_numpy(float) + 0.32
        ax.vlines(places, rows["low"], rows["high"], color=INK, linewidth=1.1)
        ax.plot(places, rows["median"], "_", color=INK, markersize=5, markeredgewidth=1.3)
        vertebra_axis(ax, label="")
        ax.set_ylabel(LABELS[measure])
        for text in ax.get_xticklabels():
            text.set_fontsize(5.5)
    return axes
