import numpy as np
import torch

from spineseg.config import Config
from spineseg.learning.cascade import guidance
from spineseg.learning.second_look import DOUBT, logits_from_labels

TO_COARSE = np.diag([0.25, 0.25, 0.25, 1.0])
TO_COARSE[:3, 3] = -0.375  # four fine voxels to a coarse one, edges in line


def doubtful(shape=(5, 5, 9)):
    return torch.zeros(26, *shape)


def column():
    labels = np.zeros((20, 20, 36), np.uint8)
    labels[4:12, 4:12, 20:28], labels[4:12, 4:12, 8:16] = 19, 20
    return labels


def test_what_a_vertebra_fills_has_its_name_and_the_rest_is_background():
    seen = logits_from_labels(column(), doubtful(), TO_COARSE)
    best = seen.argmax(0)
    expected = torch.zeros_like(best)
    expected[1:3, 1:3, 5:7], expected[1:3, 1:3, 2:4] = 19, 20
    assert torch.equal(best, expected)


def test_the_shares_are_probabilities():
    labels = column()
    labels[4:12, 4:12, 26:28] = 0  # a coarse voxel is filled by half
    shares = logits_from_labels(labels, doubtful(), TO_COARSE).exp()
    assert torch.allclose(shares.sum(0), torch.ones(5, 5, 9), atol=1e-4)
    assert abs(shares[19, 1, 1, 6] - (0.5 * (1 - DOUBT) + DOUBT / 26)) < 1e-4


def test_a_shifted_sequence_still_tells_neighbours_apart():
    config, labels = Config(), column()
    shifted = np.where(labels > 0, labels - 2, 0).astype(np.uint8)
    right, wrong = (
        guidance(logits_from_labels(m, doubtful(), TO_COARSE), config)[:4].argmax(0) for m in (labels, shifted)
    )
    for phase in (right, wrong):
        upper, lower = phase[1, 1, 5], phase[1, 1, 2]
        assert upper != lower and min(upper, lower) > 0


def test_nothing_found_is_background():
    assert (logits_from_labels(np.zeros((20, 20, 36), np.uint8), doubtful(), TO_COARSE).argmax(0) == 0).all()


def test_a_sure_background_keeps_its_level():
    logits = torch.full((26, 5, 5, 9), -30.0)
    logits[0], logits[22] = 0.0, -15.0
    level = guidance(logits_from_labels(column(), logits, TO_COARSE), Config())[4]
    assert torch.allclose(level[4, 4], torch.full((9,), 22 / 25), atol=1e-3)
