"""Two boxes with a space between them that is known."""

import numpy as np
import pytest
from test_morphometry import grid, paint, turn

from spineseg.anatomy.alignment import segment_angle
from spineseg.anatomy.bodies import bodies_of
from spineseg.anatomy.discs import disc_heights, meyerding, slip_mm
from spineseg.anatomy.row import row_of

BASE = turn(8.0, 4.0, 5.0)


def pair(gap_mm=8.0, slip=0.0, lean=0.0, spacing=(1.5, 1.5, 1.5)):
    """L2 on L3: bodies 24 mm high, the upper one leans backwards by `lean` degrees about the middle of the space."""
    affine, shape = grid(spacing, (110, 140, 170))
    own = BASE @ turn(-lean)
    middle = np.zeros(3)
    lower = middle - BASE @ (0, 0, gap_mm / 2 + 12)
    upper = middle + own @ (0, 0, gap_mm / 2 + 12) + BASE @ (0, slip, 0)
    labels = paint({"L2": (upper, own), "L3": (lower, BASE)}, affine, shape)
    found = bodies_of(row_of(labels, affine), step_mm=1.0)
    return found[21], found[22]


@pytest.mark.parametrize("gap_mm", [4.0, 8.3])
def test_a_parallel_space_is_as_high_everywhere(gap_mm):
    upper, lower = pair(gap_mm)
    assert list(disc_heights(upper, lower).values()) == pytest.approx([gap_mm] * 3, abs=0.6)
    assert segment_angle(upper, lower) == pytest.approx(0, abs=1.5)
    assert slip_mm(upper, lower) == pytest.approx(0, abs=0.8)


def test_a_space_that_opens_forwards_is_higher_in_front_and_has_a_positive_angle():
    upper, lower = pair(9.0, lean=10.0)
    found, rise = disc_heights(upper, lower), 30 * 0.35 * 2 * np.tan(np.radians(5.0))
    assert found["anterior"] - found["middle"] == pytest.approx(rise, abs=0.7)
    assert found["middle"] - found["posterior"] == pytest.approx(rise, abs=0.7)
    assert segment_angle(upper, lower) == pytest.approx(10, abs=1.5)


@pytest.mark.parametrize("slip", [-4.0, 3.0, 9.0])
def test_a_slip_is_found_with_its_sign(slip):
    assert slip_mm(*pair(slip=slip)) == pytest.approx(slip, abs=0.8)


def test_bodies_that_touch_have_a_disc_of_no_height():
    assert max(disc_heights(*pair(gap_mm=0.2)).values()) < 0.6


@pytest.mark.parametrize(
    ("slip", "grade"), [(-6.0, 0), (1.9, 0), (2.5, 1), (7.4, 1), (7.5, 2), (15.0, 3), (22.5, 4), (31.0, 5)]
)
def test_grades_of_a_slip_over_30_mm_change_every_quarter(slip, grade):
    assert meyerding(slip, 30.0) == grade


def test_no_slip_no_grade():
    assert np.isnan(meyerding(float("nan"), 30.0)) and np.isnan(meyerding(3.0, float("nan")))
