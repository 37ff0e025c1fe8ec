import dataclasses
import json
import subprocess
import sys

import numpy as np
import pytest
import torch

import spineseg.anatomy.phantom as phantom
from spineseg.anatomy.labels import IDS, VERTEBRAE
from spineseg.anatomy.phantom import generate
from spineseg.anatomy.phantom.frame import Frame
from spineseg.anatomy.phantom.scanner import KINDS

COARSE = 6.0


@pytest.fixture(scope="module")
def cohort():
    return [generate(seed, spacing_mm=COARSE) for seed in range(20)]


def test_a_phantom_is_a_scan_with_labels_on_its_grid(cohort):
    for case in cohort:
        assert case.ct_hu.dtype == np.int16 and case.labels.dtype == np.uint8
        assert case.ct_hu.shape == case.labels.shape and case.affine.shape == (4, 4)
        assert case.ct_hu.min() >= -1024 and case.ct_hu.max() <= 3071
        assert case.labels.max() <= 25


def test_the_same_seed_gives_the_same_bytes(cohort):
    again = generate(7, spacing_mm=COARSE)
    assert again.ct_hu.tobytes() == cohort[7].ct_hu.tobytes()
    assert again.labels.tobytes() == cohort[7].labels.tobytes()
    assert again.affine.tobytes() == cohort[7].affine.tobytes() and again.truth == cohort[7].truth


def test_different_seeds_give_different_scans(cohort):
    assert len({case.ct_hu.tobytes() for case in cohort}) == len(cohort)


def test_median_hu_inside_the_labels_is_that_of_bone_in_ct(cohort):
    medians = [np.median(c.ct_hu[c.labels > 0]) for c in cohort if c.labels.any() and not c.truth["bone_only"]]
    assert len(medians) >= 15
    assert 150 <= np.median(medians) <= 300


def test_labels_follow_each_other_from_head_to_foot(cohort):
    for case in cohort:
        found = [i for i in range(1, 26) if (case.labels == i).sum() > 30]
        centres = [case.affine[:3, :3] @ np.argwhere(case.labels == i).mean(0) + case.affine[:3, 3] for i in found]
        assert np.all(np.diff([c[2] for c in centres]) < 0)
        if not found:
            assert case.truth["kind"] in ("none", "neck", "spine")
            continue
        missing = {IDS["T12"]} if case.truth["variant"] == "T11" else set()
        assert found == [i for i in range(found[0], found[-1] + 1) if i not in missing]


def test_labels_lie_in_the_levels_that_the_view_names(cohort):
    for case in cohort:
        first, last = case.truth["first"], case.truth["last"]
        solid = [i for i in range(1, 26) if (case.labels == i).sum() > 4]
        if not first:
            assert not solid
            continue
        assert min(solid) >= IDS[first] - 1 and max(solid) <= IDS[last] + 1


def test_truth_is_json_and_says_what_was_drawn(cohort):
    for case in cohort:
        assert json.loads(json.dumps(case.truth)) == case.truth
        for row in case.truth["vertebrae"]:
            assert {"vertebra", "full_ml", "visible_ml", "visible_share", "centroid_mm"} <= set(row)
            assert row["vertebra"] in VERTEBRAE


def test_centroids_of_the_truth_are_those_of_the_stored_labels(cohort):
    for case in cohort[:6]:
        for row in case.truth["vertebrae"]:
            voxels = np.argwhere(case.labels == IDS[row["vertebra"]])
            if row["visible_share"] > 0.95 and len(voxels) > 40:
                centre = case.affine[:3, :3] @ voxels.mean(0) + case.affine[:3, 3]
                np.testing.assert_allclose(centre, row["centroid_mm"], atol=COARSE)


def test_spacing_of_the_affine_is_the_truth_s(cohort):
    for case in cohort:
        spacing = np.linalg.norm(case.affine[:3, :3], axis=0)
        np.testing.assert_allclose(spacing, case.truth["spacing"])
        assert np.prod(spacing) == pytest.approx(COARSE**3)


def test_a_seed_is_one_patient_in_any_view_and_spacing(cohort):
    for case in (generate(4, spacing_mm=8.0), generate(4, spacing_mm=COARSE, needs=("C4",))):
        for key in ("scale", "angles_degrees", "fractures", "tissue", "fat_mm", "arms_up"):
            assert case.truth[key] == cohort[4].truth[key]


def test_needed_vertebrae_are_in_the_scan():
    case = generate(0, spacing_mm=COARSE, needs=("C2", "C3"))
    assert {IDS["C2"], IDS["C3"]} <= set(np.unique(case.labels))


