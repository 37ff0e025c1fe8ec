import numpy as np
import pytest
import torch

from spineseg.anatomy.phantom.canvas import Canvas
from spineseg.anatomy.phantom.streaks import add_streaks


def slab(*metal):
    """Water with metal boxes, each `(x, y, z)` slices."""
    canvas = Canvas((-60.0, -60.0, 0.0), (61, 61, 20), (2.0, 2.0, 3.0), hu=20.0)
    for box in metal:
        canvas.ct_hu[box] = 2900.0
    return canvas


SCREWS = [(slice(18, 22), slice(28, 32), slice(8, 12)), (slice(40, 44), slice(28, 32), slice(8, 12))]


def test_streaks_appear_only_with_metal():
    canvas = slab()
    canvas.ct_hu[10:20, 10:20, 5:9] = 2300.0  # a tooth is none
    before = canvas.ct_hu.clone()
    assert add_streaks(canvas, np.random.default_rng(0)) == 0.0
    assert torch.equal(canvas.ct_hu, before)


def test_streaks_stay_in_the_slices_that_hold_metal_and_their_neighbours():
    canvas = slab(*SCREWS)
    assert add_streaks(canvas, np.random.default_rng(0)) > 0
    changed = ((canvas.ct_hu != 20.0) & (canvas.ct_hu < 2900.0)).any(0).any(0).nonzero().flatten().tolist()
    assert changed == list(range(7, 13))


def test_the_line_between_two_screws_is_dark():
    between = []
    for seed in range(20):
        canvas = slab(*SCREWS)
        add_streaks(canvas, np.random.default_rng(seed))
        between.append(float(canvas.ct_hu[28:34, 29:31, 9:11].mean()))
    assert np.mean(between) < -20.0


def test_rays_fade_with_distance():
    canvas = slab(SCREWS[0])
    add_streaks(canvas, np.random.default_rng(1))
    near, far = canvas.ct_hu[24:28, 22:38, 9:11], canvas.ct_hu[54:, 22:38, 9:11]
    assert float(near.std()) > 2 * float(far.std())


def test_as_many_numbers_are_drawn_with_metal_as_without():
    left = set()
    for canvas in (slab(), slab(*SCREWS)):
        rng = np.random.default_rng(4)
        add_streaks(canvas, rng)
        left.add(float(rng.random()))
    assert len(left) == 1


@pytest.mark.parametrize("seed", range(5))
def test_hu_stay_above_that_of_nothing(seed):
    canvas = slab(*SCREWS)
    canvas.ct_hu[:, :20] = -1000.0
    add_streaks(canvas, np.random.default_rng(seed))
    assert canvas.ct_hu.min() >= -1024
