import numpy as np
import pytest

from spineseg.anatomy.phantom.canvas import Canvas
from spineseg.anatomy.phantom.contrast import draw_contrast, paint_plaques, paint_stones, paint_urine
from spineseg.anatomy.phantom.fields import Brush
from spineseg.anatomy.phantom.hardware import METAL_HU, paint_hips, paint_leads
from spineseg.anatomy.phantom.spine import draw_spine
from spineseg.anatomy.phantom.trunk import Trunk


@pytest.fixture
def scene():
    rng = np.random.default_rng(3)
    spine = draw_spine(rng)
    low, high = np.array([-260.0, -200.0, -330.0]), np.array([260.0, 260.0, 520.0])
    canvas = Canvas(low, np.ceil((high - low) / 4.0), (4.0,) * 3, hu=20.0)
    return canvas, Brush(canvas), Trunk(spine, rng)


def test_each_medium_is_given_to_some_and_has_its_range():
    drawn = [draw_contrast(np.random.default_rng(seed)) for seed in range(600)]
    for name, (share, low, high) in {"oral": (0.25, 150, 500), "excreted": (0.06, 300, 1500)}.items():
        given = [d[name] for d in drawn if d[name]]
        assert len(given) / len(drawn) == pytest.approx(share, abs=0.05)
        assert low <= min(given) and max(given) <= high


def test_urine_is_bright_only_where_medium_was_excreted(scene):
    canvas, brush, trunk = scene
    paint_urine(brush, trunk, {"excreted": 0.0}, np.random.default_rng(0))
    assert (canvas.ct_hu == 20.0).all()
    paint_urine(brush, trunk, {"excreted": 900.0}, np.random.default_rng(0))
    assert float(canvas.ct_hu.max()) == pytest.approx(900.0, abs=1.0)
    bladder = canvas.box(trunk.point(-95, -10, 40), trunk.point(-95, 10, 50))
    assert canvas.ct_hu[bladder].max() > 500  # settled at the back of a patient on the back


def test_plaques_lie_on_the_wall_of_the_artery(scene):
    canvas, brush, _ = scene
    line, radius = np.array([[0.0, 30.0, 100.0], [0.0, 30.0, -100.0]]), np.array([14.0, 14.0])
    for seed in range(8):
        paint_plaques(brush, [line], [radius], np.random.default_rng(seed))
    where = (canvas.ct_hu > 100).nonzero().numpy() * 4.0 + canvas.origin_mm
    away = np.hypot(where[:, 0], where[:, 1] - 30.0)
    assert len(where) > 20 and away.min() > 6.0 and away.max() < 22.0


def test_most_patients_have_no_stones(scene):
    canvas, brush, trunk = scene
    counts = []
    for seed in range(40):
        canvas.ct_hu.fill_(20.0)
        paint_stones(brush, trunk, np.random.default_rng(seed))
        counts.append(int((canvas.ct_hu > 60).sum()))
    assert 0.4 < np.mean(np.equal(counts, 0)) < 0.9 and max(counts) > 0


def test_leads_lie_on_the_skin(scene):
    canvas, brush, trunk = scene
    seen = 0
    for seed in range(12):
        canvas.ct_hu.fill_(20.0)
        paint_leads(brush, trunk, np.random.default_rng(seed))
        where = (canvas.ct_hu > 200).nonzero().numpy() * 4.0 + canvas.origin_mm
        if len(where) > 60:
            z = trunk.height("T8")
            width, back, front = trunk.skin(z)
            beside = where[np.abs(where[:, 2] - z) < 10]
            off = np.hypot(
                (beside[:, 0] - trunk.axis(z)[0]) / width, (beside[:, 1] - (back + front) / 2) * 2 / (front - back)
            )
            seen += int((off > 0.9).any())
    assert seen >= 1


def test_an_artificial_hip_is_rare_and_of_metal(scene):
    canvas, brush, _ = scene
    hips = {1: np.array([90.0, 20.0, -150.0]), -1: np.array([-90.0, 20.0, -150.0])}
    carriers = 0
    for seed in range(150):
        canvas.ct_hu.fill_(20.0)
        paint_hips(brush, hips, 1.0, np.random.default_rng(seed))
        carriers += int(canvas.ct_hu.max() > 0.9 * METAL_HU)
    assert 1 <= carriers <= 15
