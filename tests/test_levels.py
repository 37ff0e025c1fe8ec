import numpy as np
import pytest

from spineseg.anatomy.labels import IDS, VERTEBRAE
from spineseg.anatomy.phantom.levels import ARCH, COLUMNS, VOLUME_ML, dimensions


def test_every_vertebra_has_every_dimension():
    table = dimensions()
    assert set(table) == set(COLUMNS)
    assert all(column.shape == (25,) for column in table.values())
    assert set(VOLUME_ML) == set(ARCH) == set(VERTEBRAE)


def test_dimensions_are_not_shared_between_calls():
    dimensions()["body_width"][:] = 0
    assert dimensions()["body_width"].min() > 0


@pytest.mark.parametrize("column", ["body_width", "body_depth", "body_height"])
def test_bodies_grow_from_t4_to_l3(column):
    values = dimensions()[column][IDS["T4"] - 1 : IDS["L3"]]
    assert np.all(np.diff(values) > 0)


def test_the_spine_is_as_long_as_an_adults():
    table = dimensions()
    assert 520 < table["body_height"][1:].sum() + table["disc_below"][1:-1].sum() < 680


def test_only_s1_and_the_atlas_have_no_disc_worth_the_name():
    thin = np.flatnonzero(dimensions()["disc_below"] < 3.0)
    assert thin.tolist() == [IDS["C1"] - 1, IDS["S1"] - 1]


def test_published_quantiles_ascend():
    assert all(low < middle < high for low, middle, high in VOLUME_ML.values())
