import numpy as np
import pytest
import torch
from scipy import ndimage

from spineseg.anatomy.labels import IDS, VERTEBRAE
from spineseg.anatomy.phantom.canvas import Canvas
from spineseg.anatomy.phantom.levels import VOLUME_ML
from spineseg.anatomy.phantom.spine import draw_spine
from spineseg.anatomy.phantom.tissue import draw_tissue
from spineseg.anatomy.phantom.vertebra_raster import full_volumes_ml
from spineseg.anatomy.phantom.vertebrae import paint_vertebrae

SEEDS = (1, 3, 5, 6, 7, 8)  # patients with 25 vertebrae


def paint(seed, spacing=(2.0, 2.0, 2.0), low=None, high=None):
    rng = np.random.default_rng(seed)
    spine, tissue = draw_spine(rng), draw_tissue(rng)
    low = spine.centre_mm.min(0) - (75, 110, 70) if low is None else low
    high = spine.centre_mm.max(0) + (75, 45, 40) if high is None else high
    shape = np.ceil((np.asarray(high) - low) / spacing).astype(int)
    canvas = Canvas(low, shape, spacing, hu=40.0)
    rows = paint_vertebrae(canvas, spine, tissue, rng, torch.Generator().manual_seed(seed))
    return canvas, spine, rows


@pytest.fixture(scope="module")
def painted():
    return [paint(seed) for seed in SEEDS]


def voxel(canvas, world_mm):
    index = np.round((np.asarray(world_mm) - canvas.origin_mm) / canvas.spacing).astype(int)
    return tuple(int(i) for i in index)


def local_point(spine, name, right, anterior, superior):
    i = IDS[name] - 1
    return spine.centre_mm[i] + spine.rotation[i] @ np.array([right, anterior, superior])


def components(mask):
    return ndimage.label(mask, np.ones((3, 3, 3)))[1]


def test_median_volume_of_each_level_matches_the_population():
    volumes = []
    for seed in range(58):
        rng = np.random.default_rng(seed)
        spine = draw_spine(rng)
        if not spine.variant:  # a label that occurs twice has twice the volume
            volumes.append(full_volumes_ml(spine, rng, margin_mm=rng.uniform(0.2, 0.7), spacing_mm=3.0))
    for name, (low, middle, high) in VOLUME_ML.items():
        drawn = np.percentile([v[name] for v in volumes], [10, 50, 90])
        assert drawn[1] == pytest.approx(middle, rel=0.15), name
        assert drawn[2] / drawn[0] == pytest.approx(high / low, rel=0.25), name


def test_a_whole_canvas_shows_all_25_in_one_piece_each(painted):
    for canvas, _, rows in painted:
        labels = canvas.labels.numpy()
        assert [row["vertebra"] for row in rows] == list(VERTEBRAE)
        assert all(components(labels == i) == 1 for i in IDS.values())


@pytest.mark.parametrize("spacing", [(3.0, 3.0, 3.0), (1.0, 1.0, 3.0), (1.5, 1.5, 5.0)])
def test_vertebrae_stay_whole_on_coarse_and_anisotropic_grids(spacing):
    labels = paint(11, spacing)[0].labels.numpy()
    assert all(components(labels == i) == 1 for i in IDS.values())


def test_centroids_run_from_head_to_tail(painted):
    for _, _, rows in painted:
        assert np.all(np.diff([row["centroid_mm"][2] for row in rows]) < 0)


def test_reported_volume_and_centroid_are_those_of_the_labels(painted):
    canvas, _, rows = painted[0]
    row = rows[IDS["T6"] - 1]
    where = np.argwhere(canvas.labels.numpy() == IDS["T6"])
    assert row["full_ml"] == row["visible_ml"] == pytest.approx(len(where) * np.prod(canvas.spacing) / 1000)
    assert row["centroid_mm"] == pytest.approx(where.mean(0) * canvas.spacing + canvas.origin_mm, abs=1e-3)


def test_the_body_is_labelled_and_the_canal_behind_it_is_not(painted):
    for canvas, spine, _ in painted:
        for i, name in enumerate(VERTEBRAE):
            depth, canal = spine.size["body_depth"][i], spine.size["canal_depth"][i]
            if name == "C1":
                continue
            assert canvas.labels[voxel(canvas, spine.centre_mm[i])] == i + 1
            assert canvas.labels[voxel(canvas, local_point(spine, name, 0, -depth / 2 - canal / 2, 0))] == 0


