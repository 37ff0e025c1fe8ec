"""Where the endplates of a body begin and end."""

import dataclasses

import numpy as np
import pytest
from builders import flat_body

from spineseg.anatomy.labels import IDS

LEAN = -0.2  # mm that the wall lies further forwards per mm of height


@pytest.fixture(scope="module")
def flat():
    return flat_body()


def test_the_upper_end_of_a_leaning_body_lies_behind_its_lower_one(flat):
    leaning = dataclasses.replace(flat, wall=flat.back_mm + LEAN * flat.view.z)
    apart = LEAN * (np.nanmedian(flat.top) - np.nanmedian(flat.bottom) - 6.5)  # the wall is taken 3.25 mm from each end
    for end, sign in (("top", 0.5), ("bottom", -0.5)):
        back, front = leaning.reach_mm(end)
        assert back - leaning.back_mm == pytest.approx(sign * apart, abs=0.15)
        assert front - back == pytest.approx(leaning.depth_mm)
        y = leaning.view.y[leaning.inner(end).any(0)]
        assert y.mean() == pytest.approx((back + front) / 2, abs=0.6)


def test_a_wall_that_is_not_seen_leaves_the_ends_where_the_body_is(flat):
    blind = dataclasses.replace(flat, wall=np.full_like(flat.wall, np.nan))
    assert blind.reach_mm("top") == (flat.back_mm, flat.front_mm)
    assert np.isnan(blind.near_end_mm(blind.wall, "top"))


@pytest.mark.parametrize(("name", "end"), [("C2", "bottom"), ("S1", "top")])
def test_a_bone_with_one_endplate_has_wall_and_front_near_it(flat, name, end):
    level = np.nanmedian(getattr(flat, end))
    near = np.abs(flat.view.z - level) < 6.0
    wall, face = np.where(near, -13.0, -11.0), np.where(near, 12.0, 9.0)
    bone = dataclasses.replace(flat, level=IDS[name], wall=wall, face=face)
    assert bone.reach_mm(end) == (-13.0, 12.0)
    blind = dataclasses.replace(bone, wall=wall * np.nan, face=face * np.nan)
    assert blind.reach_mm(end) == (flat.back_mm, flat.front_mm)
