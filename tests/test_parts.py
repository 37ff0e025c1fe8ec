"""Body and arch from the mask, against the solids that the phantom is made of."""

import numpy as np
import pytest
import torch

from spineseg.anatomy.labels import IDS
from spineseg.anatomy.parts import ARCH, BODY, body_and_arch
from spineseg.anatomy.phantom_masks import poses_of, whole_spine

SEED = 2
LEAST_DICE = {"C": 0.84, "T": 0.94, "L": 0.95}


@pytest.fixture(scope="module")
def spine():
    labels, affine = whole_spine(SEED)
    return labels, affine, body_and_arch(labels, affine, step_mm=1.0), poses_of(SEED)


@pytest.mark.parametrize("name", [v for v in IDS if v not in ("C1", "C2", "S1")])
def test_body_and_arch_agree_with_the_phantoms_own_solids(spine, name):
    labels, affine, parts, poses = spine
    index = np.argwhere(labels == IDS[name])
    place = torch.from_numpy((index @ affine[:3, :3].T + affine[:3, 3]).astype(np.float32))
    body, arch = poses[IDS[name] - 1].solids(tuple(place.T))
    truth, found = (body <= arch).numpy(), parts[tuple(index.T)] == BODY
    assert 2 * (truth & found).sum() / (truth.sum() + found.sum()) >= LEAST_DICE[name[0]]


def test_every_voxel_of_a_vertebra_is_one_or_the_other_and_the_atlas_has_no_body(spine):
    labels, _, parts, _ = spine
    assert ((parts > 0) == (labels > 0)).all()
    assert set(np.unique(parts[labels == 1])) == {ARCH}


def test_a_vertebra_without_a_canal_in_view_is_left_open():
    labels = np.zeros((30, 31, 32), np.uint8)
    labels[5:25, 5:25, 5:25] = IDS["T5"]
    assert not body_and_arch(labels, np.eye(4), step_mm=1.0).any()
