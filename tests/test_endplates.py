"""Hollows of endplates: their shape, what is drawn of them, and what a plane through them does."""

import numpy as np
import pytest
import torch

from spineseg.anatomy.alignment import own_angle, pitch_degrees
from spineseg.anatomy.labels import IDS, VERTEBRAE
from spineseg.anatomy.phantom.endplates import EDGES, bowl, draw_endplates, mean_endplates
from spineseg.anatomy.phantom_masks import has_usual_count, poses_of
from spineseg.anatomy.phantom_truth import drawn_wedge, true_body

LOIN = range(IDS["L1"] - 1, IDS["L5"])


def test_a_bowl_is_deepest_at_its_place_and_ends_at_its_edges():
    along = np.linspace(0, 1, 101)
    depth = bowl(along, 0.0, 0.37)
    assert along[depth.argmax()] == pytest.approx(0.37) and depth.max() == pytest.approx(1.0)
    assert not depth[(along <= EDGES[0]) | (along >= EDGES[1])].any() and (depth[8:84] > 0).all()
    assert bowl(np.array(0.37), 1.0, 0.37) == 0
    tensor = bowl(torch.from_numpy(along), 0.0, 0.37)
    np.testing.assert_allclose(tensor.numpy(), depth)


def test_patients_differ_about_the_mean_and_a_seed_is_one_patient():
    drawn = [draw_endplates(np.random.default_rng(seed)) for seed in range(300)]
    depth, place = (np.stack([d[name] for d in drawn])[:, LOIN] for name in ("hollow_mm", "hollow_place"))
    mean = mean_endplates()
    assert np.median(depth) == pytest.approx(mean["hollow_mm"][LOIN[0]], rel=0.1) and depth.std() > 0.3
    assert np.median(place) == pytest.approx(mean["hollow_place"][LOIN[0]], abs=0.02)
    assert (place > EDGES[0] + 0.1).all() and (place < EDGES[1] - 0.1).all()
    again = draw_endplates(np.random.default_rng(7))
    assert all((again[name] == drawn[7][name]).all() for name in again)


def test_planes_lean_in_phantoms_as_in_patients_and_rims_do_not():
    seed = next(s for s in range(40, 60) if has_usual_count(s))
    planes, rims = [], []
    for pose in poses_of(seed):
        if VERTEBRAE[pose.level][0] != "L" or pose.size["is_block"]:
            continue
        body = true_body(pose, margin_mm=0.4)
        top, bottom = (pitch_degrees(body.plane(end)[1], body.frame) for end in ("top", "bottom"))
        planes.append(top - bottom - drawn_wedge(pose))
        rims.append(own_angle(body) - drawn_wedge(pose))
    assert len(planes) >= 3 and np.median(planes) < -2.5 and np.abs(np.median(rims)) < 1.0
