import numpy as np
import pytest
import torch

from spineseg.anatomy.phantom.canvas import Canvas
from spineseg.anatomy.phantom.frame import Frame, draw_frame, pad_outside, rotation_of, turn, turned_rows


def ball(centre, shape=(40, 44, 30), spacing=(2.0, 2.0, 3.0)):
    canvas = Canvas((-40.0, -44.0, -45.0), shape, spacing, hu=20.0)
    x, y, z = canvas.coordinates(tuple(slice(0, n) for n in shape))
    inside = (x - centre[0]) ** 2 + (y - centre[1]) ** 2 + (z - centre[2]) ** 2 < 100
    canvas.labels[inside], canvas.ct_hu[inside] = 5, 500.0
    return canvas


def centroid(canvas):
    return np.argwhere(canvas.labels.numpy() == 5).mean(0) * canvas.spacing + canvas.origin_mm


def test_most_scans_fill_their_array_and_a_few_are_turned():
    drawn = [draw_frame(np.random.default_rng(seed)) for seed in range(800)]
    assert 0.1 < np.mean([frame.circle_share > 0 for frame in drawn]) < 0.25
    assert 0.015 < np.mean([frame.is_turned for frame in drawn]) < 0.06
    assert max(np.abs(frame.turn_degrees).max() for frame in drawn) <= 15


def test_a_rotation_keeps_lengths_and_handedness():
    matrix = rotation_of(Frame(turn_degrees=(10.0, -5.0, 3.0)))
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(matrix) == pytest.approx(1.0)


@pytest.mark.parametrize("degrees", [(15.0, 0.0, 0.0), (0.0, 15.0, 0.0), (0.0, 0.0, 15.0), (4.0, -9.0, 3.0)])
def test_content_turns_about_the_centre_and_the_truth_with_it(degrees):
    canvas, frame = ball((15.0, -10.0, 12.0)), Frame(turn_degrees=degrees, padding_hu=-1024.0)
    ml = float((canvas.labels == 5).sum()) * 12 / 1000
    before = centroid(canvas)
    rows = [{"vertebra": "C5", "full_ml": ml, "visible_ml": ml, "visible_share": 1.0, "centroid_mm": before.tolist()}]
    turn(canvas, frame)
    (row,) = turned_rows(rows, canvas, frame, {"C5": 5})
    np.testing.assert_allclose(centroid(canvas), row["centroid_mm"], atol=0.6)
    assert np.linalg.norm(centroid(canvas) - before) > 1.0
    assert row["visible_ml"] == pytest.approx(ml, rel=0.06) and row["full_ml"] == ml
    assert canvas.ct_hu.min() < -1000 and float(canvas.ct_hu.median()) == pytest.approx(20.0, abs=1e-3)


def test_what_turns_out_of_the_array_is_seen_no_more():
    canvas, frame = ball((15.0, -10.0, 12.0)), Frame(turn_degrees=(0.0, 15.0, 0.0))
    turn(canvas, frame)
    row = {"vertebra": "C4", "full_ml": 1.0, "visible_ml": 1.0, "visible_share": 1.0, "centroid_mm": [0.0, 0.0, 0.0]}
    assert turned_rows([row], canvas, frame, {"C4": 4, "C5": 5}) == []


def test_outside_the_circle_lies_the_padding_and_no_label():
    canvas = ball((37.0, 40.0, 0.0))
    image = canvas.ct_hu.clone()
    pad_outside(canvas, image, Frame(circle_share=1.0, padding_hu=0.0))
    assert float(image[0, 0, 5]) == 0.0 and float(image[20, 22, 5]) == 20.0
    assert not canvas.labels[39, 43].any()


def test_without_a_circle_nothing_is_padded():
    canvas = ball((0.0, 0.0, 0.0))
    image = canvas.ct_hu.clone()
    pad_outside(canvas, image, Frame())
    assert torch.equal(image, canvas.ct_hu)
