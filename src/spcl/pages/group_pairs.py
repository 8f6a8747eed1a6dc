"""Groups that may show one object: those whose images are most similar on average, side by side."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spcl.neighbours.nearest import nearest_neighbours
from spcl.pages.group_cards import GroupCard, GroupedImages, GroupImage, by_confidence, group_image
from spcl.pages.pictures import PictureBook
from spcl.pages.shown_images import ShownImages
from spcl.pages.similarities import UsedCalibration

MOST_PAIRS = 30
_IMAGES_OF_A_PAIR = 3
_NEIGHBOUR_GROUPS = 6


@dataclass(frozen=True)
class GroupPair:
    """Two groups that may show one object.

    Attributes:
        first: The group of the lower number.
        second: The other group.
        similarity: Mean cosine similarity of an image of one group and an image of the other.
        probability: Calibrated probability of this similarity; None without a calibration.
        images: Pictures of both groups, the surest ones.
        shared_cameras: Number of cameras that have seen both groups; None: unknown.
    """

    first: GroupCard
    second: GroupCard
    similarity: float
    probability: float | None
    images: tuple[tuple[GroupImage, ...], tuple[GroupImage, ...]]
    shared_cameras: int | None


def group_pairs(
    images: ShownImages,
    grouped: GroupedImages,
    members: list[NDArray[np.int64]],
    cards: tuple[GroupCard, ...],
    centres: NDArray[np.float32],
    calibration: UsedCalibration | None,
    book: PictureBook,
) -> tuple[GroupPair, ...]:
    """Find the pairs of groups whose images are most similar on average, each pair once, at most ``MOST_PAIRS``.

    Args:
        images: The images with their features.
        grouped: The group of each image.
        members: Rows of each group.
        cards: Each group.
        centres: ``[G, D]`` mean feature of each group, not of unit length.
        calibration: Calibration of the encoder; None: none.
        book: Book that the pictures are asked of.
    """
    if len(members) < 2:
        return ()
    unit = (centres / np.maximum(np.linalg.norm(centres, axis=1, keepdims=True), 1e-12)).astype(np.float32)
    near = nearest_neighbours(unit, min(_NEIGHBOUR_GROUPS, len(members))).indices
    pairs = {(min(row, other), max(row, other)) for row, others in enumerate(near.tolist()) for other in others}
    # The product of two means is the mean of the products.
    means = {pair: float(centres[pair[0]] @ centres[pair[1]]) for pair in pairs if pair[0] != pair[1]}
    shown = []
    for (first, second), similarity in sorted(means.items(), key=lambda item: (-item[1], item[0]))[:MOST_PAIRS]:
        sides = tuple(
            tuple(
                group_image(images, int(row), "", grouped, book, "large")
                for row in by_confidence(grouped, members[number])[:_IMAGES_OF_A_PAIR]
            )
            for number in (first, second)
        )
        shown.append(
            GroupPair(
                cards[first],
                cards[second],
                similarity,
                None if calibration is None else calibration.probability(similarity),
                (sides[0], sides[1]),
                _shared_cameras(images, members[first], members[second]),
            )
        )
    return tuple(shown)


def _shared_cameras(images: ShownImages, first: NDArray[np.int64], second: NDArray[np.int64]) -> int | None:
    sets = [{images.cameras[row] for row in rows.tolist()} - {None} for rows in (first, second)]
    return len(sets[0] & sets[1]) if all(sets) else None
