import dataclasses

import numpy as np
import pytest
import torch

from spineseg.anatomy.labels import IDS
from spineseg.config import Config
from spineseg.learning.assembly import assemble, by_label, fragments, names_at, separate
from spineseg.learning.cascade import phases

SMOKE = Config.load("smoke", **{"inference.smallest_ml": 1.0})
NAMES = ("L1", "L2", "L3", "L4")
SHAPE, AFFINE, COARSE = (16, 16, 60), np.diag([3.0, 3.0, 3.0, 1.0]), np.diag([6.0, 6.0, 6.0, 1.0])


def spine():
    """Labels on the fine grid and coarse logits that know them."""
    labels = np.zeros(SHAPE, np.uint8)
    for i, name in enumerate(NAMES):
        labels[4:12, 4:12, 48 - 13 * i : 57 - 13 * i] = IDS[name]
    return labels, known(labels)


def known(labels, sure=6.0):
    coarse = torch.from_numpy(labels[::2, ::2, ::2].astype(np.int64))[None]
    return torch.zeros(26, *coarse.shape[1:]).scatter_(0, coarse, sure)


def phase_of(labels):
    return phases(torch.from_numpy(labels.astype(np.int64))).to(torch.uint8).numpy()


def named(found):
    return np.append(0, found.labels).astype(np.uint8)[found.pieces]


def assembled(phase, logits, naming="order"):
    config = dataclasses.replace(SMOKE, inference=dataclasses.replace(SMOKE.inference, naming=naming))
    return assemble(phase, logits, AFFINE, COARSE, config)


@pytest.mark.parametrize("naming", ["own", "phase", "alone", "order"])
def test_perfect_phases_and_names_give_the_label_map_back(naming):
    labels, logits = spine()
    found = assembled(phase_of(labels), logits, naming)
    assert (named(found) == labels)[labels > 0].mean() > (0.99 if naming in ("alone", "order") else 0.9)
    assert len(found.labels) == 4 and (found.confidence > 0.6).all()


def test_a_vertebra_half_of_whose_voxels_carry_another_name_is_named_as_one():
    labels, _ = spine()
    mixed = labels.copy()
    mixed[:6][labels[:6] == IDS["L3"]] = IDS["L4"]
    assert np.array_equal(named(assembled(phase_of(labels), known(mixed))), labels)
    assert not np.array_equal(named(assembled(phase_of(labels), known(mixed), "own")), labels)


def test_two_names_swapped_by_the_coarse_stage_are_put_in_order():
    labels, logits = spine()
    logits[[IDS["L2"], IDS["L3"]]] = 0.3 * logits[[IDS["L3"], IDS["L2"]]]
    found = assembled(phase_of(labels), logits)
    assert np.array_equal(named(found), labels) and len(found.changes) == 2
    assert not np.array_equal(named(assembled(phase_of(labels), logits, "alone")), labels)


def test_bone_beside_the_spine_is_taken_for_no_vertebra():
    labels, logits = spine()
    phase = phase_of(labels)
    phase[13:16, 13:16, 20:28] = phases(torch.tensor(IDS["L2"]))  # beside L3
    found = assembled(phase, logits)
    assert np.array_equal(named(found), labels) and any("no vertebra" in change for change in found.changes)


def test_a_part_of_another_phase_goes_to_the_vertebra_that_it_touches_when_the_sequence_has_no_place_for_it():
    labels, _ = spine()
    upper = np.argwhere(labels == IDS["L3"])[:, 2].max()
    for row in (5, 6, 8, 9, 11):
        labels[row, 4:12, upper - 2] = 0  # what holds the part is thin
    phase = phase_of(labels)
    phase[:, :, upper - 1 : upper + 1][labels[:, :, upper - 1 : upper + 1] == IDS["L3"]] = phase[labels == IDS["L4"]][0]
    found = assembled(phase, known(labels))
    assert np.array_equal(named(found), labels)
    assert [c for c in found.changes if "by itself L3, is taken for no vertebra" in c]


def test_a_vertebra_torn_through_bone_is_one_before_the_sequence_sees_it():
    labels, logits = spine()
    phase = phase_of(labels)
    middle = int(np.argwhere(labels == IDS["L3"])[:, 2].mean())
    phase[:, 7:, : middle + 3][labels[:, 7:, : middle + 3] == IDS["L3"]] = phase[labels == IDS["L4"]][0]
    found = assembled(phase, logits)
    assert np.array_equal(named(found), labels) and found.changes == ()


@pytest.mark.parametrize(("first", "by_itself"), [(0, True), (1, False)])
def test_what_the_end_of_the_scan_shows_below_a_vertebra_comes_before_the_sequence_by_itself(first, by_itself):
    labels = spine()[0][:, :, 8 - first :]  # L4 ends one or two slices above the last one
    labels[4:12, 4:12, first] = IDS["L5"]
    found = assembled(phase_of(labels), known(labels))
    assert bool(found.changes) == by_itself


def test_bone_that_touches_no_vertebra_stays_out_however_near():
    labels, logits = spine()
    phase = phase_of(labels)
    phase[13:, 4:12, 30:50] = 3
    found = assembled(phase, logits)
    assert np.array_equal(named(found), labels)
    assert [c for c in found.changes if "is taken for no vertebra" in c]


def test_parts_of_one_vertebra_that_do_not_touch_are_one_vertebra():
    labels, logits = spine()
    phase = phase_of(labels)
    phase[:, 7, 22:31] = 0  # cuts L3 in two
    found = assembled(phase, logits)
    assert len(found.labels) == 4 and np.array_equal(named(found)[phase > 0], labels[phase > 0])


