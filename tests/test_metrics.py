import numpy as np
import pytest
from scipy import ndimage

from spineseg.evaluation import metrics, surfaces
from spineseg.evaluation.metrics import (
    assd_mm,
    binary_dice,
    boxes,
    centroids_mm,
    confusion,
    dice_matrix,
    dice_per_class,
    hd95_mm,
    identification,
    keep_largest,
    nsd,
)

SHAPE = (13, 18, 9)
SPACING = (0.7, 1.3, 2.9)


def random_labels(seed, shape=SHAPE, filled=0.3):
    rng = np.random.default_rng(seed)
    return (rng.integers(1, 26, shape) * (rng.random(shape) < filled)).astype(np.uint8)


def blobs(seed, shape=SHAPE):
    """A few rounded masks with holes, some touching the edge."""
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=shape), 1.5)
    return noise > np.quantile(noise, 0.8)


def oblique():
    angle = 0.4
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag([-0.7, 1.3, 2.9])
    affine[:3, 3] = 11, -40, 300
    return affine


def two_voxels(at, to, shape=SHAPE):
    a, b = np.zeros(shape, bool), np.zeros(shape, bool)
    a[at], b[to] = True, True
    return a, b


def confusion_loop(reference, prediction):
    counts = np.zeros((26, 26), int)
    for r, p in zip(reference.ravel(), prediction.ravel(), strict=True):
        counts[r, p] += 1
    return counts


@pytest.mark.parametrize("shape", [SHAPE, (1, 1, 1), (2, 2, 2), (7, 1, 1), (3, 5, 7)])
def test_confusion_equals_a_loop_over_voxels(shape):
    reference, prediction = random_labels(0, shape), random_labels(1, shape)
    assert np.array_equal(confusion(reference, prediction), confusion_loop(reference, prediction))


@pytest.mark.parametrize("order", ["CC", "FF", "CF", "views"])
def test_confusion_does_not_depend_on_memory_layout(order):
    reference, prediction = random_labels(0, filled=0.02), random_labels(1, filled=0.02)
    expected = confusion_loop(reference, prediction)
    if order == "views":
        reference, prediction = np.repeat(reference, 2, 0)[::2], prediction[::-1][::-1]
    else:
        reference, prediction = np.array(reference, order=order[0]), np.array(prediction, order=order[1])
    assert np.array_equal(confusion(reference, prediction), expected)


def test_maps_mirrored_along_every_axis_are_read_like_others():
    reference, prediction = (random_labels(seed, filled=0.1) for seed in (0, 1))
    mirrored = [np.flip(m.copy()) for m in (np.flip(reference), np.flip(prediction))]  # views that run backwards
    assert mirrored[0].strides[-1] < 0 and np.array_equal(mirrored[0], reference)
    assert np.array_equal(confusion(*mirrored), confusion(reference, prediction))
    assert np.array_equal(boxes(mirrored[0]), boxes(reference))
    assert np.array_equal(keep_largest(mirrored[0]), keep_largest(reference))


def test_confusion_of_two_empty_maps_is_all_background():
    counts = confusion(np.zeros(SHAPE, np.uint8), np.zeros(SHAPE, np.uint8))
    assert counts[0, 0] == np.prod(SHAPE) == counts.sum()


def test_confusion_takes_wider_whole_numbers():
    reference, prediction = random_labels(0), random_labels(1)
    assert np.array_equal(confusion(reference.astype(np.int64), prediction), confusion(reference, prediction))


def test_a_shape_that_differs_is_named():
    with pytest.raises(ValueError, match=r"grid of the reference \(2, 2, 2\), got shape \(2, 2, 3\)"):
        confusion(np.zeros((2, 2, 2), np.uint8), np.zeros((2, 2, 3), np.uint8))


@pytest.mark.parametrize("dtype", [np.uint8, np.int16])
def test_a_label_above_25_is_named(dtype):
    wrong = np.zeros(SHAPE, dtype)
    wrong[3, 3, 3] = 26
    with pytest.raises(ValueError, match="must be 0..25, got 26"):
        confusion(np.zeros(SHAPE, np.uint8), wrong)


