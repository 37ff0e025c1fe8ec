import numpy as np
import pytest
import torch

from spineseg.anatomy.labels import IDS
from spineseg.anatomy.phantom.body import paint_body
from spineseg.anatomy.phantom.canvas import Canvas
from spineseg.anatomy.phantom.fields import Brush, Skeleton, correlated_noise, ellipsoid_distance, triangle_distance
from spineseg.anatomy.phantom.spine import draw_spine
from spineseg.anatomy.phantom.tissue import draw_tissue


def painted(seed=2, spacing=6.0, **changes):
    rng, generator = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
    spine, tissue = draw_spine(rng), draw_tissue(rng) | changes
    low = np.array([-250.0, -200.0, spine.centre_mm[24, 2] - 150.0])
    high = np.array([250.0, 260.0, spine.centre_mm[0, 2] + 150.0])
    canvas = Canvas(low, np.ceil((high - low) / spacing), (spacing,) * 3)
    build = paint_body(canvas, spine, rng, generator, tissue)
    return canvas, spine, tissue, build


@pytest.fixture(scope="module")
def body():
    return painted()


def around(canvas, point, reach=8.0):
    box = canvas.box(np.asarray(point) - reach, np.asarray(point) + reach)
    return canvas.ct_hu[box].numpy()


def centre(spine, vertebra, *offset):
    return spine.centre_mm[IDS[vertebra] - 1] + np.array(offset) * spine.scale


def test_lungs_are_air_like_on_both_sides(body):
    canvas, spine, *_ = body
    for side in (1, -1):
        assert np.median(around(canvas, centre(spine, "T7", 85 * side, 0, 0))) < -700


def test_the_heart_lies_left_and_the_liver_right(body):
    canvas, spine, tissue, _ = body
    assert np.median(around(canvas, centre(spine, "T8", -30, 80, 0))) == pytest.approx(tissue["heart"], abs=25)
    assert np.median(around(canvas, centre(spine, "T12", 80, 40, -5))) == pytest.approx(tissue["liver"], abs=25)


def test_the_aorta_is_brighter_with_contrast():
    def aorta(artery):
        canvas, spine, *_ = painted(artery=artery)
        return np.median(around(canvas, centre(spine, "T9", -22, 26, 0), 0))

    assert aorta(320.0) - aorta(42.0) > 200


def test_air_surrounds_the_body_and_muscle_lies_behind_the_spine(body):
    canvas, spine, tissue, _ = body
    assert canvas.ct_hu[0, -1].max() < -900
    assert np.median(around(canvas, centre(spine, "L2", 38, -52, 0), 6)) == pytest.approx(tissue["muscle"], abs=40)


def test_nothing_dense_fills_the_place_of_the_bodies(body):
    canvas, spine, *_ = body
    for vertebra in ("C5", "T6", "L2"):
        assert around(canvas, centre(spine, vertebra, 0, 0, 0), 0).max() < 300


def test_twelve_ribs_pass_the_flank_in_front_of_the_back(body):
    canvas, spine, *_ = body
    box = canvas.box(centre(spine, "L1", 60, -90, 0), centre(spine, "T1", 160, 20, 0))
    flank = (canvas.ct_hu[box] > 180).numpy().any((0, 1))
    assert flank.mean() > 0.6


def test_the_pelvis_stands_beside_the_sacrum(body):
    canvas, spine, *_ = body
    for side in (1, -1):
        low, high = sorted((45 * side, 140 * side))
        box = canvas.box(centre(spine, "S1", low, -80, -30), centre(spine, "S1", high, 80, 30))
        assert (canvas.ct_hu[box] > 200).float().mean() > 0.02


def test_the_body_is_painted_without_labels(body):
    assert body[0].labels.max() == 0


def test_what_was_drawn_is_plain_values(body):
    assert set(body[3]) == {"fat_mm", "girth", "paunch_mm", "arms_up"}
    assert all(isinstance(v, float | bool) for v in body[3].values())


def test_a_lattice_gives_the_distance_that_every_voxel_would():
    canvas = Canvas((-40, -40, -40), (54, 54, 54), (1.5,) * 3)
    box = canvas.box((-40, -40, -40), (40, 40, 40))
    sphere = ellipsoid_distance(np.zeros(3), np.full(3, 25.0))
    exact = sphere(*canvas.coordinates(box))
    shell = exact.abs() < 3
    assert (Brush(canvas).sample(box, sphere, 6.0) - exact)[shell].abs().max() < 0.5


def test_a_plate_is_as_thick_as_asked():
    a, b, c = np.array([[0.0, 0, 0], [30, 0, 0], [0, 30, 0]])
    distance = triangle_distance(a, b, c, 2.0)
    at = [torch.tensor([[[v]]]) for v in (8.0, 8.0, 5.0)]
    assert float(distance(*at)) == pytest.approx(3.0)
    beside = [torch.tensor([[[v]]]) for v in (-3.0, 8.0, 4.0)]
    assert float(distance(*beside)) == pytest.approx(3.0)


def test_bone_has_a_dense_shell_around_marrow():
    canvas = Canvas((-20, -20, -20), (81, 81, 81), (0.5,) * 3, hu=0.0)
    skeleton = Skeleton(canvas)
    skeleton.tube([(0, 0, 0), (0, 0, 0.1)], 12.0)
    skeleton.paint(900.0, 100.0, 2.0)
    hu = canvas.ct_hu[:, 40, 40]
    assert float(hu[40]) == pytest.approx(100.0) and float(hu[40 + 22]) == pytest.approx(900.0)
    assert float(hu[40 + 26]) == 0.0


def test_correlated_noise_has_unit_variance_whatever_its_size():
    canvas = Canvas((0, 0, 0), (60, 60, 60), (2.0, 2.0, 2.0))
    for size in ((2, 2, 2), (6, 6, 6), (20, 3, 5)):
        noise = correlated_noise(canvas, size, torch.Generator().manual_seed(0))
        assert float(noise.std()) == pytest.approx(1.0, abs=0.12)
