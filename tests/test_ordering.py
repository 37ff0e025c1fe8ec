import itertools

import numpy as np
import pytest
import torch

from spineseg.anatomy.labels import REGION_OF, VERTEBRAE
from spineseg.config import OrderingConfig
from spineseg.learning.ordering import chain, ordered, slice_evidence

OPTIONS = OrderingConfig()


def column(names, *, sure=4.0, pitch=3):
    """Logits of a spine of one voxel's width: `pitch` slices per name from the head down, in 9 mm slices."""
    logits = torch.zeros(26, 3, 3, pitch * len(names))
    logits[0] = 6
    for i, name in enumerate(reversed(names)):  # K grows towards the head
        here = (slice(None), 1, 1, slice(pitch * i, pitch * (i + 1)))
        logits[(0, *here[1:])] = -6
        if name:
            logits[(name, *here[1:])] = sure
    return logits


def read(logits, pitch=3):
    line = logits[:, 1, 1].argmax(0).flip(0).numpy()
    return [int(np.bincount(line[i : i + pitch]).argmax()) for i in range(0, len(line), pitch)]


def test_a_spine_in_order_keeps_its_names():
    names = list(range(15, 26))
    assert read(ordered(column(names), 9.0, OPTIONS)) == names


def test_a_name_out_of_order_gives_way_to_its_neighbourhood():
    names = list(range(10, 22))
    wrong = names.copy()
    wrong[5] = 21
    result = read(ordered(column(wrong), 9.0, OPTIONS))
    assert result == sorted(result) and result[5] in (14, 15, 16)
    assert result[:5] + result[6:] == names[:5] + names[6:]


def test_a_stretch_that_says_nothing_is_filled_from_both_ends():
    names = list(range(12, 22))
    silent = [n if i < 3 or i > 6 else 0 for i, n in enumerate(names)]
    result = read(ordered(column(silent), 9.0, OPTIONS))
    assert result[:3] == names[:3] and result[-3:] == names[-3:] and result == sorted(result)


def test_foreground_is_left_alone():
    logits = torch.randn(26, 4, 5, 12, generator=torch.Generator().manual_seed(0))
    before, after = (x.softmax(0)[0] for x in (logits, ordered(logits, 9.0, OPTIONS)))
    assert torch.allclose(before, after, atol=1e-5)


def test_an_empty_scan_is_left_alone():
    logits = torch.zeros(26, 3, 3, 8)
    logits[0] = 20
    assert torch.equal(ordered(logits, 9.0, OPTIONS), logits)


def test_evidence_runs_from_the_head_down():
    evidence, mass = slice_evidence(column([1, 2, 3], pitch=1))
    assert evidence.argmax(1).tolist() == [0, 1, 2] and (mass > 0.9).all()


def test_empty_slices_above_and_below_change_nothing():
    rng = np.random.default_rng(0)
    evidence, mass = rng.normal(0, 1, (8, 25)), np.full(8, 6.0)
    air = np.zeros((9, 25))
    padded = np.concatenate((np.zeros(9), mass, np.zeros(9)))
    longer = chain(np.concatenate((air, evidence, air)), padded, 12.0, OPTIONS)
    assert np.allclose(longer[9:17], chain(evidence, mass, 12.0, OPTIONS), atol=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_the_chain_equals_the_sum_over_all_paths(seed):
    """Three slices, every path of 25 ** 3 weighed by hand."""
    rng = np.random.default_rng(seed)
    evidence, mass = rng.normal(0, 2, (3, 25)), np.array([9.0, 2.0, 5.0])
    posterior = chain(evidence, mass, 12.0, OPTIONS)
    onward = np.array([min(12.0 / getattr(OPTIONS, f"{REGION_OF[v]}_mm"), 0.9) for v in VERTEBRAE])
    onward[-1] = 0
    like = np.exp((OPTIONS.weight * mass / (mass + OPTIONS.half_voxels))[:, None] * evidence)
    total = np.zeros((3, 25))
    for path in itertools.product(range(25), repeat=3):
        weight = 1.0
        for k, s in enumerate(path):
            weight *= like[k, s]
            if k:
                a = path[k - 1]
                moves = {a: 1 - onward[a], a + 1: onward[a]}
                if a + 2 < 25:
                    moves[a + 2] = (onward[a] * onward[a + 1]) ** 2
                moves.pop(25, None)
                weight *= moves.get(s, 0) / sum(moves.values())
            if not weight:
                break
        for k, s in enumerate(path):
            total[k, s] += weight
    assert np.allclose(posterior, total / total.sum(1, keepdims=True), atol=1e-9)