def test_a_negative_label_is_named():
    with pytest.raises(ValueError, match="got -1"):
        centroids_mm(np.full(SHAPE, -1), np.eye(4))


def test_float_labels_are_refused():
    with pytest.raises(ValueError, match="prediction must hold whole numbers 0..25, got dtype float64"):
        confusion(np.zeros(SHAPE, np.uint8), np.zeros(SHAPE))


def test_half_overlap_of_equal_sizes_has_dice_one_half():
    reference, prediction = np.zeros(SHAPE, np.uint8), np.zeros(SHAPE, np.uint8)
    reference[0:4, 0, 0] = 20
    prediction[2:6, 0, 0] = 20
    assert dice_per_class(reference, prediction)[20] == 0.5


def test_dice_is_nan_where_both_are_empty_and_zero_where_one_is():
    reference, prediction = np.zeros(SHAPE, np.uint8), np.zeros(SHAPE, np.uint8)
    reference[0, 0, 0], prediction[1, 0, 0] = 3, 4
    dice = dice_per_class(reference, prediction)
    assert np.isnan(dice[5]) and dice[3] == 0 and dice[4] == 0


def test_dice_equals_a_loop_over_classes():
    reference, prediction = random_labels(2), random_labels(3)
    expected = [
        2 * ((reference == v) & (prediction == v)).sum() / ((reference == v).sum() + (prediction == v).sum())
        for v in range(26)
    ]
    assert np.allclose(dice_per_class(reference, prediction), expected, rtol=0, atol=1e-15)


def test_dice_matrix_holds_the_dice_of_each_pair_of_classes():
    reference, prediction = random_labels(2), random_labels(3)
    a, b = reference == 4, prediction == 17
    assert dice_matrix(confusion(reference, prediction))[4, 17] == 2 * (a & b).sum() / (a.sum() + b.sum())


def test_binary_dice_forgets_the_names():
    reference = random_labels(2)
    shifted = np.where(reference > 0, (reference % 25) + 1, 0)
    assert binary_dice(reference, shifted) == 1
    assert np.nanmax(dice_per_class(reference, shifted)[1:]) == 0


def test_binary_dice_is_nan_when_both_are_empty_and_zero_when_one_is():
    empty, full = np.zeros(SHAPE, np.uint8), np.ones(SHAPE, np.uint8)
    assert np.isnan(binary_dice(empty, empty)) and binary_dice(empty, full) == 0 and binary_dice(full, empty) == 0


@pytest.mark.parametrize("order", ["C", "F"])
def test_boxes_are_those_of_scipy(order):
    labels = np.array(random_labels(5, filled=0.05), order=order)
    found = boxes(labels)
    for value, expected in enumerate(ndimage.find_objects(labels, max_label=25), start=1):
        if expected is None:
            assert not found[value].any()
        else:
            assert [slice(*pair) for pair in found[value]] == list(expected)


@pytest.mark.parametrize("order", ["C", "F"])
def test_centroids_are_those_of_scipy_moved_by_an_oblique_affine(order):
    labels, affine = np.array(random_labels(6, filled=0.05), order=order), oblique()
    present = [v for v in range(1, 26) if (labels == v).any()]
    index = np.array(ndimage.center_of_mass(labels > 0, labels, present))
    found = centroids_mm(labels, affine)
    assert np.allclose(found[present], index @ affine[:3, :3].T + affine[:3, 3], atol=1e-9)
    assert np.isnan(np.delete(found, present, 0)).all()


def test_an_affine_of_another_shape_is_refused():
    with pytest.raises(ValueError, match=r"affine must be \(4, 4\).*got shape \(3, 3\)"):
        centroids_mm(np.zeros(SHAPE, np.uint8), np.eye(3))


def centroids(**mm):
    found = np.full((26, 3), np.nan)
    for name, z in mm.items():
        found[int(name[1:])] = 0, 0, z
    return found


def test_a_centroid_within_the_radius_is_identified():
    assert identification(centroids(v20=0, v21=-30), centroids(v20=14, v21=-30), radius_mm=20)[[20, 21]].tolist() == [
        1,
        1,
    ]


def test_a_centroid_beyond_the_radius_is_not_identified():
    assert identification(centroids(v20=0), centroids(v20=21), radius_mm=20)[20] == 0


