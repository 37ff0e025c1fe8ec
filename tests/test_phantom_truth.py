"""Truth from signed distances, against formulas of the shapes and against the bones that a scan shows."""

import numpy as np
import pytest
import torch

from spineseg.anatomy.alignment import own_angle
from spineseg.anatomy.heights import HALF_WINDOW, heights_of
from spineseg.anatomy.labels import IDS
from spineseg.anatomy.phantom import generate
from spineseg.anatomy.phantom.degeneration import healthy_size
from spineseg.anatomy.phantom.endplates import bowl, mean_endplates
from spineseg.anatomy.phantom.levels import dimensions
from spineseg.anatomy.phantom.planting import Pathology
from spineseg.anatomy.phantom.scanner import draw_view
from spineseg.anatomy.phantom.spine import draw_spine
from spineseg.anatomy.phantom.vertebra_raster import Pose
from spineseg.anatomy.phantom_truth import drawn_wedge, scan_poses, true_body, true_cobb, true_examination
from spineseg.anatomy.rims import rim_normal
from spineseg.config import MorphometryConfig


def pose(**changes):
    size = {column: float(values[IDS["L2"] - 1]) for column, values in (dimensions() | mean_endplates()).items()}
    size |= {"unit": 1.0, "arch": 1.0, "wedge": 0.0, "lip": 0.0} | healthy_size() | changes
    return Pose(IDS["L2"] - 1, size, np.array([3.0, -4.0, 5.0]), np.eye(3), 0.0, 0.0)


def height_at(size, share):
    """Of the formula in `vertebra_parts.body_of`, in the midplane about a share of the depth from the back wall."""
    share = share + np.linspace(-HALF_WINDOW, HALF_WINDOW, 11)
    forward = share - 0.5
    half = size["body_height"] / 2 * (1 - size["wedge"] * share + size["front_share"] * forward)
    hollow = size["hollow_mm"] * bowl(share, 0.0, size["hollow_place"])
    hollow += size["fish"] * size["body_height"] * np.maximum(1 - (2 * forward) ** 2, 0)
    return 2 * (half - hollow).mean()


@pytest.mark.parametrize("changes", [{}, {"wedge": 0.35}, {"fish": 0.08}])
@pytest.mark.parametrize("margin_mm", [0.0, 0.5])
def test_heights_are_those_of_the_formula(changes, margin_mm):
    one = pose(**changes)
    found = heights_of(true_body(one, margin_mm=margin_mm))
    for place, share in (("anterior", 0.85), ("middle", 0.5), ("posterior", 0.15)):
        # the rim is rounded and the drum reaches further forwards than the depth says
        assert found[place] == pytest.approx(height_at(one.size, share) + 2 * margin_mm, abs=0.5), place


def test_the_body_lies_where_its_pose_is_and_turns_with_it():
    one = pose()
    body = true_body(one, margin_mm=0.0)
    centre, normal = body.plane("top")[0], rim_normal(body, "top")
    assert normal == pytest.approx((0, -np.sin(np.arctan(27 * one.size["front_share"] / 2 / 36)), 1), abs=0.03)
    assert centre == pytest.approx((3, -5, 5 + 27 / 2 - 1), abs=1.2)


@pytest.mark.parametrize("wedge", [0.0, 0.2, 0.4])
def test_the_angle_of_a_wedge_is_the_one_it_was_drawn_with(wedge):
    one = pose(wedge=wedge)
    assert own_angle(true_body(one, margin_mm=0.4)) == pytest.approx(drawn_wedge(one), abs=1.5)


def test_the_poses_are_those_that_a_scan_of_the_same_seed_shows():
    scan = generate(4, spacing_mm=2.0, anisotropic=False, needs=("T12", "S1"))
    assert not any(scan.truth["turn_degrees"])
    poses, margin_mm = scan_poses(4)
    whole = [row["vertebra"] for row in scan.truth["vertebrae"] if row["visible_share"] > 0.999]
    assert len(whole) >= 5
    places = {
        name: np.argwhere(scan.labels == IDS[name]) @ scan.affine[:3, :3].T + scan.affine[:3, 3] for name in whole
    }
    streams = [np.random.default_rng(s) for s in np.random.SeedSequence(4).spawn(5)]
    view = draw_view(draw_spine(streams[0]), streams[1], spacing_mm=2.0, anisotropic=False, needs=("T12", "S1"))
    for name in whole:
        place = torch.from_numpy((places[name] - view.offset_mm).astype(np.float32))
        distance = torch.minimum(*poses[IDS[name] - 1].solids(tuple(place.T))).numpy()
        assert np.mean(distance < margin_mm + 0.3) > 0.99, name  # the surface is uneven by as much


def test_a_whole_phantom_has_a_row_per_body_and_disc_and_a_block_is_no_disc():
    poses, margin_mm = scan_poses(4)
    truth = true_examination(poses, margin_mm=margin_mm, config=MorphometryConfig())
    assert list(truth.vertebrae["vertebra"])[:2] == ["C2", "C3"] and len(truth.discs) == 23
    inner = truth.vertebrae.iloc[1:-1]
    assert inner["height_middle_mm"].between(5, 40).all() and truth.discs["index"].between(0, 1).all()
    assert 10 < truth.angles["lumbar_lordosis"] < 90


def test_the_true_cobb_angle_is_that_of_the_measured_geometry_and_needs_two_bodies():
    poses, margin_mm = scan_poses(5, pathology=Pathology(0.0, 0.0, 1.0, (1.0, 1.0)))
    truth = true_examination(poses, margin_mm=margin_mm, config=MorphometryConfig())
    names = truth.vertebrae["vertebra"]
    assert true_cobb(poses, names) == pytest.approx(truth.angles["cobb"], abs=1.5) and true_cobb(poses, names) > 20
    assert np.isnan(true_cobb(poses, ["L1"])) and np.isnan(true_cobb(poses, ["C3", "C4", "S1"]))
