"""Groups on a page: every group, the groups that may be one, and the images in no group with their nearest group."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spcl.neighbours.nearest import nearest_neighbours
from spcl.pages.group_cards import GroupCard, GroupedImages, GroupImage, group_card, group_image, members_of
from spcl.pages.group_pairs import GroupPair, group_pairs
from spcl.pages.pictures import Picture, PictureBook
from spcl.pages.shown_images import ShownImages
from spcl.pages.similarities import UsedCalibration
from spcl.selfpaced.clustering import NOISE

SURE_FROM = 0.3
"""Mean confidence from which a group is called sure (docs/report.md has the measurement)."""

MOST_UNGROUPED = 600


@dataclass(frozen=True)
class UngroupedImage:
    """An image in no group.

    Attributes:
        image: The image.
        nearest: Title of the nearest group; None: without features, or without groups.
        similarity: Similarity to the mean feature of that group.
        group_picture: A picture of that group.
    """

    image: GroupImage
    nearest: str | None = None
    similarity: float | None = None
    group_picture: Picture | None = None


@dataclass(frozen=True)
class GroupsSection:
    """All groups.

    Attributes:
        cards: Each group, the largest first.
        pairs: Groups that may show one object, the most similar first; empty without features.
        ungrouped: Images in no group, those nearest to a group first.
        num_ungrouped: Number of images in no group; only the first ``MOST_UNGROUPED`` are shown.
        num_unsure: Number of unsure groups; None: the confidence was not computed.
        origin: How the groups were made, in a sentence.
        individuals: The estimated number of individuals, in a sentence; empty: there is no estimate.
    """

    cards: tuple[GroupCard, ...]
    pairs: tuple[GroupPair, ...]
    ungrouped: tuple[UngroupedImage, ...]
    num_ungrouped: int
    num_unsure: int | None
    origin: str
    individuals: str = ""


def groups_section(
    images: ShownImages, grouped: GroupedImages, calibration: UsedCalibration | None, book: PictureBook
) -> GroupsSection:
    """Describe all groups.

    Args:
        images: The images; with features, similar groups and the nearest groups are found.
        grouped: The group of each image.
        calibration: Calibration of the encoder; None: none.
        book: Book that the pictures are asked of.

    Cost: with features ``N D`` for the means, ``G^2 D`` for G groups, and ``U G D`` for U images in no group.
    """
    members = members_of(grouped.group)
    means = [None if grouped.confidence is None else float(grouped.confidence[rows].mean()) for rows in members]
    known = [value for value in means if value is not None]
    cards = tuple(
        group_card(images, grouped, number, rows, (mean, None if mean is None else mean >= SURE_FROM), book)
        for number, (rows, mean) in enumerate(zip(members, means, strict=True))
    )
    features = images.features
    centres = None if features is None or not members else np.stack([features[rows].mean(axis=0) for rows in members])
    rest = np.flatnonzero(grouped.group == NOISE)
    return GroupsSection(
        cards=cards,
        pairs=() if centres is None else group_pairs(images, grouped, members, cards, centres, calibration, book),
        ungrouped=_ungrouped(images, rest, cards, centres, book),
        num_ungrouped=len(rest),
        num_unsure=sum(card.is_sure is False for card in cards) if known else None,
        origin=grouped.origin,
        individuals="" if grouped.individuals is None else grouped.individuals.sentence(),
    )


def _ungrouped(
    images: ShownImages,
    rest: NDArray[np.int64],
    cards: tuple[GroupCard, ...],
    centres: NDArray[np.float32] | None,
    book: PictureBook,
) -> tuple[UngroupedImage, ...]:
    if centres is None or images.features is None or not len(rest):
        return tuple(
            UngroupedImage(group_image(images, int(row), "", None, book)) for row in rest[:MOST_UNGROUPED].tolist()
        )
    unit = (centres / np.maximum(np.linalg.norm(centres, axis=1, keepdims=True), 1e-12)).astype(np.float32)
    found = nearest_neighbours(unit, 1, queries=images.features[rest])
    groups, values = found.indices[:, 0], found.similarities[:, 0]
    order = np.argsort(-values, kind="stable")[:MOST_UNGROUPED]
    return tuple(
        UngroupedImage(
            group_image(images, int(rest[place]), "", None, book),
            cards[int(groups[place])].title,
            float(values[place]),
            cards[int(groups[place])].images[0].picture,
        )
        for place in order.tolist()
    )
