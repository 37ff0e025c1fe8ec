import dataclasses

import numpy as np
import pandas as pd
import pytest

from spineseg.evaluation.trees import Trees

# height <= 3 ? (gas <= 0.5 ? 1 : 2) : -4
TREE = ([0, 1, -1, -1, -1], [3.0, 0.5, 0.0, 0.0, 0.0], [1, 2, 0, 0, 0], [4, 3, 0, 0, 0], [0.0, 0.0, 1.0, 2.0, -4.0])
ONE = Trees(("height", "gas"), (2.0, 0.9), 0.5, 0.1, (TREE, TREE), (2.0, -1.0))


def table(*rows):
    return pd.DataFrame(rows, columns=["gas", "height"])  # not in the trees' order


def test_a_tree_is_walked_by_hand():
    found = ONE.margin(table((0.2, 3.0), (0.7, 2.9), (0.7, 3.1)))
    assert found == pytest.approx([0.5 + 0.2 * 1, 0.5 + 0.2 * 2, 0.5 - 0.2 * 4])


def test_missing_values_are_filled():
    assert ONE.margin(table((np.nan, np.nan), (np.inf, 9.0))) == pytest.approx([0.9, -0.3])


def test_a_probability_is_the_straightened_logit():
    margin = 0.7
    assert ONE.probability(table((0.2, 3.0))) == pytest.approx(1 / (1 + np.exp(-(2 * margin - 1))))


@pytest.mark.filterwarnings("error")
def test_the_steepest_logit_is_a_probability_without_a_warning():
    steep = dataclasses.replace(ONE, straight=(1e5, 0.0))
    assert steep.probability(table((0.2, 3.0), (0.7, 3.1))) == pytest.approx([1.0, 0.0])


def test_plain_values_make_the_same_trees():
    rows = table((0.2, 3.0), (0.7, 2.9), (np.nan, 3.1))
    np.testing.assert_array_equal(Trees.from_dict(ONE.to_dict()).margin(rows), ONE.margin(rows))


def test_no_rows_give_no_values():
    assert ONE.probability(table()).shape == (0,)


def test_a_missing_column_a_missing_part_and_a_broken_tree_are_named():
    with pytest.raises(KeyError, match="gas"):
        ONE.margin(pd.DataFrame({"height": [1.0]}))
    with pytest.raises(ValueError, match="trees lack a part: 'nodes'"):
        Trees.from_dict({k: v for k, v in ONE.to_dict().items() if k != "nodes"})
    for part, value in ((2, [9, 2, 0, 0, 0]), (0, [7, 1, -1, -1, -1]), (4, [0.0])):
        broken = ONE.to_dict()
        broken["nodes"][0][part] = value
        with pytest.raises(ValueError, match="points outside itself"):
            Trees.from_dict(broken)
