"""Names of images under known pairs."""

from __future__ import annotations

import numpy as np
import pytest

from spcl.corrections.provisional_names import first_free_number, is_provisional, provisional_name
from spcl.gallery.names_under_pairs import names_under_pairs
from spcl.pairs.constraints import PairConstraints


def named(names, *, must=(), cannot=(), similarities=None, by_hand=()):
    scores = np.array([0.5] * len(names) if similarities is None else similarities)
    return names_under_pairs(names, scores, PairConstraints.of(len(names), list(must), list(cannot)), by_hand)


def test_without_pairs_names_stay():
    assert named(["a", None, "b"]) == ["a", None, "b"]
    assert named(["a", None], by_hand=[None, "c"]) == ["a", "c"]


@pytest.mark.parametrize(
    ("names", "similarities", "expected"),
    [
        (["a", None], None, "a"),  # a half is enough
        (["a", None, None], None, None),
        (["a", "a", "b"], None, "a"),
        (["a", "b"], [0.5, 0.6], "b"),  # the higher similarity
        (["b", "a"], None, "a"),  # the same similarity: by name
        ([None, None], None, None),
    ],
)
def test_images_of_one_object_have_one_name(names, similarities, expected):
    chain = [(row, row + 1) for row in range(len(names) - 1)]
    assert named(names, must=chain, similarities=similarities) == [expected] * len(names)


def test_two_objects_never_share_a_name():
    assert named(["a", "a", "a"], cannot=[(0, 1)], similarities=[0.5, 0.7, 0.6]) == [None, "a", "a"]
    assert named(["a", "b"], cannot=[(0, 1)]) == ["a", "b"]
    # What a person said comes first.
    by_hand = ["a", None]
    assert named(["a", "a"], cannot=[(0, 1)], similarities=[0.1, 0.9], by_hand=by_hand) == ["a", None]
    assert named(["a", "a", None], must=[(1, 2)], by_hand=[None, None, "c"]) == ["a", "c", "c"]


def test_random_names_keep_to_the_pairs():
    rng = np.random.default_rng(0)
    for _ in range(50):
        num = 12
        names = [None if one == 3 else "abc"[one] for one in rng.integers(0, 4, num)]
        must = rng.integers(0, num, (3, 2)).tolist()
        nodes = PairConstraints.of(num, must, None).nodes
        cannot = [pair for pair in rng.integers(0, num, (5, 2)).tolist() if nodes[pair[0]] != nodes[pair[1]]]
        before = list(names)
        found = named(names, must=must, cannot=cannot, similarities=rng.random(num))
        assert names == before
        assert all(found[first] == found[second] for first, second in must)
        assert all(found[first] is None or found[first] != found[second] for first, second in cannot)
        assert all(name is None or name in names for name in found)


def test_provisional_names():
    assert [provisional_name(2), first_free_number([]), first_free_number(["new-2", "new-10", "new-x", "a"])] == [
        "new-2",
        1,
        11,
    ]
    assert [is_provisional(name) for name in ("new-1", "new-", "New-1", "a new-1", "new-1 ")] == [True] + [False] * 4
