"""Bodies whose endplates were laid at known angles."""

import dataclasses

import numpy as np
import pytest
from test_morphometry import turn

from spineseg.anatomy.alignment import cobb_of, curves_of, own_angle, patient_axes, segment_angle
from spineseg.anatomy.bodies import Body
from spineseg.anatomy.labels import IDS
from spineseg.anatomy.vertebra_view import View

AXIS = np.arange(-6.0, 7.0)


def flat(level, rotation, middle, wedge_degrees=0.0):
    """A body 20 mm high with plane ends, its upper one lowered in front by an angle."""
    lean = np.broadcast_to(-np.tan(np.radians(wedge_degrees)) * AXIS[None, :], (13, 13))
    view = View(np.zeros((13, 13, 13), np.float32), AXIS, AXIS, AXIS, 1.0)
    core, wall = np.ones((13, 13), bool), np.full(13, np.nan)
    level = IDS[level]
    return Body(level, view, rotation, np.asarray(middle, float), 10.0 + lean, np.full((13, 13), -10.0), core,
                6.0, -6.0, 12.0, wall, wall, wall, True)  # fmt: skip


def column(pitches, rolls=None, world=None):
    """Bodies 30 mm apart with given leans in degrees, by name."""
    world = np.eye(3) if world is None else world
    found = {}
    for k, (name, pitch) in enumerate(pitches.items()):
        roll = (rolls or {}).get(name, 0.0)
        found[IDS[name]] = flat(name, world @ turn(pitch, 0.0, roll), world @ (0.0, 0.0, -30.0 * k))
    return found


def test_lordosis_and_kyphosis_are_the_difference_of_leans_and_positive_for_the_usual_curve():
    leans = {"C2": 5.0, "C7": 22.0, "T4": 24.0, "T12": -12.0, "L1": -8.0, "S1": 39.0}
    expected = {"cervical_lordosis": 17.0, "thoracic_kyphosis": 36.0, "lumbar_lordosis": 47.0}
    assert curves_of(column(leans)) == pytest.approx(expected)


def test_angles_do_not_change_when_the_scan_is_turned():
    leans, rolls = {"T4": 24.0, "T8": 5.0, "T12": -12.0, "L1": -8.0, "L5": 12.0}, {"T8": 9.0, "L1": -7.0}
    straight, turned = column(leans, rolls), column(leans, rolls, turn(25.0, -40.0, 17.0))
    for known, found in zip(curves_of(straight).values(), curves_of(turned).values(), strict=True):
        assert found == pytest.approx(known, nan_ok=True)
    assert cobb_of(turned)[0] == pytest.approx(cobb_of(straight)[0])


def test_the_cobb_angle_is_between_the_vertebrae_that_lean_most_to_either_side():
    rolls = {"T5": 2.0, "T8": 12.0, "T11": -3.0, "L2": -9.0, "L4": 1.0}
    angle, upper, lower = cobb_of(column(dict.fromkeys(rolls, 0.0), rolls))
    assert angle == pytest.approx(21.0, abs=0.1) and (upper, lower) == ("T8", "L2")


def test_missing_and_cut_end_vertebrae_leave_an_angle_open():
    found = column({"L1": -8.0, "S1": 39.0})
    found[IDS["L1"]] = dataclasses.replace(found[IDS["L1"]], is_whole=False)
    assert np.isnan(list(curves_of(found).values())).all()
    angle, *between = cobb_of({})
    assert np.isnan(angle) and between == ["", ""]


def test_a_wedge_has_its_own_angle_and_a_segment_the_angle_between_facing_ends():
    assert own_angle(flat("T12", turn(12.0, 7.0, 3.0), (1, 2, 3), wedge_degrees=11.0)) == pytest.approx(11.0)
    bodies = column({"L4": 5.0, "L5": 19.0})
    assert segment_angle(*bodies.values()) == pytest.approx(14.0)


def test_the_patients_axes_are_those_of_the_bodies():
    world = turn(10.0, 20.0, -5.0)
    axes = patient_axes(column({"T4": 20.0, "T8": 0.0, "T12": -20.0}, world=world))
    np.testing.assert_allclose(axes, world, atol=1e-9)
    np.testing.assert_array_equal(patient_axes({}), np.eye(3))
