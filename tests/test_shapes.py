import pytest
import torch

from spineseg.anatomy.phantom.shapes import capsule, difference, ellipse, ellipsoid, extrude, intersection, union


def point(*values):
    return tuple(torch.tensor(float(v)) for v in values)


def test_a_circle_is_exact():
    x, y = torch.tensor([0.0, 3.0, 10.0]), torch.tensor([5.0, 4.0, 0.0])
    assert ellipse(x, y, 2.0, 2.0).tolist() == pytest.approx([3.0, 3.0, 8.0])


def test_an_ellipse_is_zero_on_its_edge_and_exact_beyond_its_vertices():
    x, y = torch.tensor([3.0, 0.0, 4.0]), torch.tensor([0.0, 1.5, 0.0])
    assert ellipse(x, y, 3.0, 1.5).tolist() == pytest.approx([0.0, 0.0, 1.0], abs=1e-5)


def test_an_ellipsoid_is_negative_inside():
    assert float(ellipsoid(*point(0.5, 0.5, 0.5), (3.0, 2.0, 1.0))) < 0
    assert float(ellipsoid(*point(3.0, 0.0, 0.0), (3.0, 2.0, 1.0))) == pytest.approx(0.0, abs=1e-5)


@pytest.mark.parametrize(
    ("at", "distance"), [((5, 2, 0), 1.0), ((-3, 0, 0), 2.0), ((14, 0, 0), 3.0), ((5, 0, 0), -1.0)]
)
def test_a_capsule_of_radius_one_from_0_to_10(at, distance):
    assert float(capsule(point(*at), (0, 0, 0), (10, 0, 0), 1.0)) == pytest.approx(distance)


def test_a_tapered_capsule_has_each_ends_radius():
    ends = (0.0, 0.0), (10.0, 0.0), 3.0, 1.0
    assert float(capsule(point(0, 5), *ends)) == pytest.approx(2.0)
    assert float(capsule(point(10, 5), *ends)) == pytest.approx(4.0)


def test_a_flat_capsule_is_thinner_along_that_axis():
    bar = (0, 0, 0), (10, 0, 0), 2.0, 2.0
    assert float(capsule(point(5, 0, 1), *bar, flat=(1, 1, 2))) == pytest.approx(0.0, abs=1e-5)
    assert float(capsule(point(5, 2, 0), *bar, flat=(1, 1, 2))) == pytest.approx(0.0, abs=1e-5)


def test_a_point_is_a_ball():
    assert float(capsule(point(0, 3, 4), (0, 0, 0), (0, 0, 0), 2.0)) == pytest.approx(3.0)


def test_sharp_joins_are_minimum_and_maximum():
    a, b = torch.tensor([-1.0, 2.0]), torch.tensor([0.5, 1.0])
    assert union(a, b).tolist() == [-1.0, 1.0]
    assert intersection(a, b).tolist() == [0.5, 2.0]
    assert difference(a, b).tolist() == [-0.5, 2.0]


def test_blending_adds_to_a_union_and_takes_from_an_intersection_by_a_quarter_at_most():
    a = torch.zeros(1)
    assert float(union(a, a.clone(), 2.0)) == pytest.approx(-0.5)
    assert float(intersection(a, a.clone(), 2.0)) == pytest.approx(0.5)


def test_joins_leave_their_inputs_alone():
    a, b = torch.tensor([1.0]), torch.tensor([1.5])
    union(a, b, 2.0), intersection(a, b, 2.0)
    assert (float(a), float(b)) == (1.0, 1.5)


def test_an_extruded_section_ends_at_its_half_thickness():
    section, along = torch.tensor([-5.0, -5.0]), torch.tensor([0.0, -3.0])
    assert extrude(section, along, 2.0, 0.0).tolist() == [-2.0, 1.0]


def test_coordinates_broadcast():
    x, y, z = torch.zeros(4, 1, 1), torch.zeros(1, 5, 1), torch.zeros(1, 1, 6)
    assert capsule((x, y, z), (0, 0, 0), (1, 1, 1), 1.0).shape == (4, 5, 6)
    assert ellipsoid(x, y, z, (1.0, 2.0, 3.0)).shape == (4, 5, 6)
