"""Boxes whose heights are known: painted into grids of several kinds, and by hand."""

import numpy as np
import pytest
from test_morphometry import grid, paint, turn

from spineseg.anatomy.bodies import bodies_of
from spineseg.anatomy.heights import canal_mm, expected_posterior, genant, heights_of, losses
from spineseg.anatomy.labels import IDS
from spineseg.anatomy.row import row_of

NAN = float("nan")


def body(rotation=None, spacing=(1.5, 1.5, 1.5), wedge=0.0, dent_mm=0.0, name="L3"):
    """The box vertebra, 24 mm high, its roof lowered towards the front or hollowed in the middle."""
    affine, shape = grid(spacing)
    rotation = np.eye(3) if rotation is None else rotation
    labels = paint({name: (np.zeros(3), rotation)}, affine, shape)
    world = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), -1) @ affine[:3, :3].T + affine[:3, 3]
    x, y, z = np.moveaxis(world @ rotation + (0, 15, 0), -1, 0)
    lost = 24 * wedge * y / 30 + dent_mm * ((np.abs(y - 15) < 7) & (np.abs(x) < 12))
    labels[(labels > 0) & (y >= 0) & (z > 12 - lost)] = 0
    return bodies_of(row_of(labels, affine), step_mm=1.0)[IDS[name]]


@pytest.mark.parametrize("rotation", [turn(9.0, 5.0, 4.0), turn(-21.0, 11.0, -6.0)])
@pytest.mark.parametrize("spacing", [(1.5, 1.5, 1.5), (1.0, 1.0, 2.0)])
def test_a_box_is_as_high_everywhere(rotation, spacing):
    one = body(rotation, spacing)
    assert list(heights_of(one).values()) == pytest.approx([24, 24, 24], abs=0.5)
    assert one.depth_mm == pytest.approx(30, abs=0.8) and one.width_mm == pytest.approx(40, abs=1.6)
    assert canal_mm(one) == pytest.approx(18, abs=0.9)


def test_a_wedge_is_lower_the_further_in_front():
    found = heights_of(body(turn(9.0, 5.0, 4.0), wedge=0.3))
    half = np.arctan(24 * 0.3 / 30) / 2  # the frame's axis leans by half of the wedge
    expected = {place: 24 * (1 - 0.3 * s) * np.cos(half) for place, s in (("anterior", 0.85), ("middle", 0.5))}
    assert found["anterior"] == pytest.approx(expected["anterior"], abs=0.6)
    assert found["middle"] == pytest.approx(expected["middle"], abs=0.6)
    assert genant(losses(found, NAN)) == (1.0, "wedge")


def test_a_hollow_endplate_costs_height_in_the_middle_alone():
    found = heights_of(body(turn(9.0, 5.0, 4.0), dent_mm=6.0))
    assert found["middle"] == pytest.approx(18, abs=0.7) and found["anterior"] == pytest.approx(24, abs=0.8)
    assert losses(found, NAN)["biconcave"] == pytest.approx(0.25, abs=0.04)


@pytest.mark.parametrize(
    ("loss", "grade"), [(0.0, 0), (0.199, 0), (0.2, 1), (0.249, 1), (0.25, 2), (0.399, 2), (0.4, 3), (0.8, 3)]
)
def test_grades_change_at_20_25_and_40_percent(loss, grade):
    assert genant({"wedge": loss, "biconcave": -0.1, "crush": NAN}) == (grade, "wedge" if grade else "")


def test_nothing_known_has_no_grade():
    grade, kind = genant(dict.fromkeys(("wedge", "biconcave", "crush"), NAN))
    assert np.isnan(grade) and kind == ""


def test_losses_are_against_the_back_and_against_the_neighbours():
    lost = losses({"anterior": 15.0, "middle": 18.0, "posterior": 20.0}, 25.0)
    assert lost == pytest.approx({"wedge": 0.25, "biconcave": 0.1, "crush": 0.2})
    assert np.isnan(losses({"anterior": NAN, "middle": NAN, "posterior": NAN}, NAN)["crush"])


def test_neighbours_say_how_high_a_crushed_one_was():
    from spineseg.anatomy.phantom.levels import dimensions

    mean = dimensions()["body_height"]
    heights = {i: {"posterior": 1.1 * mean[i - 1]} for i in range(18, 23)}
    heights[20] = {"posterior": 9.0}
    heights[21] = {"posterior": NAN}
    expected = expected_posterior(heights)
    assert expected[20] == pytest.approx(1.1 * mean[19]) and expected[21] == pytest.approx(1.1 * mean[20])
    assert np.isnan(expected_posterior({5: {"posterior": 12.0}})[5])


def test_a_body_that_the_border_cuts_has_no_height_and_its_neighbour_has():
    affine, shape = grid((1.5, 1.5, 1.5), (100, 130, 150))
    poses = {"L2": (np.array([0.0, 0.0, 16.0]), turn(4.0, 3.0)), "L3": (np.array([0.0, 0.0, -16.0]), turn(4.0, 3.0))}
    labels = paint(poses, affine, shape)
    whole = bodies_of(row_of(labels, affine), step_mm=1.0)
    assert heights_of(whole[21])["middle"] == pytest.approx(24, abs=0.6)
    bottom = int((np.linalg.inv(affine) @ (0, -12, -22, 1))[2])  # through the lower third of L3
    affine = affine.copy()
    affine[:3, 3] += affine[:3, 2] * bottom
    cut = bodies_of(row_of(labels[:, :, bottom:], affine), step_mm=1.0)
    assert cut[21].is_whole and not cut[22].is_whole
    assert np.isnan(list(heights_of(cut[22]).values())).all()
    assert heights_of(cut[21])["middle"] == pytest.approx(24, abs=0.6)