def test_bone_alone_can_be_asked_for_and_changes_nothing_else(cohort):
    bone = generate(4, spacing_mm=COARSE, bone_only=True)
    assert bone.truth["bone_only"] and not cohort[4].truth["bone_only"]
    np.testing.assert_array_equal(bone.labels, cohort[4].labels)
    kept = bone.ct_hu != 0
    assert 0 < kept.mean() < 0.2 and bone.ct_hu[kept].min() >= 200
    np.testing.assert_array_equal(bone.ct_hu[kept], cohort[4].ct_hu[kept])


@pytest.mark.parametrize("kind", (*KINDS, "none"))
def test_every_kind_of_view_can_be_scanned(kind, monkeypatch):
    draw = phantom.draw_view

    def until(spine, rng, **options):
        return next(v for v in (draw(spine, rng, **options) for _ in range(2000)) if v.kind == kind)

    monkeypatch.setattr(phantom, "draw_view", until)
    case = generate(5, spacing_mm=COARSE)
    assert case.truth["kind"] == kind
    assert case.labels.any() == (kind != "none")


def test_labels_can_be_asked_to_reach_so_far_and_the_image_does_not_show_it(cohort):
    wide, narrow = (generate(7, spacing_mm=COARSE, margin_mm=margin) for margin in (2.0, 0.0))
    for case in (wide, narrow):
        assert case.ct_hu.tobytes() == cohort[7].ct_hu.tobytes()
    sizes = [(case.labels > 0).sum() for case in (narrow, cohort[7], wide)]
    assert sizes[0] < sizes[1] < sizes[2]


def test_spread_changes_looks_but_not_anatomy(cohort):
    for case in (generate(4, spacing_mm=COARSE, spread=spread) for spread in (0.0, 2.0)):
        for key in ("scale", "angles_degrees", "fractures", "variant", "first", "last", "arms_up"):
            assert case.truth[key] == cohort[4].truth[key]
        assert case.truth["tissue"] != cohort[4].truth["tissue"]


def test_without_spread_all_scans_are_alike_in_quality():
    drawn = [generate(seed, spacing_mm=12.0, spread=0.0).truth for seed in range(4)]
    for key in ("noise_hu", "grain", "blur_mm", "overshoot"):
        assert len({truth[key] for truth in drawn}) == 1


def test_a_turned_scan_keeps_its_centroids(monkeypatch):
    draw = phantom.draw_view

    def turned(spine, rng, **options):
        view = draw(spine, rng, **options)
        return dataclasses.replace(view, frame=Frame(turn_degrees=(3.0, -12.0, 2.0), padding_hu=-1024.0))

    straight = generate(4, spacing_mm=4.0)
    monkeypatch.setattr(phantom, "draw_view", turned)
    case = generate(4, spacing_mm=4.0)
    assert case.truth["turn_degrees"] == [3.0, -12.0, 2.0] and case.truth["padding_hu"] == -1024.0
    checked = 0
    for row in case.truth["vertebrae"]:
        voxels = np.argwhere(case.labels == IDS[row["vertebra"]])
        assert row["visible_ml"] == pytest.approx(len(voxels) * 0.064)
        if row["visible_share"] > 0.97:
            centre = case.affine[:3, :3] @ voxels.mean(0) + case.affine[:3, 3]
            np.testing.assert_allclose(centre, row["centroid_mm"], atol=2.0)
            checked += 1
    assert checked >= 3
    assert case.labels.any() and not np.array_equal(case.labels, straight.labels)


def test_impossible_wishes_are_errors():
    with pytest.raises(ValueError, match="spread must be between 0"):
        generate(0, spread=-1.0)
    for margin in (-0.1, 3.0, float("nan")):
        with pytest.raises(ValueError, match="margin_mm must be between 0 and 2"):
            generate(0, margin_mm=margin)
    with pytest.raises(ValueError, match="between 0.2 and 30, got 0"):
        generate(0, spacing_mm=0)
    with pytest.raises(ValueError, match="needs must name vertebrae"):
        generate(0, needs=("T13",))


def test_importing_the_phantom_loads_nothing_heavier_than_torch_and_numpy():
    heavy = "{'pandas', 'scipy', 'nibabel', 'lightning', 'matplotlib'}"
    code = f"import sys, spineseg.anatomy.phantom; print(sorted({heavy} & set(sys.modules)))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_a_gpu_paints_the_same_patient():
    here, there = generate(3, spacing_mm=COARSE), generate(3, spacing_mm=COARSE, device="cuda")
    assert here.labels.shape == there.labels.shape
    assert np.mean(here.labels != there.labels) < 1e-3
