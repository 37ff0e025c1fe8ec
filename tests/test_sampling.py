import numpy as np
import pytest
import torch

from spineseg.config import Config
from spineseg.learning.augment import Intensity, pose
from spineseg.learning.sampling import Patches, TrainingCase, WholeScans, padded, sample, touched_box

SMOKE = Config.load("smoke")


class MemoryStore:
    """Stands in for the store on disk: one case in memory."""

    def __init__(self, image, labels):
        self.image, self.labels = image, labels

    def read_patch(self, case, start, shape):
        box = tuple(slice(s, s + n) for s, n in zip(start, shape, strict=True))
        return self.image[box], self.labels[box]


@pytest.fixture
def case():
    rng = np.random.default_rng(0)
    image = rng.random((40, 36, 52), dtype=np.float32)
    labels = np.zeros(image.shape, np.uint8)
    labels[15:22, 12:20, 8:16], labels[15:22, 12:20, 30:40] = 20, 19
    fine, coarse = np.diag([6.0, 6, 6, 1]), np.diag([12.0, 12, 12, 1])
    coarse[:3, 3] = 3
    foreground = {int(v): np.argwhere(labels == v) for v in (19, 20)}
    small = (image[::2, ::2, ::2].copy(), labels[::2, ::2, ::2].copy())
    return TrainingCase("a", MemoryStore(image, labels), image.shape, fine, *small, coarse, foreground)


def test_the_same_grid_gives_the_same_voxels():
    volume = np.random.default_rng(0).random((5, 6, 7))
    assert torch.allclose(sample(volume, np.eye(4), (5, 6, 7))[0], torch.from_numpy(volume).float(), atol=1e-5)


def test_half_a_voxel_along_k_is_the_mean_of_neighbours():
    volume = np.random.default_rng(0).random((4, 4, 4)).astype(np.float32)
    shift = np.eye(4)
    shift[2, 3] = 0.5
    out = sample(volume, shift, (4, 4, 3))[0].numpy()
    assert np.allclose(out, (volume[..., :3] + volume[..., 1:]) / 2, atol=1e-5)


def test_outside_is_air_or_the_repeated_edge():
    volume, shift = np.ones((3, 3, 3), np.float32), np.eye(4)
    shift[0, 3] = 10
    assert sample(volume, shift, (2, 2, 2)).max() == 0
    assert sample(volume, shift, (2, 2, 2), outside="border").min() == 1


def test_a_patch_read_through_its_box_equals_one_from_the_whole(case):
    grid = pose(np.random.default_rng(3), SMOKE.training, (20, 15, 25), (16, 16, 16))
    image, labels = case.cut(grid, (16, 16, 16))
    assert torch.allclose(image, sample(case.store.image, grid, (16, 16, 16)), atol=1e-4)
    assert torch.equal(labels, sample(case.store.labels, grid, (16, 16, 16), mode="nearest")[0].long())


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
    one, two = (kind([case], stage, SMOKE.training, 5) for _ in range(2))
    one[0]  # an item drawn before changes nothing
    assert torch.equal(one[1]["image"], two[1]["image"]) and torch.equal(one[1]["labels"], two[1]["labels"])
    two.epoch = 1
    assert not torch.equal(one[1]["labels"], two[1]["labels"]) or one[1]["image"].shape != two[1]["image"].shape


def test_whole_scans_are_padded_to_the_stages_multiple(case):
    items = WholeScans([case], SMOKE.coarse, SMOKE.training, 0)
    assert all(n % 16 == 0 for i in range(8) for n in items[i]["labels"].shape)


def test_patches_see_vertebrae_about_as_often_as_asked(case):
    items = Patches([case], SMOKE.fine, SMOKE.training, 0)
    seen = []
    for epoch in range(20):
        items.epoch = epoch
        seen += [bool(items[i]["labels"].any()) for i in range(len(items))]
    assert np.mean(seen) >= SMOKE.fine.foreground_share - 0.1


def test_a_patch_knows_its_place_in_the_coarse_scan(case):
    item = Patches([case], SMOKE.fine, SMOKE.training, 0, augmented=False)[0]
    index = np.array([3, 4, 5, 1.0])
    world = case.coarse_affine @ item["to_coarse"] @ index
    step = item["to_coarse"][:3, :3]
    assert np.allclose(step, np.eye(3) * 0.5) and np.allclose(world[3], 1)


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
