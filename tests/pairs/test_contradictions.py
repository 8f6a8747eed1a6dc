"""Contradictions: what wins, the chain in the message, and that nothing contradicts itself afterwards."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from spcl.pairs.contradictions import linked_nodes, without_contradictions
from spcl.pairs.known_pairs import KnownPairs, PairOrigin

TRACK = PairOrigin("track", "track 7")
TOGETHER = PairOrigin("simultaneous", "tracks 7 and 8 at one time")
HAND = PairOrigin("by hand", "line 3 of pairs.csv")


def settled(must, cannot, num=6):
    return without_contradictions(KnownPairs.of(must, cannot), num, lambda row: f"{row}.jpg")


def test_by_hand_wins_over_simultaneous_tracks():
    known, found = settled([(0, 1, TRACK), (1, 2, HAND)], [(0, 2, TOGETHER), (3, 4, TOGETHER)])
    assert known.must_link.tolist() == [[0, 1], [1, 2]] and known.cannot_link.tolist() == [[3, 4]]
    assert found == (
        "0.jpg is one object with 1.jpg (track 7), with 2.jpg (line 3 of pairs.csv); but 0.jpg and 2.jpg are two "
        "(tracks 7 and 8 at one time): tracks 7 and 8 at one time is not used for them",
    )


def test_a_denied_pair_dissolves_the_track_and_keeps_the_others():
    other = PairOrigin("track", "track 9")
    known, found = settled([(0, 1, TRACK), (1, 2, TRACK), (3, 4, other)], [(0, 2, HAND)])
    assert known.must_link.tolist() == [[3, 4]] and known.cannot_link.tolist() == [[0, 2]]
    assert found == (
        "0.jpg is one object with 2.jpg (track 7); but 0.jpg and 2.jpg are two (line 3 of pairs.csv): track 7: the "
        "images are linked no more",
    )


def test_statements_by_hand_that_contradict_each_other():
    known, found = settled([(0, 1, HAND)], [(1, 0, PairOrigin("by hand", "line 9 of pairs.csv"))])
    assert len(known.must_link) == 1 and not len(known.cannot_link)
    assert "line 3 of pairs.csv" in found[0] and "line 9 of pairs.csv is not used" in found[0]
    known, found = settled([], [(2, 2, HAND)])
    assert not len(known) and "another object than itself" in found[0]


ROW = st.integers(0, 7)
ORIGIN = st.sampled_from([HAND, TOGETHER, *(PairOrigin("track", f"track {number}") for number in range(3))])


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(ROW, ROW, ORIGIN), max_size=8), st.lists(st.tuples(ROW, ROW, ORIGIN), max_size=6))
def test_what_is_left_never_contradicts_itself(must, cannot):
    known, found = settled(must, cannot, 8)
    nodes = linked_nodes(8, known.must_link)
    assert (nodes[known.cannot_link[:, 0]] != nodes[known.cannot_link[:, 1]]).all()
    before = linked_nodes(8, KnownPairs.of(must, cannot).must_link)
    wrong = [(one, other) for one, other, _ in cannot if before[one] == before[other]]
    assert bool(found) == bool(wrong)
    if not wrong:
        assert len(known) == len(must) + len(cannot)


def test_numbers_of_objects_follow_their_first_rows():
    assert linked_nodes(5, np.array([[4, 0], [2, 3]])).tolist() == [0, 1, 2, 2, 0]
    assert linked_nodes(3, np.empty((0, 2), dtype=np.int64)).tolist() == [0, 1, 2]
