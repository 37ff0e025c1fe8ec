import numpy as np
import pytest
import torch

from spineseg.anatomy.labels import IDS, N_VERTEBRAE
from spineseg.anatomy.phantom.canvas import Canvas
from spineseg.anatomy.phantom.degeneration import VARIANTS, draw_variant, draw_wear
from spineseg.anatomy.phantom.spine import draw_spine
from spineseg.anatomy.phantom.tissue import draw_tissue
from spineseg.anatomy.phantom.vertebra_shape import vertebra
from spineseg.anatomy.phantom.vertebrae import paint_vertebrae

SPINES = [draw_spine(np.random.default_rng(seed)) for seed in range(200)]
PLAIN = {
    "body_width": 44.0, "body_depth": 34.0, "body_height": 26.0, "disc_below": 8.0, "canal_width": 23.0,
    "canal_depth": 17.0, "total_depth": 85.0, "transverse_span": 75.0, "spinous_drop": 17.0, "pedicle_width": 8.5,
    "pedicle_height": 15.0, "unit": 1.0, "arch": 1.1, "wedge": 0.0, "lip": 0.0, "fish": 0.0, "joint": 1.0, "wing": 1.0,
    "spur_top": 0.0, "spur_bottom": 0.0, "node_top": 0.0, "node_bottom": 0.0, "is_block": 0.0, "fused_below": 0.0,
    "hollow_mm": 1.5, "hollow_place": 0.37, "front_share": 0.05,
}  # fmt: skip


def body_at(points, **changes):
    x, y, z = (torch.tensor([float(v) for v in column]) for column in zip(*points, strict=True))
    return vertebra("L2", PLAIN | changes, x.abs(), y, z)[0].tolist()


def paint(spine, first, last, spacing=2.0):
    a, b = IDS[first] - 1, IDS[last] - 1
    low = spine.centre_mm[a : b + 1].min(0) - (60.0, 110.0, 25.0)
    high = spine.centre_mm[a : b + 1].max(0) + (60.0, 40.0, 25.0)
    canvas = Canvas(low, np.ceil((high - low) / spacing), (spacing,) * 3, hu=40.0)
    rng = np.random.default_rng(0)
    rows = paint_vertebrae(canvas, spine, draw_tissue(rng), rng, torch.Generator().manual_seed(0))
    return canvas, rows


def along(canvas, start, end, count=60):
    steps = np.linspace(0.0, 1.0, count)[:, None]
    points = np.asarray(start) * (1 - steps) + np.asarray(end) * steps
    index = np.round((points - canvas.origin_mm) / canvas.spacing).astype(int)
    return canvas.labels.numpy()[tuple(index.T)]


def test_osteophytes_lie_in_front_of_the_rim_and_not_at_the_canal():
    front, canal = (0.0, 18.5, 12.0), (0.0, -18.5, 12.0)
    assert all(d > 0 for d in body_at([front, canal]))
    with_spurs = body_at([front, canal], spur_top=3.0)
    assert with_spurs[0] < 0 < with_spurs[1]


def test_fish_vertebrae_lose_their_middle_and_keep_their_rim():
    points = [(0.0, 0.0, 10.0), (0.0, 15.0, 10.5)]
    assert all(d < 0 for d in body_at(points))
    middle, rim = body_at(points, fish=0.2)
    assert middle > 0 > rim


def test_a_schmorl_node_is_a_hole_in_one_endplate():
    points = [(0.0, -2.7, 10.0), (0.0, -2.7, -10.0)]
    assert all(d < 0 for d in body_at(points))
    top, bottom = body_at(points, node_top=4.0)
    assert top > 0 > bottom


def test_a_fused_block_has_no_disc_voxels_between_its_bodies():
    blocks = [(spine, i) for spine in SPINES for i in np.flatnonzero(spine.wear.fused)[:1]]
    assert len(blocks) >= 3
    for spine, i in blocks[:3]:
        names = sorted(IDS, key=IDS.get)
        canvas, _ = paint(spine, names[max(i - 1, 0)], names[i + 2])
        line = along(canvas, spine.centre_mm[i], spine.centre_mm[i + 1])
        assert set(line.tolist()) == {i + 1, i + 2}
        border = np.flatnonzero(np.diff(line.astype(int)))
        assert len(border) == 1 and 0.3 < border[0] / len(line) < 0.7


