import numpy as np
import pytest

from spineseg.learning.narrowing import NARROWEST_MM, SHORTEST_MM, draw_around, draw_near_spine, draw_smaller


@pytest.fixture
def draws():
    rng = np.random.default_rng(0)
    return np.array([draw_smaller(rng, (40, 36, 60), (9.0, 9.0, 9.0)) for _ in range(4000)])


def test_smaller_views_reach_from_two_vertebrae_to_the_whole_scan(draws):
    assert (draws >= 1).all() and (draws <= (40, 36, 60)).all()
    assert draws[:, 2].min() * 9 <= SHORTEST_MM + 9 and draws[:, 2].max() >= 59
    assert draws[:, 0].min() * 9 <= NARROWEST_MM + 9 and draws[:, 0].max() == 40


def test_half_of_them_keep_their_width_and_lengths_are_even_on_a_logarithmic_scale(draws):
    assert np.mean((draws[:, 0] == 40) & (draws[:, 1] == 36)) == pytest.approx(0.5, abs=0.1)
    middle = np.sqrt(60 * SHORTEST_MM / 9)
    assert np.mean(draws[:, 2] < middle) == pytest.approx(0.5, abs=0.05)


def test_both_directions_across_are_narrowed_alike(draws):
    narrowed = draws[draws[:, 0] < 30]
    ratio = (narrowed[:, 0] / 40) / (narrowed[:, 1] / 36)
    assert len(narrowed) > 500 and ratio.min() > 0.55 and ratio.max() < 1.8


def test_a_scan_that_is_small_already_keeps_its_size():
    rng = np.random.default_rng(1)
    for _ in range(50):
        assert draw_smaller(rng, (5, 9, 4), (9.0, 9.0, 9.0)).tolist() == [5, 9, 4]


def test_a_part_near_the_spine_holds_some_of_it_and_stays_within_the_scan():
    labels = np.zeros((40, 36, 60), np.uint8)
    labels[18:22, 10:14, 5:50] = 3
    rng = np.random.default_rng(2)
    for _ in range(300):
        shape = draw_smaller(rng, labels.shape, (9.0, 9.0, 9.0))
        start = draw_near_spine(rng, labels, shape) - (shape - 1) / 2
        assert (start >= -1e-9).all() and (start + shape <= np.array(labels.shape) + 1e-9).all()
        part = tuple(slice(int(np.floor(a)), int(np.ceil(a)) + n) for a, n in zip(start, shape, strict=True))
        assert labels[part].any()


def test_a_part_around_a_point_shows_it_and_stays_within_the_scan():
    rng, size = np.random.default_rng(3), np.array((40, 36, 60))
    for _ in range(300):
        shape = draw_smaller(rng, size, (9.0, 9.0, 9.0))
        point = rng.uniform(0, size - 1)
        start = draw_around(rng, point, size, shape)
        assert (start >= 0).all() and (start + shape <= size).all()
        assert (start <= point + 0.5).all() and (point - 0.5 <= start + shape - 1).all()
