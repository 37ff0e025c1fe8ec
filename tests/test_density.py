import numpy as np
import pytest
from test_discs import pair
from test_morphometry import grid

from spineseg.anatomy.density import body_hu, disc_hu, disc_points, inner_points, plate_points, sampled

AFFINE = np.array([[0.0, 0.0, -1.5, 40.0], [1.2, 0.1, 0.0, -30.0], [0.0, 1.1, 0.0, -55.0], [0.0, 0.0, 0.0, 1.0]])


def world_of(shape, affine):
    index = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), -1)
    return index @ affine[:3, :3].T + affine[:3, 3]


def test_a_linear_scan_is_read_exactly_between_its_voxels_and_not_outside():
    scan = world_of((41, 37, 29), AFFINE) @ (3.0, -2.0, 5.0)
    inside = (np.array([[0.0, 0.0, 0.0], [40.0, 36.0, 28.0], [11.3, 20.7, 5.1]])) @ AFFINE[:3, :3].T + AFFINE[:3, 3]
    np.testing.assert_allclose(sampled(scan, AFFINE, inside), inside @ (3.0, -2.0, 5.0), rtol=1e-4, atol=1e-2)
    assert np.isnan(sampled(scan, AFFINE, inside + 500.0)).all()


def scan_of(upper, lower):
    """40 HU, bodies of 150 with 400 HU in the upper one's lowest 5 mm, and gas between them."""
    affine, shape = grid((1.5, 1.5, 1.5), (110, 140, 170))
    ct = np.full(shape, 40.0, np.float32)
    world = world_of(shape, affine)
    for body in (upper, lower):
        local = (world - body.middle) @ body.frame
        x, y, z = np.moveaxis(local, -1, 0)
        low, high = np.nanmean(body.bottom), np.nanmean(body.top)
        solid = (np.abs(x) < 20) & (y > body.back_mm) & (y < body.front_mm) & (z > low) & (z < high)
        ct[solid] = 150.0
        if body is upper:
            ct[solid & (z < low + 5)] = 400.0
    return ct, affine


def test_marrow_and_endplates_are_read_apart():
    upper, lower = pair(8.0)
    ct, affine = scan_of(upper, lower)
    found = body_hu(ct, affine, upper, blank_share=0.2)
    assert found["hu_median"] == pytest.approx(150, abs=1) and found["hu_spread"] < 5
    assert found["endplate_bottom_hu"] > 330 and found["endplate_top_hu"] == pytest.approx(150, abs=25)


def test_gas_in_a_disc_is_found_and_a_disc_of_no_height_is_not_read():
    upper, lower = pair(8.0)
    ct, affine = scan_of(upper, lower)
    options = {"gas_hu": -150.0, "step_mm": 1.0}
    assert disc_hu(ct, affine, upper, lower, 8.0, **options) == pytest.approx(
        {"disc_hu": 40.0, "gas_share": 0.0}, abs=1
    )
    points = disc_points(upper, lower, 8.0, step_mm=1.0)
    gas = ct.copy()
    middle = points.mean(0)
    gas[np.linalg.norm(world_of(ct.shape, affine) - middle, axis=-1) < 9] = -600.0
    assert 0.1 < disc_hu(gas, affine, upper, lower, 8.0, **options)["gas_share"] < 0.9
    assert np.isnan(disc_hu(ct, affine, upper, lower, 0.4, **options)["disc_hu"])


def test_a_scan_of_bone_alone_has_no_density():
    upper, lower = pair(8.0)
    ct, affine = scan_of(upper, lower)
    ct[ct < 300] = 0
    assert np.isnan(list(body_hu(ct, affine, upper, blank_share=0.2).values())).all()


def test_points_of_marrow_lie_clear_of_every_surface_and_those_of_an_endplate_under_it():
    upper, _ = pair(8.0)
    x, y, z = ((inner_points(upper) - upper.middle) @ upper.frame).T
    assert np.abs(x).max() <= 12.1 and y.min() - upper.back_mm >= 10 and upper.front_mm - y.max() >= 4
    low, high = np.nanmean(upper.bottom), np.nanmean(upper.top)
    assert z.min() > low + 6 and z.max() < high - 6
    under = ((plate_points(upper, "top") - upper.middle) @ upper.frame)[:, 2]
    assert 0.4 < high - under.max() < 1.6 and 3.2 < high - under.min() < 4.8