def test_the_atlas_is_a_ring_around_the_dens(painted):
    for canvas, spine, _ in painted:
        labels = canvas.labels.numpy()
        atlas = labels == IDS["C1"]
        shadow = atlas.any(2)
        assert ndimage.binary_fill_holes(shadow).sum() > shadow.sum() + 400 / 4.0  # mm2 of the hole
        assert labels[voxel(canvas, spine.centre_mm[0])] == IDS["C2"]


def test_the_spinous_process_is_bone_behind_the_canal(painted):
    for canvas, spine, _ in painted:
        where = np.argwhere(canvas.labels.numpy() == IDS["L3"]) * canvas.spacing + canvas.origin_mm
        local = (where - spine.centre_mm[IDS["L3"] - 1]) @ spine.rotation[IDS["L3"] - 1]
        behind = local[local[:, 1] < -0.55 * spine.size["body_depth"][IDS["L3"] - 1] - 25]
        assert len(behind) * np.prod(canvas.spacing) > 2000  # mm3
        assert np.ptp(local[:, 0]) > 1.4 * spine.size["body_width"][IDS["L3"] - 1]


def test_the_sacrum_below_s1_is_bone_without_a_label(painted):
    for canvas, spine, _ in painted:
        u, depth = spine.scale, spine.size["body_depth"][IDS["S1"] - 1]
        inside = local_point(spine, "S1", 8 * u, 8 * u - depth / 2 - 9 * u, -30 * u)
        assert canvas.labels[voxel(canvas, inside)] == 0
        i, j, k = voxel(canvas, inside)
        assert canvas.ct_hu[i - 4 : i + 5, j - 4 : j + 5, k - 4 : k + 5].max() > 200
        assert np.argwhere(canvas.labels.numpy() == IDS["S1"])[:, 2].min() > k - 12


def test_median_hu_inside_the_labels_is_that_of_real_scans():
    medians = []
    for seed in range(16):
        canvas, *_ = paint(seed, (3.0, 3.0, 3.0))
        medians.append(float(canvas.ct_hu[canvas.labels > 0].median()))
    assert 150 < np.median(medians) < 300
    assert min(medians) > 90
    assert np.quantile(medians, 0.9) < 400


def test_discs_are_softer_than_bone_and_unlabelled(painted):
    canvas, spine, _ = painted[1]
    i = IDS["T9"] - 1
    below = local_point(spine, "T9", 0, 0, -(spine.size["body_height"][i] + spine.size["disc_below"][i]) / 2)
    assert canvas.labels[voxel(canvas, below)] == 0


def test_the_same_seed_paints_the_same_bytes():
    (a, _, rows), (b, _, again) = paint(5, (3.0, 3.0, 3.0)), paint(5, (3.0, 3.0, 3.0))
    assert torch.equal(a.ct_hu, b.ct_hu) and torch.equal(a.labels, b.labels) and rows == again


def test_a_cut_vertebra_keeps_its_full_volume_and_centroid():
    whole, spine, rows = paint(2, (3.0, 3.0, 3.0))
    plane = voxel(whole, spine.centre_mm[IDS["T8"] - 1])[2]
    low = np.array(whole.origin_mm)
    cut, _, cut_rows = paint(2, (3.0, 3.0, 3.0), low, low + 3.0 * np.array([*whole.shape[:2], plane]))
    names = [row["vertebra"] for row in cut_rows]
    row, reference = cut_rows[names.index("T8")], rows[IDS["T8"] - 1]
    assert names[-1] == "S1" and "C7" not in names
    assert 0.05 < row["visible_share"] < 0.95
    assert row["full_ml"] == pytest.approx(reference["full_ml"], rel=0.02)
    assert row["centroid_mm"] == pytest.approx(reference["centroid_mm"], abs=0.5)
    assert row["visible_ml"] == pytest.approx(float((cut.labels == IDS["T8"]).sum()) * 27 / 1000)


def test_a_canvas_beside_the_spine_is_left_alone():
    low, high = (300.0, 300.0, 0.0), (330.0, 330.0, 30.0)
    canvas, _, rows = paint(3, (3.0, 3.0, 3.0), low, high)
    assert rows == [] and not canvas.labels.any() and torch.all(canvas.ct_hu == 40.0)


def test_one_patient_in_thirty_carries_screws():
    from spineseg.anatomy.phantom.metal import draw_metal

    drawn = [draw_metal(draw_spine(np.random.default_rng(seed)), np.random.default_rng(seed)) for seed in range(400)]
    share = np.mean([bool(metal.screws) for metal in drawn])
    assert 0.01 < share < 0.07
    assert all(2500 <= metal.hu <= 3000 for metal in drawn)
