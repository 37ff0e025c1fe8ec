import numpy as np
import pytest

from spineseg.anatomy.phantom.marrow import draw_bone
from spineseg.anatomy.phantom.ranges import within, within_log
from spineseg.anatomy.phantom.tissue import draw_tissue


def many(draw, count=400):
    rng = np.random.default_rng(0)
    return np.array([draw(rng) for _ in range(count)])


def test_values_fill_the_range_and_stay_in_it():
    values = many(lambda rng: within(rng, 10, 20))
    assert 10 <= values.min() < 10.5 and 19.5 < values.max() <= 20


def test_spread_widens_the_range_around_its_middle():
    values = many(lambda rng: within(rng, 10, 20, 2.0))
    assert values.min() < 6 and values.max() > 24 and values.mean() == pytest.approx(15, abs=1.0)


def test_without_spread_every_value_is_the_middle():
    assert set(many(lambda rng: within(rng, 10, 20, 0.0))) == {15.0}
    assert many(lambda rng: within_log(rng, 5, 80, 0.0)) == pytest.approx(20.0)


def test_bounds_hold_whatever_the_spread():
    values = many(lambda rng: within(rng, 0, 1, 5.0, least=-0.5, most=1.5))
    assert values.min() == -0.5 and values.max() == 1.5


def test_one_number_is_drawn_whatever_the_spread():
    after = set()
    for spread in (0.0, 1.0, 3.0):
        rng = np.random.default_rng(5)
        within(rng, 0, 1, spread)
        after.add(float(rng.random()))
    assert len(after) == 1


def test_spread_0_gives_every_patient_the_middle_of_each_tissue():
    drawn = [draw_tissue(np.random.default_rng(seed), 0.0) for seed in range(12)]
    for name in ("fat", "lung", "marrow", "cortical", "shell_mm", "streak", "mottle"):
        assert len({tissue[name] for tissue in drawn}) == 1
    bones = [draw_bone(drawn[0], np.random.default_rng(seed), 0.0) for seed in range(12)]
    for name in ("cortical", "core", "posterior", "wall_mm", "plate_mm", "arch_mm", "texture"):
        assert len({bone[name] for bone in bones}) == 1
