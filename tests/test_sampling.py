import dataclasses

import numpy as np
import pytest
import torch

from spineseg.config import Config
from spineseg.learning import sampling
from spineseg.learning.augment import Intensity, pose
from spineseg.learning.sampling import RIM, Patches, WholeScans, padded
from spineseg.learning.training_cases import Rounds, TrainingCase, beyond, moved, touched_box, whole_shift

SMOKE = Config.load("smoke")


class MemoryStore:
    """Stands in for the store on disk: one case in memory."""

    def __init__(self, image, labels):
        self.image, self.labels = image, labels

    def read_patch(self, case, start, shape):
        wide = [(max(-s, 0), max(s + n - f, 0)) for s, n, f in zip(start, shape, self.image.shape, strict=True)]
        box = tuple(slice(s + w[0], s + w[0] + n) for s, n, w in zip(start, shape, wide, strict=True))
        return np.pad(self.image, wide)[box], np.pad(self.labels, wide)[box]


@pytest.fixture
def case():
    rng = np.random.default_rng(0)
    image = rng.random((40, 36, 52), dtype=np.float32)
    labels = np.zeros(image.shape, np.uint8)
    labels[15:22, 12:20, 8:16], labels[15:22, 12:20, 30:40] = 20, 19
    fine, coarse = np.diag([6.0, 6, 6, 1]), np.diag([12.0, 12, 12, 1])
    coarse[:3, 3] = 3
    foreground = {int(v): np.argwhere(labels == v) for v in (19, 20)}
    small = {"coarse_image": image[::2, ::2, ::2].copy(), "coarse_labels": labels[::2, ::2, ::2].copy()}
    store, window = MemoryStore(image, labels), SMOKE.preparation
    return TrainingCase.of("a", store, image.shape, fine, foreground, coarse_affine=coarse, preparation=window, **small)


def shifted(i, j, k):
    grid = np.eye(4)
    grid[:3, 3] = i, j, k
    return grid


def test_a_grid_that_cuts_voxels_in_half_gives_the_mean_of_neighbours_and_no_voxel_twice():
    volume = np.random.default_rng(0).random((4, 4, 6)).astype(np.float32)
    labels = np.zeros(volume.shape, np.uint8)
    labels[..., 2:5] = 7
    image, named = moved(volume, labels, shifted(0, 0, 0.5), (4, 4, 5))
    assert np.allclose(image[0], (volume[..., :5] + volume[..., 1:]) / 2, atol=1e-5)
    assert (named > 0).sum(-1).unique().tolist() == [2]  # the ties at both ends go to the background


def test_a_turned_label_keeps_its_middle_where_the_image_has_it():
    axes = np.stack(np.meshgrid(*[np.arange(24)] * 3, indexing="ij"))
    ball = (np.linalg.norm(axes - 11.6, axis=0) < 6).astype(np.uint8) * 3
    grid = pose(np.random.default_rng(1), SMOKE.training, (11.3, 11.9, 12.2), (20, 20, 20))
    image, labels = moved((ball > 0).astype(np.float32), ball, grid, (20, 20, 20))
    of_image = np.average(np.indices((20, 20, 20)).reshape(3, -1), axis=1, weights=image[0].numpy().ravel())
    assert np.abs(np.argwhere(labels.numpy() == 3).mean(0) - of_image).max() < 0.05


def test_outside_the_scan_is_air_and_background():
    image, labels = moved(np.ones((3, 3, 3), np.float32), np.ones((3, 3, 3), np.uint8), shifted(10, 0, 0.5), (2, 2, 2))
    assert image.max() == 0 and labels.max() == 0


def test_only_whole_voxels_count_as_a_plain_shift():
    assert whole_shift(shifted(-3, 0, 12)) == [-3, 0, 12]
    assert whole_shift(shifted(0.5, 0, 0)) is None
    assert whole_shift(pose(np.random.default_rng(0), SMOKE.training, (9, 9, 9), (4, 4, 4))) is None


def test_a_plain_shift_reads_the_stored_voxels(case):
    image, labels = case.cut(shifted(10, 8, 5), [16, 16, 16])
    assert np.array_equal(image[0], case.store.image[10:26, 8:24, 5:21])
    assert np.array_equal(labels, case.store.labels[10:26, 8:24, 5:21])


