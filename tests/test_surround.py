import dataclasses

import numpy as np
import pytest
import torch

from spineseg.config import Config
from spineseg.learning import sampling
from spineseg.learning.sampling import WholeScans
from spineseg.learning.surround import BRIGHTEST, altered, near
from spineseg.learning.training_cases import Rounds, TrainingCase

SMOKE = Config.load("smoke")


@pytest.fixture
def scan():
    generator = torch.Generator().manual_seed(0)
    image, labels = torch.rand(1, 13, 18, 40, generator=generator), torch.zeros(13, 18, 40, dtype=torch.long)
    labels[6, 9, 10:30] = torch.arange(1, 21)
    return image, labels


def draws(scan, kind):
    """Forty alterations of one kind; the kind is the first number that is drawn."""
    seeds = [s for s in range(400) if np.random.default_rng(s).integers(3) == kind][:40]
    return [(s, altered(np.random.default_rng(s), *scan, 6.0)) for s in seeds]


@pytest.mark.parametrize("kind", [0, 1, 2])
def test_vertebrae_and_a_rim_of_a_voxel_stay_as_they_are(scan, kind):
    image, labels = scan
    rim = near(labels > 0, 1)
    for _, out in draws(scan, kind):
        assert torch.equal(out[0][rim], image[0][rim]) and out.shape == image.shape
        assert not torch.equal(out, image)


def test_what_is_hidden_has_one_shade(scan):
    far = ~near(scan[1] > 0, 5)
    shades = torch.tensor([out[0][far].unique().item() for _, out in draws(scan, 0)])
    assert shades.min() < 0.1 and 0.3 < shades.max() <= BRIGHTEST


def test_what_is_faint_keeps_a_part_of_its_contrast(scan):
    far = ~near(scan[1] > 0, 5)
    spreads = torch.stack([out[0][far].std() / scan[0][0][far].std() for _, out in draws(scan, 1)])
    assert spreads.min() < 0.1 and 0.4 < spreads.max() <= 0.61


def test_what_is_moved_shows_no_second_spine(scan):
    image, labels = scan
    image[0][labels > 0] = 9.0  # brighter than all else
    for _, out in draws((image, labels), 2):
        assert ((out[0] > 1) == (labels > 0)).all()


def test_the_box_around_voxels_is_that_of_a_loop():
    mask = torch.zeros(5, 7, 6, dtype=torch.bool)
    mask[0, 3, 5] = mask[4, 0, 0] = True
    expected = torch.zeros_like(mask)
    for i, j, k in mask.nonzero().tolist():
        expected[max(i - 2, 0) : i + 3, max(j - 2, 0) : j + 3, max(k - 2, 0) : k + 3] = True
    assert torch.equal(near(mask, 2), expected)


def test_a_scan_without_a_vertebra_stays_as_it_is(scan):
    image = scan[0]
    assert torch.equal(altered(np.random.default_rng(0), image, torch.zeros(13, 18, 40), 6.0), image)


@pytest.mark.parametrize(("share", "least", "most"), [(0.0, 0, 0), (0.5, 10, 30), (1.0, 40, 40)])
def test_a_share_of_the_coarse_items_is_altered_and_labels_stay(monkeypatch, share, least, most):
    rng, labels = np.random.default_rng(0), np.zeros((16, 16, 32), np.uint8)
    labels[8, 8, 4:28] = np.repeat(np.arange(1, 13), 2)
    image = rng.random(labels.shape).astype(np.float32)
    coarse = {"coarse_image": image, "coarse_labels": labels, "coarse_affine": np.diag([6.0, 6.0, 6.0, 1.0])}
    case = TrainingCase.of("c", None, labels.shape, np.eye(4), {}, preparation=SMOKE.preparation, **coarse)
    seen = []
    monkeypatch.setattr(sampling, "altered", lambda rng, image, *_: seen.append(1) or image)

    def items(share):
        stage = dataclasses.replace(SMOKE.coarse, altered_share=share, narrowed_share=0.0, steps_per_epoch=40)
        return WholeScans(Rounds([case]), stage, SMOKE.training, 0)

    plain, some = items(0.0), items(share)
    assert all(torch.equal(plain[i]["labels"], some[i]["labels"]) for i in range(40))
    assert least <= len(seen) <= most
