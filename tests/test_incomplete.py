import numpy as np
import pytest

from spineseg.anatomy.labels import IDS
from spineseg.evaluation.incomplete import unjudged

SHAPE = (9, 11, 20)  # the third axis runs along the spine
L1, L2, T12, S1 = (IDS[n] for n in ("L1", "L2", "T12", "S1"))


def block(start, stop, label, *, into=None):
    labels = np.zeros(SHAPE, np.uint8) if into is None else into
    labels[3:6, 4:8, start:stop] = label
    return labels


def test_a_predicted_vertebra_at_the_edge_that_the_reference_leaves_blank_is_not_judged():
    reference, prediction = block(8, 14, L1), block(8, 14, L1)
    block(15, 20, T12, into=prediction)
    assert np.array_equal(unjudged(reference, prediction), prediction == T12)


def test_it_is_told_by_its_place_whatever_name_it_was_given():
    reference, prediction = block(8, 14, L1), block(8, 14, L2)
    block(15, 20, L1, into=prediction)  # L1 is in the reference, elsewhere
    assert np.array_equal(unjudged(reference, prediction), prediction == L1)


def test_the_same_piece_away_from_the_edge_is_an_error():
    reference, prediction = block(8, 14, L1), block(8, 14, L1)
    block(15, 19, T12, into=prediction)
    assert not unjudged(reference, prediction).any()


def test_a_wrong_name_on_labelled_bone_is_judged_though_it_reaches_the_edge():
    reference = block(8, 20, L1)
    assert not unjudged(reference, block(8, 20, L2)).any()


@pytest.mark.parametrize(("stop", "judged"), [(14, False), (15, False), (17, True)])
def test_a_piece_is_the_labelled_vertebra_if_most_of_it_lies_on_one(stop, judged):
    reference, prediction = block(10, stop, L1), block(10, 20, L2)  # 4, 5 or 7 of 10 slices
    found = unjudged(reference, prediction)
    assert found.any() != judged
    assert not found[reference > 0].any()


def test_a_second_piece_of_the_same_name_is_looked_at_on_its_own():
    reference, prediction = block(8, 14, L1), block(8, 14, L1)
    block(16, 20, L1, into=prediction)
    found = unjudged(reference, prediction)
    assert found[..., 16:].sum() == 3 * 4 * 4 and not found[..., :16].any()


def test_names_that_are_never_labelled_are_left_out_off_the_bone_only():
    reference, prediction = block(8, 14, L1), block(4, 12, S1)
    found = unjudged(reference, prediction, ignore=("S1",))
    assert np.array_equal(found, (prediction == S1) & (reference == 0)) and found.sum() == 3 * 4 * 4


def test_nothing_predicted_leaves_nothing_out():
    assert not unjudged(block(8, 20, L1), np.zeros(SHAPE, np.uint8)).any()


def test_unlike_grids_and_unknown_names_are_named():
    with pytest.raises(ValueError, match=r"grid of the reference \(9, 11, 20\), got \(2, 2, 2\)"):
        unjudged(np.zeros(SHAPE), np.zeros((2, 2, 2)))
    with pytest.raises(ValueError, match=r"unknown vertebrae to ignore: \['L9'\]"):
        unjudged(np.zeros(SHAPE), np.zeros(SHAPE), ignore=("L9",))