def test_a_centroid_within_the_radius_but_closer_to_another_vertebra_is_not_identified():
    # neck vertebrae lie 18 mm apart: 15 mm off is within 20 mm, and closer to the neighbour
    assert identification(centroids(v4=0, v5=-18), centroids(v4=-15, v5=-18), radius_mm=20)[[4, 5]].tolist() == [0, 1]


def test_a_missing_prediction_is_not_identified_and_an_absent_reference_does_not_count():
    found = identification(centroids(v4=0), centroids(v5=0), radius_mm=20)
    assert found[4] == 0 and np.isnan(np.delete(found, 4)).all()


def test_two_voxels_two_mm_apart_have_assd_and_hd95_two():
    a, b = two_voxels((3, 3, 3), (5, 3, 3))
    assert assd_mm(a, b, spacing=(1, 1, 1)) == hd95_mm(a, b, spacing=(1, 1, 1)) == 2


def test_the_distance_follows_the_spacing_of_its_axis():
    for axis, size in enumerate(SPACING):
        to = [3, 3, 3]
        to[axis] += 2
        a, b = two_voxels((3, 3, 3), tuple(to))
        assert hd95_mm(a, b, spacing=SPACING) == pytest.approx(2 * size, rel=1e-6)


def test_a_plane_moved_by_three_mm_is_within_a_tolerance_of_three_and_not_of_less():
    a, b = np.zeros(SHAPE, bool), np.zeros(SHAPE, bool)
    a[4], b[8] = True, True
    spacing = (0.75000002, 1.0, 1.0)  # as float32 headers have it
    assert nsd(a, b, spacing=spacing, tolerance_mm=3.0) == 1
    assert nsd(a, b, spacing=spacing, tolerance_mm=2.99) == 0


def test_a_far_outlier_below_five_per_cent_does_not_move_hd95_but_moves_assd():
    a = np.zeros((13, 18, 9), bool)
    a[2:7, 2:7, 2:7] = True
    b = a.copy()
    b[12, 17, 8] = True
    assert hd95_mm(a, b, spacing=(1, 1, 1)) == 0 < assd_mm(a, b, spacing=(1, 1, 1))


def test_hd95_is_the_larger_of_the_two_directions():
    a, b = np.zeros((30, 3, 3), bool), np.zeros((30, 3, 3), bool)
    a[0, 1, 1] = True
    b[:, 1, 1] = True
    assert hd95_mm(a, b, spacing=(1, 1, 1)) == pytest.approx(np.percentile(np.arange(30), 95))


def test_assd_pools_both_directions():
    a, b = np.zeros((30, 3, 3), bool), np.zeros((30, 3, 3), bool)
    a[0, 1, 1] = True
    b[:3, 1, 1] = True
    assert assd_mm(a, b, spacing=(1, 1, 1)) == pytest.approx((0 + 0 + 1 + 2) / 4)


def test_empty_masks_have_no_distance():
    empty, full = np.zeros(SHAPE, bool), np.ones(SHAPE, bool)
    assert np.isnan(hd95_mm(empty, empty, spacing=SPACING)) and np.isnan(assd_mm(empty, empty, spacing=SPACING))
    assert np.isnan(nsd(empty, empty, spacing=SPACING, tolerance_mm=3))
    for a, b in ((empty, full), (full, empty)):
        assert hd95_mm(a, b, spacing=SPACING) == assd_mm(a, b, spacing=SPACING) == np.inf
        assert nsd(a, b, spacing=SPACING, tolerance_mm=3) == 0


@pytest.mark.parametrize("seed", range(4))
def test_surface_is_what_scipys_erosion_takes_away(seed):
    mask = blobs(seed)
    assert np.array_equal(surfaces.surface(mask), mask ^ ndimage.binary_erosion(mask))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("spacing", [(1, 1, 1), SPACING, (3, 0.5, 0.5)])
