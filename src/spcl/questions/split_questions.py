"""Questions about groups that may show several objects: is the image in the middle of one part the object of the other?

Each group is divided by average linkage of its images: into its two most different parts, and each part again. A
question is about the two images that are most typical of two parts. "Different" divides the group into these parts;
"same" leaves it. The expected gain counts images, as that of two groups does: the parts are purer (precision), and
pairs of one object that are in two parts are lost (recall). Both come from the probabilities of all pairs in the group.
A question about a part inside a part only matters if the answer to the question above it is "different".
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import linkage

from spcl.questions.pair_probabilities import PairProbabilities
from spcl.questions.question import Question

MOST_IMAGES = 3000
"""Groups with more images are not asked about: their pairs would not fit in memory."""

_FEWEST_IMAGES = 3
_DEPTH = 6


def split_questions(
    features: NDArray[np.float32], group: NDArray[np.int64], probabilities: PairProbabilities
) -> list[Question]:
    """Give the questions about parts of groups whose expected gain is above 0, in the order of the groups.

    Args:
        features: ``[N, D]`` unit rows.
        group: ``[N]`` int, the group of each image, -1 none.
        probabilities: Probability of a pair by its similarity.

    Cost: ``n^2 D`` for a group of n images.
    """
    centred = features - features.mean(axis=0)
    centred /= np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-12)
    size = probabilities.share * (len(features) - 1) + 1
    order = np.argsort(group, kind="stable")
    order = order[group[order] >= 0]
    found: list[Question] = []
    for rows in np.split(order, np.flatnonzero(np.diff(group[order])) + 1):
        if _FEWEST_IMAGES <= len(rows) <= MOST_IMAGES:
            found.extend(_Divided.of(features[rows], centred[rows], probabilities).questions(rows, size))
    return [one for one in found if one.gain > 0]


@dataclass(frozen=True)
class _Divided:
    """A group, divided again and again.

    Attributes:
        features: ``[n, D]`` its features.
        chance: ``[n, n]`` probability that two of its images show one object.
        merges: ``[n - 1, 4]`` the merges of average linkage, as scipy gives them.
    """

    features: NDArray[np.float32]
    chance: NDArray[np.float64]
    merges: NDArray[np.float64]

    @classmethod
    def of(
        cls, features: NDArray[np.float32], centred: NDArray[np.float32], probabilities: PairProbabilities
    ) -> _Divided:
        chance = probabilities.of(features @ features.T)
        np.fill_diagonal(chance, 1)
        # Images without any difference to the mean have no direction.
        distance = 1 - (centred @ centred.T).astype(np.float64)
        return cls(features, chance, linkage(distance[np.triu_indices(len(distance), 1)].clip(0), "average"))

    def questions(self, rows: NDArray[np.int64], size: float) -> Iterator[Question]:
        """Give a question for each part of at least three images.

        Args:
            rows: ``[n]`` row numbers of the images.
            size: Expected number of images of an object, among all images.
        """
        num = len(rows)
        left = [(2 * num - 2, 1.0, 0)]
        while left:
            node, weight, depth = left.pop()
            parts = sorted((self._members(int(child)) for child in self.merges[node - num, :2]), key=len)
            first, second = (self._typical(part) for part in parts)
            chance = float(self.chance[first, second])
            weight *= 1 - chance
            gain = weight * self._gain(parts[0], parts[1], size)
            yield Question(int(rows[first]), int(rows[second]), chance, gain, tuple(rows[parts[0]].tolist()))
            if depth < _DEPTH:
                inside = [int(child) for child in self.merges[node - num, :2] if child >= num]
                left += [
                    (child, weight, depth + 1) for child in inside if self.merges[child - num, 3] >= _FEWEST_IMAGES
                ]

    def _gain(self, first: NDArray[np.int64], second: NDArray[np.int64], size: float) -> float:
        """The images that a division gains, if the parts show different objects."""
        right = [float(self.chance[np.ix_(part, part)].sum()) for part in (first, second)]
        between = 2 * float(self.chance[np.ix_(first, second)].sum())
        after = right[0] / len(first) + right[1] / len(second)
        return after - (right[0] + right[1] + between) / (len(first) + len(second)) - between / size

    def _typical(self, part: NDArray[np.int64]) -> int:
        """The image that is most similar to the others of a part."""
        return int(part[np.argmax(self.features[part] @ self.features[part].sum(axis=0))])

    def _members(self, node: int) -> NDArray[np.int64]:
        num, found, left = len(self.features), [], [node]
        while left:
            one = left.pop()
            if one < num:
                found.append(one)
            else:
                left += [int(child) for child in self.merges[one - num, :2]]
        return np.sort(np.array(found, dtype=np.int64))