def test_other_neighbours_have_a_disc_between_them():
    spine = next(s for s in SPINES if not s.wear.fused.any() and not s.variant and s.disc_share[21] > 0.9)
    canvas, _ = paint(spine, "L1", "L4")
    assert 0 in along(canvas, spine.centre_mm[IDS["L2"] - 1], spine.centre_mm[IDS["L3"] - 1])


def test_each_odd_count_occurs_in_a_few_of_a_hundred():
    rng = np.random.default_rng(0)
    drawn = [draw_variant(rng) for _ in range(4000)]
    assert set(drawn) == {"", *VARIANTS}
    for variant, share in VARIANTS.items():
        assert np.mean([v == variant for v in drawn]) == pytest.approx(share, abs=0.012)


@pytest.mark.parametrize(("variant", "label"), [("T13", "T12"), ("L6", "L5")])
def test_one_more_vertebra_repeats_the_name_above_it(variant, label):
    spine = next(s for s in SPINES if s.variant == variant)
    canvas, rows = paint(spine, "T10", "S1")
    mine = canvas.labels.numpy() == IDS[label]
    line = along(canvas, spine.centre_mm[IDS[label] - 1], spine.extra.centre_mm)
    assert line[0] == line[-1] == IDS[label] and 0 in line
    other = {"T13": "L1", "L6": "L4"}[variant]
    assert mine.sum() > 1.4 * (canvas.labels.numpy() == IDS[other]).sum()
    assert [row["vertebra"] for row in rows].count(label) == 1
    shown = next(row for row in rows if row["vertebra"] == label)
    assert shown["visible_ml"] == pytest.approx(mine.sum() * 8 / 1000)


def test_without_t12_t11_stands_on_l1():
    spine = next(s for s in SPINES if s.variant == "T11")
    canvas, rows = paint(spine, "T10", "L2")
    assert IDS["T12"] not in canvas.labels.unique().tolist()
    assert "T12" not in [row["vertebra"] for row in rows]
    t11, l1 = IDS["T11"] - 1, IDS["L1"] - 1
    gap = np.linalg.norm(spine.centre_mm[t11] - spine.centre_mm[l1])
    assert gap < 0.55 * (spine.size["body_height"][t11] + spine.size["body_height"][l1]) + 12


def test_spurs_and_sclerosis_go_with_worn_discs():
    share = np.ones(N_VERTEBRAE)
    share[21] = 0.5
    worn, others = [], []
    for seed in range(80):
        wear = draw_wear(np.random.default_rng(seed), share, np.zeros(N_VERTEBRAE))
        worn.append(wear.spur[21, 1])
        others.append(wear.spur[20, 1])
        assert not wear.modic[15].any()
    assert np.mean(worn) > 2 * np.mean(others) and min(worn) > 0


def test_a_slipped_body_lies_in_front_of_the_one_below():
    slipped = [(spine, i) for spine in SPINES for i in np.flatnonzero(spine.wear.slip)]
    assert 2 <= len(slipped) <= 24
    for spine, i in slipped:
        if spine.variant:
            continue
        step = (spine.centre_mm[i] - spine.centre_mm[i + 1]) @ spine.rotation[i + 1]
        between = spine.rotation[i] + spine.rotation[i + 1]
        up = between[:, 2] / np.linalg.norm(between[:, 2])
        half = (spine.size["body_height"] * (1 - spine.wedge / 2) / 2)[[i, i + 1]]
        straight = (
            spine.rotation[i][:, 2] * half[0] + spine.rotation[i + 1][:, 2] * half[1] + up * spine.size["disc_below"][i]
        ) @ spine.rotation[i + 1]
        assert step[1] - straight[1] == pytest.approx(spine.wear.slip[i])
