"""A cross-shaped bone of points: its midplane, turn and canal are known."""

import numpy as np
import pytest

from spineseg.anatomy.vertebra_view import View, endplate_normal, frame_of, ring_normal, split

UP, FORWARD = np.array([0.0, 0.0, 1.0]), np.array([0.0, 1.0, 0.0])


def cross(turn_degrees=0.0, aside_mm=0.0):
    """Points of a body, a process behind it and two wings, mirrored about x = aside, turned to the left."""
    parts = [((-18, 18), (0, 26), (-10, 10)), ((-3, 3), (-45, 0), (-5, 5)), ((-36, 36), (-22, -15), (-3, 3))]
    grids = [np.meshgrid(*(np.arange(a, b + 1, 1.5) for a, b in part), indexing="ij") for part in parts]
    points = np.concatenate([np.stack([axis.ravel() for axis in grid], 1) for grid in grids])
    c, s = np.cos(np.radians(turn_degrees)), np.sin(np.radians(turn_degrees))
    return points @ np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]).T + (aside_mm, 0, 0)


@pytest.mark.parametrize("turn_degrees", [-25.0, -7.0, 0.0, 13.0, 30.0])
def test_the_turn_of_a_mirrored_shape_is_found(turn_degrees):
    frame, _ = frame_of(cross(turn_degrees), UP, np.zeros(3), FORWARD, wide=True)
    found = np.degrees(np.arctan2(-frame[0, 1], frame[1, 1]))
    assert found == pytest.approx(turn_degrees, abs=2)
    assert np.allclose(frame.T @ frame, np.eye(3)) and np.linalg.det(frame) == pytest.approx(1)


@pytest.mark.parametrize("aside_mm", [-4.0, 0.0, 3.0])
def test_the_midplane_is_found_beside_the_centre(aside_mm):
    _, middle = frame_of(cross(aside_mm=aside_mm), UP, np.zeros(3), FORWARD, wide=True)
    assert middle[0] == pytest.approx(aside_mm, abs=1.0)


def test_a_ring_faces_its_thin_direction_and_never_down():
    angle = np.linspace(0, 2 * np.pi, 200)
    ring = np.stack([38 * np.cos(angle), 22 * np.sin(angle), 2 * np.sin(7 * angle)], 1)
    lean = np.radians(20.0)
    tilted = ring @ np.array([[1, 0, 0], [0, np.cos(lean), -np.sin(lean)], [0, np.sin(lean), np.cos(lean)]]).T
    assert ring_normal(tilted, UP) @ (0, -np.sin(lean), np.cos(lean)) == pytest.approx(1, abs=1e-3)


def test_a_bone_that_is_thinnest_across_keeps_the_direction_of_the_row():
    assert np.array_equal(ring_normal(np.random.default_rng(0).normal(size=(300, 3)) * (1, 20, 20), UP), UP)


def view(lean=0.0):
    """A body of y 0 to 29 and z -10 to 10, a canal, and an arch of y -25 to -15; the lid leans forward."""
    x, y, z = np.arange(-25.0, 26), np.arange(-30.0, 36), np.arange(-20.0, 21)
    filled = np.zeros((len(x), len(y), len(z)), np.float32)
    for j, place in enumerate(y):
        if 0 <= place < 30:
            shift = lean * (place - 15)
            filled[5:46, j, np.abs(z - shift) <= 10] = 1.0
        elif -25 <= place < -15:
            filled[15:36, j, np.abs(z) <= 6] = 1.0
    return View(filled, x, y, z, 1.0)


def test_body_canal_and_arch_are_told_apart_in_the_midplane():
    one = view()
    front, back, canal_back = split(one)
    assert (one.y[back], one.y[front - 1], one.y[canal_back]) == (0.0, 29.0, -15.0)


def test_without_a_canal_there_is_nothing_to_tell_apart():
    one = view()
    one.filled[:, one.y < 0] = 0.0
    assert split(one) is None


@pytest.mark.parametrize("top_only", [False, True])
def test_the_normal_of_leaning_endplates_leans_with_them(top_only):
    one = view(lean=0.2)
    normal = endplate_normal(one, split(one), top_only=top_only)
    assert np.degrees(np.arctan2(-normal[1], normal[2])) == pytest.approx(np.degrees(np.arctan(0.2)), abs=2)
