"""Lines from rim to rim, on a body whose upper endplate is made to measure."""

import dataclasses

import numpy as np
import pytest
from builders import flat_body

from spineseg.anatomy.alignment import own_angle, pitch_degrees
from spineseg.anatomy.labels import IDS
from spineseg.anatomy.rims import deepest, rim_line, rim_normal


@pytest.fixture(scope="module")
def flat():
    return flat_body()


def share(body):
    return ((body.view.y - body.back_mm) / body.depth_mm)[None, :]


def inner_angle(body):
    """Between planes through the inner parts."""
    lean = [pitch_degrees(body.plane(end)[1], body.frame) for end in ("top", "bottom")]
    return lean[0] - lean[1]


def hollowed(body, place, mm=3.0):
    """The body with an upper endplate whose hollow, 76 % of the depth wide, is deepest at a place."""
    across = np.interp(share(body), [0.08, place, 0.84], [0.0, 0.5, 1.0])
    return dataclasses.replace(body, top=body.top - mm * np.sin(np.pi * across))


def test_an_upper_endplate_that_falls_forwards_is_a_positive_angle(flat):
    falling = flat.top - np.tan(np.radians(6.0)) * (share(flat) - 0.5) * flat.depth_mm
    body = dataclasses.replace(flat, top=falling)
    assert own_angle(flat) == pytest.approx(0, abs=0.05)
    assert own_angle(body) == pytest.approx(6, abs=0.1) and inner_angle(body) == pytest.approx(6, abs=0.1)


@pytest.mark.parametrize(("place", "off"), [(0.34, 1.0), (0.37, 0.3), (0.4, 0.5), (0.42, 1.0), (0.48, 2.0)])
def test_a_hollow_behind_the_middle_leans_the_inner_part_and_the_rims_less_the_more_usual_its_place(flat, place, off):
    body = hollowed(flat, place)
    depth, found = deepest(body, "top")
    assert inner_angle(body) < -2 and own_angle(body) == pytest.approx(0, abs=off)
    assert found == pytest.approx(place, abs=0.05) and depth == pytest.approx(3.0, abs=0.4)
    assert deepest(flat, "bottom")[0] == pytest.approx(0, abs=0.01)


def test_a_line_from_rim_to_rim_lies_along_its_normals_plane(flat):
    body = hollowed(flat, 0.4)
    ends, normal = rim_line(body, "top"), rim_normal(body, "top")
    assert np.linalg.norm(normal) == pytest.approx(1) and (ends[1] - ends[0]) @ normal == pytest.approx(0, abs=1e-9)
    upright = (ends - body.middle) @ body.frame
    assert upright[:, 1] == pytest.approx(body.reach_mm("top"))
    assert upright[:, 2] == pytest.approx(np.nanmedian(flat.top), abs=0.3)


def test_a_bone_with_one_endplate_has_that_ones_plane(flat):
    sacrum = dataclasses.replace(hollowed(flat, 0.4), level=IDS["S1"])
    np.testing.assert_allclose(rim_normal(sacrum, "top"), sacrum.plane("top")[1])
    along = np.diff(rim_line(sacrum, "top"), axis=0)[0]
    assert along @ sacrum.plane("top")[1] == pytest.approx(0, abs=1e-9)


def test_a_cut_body_has_none(flat):
    cut = dataclasses.replace(flat, is_whole=False)
    assert np.isnan(own_angle(cut)) and np.isnan(deepest(cut, "top")).all()
    assert np.isnan(own_angle(dataclasses.replace(flat, top=np.full_like(flat.top, np.nan))))
