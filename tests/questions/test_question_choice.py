"""Which pairs are asked about, and how probable it is that they show one object."""

from __future__ import annotations

import numpy as np
import pytest

from spcl.questions.pair_probabilities import PairProbabilities, calibration_of
from spcl.questions.question_choice import choose_questions


def objects(sizes: list[int], seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Unit rows of objects of some sizes, and the object of each row."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((len(sizes), 32))
    of = np.repeat(np.arange(len(sizes)), sizes)
    rows = centres[of] + 0.5 * rng.standard_normal((len(of), 32))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32), of


@pytest.fixture(scope="module")
def known():
    rows, of = objects([20] * 10)
    similarities = rows @ rows.T
    calibration = calibration_of(rows, np.random.default_rng(0))
    return rows, of, PairProbabilities(calibration, similarities[~np.eye(len(rows), dtype=bool)])


def test_the_share_of_pairs_of_one_object_is_estimated(known):
    rows, of, probabilities = known
    true = ((of[:, None] == of[None]).sum() - len(of)) / (len(of) * (len(of) - 1))
    assert probabilities.share == pytest.approx(true, rel=0.2)
    chance = probabilities.of(rows @ rows.T)
    assert chance[of[:, None] == of[None]].mean() > 0.9
    assert chance[of[:, None] != of[None]].mean() < 0.01


def test_the_torn_object_with_the_most_images_is_asked_about_first(known):
    rows, of, probabilities = known
    group = of.copy()
    group[of == 3] = np.repeat([3, 10], 10)  # torn into two halves
    group[of == 5] = np.r_[np.full(17, 5), np.full(3, 11)]  # three images torn off
    group[np.flatnonzero(of == 7)[:1]] = -1
    before = rows.copy(), group.copy()
    found = choose_questions(rows, group, probabilities, num=3)
    assert np.array_equal(rows, before[0])
    assert np.array_equal(group, before[1])
    assert [int(of[one.first]) for one in found] == [3, 5, 7]
    assert all(of[one.first] == of[one.second] and group[one.first] != group[one.second] for one in found)
    assert [one.gain for one in found] == sorted((one.gain for one in found), reverse=True)
    assert all(0.5 < one.probability <= 1 for one in found)
    # Merging halves of 10: each of 20 images gains 10 of its 20 images. Half of it counts.
    assert found[0].gain == pytest.approx(5 * found[0].probability, rel=0.1)


def test_what_is_answered_is_not_asked_again(known):
    rows, of, probabilities = known
    group = of.copy()
    group[of == 3] = np.repeat([3, 10], 10)
    first = choose_questions(rows, group, probabilities, num=1)[0]
    other = choose_questions(rows, group, probabilities, num=1, answered=[(first.first, first.second)])
    assert not other or {int(of[other[0].first]), int(of[other[0].second])} != {3}


def test_one_group_of_one_object_gives_no_question(known):
    rows, of, probabilities = known
    assert choose_questions(rows[of == 3], np.zeros(20, dtype=np.int64), probabilities, num=5) == []


def test_a_group_of_two_objects_is_asked_about_first(known):
    rows, of, probabilities = known
    group = np.where(of == 4, 2, of)
    found = choose_questions(rows, group, probabilities, num=5)
    assert {int(of[found[0].first]), int(of[found[0].second])} == {2, 4}
    assert found[0].first in found[0].part
    # The part is the images of the one object, and none of the other.
    assert set(found[0].part) == set(np.flatnonzero(of == of[found[0].first]).tolist())
    # Each of 40 images is in a group of which half is its object: dividing it gains half an image for each.
    assert found[0].gain == pytest.approx(20 * (1 - found[0].probability), rel=0.1)
    assert found[0].probability < 0.01
    # What is inside one object is not asked about, and other pairs come later.
    assert not [one for one in found[1:] if one.part]
    pair = found[0].first, found[0].second
    assert not [one for one in choose_questions(rows, group, probabilities, num=5, answered=[pair]) if one.part]
    together = np.arange(len(rows))
    together[list(pair)] = 0
    again = choose_questions(rows, group, probabilities, num=5, together=together)
    assert not [one for one in again if one.part]


def test_parts_of_parts_are_asked_about(known):
    rows, of, probabilities = known
    group = np.where(of < 4, 0, of)
    found = [one for one in choose_questions(rows, group, probabilities, num=20) if one.part]
    asked = [{int(of[one.first]), int(of[one.second])} for one in found]
    assert len(found) == 3
    assert set.union(*asked) == {0, 1, 2, 3}
