import numpy as np
import pytest

from spineseg.anatomy.labels import IDS
from spineseg.learning.assembly import Found
from spineseg.learning.review import vertebra_table


def scan(names, boxes, confidence):
    pieces = np.zeros((10, 10, 40), np.uint8)
    for number, (low, high) in enumerate(boxes, start=1):
        pieces[3:7, 3:7, low:high] = number
    return Found(pieces, np.array([IDS[n] for n in names]), np.array(confidence))


def test_the_table_flags_what_a_person_should_look_at():
    found = scan(["L5", "L4", "L2"], [(0, 8), (10, 18), (30, 38)], [0.9, 0.3, 0.9])
    table = vertebra_table(found, np.diag([2.0, 2.0, 2.0, 1.0]), 0.6)
    assert table.vertebra.tolist() == ["L2", "L4", "L5"]
    reasons = dict(zip(table.vertebra, table.reason, strict=True))
    assert reasons == {"L2": "L3 is missing below it", "L4": "low confidence", "L5": "cut by the edge of the scan"}
    assert table.volume_ml.iloc[0] == pytest.approx(4 * 4 * 8 * 8 / 1000, abs=0.01)
    assert table.centroid_s_mm.tolist() == [67.0, 27.0, 7.0] and table.review.all()


def test_a_name_that_comes_twice_has_two_rows_from_the_head_down():
    found = scan(["L5", "L5", "L4"], [(2, 10), (12, 20), (22, 30)], [0.9] * 3)
    table = vertebra_table(found, np.eye(4), 0.6)
    assert table.vertebra.tolist() == ["L4", "L5", "L5"] and table.centroid_s_mm.is_monotonic_decreasing
    assert table.reason.tolist() == ["", "the name comes twice", "the name comes twice"]


def test_nothing_found_is_an_empty_table():
    table = vertebra_table(Found(np.zeros((4, 4, 4), np.uint8), np.zeros(0, int), np.zeros(0)), np.eye(4), 0.6)
    assert len(table) == 0 and "review" in table
