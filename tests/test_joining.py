import numpy as np
import pytest

from spineseg.anatomy.labels import IDS
from spineseg.anatomy.phantom.levels import VOLUME_ML
from spineseg.learning.joining import APART, FACE, FULL, SMALL, SMALL_FACE, faces_mm2, joined
from spineseg.learning.ordering import spacing_mm

STEP, USUAL = spacing_mm()[IDS["L3"] - 1], VOLUME_ML["L3"][1]


def numbers(parts, faces, at_end=(), level="L3"):
    """Numbers of the vertebrae for parts `(height mm, ml)`, the first a `level`, and faces `{(i, j): mm2}`."""
    n = len(parts)
    area, names = np.zeros((n, n)), np.full((n, 25), 0.01)
    for (i, j), mm2 in faces.items():
        area[i, j] = area[j, i] = mm2
    names[1:, IDS["L3"] - 1] = names[:1, IDS[level] - 1] = 0.76
    centres = np.array([(0.0, 0.0, z) for z, _ in parts]).reshape(-1, 3)
    return joined(area, centres, [ml for _, ml in parts], names, [i in at_end for i in range(n)]).tolist()


def face_of(ml, times):
    return times * (1000 * ml) ** (2 / 3)


def test_faces_are_counted_in_mm2_on_all_sides():
    pieces = np.zeros((5, 5, 5), np.uint8)
    pieces[1:3, 1:4, 1:4], pieces[3, 1:4, 1:4], pieces[1, 1:3, 4] = 1, 2, 3
    area = faces_mm2(pieces, np.array([1.0, 2.0, 3.0]))
    assert np.array_equal(area, [[0, 9 * 6.0, 2 * 2.0], [9 * 6.0, 0, 0], [2 * 2.0, 0, 0]])


def test_no_piece_has_no_faces_and_no_numbers():
    assert faces_mm2(np.zeros((3, 3, 3), np.uint8), np.ones(3)).shape == (0, 0)
    assert numbers([], {}) == []


@pytest.mark.parametrize(("times", "together"), [(1.05, True), (0.95, False)])
def test_a_large_part_needs_a_broad_face(times, together):
    parts = [(0.0, 0.7 * USUAL), (5.0, 0.3 * USUAL)]
    assert (numbers(parts, {(0, 1): face_of(0.3 * USUAL, times * FACE)}) == [0, 0]) == together


@pytest.mark.parametrize(("times", "together"), [(1.05, True), (0.95, False)])
def test_a_small_part_needs_less(times, together):
    ml = 0.9 * SMALL * USUAL
    assert (numbers([(0.0, 0.7 * USUAL), (5.0, ml)], {(0, 1): face_of(ml, times * SMALL_FACE)}) == [0, 0]) == together


@pytest.mark.parametrize(("apart", "together"), [(0.95, True), (1.05, False)])
def test_parts_lie_at_one_height(apart, together):
    parts = [(0.0, 0.7 * USUAL), (-apart * APART * STEP, 0.3 * USUAL)]
    assert (numbers(parts, {(0, 1): face_of(0.3 * USUAL, 5.0)}) == [0, 0]) == together


@pytest.mark.parametrize(("full", "together"), [(0.95, True), (1.05, False)])
def test_parts_are_no_larger_than_a_vertebra(full, together):
    """Fused vertebrae share whole endplates."""
    parts = [(0.0, 0.5 * full * FULL * USUAL), (0.3 * STEP, 0.5 * full * FULL * USUAL)]
    assert (numbers(parts, {(0, 1): face_of(USUAL, 5.0)}) == [0, 0]) == together


@pytest.mark.parametrize(("at_end", "together"), [((), True), ((0,), True), ((1,), False), ((0, 1), False)])
def test_a_smaller_part_on_the_first_or_last_slice_is_left_alone(at_end, together):
    parts = [(0.0, 0.8 * USUAL), (5.0, 0.1 * USUAL)]
    assert (numbers(parts, {(0, 1): face_of(0.1 * USUAL, 5.0)}, at_end) == [0, 0]) == together


def test_what_was_joined_counts_as_one():
    """The third part fits beside the second one alone, not beside both."""
    parts = [(0.0, 0.7 * USUAL), (1.0, 0.35 * USUAL), (2.0, 0.5 * USUAL), (90.0, USUAL)]
    faces = {(0, 1): face_of(0.35 * USUAL, 6.0), (1, 2): face_of(0.35 * USUAL, 4.0)}
    assert numbers(parts, faces) == [0, 0, 1, 2]
    assert numbers(parts[::-1], {(3, 2): faces[0, 1], (2, 1): faces[1, 2]}) == [0, 1, 2, 2]


def test_faces_of_the_parts_add_up():
    """Neither part of the first vertebra shares enough with the third piece; both together do."""
    parts = [(0.0, 0.5 * USUAL), (1.0, 0.3 * USUAL), (2.0, 0.25 * USUAL)]
    half = face_of(0.25 * USUAL, 0.6 * FACE)
    assert numbers(parts, {(0, 2): half, (1, 2): half}) == [0, 1, 2]
    assert numbers(parts, {(0, 2): half, (1, 2): half, (0, 1): face_of(0.3 * USUAL, 6.0)}) == [0, 0, 0]


def test_a_face_inside_a_vertebra_joins_nothing_further():
    parts = [(0.0, 0.3 * USUAL), (1.0, 0.2 * USUAL), (90.0, 0.3 * USUAL)]
    assert numbers(parts, {(0, 1): face_of(0.2 * USUAL, 9.0)}) == [0, 0, 1]


def test_a_vertebra_has_its_parts_end_too():
    """The third part is larger than either of the first two, and smaller than both."""
    parts = [(0.0, 0.3 * USUAL), (1.0, 0.35 * USUAL), (2.0, 0.7 * USUAL)]
    faces = {(0, 1): face_of(0.3 * USUAL, 6.0), (0, 2): face_of(0.65 * USUAL, 3.0)}
    assert numbers(parts, faces) == [0, 0, 0]
    assert numbers(parts, faces, at_end=(1,)) == [0, 0, 1]


@pytest.mark.parametrize(("height", "together"), [(0.55, True), (0.65, False), (-0.35, True), (-0.45, False)])
def test_a_vertebra_lies_where_most_of_it_is(height, together):
    """Two parts, of four to one, lie .08 of the way down; the third touches the one that is too far for it alone."""
    parts = [(0.0, 0.8 * USUAL), (0.4 * STEP, 0.2 * USUAL), (height * STEP, 0.15 * USUAL)]
    faces = {(0, 1): face_of(0.2 * USUAL, 9.0), (0 if height > 0 else 1, 2): face_of(0.15 * USUAL, 4.0)}
    assert numbers(parts, faces) == [0, 0, 0 if together else 1]


def test_of_two_likely_levels_the_larger_says_how_large_a_vertebra_may_be():
    parts = [(0.0, VOLUME_ML["C5"][1]), (1.0, 0.5 * USUAL)]
    assert numbers(parts, {(0, 1): face_of(VOLUME_ML["C5"][1], 5.0)}, level="C5") == [0, 0]
