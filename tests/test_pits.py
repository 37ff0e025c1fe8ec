"""Endplates broken in at one place: a body with even ends, and a scan of nothing but two bright layers."""

import dataclasses

import numpy as np
import pytest
from builders import flat_body

from spineseg.anatomy.phantom.planting import Pathology
from spineseg.anatomy.phantom_masks import MARGIN_MM, has_usual_count, poses_of
from spineseg.anatomy.phantom_truth import true_body
from spineseg.anatomy.pits import dip_mm, pit_mm
from spineseg.anatomy.rims import fitted_surface

DEEP_MM, RADIUS_MM = 3.0, 3.5
SPACING_MM = 0.75


@pytest.fixture(scope="module")
def flat():
    return flat_body()


def node(x, y, aside=0.0):
    """Depth of a pit about the middle of the body, `aside` mm to the right."""
    away2 = (x - aside) ** 2 + y**2
    return DEEP_MM * np.clip(1.0 - away2 / RADIUS_MM**2, 0.0, None)


def with_pit(body, aside=0.0):
    middle = (body.back_mm + body.front_mm) / 2
    return dataclasses.replace(body, top=body.top - node(body.view.x[:, None], body.view.y[None, :] - middle, aside))


def scan_of(body, pitted=(), spacing=SPACING_MM):
    """HU of a scan along the body's frame in which both endplates are bright layers 2 mm thick, and its affine.

    `pitted` names the endplates that are broken in.
    """
    affine = np.eye(4)
    affine[:3, :3] = body.frame * spacing
    affine[:3, 3] = body.middle - affine[:3, :3] @ (np.array([80, 80, 60]) / 2)
    x, y, z = ((np.arange(n) - n / 2) * spacing for n in (80, 80, 60))
    sunk = node(x[:, None], y[None, :] - (body.back_mm + body.front_mm) / 2)
    top = np.nanmedian(body.top) - 1.0 - sunk * ("top" in pitted)
    bottom = np.nanmedian(body.bottom) + 1.0 + sunk * ("bottom" in pitted)
    layers = sum(np.exp(-(((z - np.asarray(h)[..., None]) / 0.9) ** 2)) for h in (top, bottom))
    return 100.0 + 400.0 * np.broadcast_to(layers, (80, 80, 60)), affine


@pytest.mark.parametrize("aside", [0.0, 6.0])
def test_most_of_a_pit_is_seen_wherever_it_lies(flat, aside):
    body = with_pit(flat, aside)
    assert 0.7 * DEEP_MM < pit_mm(body, "top") < DEEP_MM  # the fitted hollow takes some of it
    assert [pit_mm(body, "bottom"), pit_mm(flat, "top")] == pytest.approx([0.0, 0.0], abs=0.05)


def test_a_lower_endplate_is_broken_in_upwards(flat):
    middle = (flat.back_mm + flat.front_mm) / 2
    sunk = node(flat.view.x[:, None], flat.view.y[None, :] - middle)
    body = dataclasses.replace(flat, bottom=flat.bottom + sunk)
    assert 0.7 * DEEP_MM < pit_mm(body, "bottom") < DEEP_MM


def test_a_usual_hollow_is_no_pit(flat):
    along = (flat.view.y - flat.reach_mm("top")[0]) / flat.depth_mm
    hollow = 2.0 * np.clip(1.0 - ((along - 0.4) / 0.4) ** 2, 0.0, None)[None, :]
    assert pit_mm(dataclasses.replace(flat, top=flat.top - hollow), "top") < 0.7


@pytest.mark.parametrize(("end", "other"), [("top", "bottom"), ("bottom", "top")])
def test_the_bright_layer_dips_where_a_mask_has_filled_the_pit(flat, end, other):
    scan = scan_of(flat, [end])
    assert dip_mm(*scan, flat, end) == pytest.approx(DEEP_MM, abs=1.0)
    assert dip_mm(*scan, flat, other) == pytest.approx(0.0, abs=0.5)
    assert dip_mm(*scan_of(flat), flat, end) == pytest.approx(0.0, abs=0.5)


def test_the_layer_of_another_endplate_is_not_taken_for_a_dip(flat):
    crushed = dataclasses.replace(flat, top=flat.bottom + 5.0)
    scan, affine = scan_of(crushed)
    rough = scan + np.random.default_rng(0).normal(0.0, 40.0, scan.shape)
    assert dip_mm(rough, affine, crushed, "top") <= 1.0 and dip_mm(rough, affine, crushed, "bottom") <= 1.0


def test_no_healthy_endplate_of_a_phantom_has_a_pit():
    seed = next(s for s in range(60, 90) if has_usual_count(s))
    found = {}
    for pose in poses_of(seed, pathology=Pathology(0.0, 0.0, 0.0)):
        body = true_body(pose, margin_mm=MARGIN_MM) if pose.level > 0 else None
        found |= {(body.name, end): pit_mm(body, end) for end in ("top", "bottom") if body is not None}
    assert {name for name, _ in found} >= {"C3", "C7", "T6", "L5"}  # in the neck bodies lean
    assert {name: mm for name, mm in found.items() if mm > 1.0} == {}


def test_what_cannot_be_seen_has_none(flat):
    scan, affine = scan_of(flat)
    cut = dataclasses.replace(flat, is_whole=False)
    assert np.isnan(pit_mm(cut, "top")) and np.isnan(dip_mm(scan, affine, cut, "top"))
    assert np.isnan(dip_mm(scan[:, :30], affine, flat, "top"))  # the front lies outside
    assert np.isnan(dip_mm(scan, affine, dataclasses.replace(flat, width_mm=0.0), "top"))
    assert np.isnan(fitted_surface(dataclasses.replace(flat, top=flat.top * np.nan), "top", *np.zeros((2, 3)))).all()
