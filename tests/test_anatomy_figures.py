"""The picture of phantoms beside real masks."""

import matplotlib
import numpy as np
import pytest

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from spineseg.anatomy.labels import VERTEBRAE
from spineseg.anatomy.real_masks import MEASURES, real_masks
from spineseg.report import anatomy_figures


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


def phantoms():
    """One phantom that has the real medians at every level."""
    return real_masks().pivot(index="vertebra", columns="measure", values="median").reset_index()


def test_every_measure_has_an_axis_with_its_unit():
    axes = np.ravel(anatomy_figures.measures_per_level(phantoms(), real_masks()))
    assert [ax.get_ylabel() for ax in axes] == [anatomy_figures.LABELS[m] for m in MEASURES]
    assert all("/" in ax.get_ylabel() for ax in axes)


def test_ticks_stand_at_the_real_medians():
    real = real_masks()
    axes = np.ravel(anatomy_figures.measures_per_level(phantoms(), real))
    for ax, measure in zip(axes, MEASURES, strict=True):
        rows = real[real["measure"] == measure]
        places = [VERTEBRAE.index(v) for v in rows["vertebra"]]
        drawn = next(line for line in ax.lines if line.get_marker() == "_")
        assert np.array_equal(np.floor(drawn.get_xdata()), places)
        assert np.allclose(drawn.get_ydata(), rows["median"])