def test_pieces_of_one_phase_belong_together_only_side_by_side():
    centres = np.array([[0, 0, 0.0], [0, -40, -8], [0, 0, -5], [0, 0, -30], [70, 0, 0]])
    phase, level = np.array([1, 1, 2, 1, 1]), np.array([20, 20, 21, 23, 20])
    assert fragments(centres, phase, level, np.array([9, 3, 9, 9, 9])).tolist() == [0, 0, 1, 2, 3]


def test_parts_join_one_larger_piece_and_make_no_chain():
    centres, ones = np.array([[0, 0, -10.0 * i] for i in range(4)]), np.ones(4, int)
    level = 20 * ones  # lumbar: less than 35 mm * .35 apart
    together = fragments(centres, ones, level, np.array([9, 8, 7, 6]))
    assert together.tolist() == [0, 0, 1, 1]  # the third is too far from the first, the fourth from it too
    assert fragments(centres, ones, level, np.array([6, 9, 7, 8])).tolist() == [0, 0, 0, 1]


def test_a_part_between_two_pieces_joins_the_nearer_one():
    centres = np.array([[0, 0, 0.0], [0, 0, -18.0], [0, 0, -10.0]])
    assert fragments(centres, np.ones(3, int), np.full(3, 20), np.array([9, 9, 1])).tolist() == [0, 1, 1]


def test_no_piece_has_no_parts():
    none = np.zeros(0, int)
    assert len(fragments(np.zeros((0, 3)), none, none, none)) == 0


def test_an_empty_scan_finds_nothing():
    for naming in ("own", "phase", "alone", "order"):
        found = assembled(np.zeros(SHAPE, np.uint8), torch.zeros(26, 8, 8, 30), naming)
        assert not found.pieces.any() and len(found.labels) == 0


def test_a_name_is_read_where_the_point_lies():
    logits = torch.zeros(26, 4, 5, 6)
    logits[7, :, :, :3], logits[8, :, :, 3:] = 9.0, 9.0
    points = np.array([[1.0, 2.0, 0.5], [1.0, 2.0, 4.2], [3.0, 9.0, 40.0]])  # the last one outside
    assert (names_at(logits, points).argmax(1) + 1).tolist() == [7, 8, 8]


def test_names_are_probabilities_and_background_has_no_say():
    logits, points = torch.randn(26, 3, 4, 5), 3 * np.random.default_rng(0).random((20, 3))
    names = names_at(logits, points)
    assert torch.allclose(names.exp().sum(1), torch.ones(20), atol=1e-5)
    logits[0] += 50
    assert torch.allclose(names_at(logits, points), names)


def test_touching_vertebrae_of_different_phase_are_two_and_a_speck_goes_to_the_one_it_touches():
    phase = np.zeros((6, 6, 12), np.uint8)
    phase[1:5, 1:5, 0:6], phase[1:5, 1:5, 6:12] = 1, 2
    phase[2, 2, 1:3] = 3  # inside the first one
    pieces = separate(phase, 20, 20, 3)
    assert pieces.max() == 2 and len(np.unique(pieces[:, :, :6])) == 2
    assert np.array_equal(pieces > 0, phase > 0) and pieces[2, 2, 1] == pieces[2, 2, 0] != pieces[2, 2, 8]


def test_small_pieces_that_touch_nothing_are_dropped():
    phase = np.zeros((6, 6, 12), np.uint8)
    phase[1:5, 1:5, 0:6], phase[0, 0, 9:] = 1, 1
    pieces = separate(phase, 20, 20, 3)
    assert pieces.max() == 1 and not pieces[0, 0, 9:].any()


@pytest.mark.parametrize("axis", range(3))
@pytest.mark.parametrize("last", [False, True])
def test_a_sliver_on_a_face_of_the_scan_may_be_smaller_than_a_piece_inside(axis, last):
    phase = np.zeros((9, 9, 9), np.uint8)
    phase[3:6, 3:6, 3:6] = 1
    sliver = [slice(4, 5)] * 3
    sliver[axis] = slice(7, 9) if last else slice(0, 2)
    phase[tuple(sliver)] = 2
    assert separate(phase, 5, 2, 1).max() == 2
    assert separate(phase, 5, 3, 1).max() == 1
    assert separate(np.pad(phase, 1), 5, 2, 1).max() == 1  # the same, but inside
    assert separate(phase, 1, 3, 1).max() == 2  # nowhere more is asked for than of a piece inside


def test_a_sliver_of_the_next_vertebra_at_the_end_of_the_scan_is_found():
    labels, _ = spine()
    labels = labels[:, :, 16:]  # two of the nine layers of L4 are left
    logits = known(labels)
    ml = float((labels == IDS["L4"]).sum()) * 27 / 1000
    config = Config.load("smoke", **{"inference.smallest_ml": 2 * ml, "inference.smallest_at_edge_ml": ml})
    found = assemble(phase_of(labels), logits, AFFINE, COARSE, config)
    assert ml > 0 and np.array_equal(named(found), labels)


def test_growth_ends_at_its_reach():
    phase = np.zeros((3, 3, 20), np.uint8)
    phase[:, :, :8], phase[1, 1, 8:] = 1, 2
    assert (separate(phase, 30, 30, 4)[1, 1, 8:] > 0).sum() == 4


def test_small_pieces_of_a_label_map_are_dropped_and_the_largest_of_a_name_stays():
    labels = np.zeros((10, 10, 10), np.uint8)
    labels[:4, :4, :4], labels[8, 8, 8], labels[6:8, 0, 0] = 5, 5, 9
    found = by_label(labels, np.linspace(0, 1, 26), 3)
    assert found.labels.tolist() == [5] and found.confidence.tolist() == [0.2] and (found.pieces > 0).sum() == 64
