import dataclasses

import numpy as np
import pytest
import torch

from spineseg.anatomy.labels import IDS
from spineseg.anatomy.phantom.canvas import Canvas
from spineseg.anatomy.phantom.marrow import Lesion, draw_bone, enrich, texture
from spineseg.anatomy.phantom.ripple import draw_ripple
from spineseg.anatomy.phantom.spine import draw_spine
from spineseg.anatomy.phantom.tissue import draw_tissue
from spineseg.anatomy.phantom.vertebra_raster import axes_of, draw_poses

L3 = IDS["L3"] - 1


def body(**changes):
    """Marrow of 100 HU under a cortex of 0.5 mm in the box around L3, then enriched; and a way to look at a place."""
    rng = np.random.default_rng(1)
    spine = draw_spine(rng)
    bone = draw_bone(draw_tissue(rng), rng, 0.0) | {"vein": 0.0, "lesions": {}, "wall_mm": 0.5, "plate_mm": 1.0}
    wear = dataclasses.replace(spine.wear, modic=np.zeros((25, 2)), modic_mm=np.full((25, 2), 8.0))
    if "modic" in changes:
        wear.modic[L3] = changes.pop("modic")
    canvas = Canvas((-40.0, -40.0, -30.0), (81, 81, 61), (1.0,) * 3)
    span = tuple((0, n) for n in canvas.shape)
    pose = draw_poses(spine, rng)[L3]
    shell, marrow = torch.full(canvas.shape, 0.5), torch.full(canvas.shape, 100.0)
    enrich(canvas, pose, span, bone | changes, wear, shell, marrow)

    def at(right, anterior, up):
        size = pose.size
        local = np.array([right * size["body_width"], anterior * size["body_depth"], up * size["body_height"]]) / 2
        index = np.round(pose.centre_mm + pose.rotation @ local - canvas.origin_mm).astype(int)
        return float(shell[tuple(index)]), float(marrow[tuple(index)])

    assert axes_of(canvas, span)[0].shape == (81, 1, 1)
    return at


def test_endplates_are_thicker_than_side_walls():
    at = body()
    assert at(0, 0, 0.98)[0] > 0.85 and at(0, 0, -0.98)[0] > 0.85
    assert at(0.9, 0, 0)[0] == 0.5


def test_sclerosis_lies_under_the_endplate_that_it_belongs_to():
    at = body(modic=(300.0, 0.0))
    assert at(0, 0, 0.9)[1] > 250
    assert at(0, 0, 0)[1] == at(0, 0, -0.9)[1] == 100


def test_marrow_that_turned_to_fat_is_darker():
    assert body(modic=(0.0, -120.0))(0, 0, -0.9)[1] < 50


def test_the_vein_leaves_a_cleft_in_the_middle_of_the_back():
    at = body(vein=1.0)
    shell, marrow = at(0, -0.9, 0)
    assert marrow < 65 and shell < 0.3
    assert at(0, 0.8, 0)[1] == at(0, -0.9, 0.7)[1] == at(0.8, -0.8, 0)[1] == 100


def test_a_lesion_changes_its_surroundings_and_nothing_else():
    at = body(lesions={L3: Lesion((0.0, 0.0, 0.0), 8.0, -90.0, 1.0)})
    assert at(0, 0, 0)[1] == pytest.approx(10.0) and at(0.9, 0.5, 0.8)[1] == 100
    assert body(lesions={L3 - 1: Lesion((0.0, 0.0, 0.0), 8.0, -90.0, 1.0)})(0, 0, 0)[1] == 100


def test_bone_runs_from_porous_to_young():
    cores = []
    for seed in range(300):
        rng = np.random.default_rng(seed)
        cores.append(draw_bone(draw_tissue(rng), rng)["core"])
    assert min(cores) < 55 and 200 < max(cores) <= 260 and 90 < np.median(cores) < 150


def test_texture_has_about_unit_deviation_at_any_grain():
    canvas = Canvas((0, 0, 0), (40, 40, 40), (1.0,) * 3)
    for grain in (0.8, 2.0, 4.0):
        noise = texture(canvas, ((0, 40),) * 3, grain, torch.Generator().manual_seed(0))
        assert noise.shape == (40, 40, 40) and 0.6 < float(noise.std()) < 1.25


def test_a_ripple_is_the_same_in_any_view_and_has_unit_variance():
    ripple = draw_ripple(np.random.default_rng(0), 9.0, 28.0, 12)
    axis = torch.arange(0.0, 200.0, 2.0)
    whole = ripple.at((axis[:, None, None], axis[None, :, None], axis[None, None, :]))
    part = ripple.at((axis[10:20, None, None], axis[None, 5:9, None], axis[None, None, 30:40]))
    assert torch.allclose(whole[10:20, 5:9, 30:40], part, atol=1e-4)
    assert float(whole.std()) == pytest.approx(1.0, abs=0.15)
    value = sum(
        np.cos(frequency @ np.array([20.0, 10.0, 60.0]) + phase)
        for frequency, phase in zip(ripple.frequency, ripple.phase, strict=True)
    )
    assert float(whole[10, 5, 30]) == pytest.approx(value * np.sqrt(2 / 12), abs=1e-3)
