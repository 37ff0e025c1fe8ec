"""Solved by hand: a body of 40 x 30 x 24 mm, pedicles and laminae around a canal, a process, and two wings."""

import numpy as np
import pandas as pd
import pytest

from spineseg.anatomy.labels import IDS
from spineseg.anatomy.morphometry import COLUMNS, measure

# in the frame of the vertebra, mm: low and high corners; the back wall of the body is at y = 0
PARTS = {
    "body": ((-20, 0, -12), (20, 30, 12)),
    "pedicles": (((-14, -18, 0), (-9, 0, 8)), ((9, -18, 0), (14, 0, 8))),
    "lamina": ((-14, -23, -8), (14, -18, 8)),
    "process": ((-3, -50, -18), (3, -23, -6)),
    "wings": (((-38, -20, 0), (-14, -14, 6)), ((14, -20, 0), (38, -14, 6))),
}


UPRIGHT = np.eye(3)


def boxes():
    for part in PARTS.values():
        yield from (part if isinstance(part[0][0], tuple) else (part,))


def volume_ml():
    return sum(np.prod(np.subtract(high, low)) for low, high in boxes()) / 1000


def turn(pitch=0.0, yaw=0.0, roll=0.0):
    p, w, r = np.radians([pitch, yaw, roll])
    about_x = np.array([[1, 0, 0], [0, np.cos(p), np.sin(p)], [0, -np.sin(p), np.cos(p)]])
    about_y = np.array([[np.cos(r), 0, np.sin(r)], [0, 1, 0], [-np.sin(r), 0, np.cos(r)]])
    about_z = np.array([[np.cos(w), -np.sin(w), 0], [np.sin(w), np.cos(w), 0], [0, 0, 1]])
    return about_z @ about_y @ about_x


def paint(poses, affine, shape):
    """Label map with a vertebra at each `{name: (centre of the body in the world, rotation)}`."""
    labels = np.zeros(shape, np.uint8)
    world = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), -1) @ affine[:3, :3].T + affine[:3, 3]
    for name, (centre, rotation) in poses.items():
        local = (world - centre) @ rotation + (0, 15, 0)
        for low, high in boxes():
            labels[np.all((local >= low) & (local < high), axis=-1)] = IDS[name]
    return labels


def grid(spacing, size_mm=(100, 130, 90), orientation=UPRIGHT, tilt=UPRIGHT):
    """Affine and shape of a grid around the origin."""
    shape = tuple(int(np.ceil(s / d)) for s, d in zip(orientation @ size_mm, spacing, strict=True))
    affine = np.eye(4)
    affine[:3, :3] = tilt @ np.abs(orientation).T @ np.diag(spacing)
    affine[:3, 3] = -affine[:3, :3] @ (np.array(shape) / 2) + (0.03, -12.02, 0.01)  # off the voxels' corners
    return affine, shape


EXPECTED = {
    "width_mm": 76, "depth_mm": 80, "height_mm": 24, "body_width_mm": 40, "body_depth_mm": 30, "canal_depth_mm": 18,
    "canal_width_mm": 18, "arch_height_mm": 26, "spinous_drop_mm": 12, "transverse_back_mm": 17,
}  # fmt: skip
TOLERANCE = dict.fromkeys(EXPECTED, 1.6) | {"canal_width_mm": 2.4, "canal_depth_mm": 2.4}  # an edge on either side


def check(row, loose=1.0):
    for name, value in EXPECTED.items():
        assert row[name] == pytest.approx(value, abs=loose * TOLERANCE[name]), name
    assert row["volume_ml"] == pytest.approx(volume_ml(), rel=0.03 * loose)


def test_an_upright_vertebra_has_the_sizes_of_its_boxes():
    affine, shape = grid((1.0, 1.0, 1.0))
    row = measure(paint({"L3": (np.zeros(3), np.eye(3))}, affine, shape), affine).iloc[0]
    check(row)
    behind = 1 - 40 * 30 * 24 / 1000 / volume_ml()
    assert row["arch_share"] == pytest.approx(behind, abs=0.02)
    assert row["tilt_degrees"] == pytest.approx(0, abs=1) and not row["cut"] and np.isnan(row["spacing_mm"])


