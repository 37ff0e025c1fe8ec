import dataclasses
import itertools

import numpy as np
import pytest

from spineseg.anatomy.labels import IDS, VERTEBRAE
from spineseg.config import OrderConfig
from spineseg.learning.ordering import _steps, order, spacing_mm

CONFIG = OrderConfig()


def column(names):
    """Centres of a straight spine; a level that is left out leaves its place empty."""
    between, height, centres = spacing_mm(), 0.0, []
    levels = [IDS[n] - 1 for n in names]
    for above, level in itertools.pairwise([levels[0], *levels]):
        height -= between[above:level].sum() if level > above else (between[level] if centres else 0.0)
        centres.append((0.0, 0.0, height))
    return np.array(centres)


def evidence(names, sure=0.9):
    """Log-probabilities that name each vertebra with probability `sure`, its neighbours with the rest."""
    table = np.full((len(names), 25), 1e-4)
    for row, name in zip(table, names, strict=True):
        i = IDS[name] - 1
        row[max(i - 1, 0)] = row[min(i + 1, 24)] = (1 - sure) / 2
        row[i] = sure
    return np.log(table / table.sum(1, keepdims=True))


def ordered(table, centres, volumes=None):
    return order(table, centres, np.full(len(centres), 10.0) if volumes is None else volumes, CONFIG)


def names_of(ordering):
    return [VERTEBRAE[i - 1] if i else "none" for i in ordering.labels]


def test_clear_names_stay():
    names = list(VERTEBRAE)
    result = ordered(evidence(names), column(names))
    assert names_of(result) == names and result.changes == () and (result.confidence > 0.85).all()
    assert (result.confidence[1:-1] > 0.95).all()  # an end has one neighbour to speak for it


def test_two_vertebrae_of_one_name_are_told_apart_by_their_neighbours():
    names = ["T10", "T11", "T12", "L1", "L2"]
    result = ordered(evidence(["T10", "T11", "T11", "L1", "L2"], 0.6), column(names))
    assert names_of(result) == names
    assert result.changes == ("vertebra 3 from the top, by itself T11, is T12 in sequence",)


def test_one_vertebra_shifted_by_its_evidence_is_put_back():
    names = ["C3", "C4", "C5", "C6", "C7", "T1"]
    result = ordered(evidence(["C3", "C4", "C6", "C6", "C7", "T1"], 0.7), column(names))
    assert names_of(result) == names


def test_a_place_left_empty_is_a_gap_and_said_so():
    names = ["T8", "T9", "T11", "T12"]
    result = ordered(evidence(names), column(names))
    assert names_of(result) == names and "T10 not found between T9 and T11" in result.changes


def test_a_false_piece_between_two_vertebrae_is_passed_over():
    names = ["L1", "L2", "L3"]
    centres = column(names)
    centres = np.insert(centres, 2, (centres[1] + centres[2]) / 2, 0)
    result = ordered(evidence(["L1", "L2", "L2", "L3"]), centres)
    assert sorted(names_of(result)) == ["L1", "L2", "L3", "none"] and any("no vertebra" in c for c in result.changes)


@pytest.mark.parametrize("name", ["T12", "L5"])
def test_only_the_last_of_chest_and_loin_may_come_twice(name):
    above, below = VERTEBRAE[IDS[name] - 2], VERTEBRAE[IDS[name]]
    names = [VERTEBRAE[IDS[above] - 2], above, name, name, below]
    result = ordered(evidence(names), column(names))
    assert names_of(result) == names and f"{name} comes twice: a vertebra more than usual" in result.changes


def test_a_spine_without_t12_goes_from_t11_to_l1():
    names = ["T10", "T11", "L1", "L2"]
    centres = np.cumsum([[0, 0, -26.0]] * 4, 0)
    result = ordered(evidence(names), centres)
    assert names_of(result) == names and "L1 follows T11: T12 is missing or was missed" in result.changes


def test_doubtful_evidence_gives_low_confidence_until_one_vertebra_anchors_the_rest():
    names = ["L2", "L3", "L4"]
    flat = np.full((3, 25), -np.log(25))
    before = ordered(flat, column(names)).confidence
    assert (before < 0.1).all()
    anchored = flat.copy()
    anchored[2] = evidence(["L4"], 0.99)[0]
    result = ordered(anchored, column(names))
    assert names_of(result) == names and (result.confidence > 3 * before).all()


def test_of_two_pieces_for_one_name_the_larger_is_the_vertebra():
    names = ["L1", "L2", "L3"]
    centres = column(names)
    centres = np.insert(centres, 1, centres[1] + (15.0, 0.0, 4.0), 0)
    for volumes, false in (([50.0, 2.0, 50.0, 50.0], 1), ([50.0, 50.0, 2.0, 50.0], 2)):
        assert np.flatnonzero(ordered(evidence(["L1", "L2", "L2", "L3"]), centres, volumes).labels == 0) == [false]


def test_the_order_of_the_arguments_does_not_matter():
    names = ["T3", "T4", "T5", "T6"]
    turn = [2, 0, 3, 1]
    result = ordered(evidence(names)[turn], column(names)[turn])
    assert names_of(result) == [names[i] for i in turn]


def test_path_and_confidence_agree_with_all_sequences_written_out():
    rng = np.random.default_rng(0)
    own = np.log(rng.dirichlet(np.full(25, 0.2), 3) + 1e-9)
    centres = np.array([[0, 0, 0.0], [2, 1, -24.0], [1, 3, -50.0]])
    steps = _steps(centres, CONFIG)
    none = np.log(CONFIG.false_chance)
    weight = {}
    for path in itertools.product(range(-1, 25), repeat=3):
        real = [i for i in range(3) if path[i] >= 0]
        if real:
            total = none * (3 - len(real)) + sum(CONFIG.evidence_weight * own[i, path[i]] for i in real)
            weight[path] = total + sum(steps[i, j, path[i], path[j]] for i, j in itertools.pairwise(real))
    best = max(weight, key=weight.get)
    heated = {path: w / CONFIG.temperature for path, w in weight.items()}
    whole = np.logaddexp.reduce(list(heated.values()))
    result = ordered(own, centres)
    assert tuple(result.labels - 1) == best
    for i in range(3):
        same = np.logaddexp.reduce([w for path, w in heated.items() if path[i] == best[i]])
        assert result.confidence[i] == pytest.approx(np.exp(same - whole), abs=1e-9)


def test_a_higher_temperature_keeps_the_names_and_lowers_the_confidence():
    names = ["T10", "T11", "T12", "L1"]
    cold, hot = (dataclasses.replace(CONFIG, temperature=t) for t in (1.0, 3.0))
    own, centres = evidence(["T10", "T11", "T11", "L1"], 0.6), column(names)
    one, two = (order(own, centres, np.full(4, 30.0), c) for c in (cold, hot))
    assert (one.labels == two.labels).all() and (two.confidence < one.confidence).all()


def test_nothing_found_is_an_empty_ordering():
    result = ordered(np.zeros((0, 25)), np.zeros((0, 3)))
    assert len(result.labels) == len(result.confidence) == 0


def test_shapes_that_do_not_belong_together_are_named():
    with pytest.raises(ValueError, match=r"got \(2, 25\) and \(3, 3\)"):
        ordered(np.zeros((2, 25)), np.zeros((3, 3)))
