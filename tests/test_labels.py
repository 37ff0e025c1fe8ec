import numpy as np
import pytest

from spineseg.anatomy.labels import (
    IDS,
    N_CLASSES,
    N_VERTEBRAE,
    REGION_OF,
    REGIONS,
    VERTEBRAE,
    Scheme,
    colours,
    lookup_table,
    parse_scheme,
    to_ours,
)


def test_there_are_25_vertebrae_from_c1_to_s1():
    assert (len(VERTEBRAE), N_VERTEBRAE, N_CLASSES) == (25, 25, 26)
    assert VERTEBRAE[0] == "C1" and VERTEBRAE[-1] == "S1" and len(set(VERTEBRAE)) == 25


@pytest.mark.parametrize(
    ("name", "number"), [("C1", 1), ("C7", 7), ("T1", 8), ("T12", 19), ("L1", 20), ("L5", 24), ("S1", 25)]
)
def test_identifiers_are_the_published_ones(name, number):
    assert IDS[name] == number


def test_regions_hold_seven_twelve_five_and_one():
    counts = {region: sum(r == region for r in REGION_OF.values()) for region in REGIONS}
    assert counts == {"cervical": 7, "thoracic": 12, "lumbar": 5, "sacral": 1}


# From the class maps of TotalSegmentator v1, v2 and v3 and of the VerSe challenge.
PUBLISHED = {
    Scheme.TOTALSEGMENTATOR_V2: {26: "S1", 27: "L5", 31: "L1", 32: "T12", 43: "T1", 44: "C7", 50: "C1"},
    Scheme.TOTALSEGMENTATOR_V1: {18: "L5", 22: "L1", 23: "T12", 34: "T1", 35: "C7", 41: "C1"},
    Scheme.TOTALSEGMENTATOR_V3: {27: "L5", 31: "L1", 32: "T12", 43: "T1", 44: "C7", 50: "C1"},
    Scheme.VERSE: {1: "C1", 7: "C7", 8: "T1", 19: "T12", 20: "L1", 24: "L5"},
    Scheme.SPINESEG: {1: "C1", 25: "S1"},
}
NOT_OURS = {
    Scheme.TOTALSEGMENTATOR_V2: [0, 25, 51],  # 25 is the whole sacrum
    Scheme.TOTALSEGMENTATOR_V1: [0, 17, 42, 92],  # 92 is the whole sacrum; there is no S1
    Scheme.TOTALSEGMENTATOR_V3: [0, 25, 26, 51],  # 26 is L6; there is no S1
    Scheme.VERSE: [0, 25, 26, 28],  # L6, sacrum, T13
    Scheme.SPINESEG: [0, 26],
}


@pytest.mark.parametrize("scheme", list(Scheme))
def test_published_identifiers_become_ours(scheme):
    for theirs, name in PUBLISHED[scheme].items():
        assert to_ours(scheme)[theirs] == IDS[name]


@pytest.mark.parametrize("scheme", list(Scheme))
def test_structures_that_are_none_of_ours_are_left_out(scheme):
    assert not set(NOT_OURS[scheme]) & set(to_ours(scheme))
    assert not lookup_table(scheme)[NOT_OURS[scheme]].any()


@pytest.mark.parametrize(("scheme", "count"), list(zip(Scheme, (25, 24, 25, 24, 24), strict=True)))
def test_no_two_identifiers_become_one(scheme, count):
    ours = list(to_ours(scheme).values())
    assert len(ours) == len(set(ours)) == count and set(ours) <= set(IDS.values())


def test_the_lookup_table_maps_a_label_map_by_indexing():
    theirs = np.array([[0, 26, 27], [50, 25, 255]])
    assert lookup_table(Scheme.TOTALSEGMENTATOR_V2)[theirs].tolist() == [[0, 25, 24], [1, 0, 0]]
    assert lookup_table(Scheme.VERSE, largest=300).shape == (301,)


def test_a_scheme_is_named_and_never_guessed():
    with pytest.raises(ValueError, match="not a valid Scheme"):
        Scheme("totalsegmentator")


def test_a_map_of_ones_own_is_read_from_pairs():
    assert parse_scheme("26=S1 27=L5") == {26: 25, 27: 24} and parse_scheme("verse") is Scheme.VERSE
    assert lookup_table(parse_scheme("26=S1 27=L5"))[[25, 26, 27]].tolist() == [0, 25, 24]


@pytest.mark.parametrize("text", ["", "totalsegmentator", "26=S2", "x=L1", "300=L1", "0=L1", "1=L1 1=L2"])
def test_another_map_is_refused(text):
    with pytest.raises(ValueError, match="a label scheme must"):
        parse_scheme(text)


def test_neighbours_differ_in_colour_and_in_grey():
    table = colours()
    assert table.shape == (26, 3) and not table[0].any() and table.min() >= 0 and table.max() <= 1
    grey = table[1:] @ (0.299, 0.587, 0.114)
    assert (np.abs(np.diff(grey)) > 0.03).all()
    assert len({tuple(c) for c in table.round(4)}) == 26