@pytest.mark.parametrize("pitch", [-25.0, 18.0])
@pytest.mark.parametrize("yaw", [0.0, 14.0])
def test_a_tilted_vertebra_has_the_same_sizes_and_its_tilt_is_found(pitch, yaw):
    affine, shape = grid((1.2, 1.2, 1.2))
    row = measure(paint({"T12": (np.zeros(3), turn(pitch, yaw, 5.0))}, affine, shape), affine).iloc[0]
    check(row)
    assert row["tilt_degrees"] == pytest.approx(np.degrees(np.arctan2(*turn(pitch, yaw, 5.0)[1:, 2])), abs=3)


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 2.0), (2.0, 1.0, 1.0), (1.5, 1.5, 1.5)])
def test_sizes_do_not_depend_on_the_grid(spacing):
    affine, shape = grid(spacing)
    check(measure(paint({"L1": (np.zeros(3), turn(8.0))}, affine, shape), affine).iloc[0], loose=1.5)


def test_sizes_do_not_depend_on_the_orientation_and_an_oblique_affine():
    swap = np.array([[0, 0, 1], [1, 0, 0], [0, 1, 0]])
    affine, shape = grid((1.0, 1.3, 1.1), orientation=swap, tilt=turn(12.0, -8.0))
    flipped = affine @ np.array([[-1, 0, 0, shape[0] - 1], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])
    labels = paint({"L2": (np.zeros(3), np.eye(3))}, affine, shape)
    a, b = measure(labels, affine), measure(np.ascontiguousarray(labels[::-1]), flipped)
    check(a.iloc[0], loose=1.3)
    np.testing.assert_allclose(a[list(EXPECTED)], b[list(EXPECTED)], atol=1.01)


def test_spacing_is_the_distance_of_bodies_and_belongs_to_the_upper_one():
    affine, shape = grid((1.2, 1.2, 1.2), (100, 130, 150))
    step = np.array([0.0, 6.0, 32.0])
    poses = {"L2": (step / 2, turn(-10.0)), "L3": (-step / 2, turn(-10.0))}
    table = measure(paint(poses, affine, shape), affine).set_index("vertebra")
    assert list(table.index) == ["L2", "L3"]
    assert table.loc["L2", "spacing_mm"] == pytest.approx(np.linalg.norm(step), abs=1.2)
    assert np.isnan(table.loc["L3", "spacing_mm"])
    assert table["tilt_degrees"].tolist() == pytest.approx([-10, -10], abs=2)


def test_a_vertebra_at_the_border_is_cut_and_has_no_spacing():
    affine, shape = grid((1.5, 1.5, 1.5), (100, 130, 150))
    poses = {"L2": (np.array([0.0, 0.0, 16.0]), np.eye(3)), "L3": (np.array([0.0, 0.0, -16.0]), np.eye(3))}
    labels = paint(poses, affine, shape)
    bottom = np.flatnonzero((labels == IDS["L3"]).any((0, 1)))[0] + 4
    affine = affine.copy()
    affine[:3, 3] += affine[:3, 2] * bottom
    table = measure(labels[:, :, bottom:], affine).set_index("vertebra")
    assert table["cut"].to_dict() == {"L2": False, "L3": True}
    assert table["spacing_mm"].isna().all()


def test_a_lump_without_a_canal_has_only_the_measures_that_need_none():
    labels = np.zeros((30, 31, 32), np.uint8)
    labels[5:25, 5:25, 5:25] = IDS["T5"]
    row = measure(labels, np.eye(4)).iloc[0]
    assert row["width_mm"] == pytest.approx(20, abs=1) and row["depth_mm"] == pytest.approx(20, abs=1)
    assert row["volume_ml"] == pytest.approx(8.0) and np.isnan(row["body_depth_mm"])


def test_an_empty_map_and_slivers_give_an_empty_table():
    labels = np.zeros((9, 10, 11), np.uint8)
    labels[4, 4:7, 4] = 7
    for array in (np.zeros_like(labels), labels):
        table = measure(array, np.eye(4))
        assert isinstance(table, pd.DataFrame) and table.empty and set(COLUMNS) < set(table.columns)


def test_wrong_arguments_are_named():
    with pytest.raises(ValueError, match=r"labels must be a volume \(I, J, K\), got shape \(4, 4\)"):
        measure(np.zeros((4, 4), np.uint8), np.eye(4))
    with pytest.raises(ValueError, match=r"affine must be \(4, 4\)"):
        measure(np.zeros((4, 4, 4), np.uint8), np.eye(3))
    with pytest.raises(ValueError, match="step_mm must be positive, got 0"):
        measure(np.zeros((4, 4, 4), np.uint8), np.eye(4), step_mm=0)
