import numpy as np
import torch

from spineseg.anatomy.labels import N_VERTEBRAE
from spineseg.config import Config
from spineseg.learning import first_look
from spineseg.learning.cascade import build, guidance
from spineseg.learning.first_look import misread
from spineseg.learning.tasks import Outlining

CONFIG = Config.load("smoke")


def column(first=10, last=13, high=8):
    """Blocks on top of each other, the highest vertebra at the far end of K."""
    labels = np.zeros((12, 12, high * (last - first + 1) + 4), np.uint8)
    for place, name in enumerate(range(last, first - 1, -1)):
        labels[3:9, 3:9, 2 + place * high : 2 + (place + 1) * high - 1] = name
    return labels


def test_what_is_found_lies_where_vertebrae_are_and_names_are_near():
    labels = column()
    for seed in range(60):
        found, wanted = misread(np.random.default_rng(seed), labels)
        assert found.dtype == wanted.dtype == np.uint8
        assert not found[labels == 0].any() and np.array_equal(wanted > 0, labels > 0)
        shift = np.unique(wanted[labels > 0].astype(int) - labels[labels > 0])
        assert len(shift) == 1 and abs(shift[0]) <= 1
        near = found[found > 0].astype(int) - wanted[found > 0]
        assert np.abs(near).max(initial=0) <= 1


def test_a_first_look_is_right_wrong_and_shifted_at_times():
    labels = column()
    drawn = [misread(np.random.default_rng(seed), labels) for seed in range(200)]
    right = np.mean([np.array_equal(found, wanted) for found, wanted in drawn])
    shifted = np.mean([not np.array_equal(wanted, labels) for _, wanted in drawn])
    assert 0.15 < right < 0.4 and 0.2 < shifted < 0.4


def test_names_are_not_shifted_past_the_first_or_the_last():
    for labels in (column(1, 3), column(N_VERTEBRAE - 2, N_VERTEBRAE)):
        wanted = [misread(np.random.default_rng(seed), labels)[1] for seed in range(80)]
        assert all(w.max() <= N_VERTEBRAE and (w > 0).sum() == (labels > 0).sum() for w in wanted)
        assert any(not np.array_equal(w, labels) for w in wanted)


def test_every_fault_changes_one_vertebra_alone():
    labels = column()
    for fault in first_look._FAULTS:
        found = labels.copy()
        fault(np.random.default_rng(1), found, labels, 11, [10, 12])
        assert (found != labels).any() and not (found != labels)[labels != 11].any(), fault.__name__


def test_a_vertebra_alone_is_torn_or_lost_but_gets_no_name_of_one_that_is_not_there():
    labels = column(12, 12)
    for seed in range(80):
        found, wanted = misread(np.random.default_rng(seed), labels)
        assert set(np.unique(found)) <= {0, int(wanted.max())}


def test_nothing_is_found_where_nothing_is():
    found, wanted = misread(np.random.default_rng(0), np.zeros((8, 8, 8), np.uint8))
    assert not found.any() and not wanted.any()


def test_a_patch_is_guided_by_what_was_found_in_it():
    torch.manual_seed(0)
    outlining = Outlining(CONFIG, build(CONFIG, "coarse"))
    found = np.zeros((32, 32, 32), np.uint8)
    found[:, :, :18], found[:, :, 18:] = 12, 11
    image = torch.rand(1, 16, 16, 16)
    batch = {"case": ["a", "a"], "image": torch.rand(2, 1, 16, 16, 16), "coarse": [image] * 2, "whole": [False] * 2}
    batch |= {"to_coarse": [np.eye(4)] * 2, "found": [torch.from_numpy(found), None]}
    looked, plain = outlining.guide(batch)
    phase = looked[:4].argmax(0)
    assert (phase[..., :9] == 12 % 3 + 1).all() and (phase[..., 11:] == 11 % 3 + 1).all()
    assert torch.equal(plain, guidance(outlining._logits(image), CONFIG))
