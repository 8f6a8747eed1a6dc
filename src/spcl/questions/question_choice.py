"""Which pairs of images to ask about: those whose answer is expected to improve the groups the most.

A question is a pair of images of two groups, or of two parts of one group (``split_questions.py``). If two groups show
one object, they become one: each image gains the images of its object in the other group (recall), and images of other
objects lose or gain purity (precision). Both are expected from the probabilities of all pairs, in units of images (the
sum of a figure like BCubed over the images), and multiplied by the probability of the answer. Images without a group
count as groups of one.

The gain of merging counts half. Where groups are mixtures, it is estimated too high: the images of a mixture are
similar for other reasons than that they show one object (docs/results.md).
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from spcl.questions.pair_probabilities import PairProbabilities
from spcl.questions.question import Question
from spcl.questions.split_questions import split_questions

_BLOCK = 512
_KEPT_A_BLOCK = 4000
_MERGING = 0.5
"""Factor of the gain of merging."""
_AGAIN = 0.5
"""Factor of a question's gain for each earlier question about one of its groups: others say more."""


def choose_questions(
    features: NDArray[np.float32],
    group: NDArray[np.int64],
    probabilities: PairProbabilities,
    *,
    num: int,
    answered: Iterable[tuple[int, int]] = (),
    together: NDArray[np.int64] | None = None,
) -> list[Question]:
    """Choose pairs to ask about, the one with the largest expected gain first.

    Args:
        features: ``[N, D]`` unit rows.
        group: ``[N]`` int, the group of each image, -1 none.
        probabilities: Probability of a pair by its similarity.
        num: Number of questions.
        answered: Pairs of rows of two objects; no question is about the two groups of such a pair, or about it.
        together: ``[N]`` int, equal values for images that are known to show one object; None: nothing is known.

    Returns:
        At most ``num`` questions, each about another pair of groups or other parts of one.

    Cost: ``N^2 D`` in blocks, two passes.
    """
    answered = list(answered)
    apart = {frozenset(pair) for pair in answered}
    inside = [
        one
        for one in split_questions(features, group, probabilities)
        if frozenset((one.first, one.second)) not in apart
        and (together is None or together[one.first] != together[one.second])
    ]
    among = _diverse(_merging(features, group, probabilities, answered), num)
    return sorted([*inside, *among], key=lambda one: -one.gain)[:num]


def _merging(
    features: NDArray[np.float32],
    group: NDArray[np.int64],
    probabilities: PairProbabilities,
    answered: Iterable[tuple[int, int]],
) -> dict[tuple[int, int], Question]:
    """The best question about each pair of groups, with the gain of merging them."""
    parts = _parts(group)
    sizes = np.bincount(parts).astype(np.float64)
    own = _own_images(features, parts, probabilities)
    right = np.bincount(parts, own)
    best: dict[tuple[int, int], Question] = {}
    for at in range(0, len(features), _BLOCK):
        rows = np.arange(at, min(at + _BLOCK, len(features)))
        chance = probabilities.of(features[rows] @ features.T)
        chance[parts[rows][:, None] == parts[None]] = 0
        ours, theirs = own[rows][:, None], own[None]
        first, second = parts[rows][:, None], parts[None]
        before = right[first] / sizes[first] + right[second] / sizes[second]
        after = (right[first] + right[second] + 2 * ours * theirs) / (sizes[first] + sizes[second])
        gains = _MERGING * chance * (2 * ours * theirs / (ours + theirs) + after - before)
        gains[rows[:, None] >= np.arange(len(features))[None]] = -np.inf
        kept = np.argpartition(-gains, min(_KEPT_A_BLOCK, gains.size - 1), axis=None)[:_KEPT_A_BLOCK]
        for place in kept[np.argsort(-gains.flat[kept], kind="stable")].tolist():
            row, other = divmod(place, len(features))
            pair = _key(parts, int(rows[row]), other)
            gain = float(gains[row, other])
            if gain > 0 and (pair not in best or gain > best[pair].gain):
                best[pair] = Question(int(rows[row]), other, float(chance[row, other]), gain)
    for first_row, second_row in answered:
        best.pop(_key(parts, first_row, second_row), None)
    return best


def _parts(group: NDArray[np.int64]) -> NDArray[np.int64]:
    """Groups, with a number of its own for each image that is in none."""
    parts = np.unique(group, return_inverse=True)[1].reshape(-1).astype(np.int64)
    alone = np.flatnonzero(group < 0)
    parts[alone] = parts.max(initial=-1) + 1 + np.arange(len(alone))
    return np.unique(parts, return_inverse=True)[1].reshape(-1).astype(np.int64)


def _own_images(
    features: NDArray[np.float32], parts: NDArray[np.int64], probabilities: PairProbabilities
) -> NDArray[np.float64]:
    """Expected number of images of each image's object in its group, itself included, ``[N]``."""
    found = np.ones(len(parts))
    order = np.argsort(parts, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(parts[order])) + 1):
        if len(rows) > 1:
            inside = probabilities.of(features[rows] @ features[rows].T)
            np.fill_diagonal(inside, 1)
            found[rows] = inside.sum(axis=1)
    return found


def _diverse(best: dict[tuple[int, int], Question], num: int) -> list[Question]:
    """The questions with the largest gains, which count less for groups that were asked about."""
    left = sorted(best.items(), key=lambda item: (-item[1].gain, item[0]))[: 50 * num]
    asked: dict[int, int] = {}
    chosen: list[Question] = []
    while left and len(chosen) < num:
        values = [one.gain * _AGAIN ** (asked.get(pair[0], 0) + asked.get(pair[1], 0)) for pair, one in left]
        pair, question = left.pop(int(np.argmax(values)))
        chosen.append(question)
        for part in pair:
            asked[part] = asked.get(part, 0) + 1
    return chosen


def _key(parts: NDArray[np.int64], first: int, second: int) -> tuple[int, int]:
    pair = int(parts[first]), int(parts[second])
    return min(pair), max(pair)
