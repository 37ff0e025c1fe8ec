"""The angle from rim to rim, on a body whose upper endplate is made to measure."""

import dataclasses

import numpy as np
import pytest
from test_discs import pair

from spineseg.anatomy.alignment import own_angle
from spineseg.anatomy.rims import rim_angle


@pytest.fixture(scope="module")
def flat():
    """A body with even, parallel endplates."""
    body = pair(8.0)[1]
    top, bottom = (np.where(np.isnan(h), np.nan, np.nanmedian(h)) for h in (body.top, body.bottom))
    return dataclasses.replace(body, top=top, bottom=bottom)


def share(body):
    return ((body.view.y - body.back_mm) / body.depth_mm)[None, :]


def test_an_upper_endplate_that_falls_forwards_is_a_positive_angle(flat):
    falling = flat.top - np.tan(np.radians(6.0)) * (share(flat) - 0.5) * flat.depth_mm
    body = dataclasses.replace(flat, top=falling)
    assert rim_angle(flat) == pytest.approx(0, abs=0.05)
    assert rim_angle(body) == pytest.approx(6, abs=0.3) and own_angle(body) == pytest.approx(6, abs=0.3)


def test_a_hollow_behind_the_middle_leans_the_inner_part_and_not_the_rims(flat):
    hollow = 3.0 * np.sin(np.pi * np.clip((share(flat) - 0.12) / 0.76, 0, 1) ** 0.5) ** 2
    body = dataclasses.replace(flat, top=flat.top - hollow)
    assert own_angle(body) < -3 and rim_angle(body) == pytest.approx(0, abs=0.5)


def test_a_cut_body_has_none(flat):
    assert np.isnan(rim_angle(dataclasses.replace(flat, is_whole=False)))