def test_a_turned_patch_read_through_its_box_equals_one_from_the_whole(case):
    grid = pose(np.random.default_rng(3), SMOKE.training, (20, 15, 25), (16, 16, 16))
    image, labels = case.cut(grid, (16, 16, 16))
    whole_image, whole_labels = moved(case.store.image, case.store.labels, grid, (16, 16, 16))
    assert torch.allclose(image, whole_image, atol=1e-4) and torch.equal(labels, whole_labels)


def test_the_touched_box_stays_inside_the_volume():
    shift = np.eye(4)
    shift[:3, 3] = (-5, 100, 2)
    low, high = touched_box(shift, (4, 4, 4), (10, 10, 10))
    assert (low >= 0).all() and (high <= 10).all() and (high > low).all()


def test_an_unturned_pose_is_a_shift():
    shift = np.eye(4)
    shift[:3, 3] = 4
    assert np.allclose(pose(np.random.default_rng(0), None, (5, 5, 5), (3, 3, 3)), shift)


def test_poses_never_mirror():
    rng = np.random.default_rng(0)
    assert all(np.linalg.det(pose(rng, SMOKE.training, (0, 0, 0), (8, 8, 8))[:3, :3]) > 0 for _ in range(50))


@pytest.mark.parametrize("kind", [WholeScans, Patches])
def test_items_depend_on_seed_epoch_and_index_only(case, kind):
    stage = SMOKE.coarse if kind is WholeScans else SMOKE.fine
    one, two = (kind(Rounds([case]), stage, SMOKE.training, 5) for _ in range(2))
    one[0]  # an item drawn before changes nothing
    assert torch.equal(one[1]["image"], two[1]["image"]) and torch.equal(one[1]["labels"], two[1]["labels"])
    two.epoch = 1
    assert not torch.equal(one[1]["labels"], two[1]["labels"]) or one[1]["image"].shape != two[1]["image"].shape


def test_whole_scans_are_padded_to_the_stages_multiple(case):
    items = WholeScans(Rounds([case]), SMOKE.coarse, SMOKE.training, 0)
    assert all(n % 16 == 0 for i in range(8) for n in items[i]["labels"].shape)


def test_patches_see_vertebrae_about_as_often_as_asked(case):
    items = Patches(Rounds([case]), SMOKE.fine, SMOKE.training, 0)
    seen = []
    for epoch in range(20):
        items.epoch = epoch
        seen += [bool(items[i]["labels"].any()) for i in range(len(items))]
    assert np.mean(seen) >= SMOKE.fine.foreground_share - 0.1


def test_a_patch_knows_its_place_in_the_coarse_scan(case):
    item = Patches(Rounds([case]), SMOKE.fine, SMOKE.training, 0, augmented=False)[0]
    index = np.array([3, 4, 5, 1.0])
    world = case.coarse_affine @ item["to_coarse"] @ index
    step = item["to_coarse"][:3, :3]
    assert np.allclose(step, np.eye(3) * 0.5) and np.allclose(world[3], 1)


def test_a_patch_of_a_smaller_field_of_view_knows_its_place_in_that(case):
    stage = dataclasses.replace(SMOKE.fine, narrowed_share=1.0)
    narrow = Patches(Rounds([case]), stage, SMOKE.training, 0)
    whole = Patches(Rounds([case]), SMOKE.fine, SMOKE.training, 0)
    smaller = 0
    for i in range(len(narrow)):
        part, scan = narrow[i], whole[i]
        assert not part["whole"] and scan["whole"]
        start = np.rint(scan["to_coarse"][:3, 3] - part["to_coarse"][:3, 3]).astype(int)
        box = tuple(slice(a, a + n) for a, n in zip(start, part["coarse"].shape[1:], strict=True))
        assert torch.equal(part["coarse"], scan["coarse"][:, *box])
        outside = beyond(part["to_coarse"], stage.patch, part["coarse"].shape[1:])
        for name, shown in (("image", part["image"][0]), ("labels", part["labels"])):
            whole_patch = scan[name][0] if name == "image" else scan[name]
            assert torch.equal(shown[~outside], whole_patch[~outside]) and not shown[outside].any()
        smaller += part["coarse"].shape != scan["coarse"].shape
    assert smaller