def test_distances_are_those_of_scipy_on_the_whole_array(seed, spacing):
    reference, prediction = blobs(seed), blobs(seed + 10)
    a, b = (m ^ ndimage.binary_erosion(m) for m in (reference, prediction))
    to_prediction = ndimage.distance_transform_edt(~b, sampling=spacing)[a]
    to_reference = ndimage.distance_transform_edt(~a, sampling=spacing)[b]
    found = surfaces.surface_distances(reference, prediction, spacing=spacing)
    assert np.allclose(found[0], to_prediction, rtol=1e-6) and np.allclose(found[1], to_reference, rtol=1e-6)
    expected = max(np.percentile(to_prediction, 95), np.percentile(to_reference, 95))
    assert hd95_mm(reference, prediction, spacing=spacing) == pytest.approx(expected, rel=1e-6)
    within = (to_prediction <= 1.1).sum() + (to_reference <= 1.1).sum()
    assert nsd(reference, prediction, spacing=spacing, tolerance_mm=1.1) == within / (
        len(to_prediction) + len(to_reference)
    )


def test_distances_equal_a_loop_over_pairs():
    reference, prediction = blobs(1, (6, 7, 5)), blobs(2, (6, 7, 5))
    a, b = (np.argwhere(surfaces.surface(m)) * SPACING for m in (reference, prediction))
    expected = [min(np.sqrt(((p - q) ** 2).sum()) for q in b) for p in a]
    assert np.allclose(surfaces.surface_distances(reference, prediction, spacing=SPACING)[0], expected, rtol=1e-6)


def test_fortran_ordered_masks_have_the_same_distances():
    reference, prediction = blobs(1), blobs(2)
    expected = hd95_mm(reference, prediction, spacing=SPACING)
    assert hd95_mm(np.asfortranarray(reference), np.asfortranarray(prediction), spacing=SPACING) == expected


@pytest.mark.parametrize("spacing", [(0, 1, 1), (1, 1), (1, 1, float("nan")), (1, -1, 1)])
def test_an_impossible_spacing_is_named(spacing):
    with pytest.raises(ValueError, match="spacing must be three positive mm values, got"):
        hd95_mm(blobs(1), blobs(2), spacing=spacing)


def test_masks_of_two_shapes_are_refused():
    with pytest.raises(ValueError, match="of one shape"):
        hd95_mm(blobs(1), blobs(2, (3, 3, 3)), spacing=(1, 1, 1))


def keep_largest_loop(labels):
    kept = np.zeros_like(labels)
    for value in range(1, 26):
        pieces, n = ndimage.label(labels == value, np.ones((3, 3, 3)))
        if n:
            sizes = [(pieces == i).sum() for i in range(1, n + 1)]
            kept[pieces == 1 + int(np.argmax(sizes))] = value
    return kept


@pytest.mark.parametrize("filled", [0.05, 0.3, 0.9])
def test_keep_largest_equals_a_loop_over_classes(filled):
    labels = (random_labels(7, filled=filled) + 4) // 5  # few classes, large pieces
    kept = keep_largest(labels)
    assert np.array_equal(
        np.bincount(kept.ravel(), minlength=26), np.bincount(keep_largest_loop(labels).ravel(), minlength=26)
    )
    assert np.array_equal(kept, keep_largest_loop(labels))


def test_keep_largest_drops_the_smaller_piece_and_keeps_corner_neighbours():
    labels = np.zeros(SHAPE, np.uint8)
    labels[1, 1, 1] = labels[2, 2, 2] = 5  # touch by a corner
    labels[8, 8, 8] = 5
    labels[5, 5, 5] = 6
    kept = keep_largest(labels)
    assert kept[1, 1, 1] == kept[2, 2, 2] == 5 and kept[8, 8, 8] == 0 and kept[5, 5, 5] == 6


def test_keep_largest_leaves_its_input_and_an_empty_map_alone():
    labels = random_labels(8)
    before = labels.copy()
    keep_largest(labels)
    assert np.array_equal(labels, before)
    assert not keep_largest(np.zeros(SHAPE, np.uint8)).any()


def test_keep_largest_does_not_depend_on_memory_layout():
    labels = random_labels(9, filled=0.8)
    assert np.array_equal(keep_largest(np.asfortranarray(labels)), keep_largest(labels))


def test_every_public_name_of_the_module_exists():
    assert all(hasattr(metrics, name) for name in metrics.__all__)