def test_a_share_of_narrowed_patches_is_guided_by_a_first_look(case):
    stage = dataclasses.replace(SMOKE.fine, narrowed_share=1.0, second_look_share=0.5)
    patches = Patches(Rounds([case]), stage, SMOKE.training, 0)
    items = []
    for epoch in range(4):
        patches.epoch = epoch
        items += [patches[i] for i in range(len(patches))]
    looked = [item for item in items if item["found"] is not None]
    assert 0.25 < len(looked) / len(items) < 0.75
    for item in looked:
        assert tuple(item["found"].shape) == tuple(n + 2 * RIM for n in stage.patch)
        inner = item["found"][(slice(RIM, -RIM),) * 3]
        assert (item["labels"][inner > 0] > 0).all()
    assert any(bool(item["found"].any()) for item in looked)


@pytest.mark.parametrize("turned", [0.0, 1.0])
def test_what_a_first_look_found_lies_where_the_patch_does(case, turned, monkeypatch):
    monkeypatch.setattr(sampling, "misread", lambda rng, labels: (labels, labels))
    training = dataclasses.replace(SMOKE.training, turned_share=turned)
    plain, looked = (
        Patches(
            Rounds([case]),
            dataclasses.replace(SMOKE.fine, narrowed_share=1.0, second_look_share=share),
            training,
            0,
        )
        for share in (0.0, 1.0)
    )
    shown = 0
    for i in range(len(plain)):
        one, other = plain[i], looked[i]
        assert torch.equal(one["image"], other["image"]) and torch.equal(one["labels"], other["labels"])
        inner = other["found"][(slice(RIM, -RIM),) * 3]
        assert torch.equal(inner.long(), other["labels"])
        shown += bool(inner.any())
    assert shown


def test_what_lies_beyond_a_scan_is_what_its_voxels_do_not_reach():
    grid = np.diag([0.5, 0.5, 0.5, 1.0])
    grid[:3, 3] = (-1.25, 0.0, 0.0)  # two voxels of the patch to one of the scan; two lie before it
    outside = beyond(grid, (8, 8, 8), (2, 4, 4))
    assert outside[:, 0, 0].tolist() == [True, True, False, False, False, False, True, True]
    assert not outside[3].any()


def test_few_shapes_come_out_of_many():
    assert {padded((n, 30, 30), (16, 16, 16)) for n in range(17, 33)} == {(32, 32, 32)}


def test_intensity_leaves_air_alone_and_stays_in_the_window():
    rng = np.random.default_rng(0)
    image = torch.zeros(1, 8, 8, 8)
    image[:, 4:] = 0.9
    for _ in range(20):
        draw = Intensity.draw(rng, SMOKE.training)
        out = draw(image)
        assert out.min() >= 0 and out.max() <= 1 and torch.equal(out, draw(image))
        if not draw.noise and not draw.blurred:
            assert out[:, :4].max() == 0


def test_other_bone_is_what_is_bright_and_no_vertebra(case):
    window = SMOKE.preparation
    hu = case.coarse_image * (window.window_high_hu - window.window_low_hu) + window.window_low_hu
    to_coarse = np.linalg.inv(case.coarse_affine) @ case.affine
    at = np.rint(case.others @ to_coarse[:3, :3].T + to_coarse[:3, 3]).astype(int)
    assert len(at) == ((hu > 130) & (case.coarse_labels == 0)).sum() > 0
    assert (hu[tuple(at.T)] > 130).all() and (case.coarse_labels[tuple(at.T)] == 0).all()


def test_patches_are_centred_on_other_bone_as_often_as_asked(case):
    lone = dataclasses.replace(case, others=np.array([[2.0, 2.0, 2.0]]))
    stage = dataclasses.replace(SMOKE.fine, patch=(4, 4, 4), foreground_share=1.0, others_share=0.4)
    items = Patches(Rounds([lone]), stage, SMOKE.training, 0, augmented=False)
    away = []
    for epoch in range(100):
        items.epoch = epoch
        away += [np.linalg.norm(items[i]["to_coarse"][:3, 3]) < 5 for i in range(len(items))]
    assert np.mean(away) == pytest.approx(0.4, abs=0.08)


def test_rounds_visit_every_case_once_each_time_round():
    rounds = Rounds(["a", "b", "c"])
    visits = [rounds.at(3, position) for position in range(30)]
    assert all(sorted(visits[i : i + 3]) == ["a", "b", "c"] for i in range(0, 30, 3))
    assert len({tuple(visits[i : i + 3]) for i in range(0, 30, 3)}) > 1
