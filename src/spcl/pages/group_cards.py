"""A group on a page: its size, its confidence, its cameras and times, and three of its images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spcl.grouping.individuals import Individuals
from spcl.pages.pictures import Picture, PictureBook
from spcl.pages.shown_images import ShownImages

NOT_GROUPED = -2
"""In place of a group: the image was not among those that were grouped, such as a query of an evaluation."""

_ENTRIES = 6


@dataclass(frozen=True)
class GroupImage:
    """An image of a group.

    Attributes:
        picture: The image.
        role: ``surest``, ``middle`` or ``least sure``.
        name: Its file name.
        path: Its path.
        camera: Its camera; None: unknown.
        time: Its time; None: unknown.
        confidence: Confidence that it is in the right group; None: not computed.
    """

    picture: Picture
    role: str
    name: str
    path: str
    camera: str | None
    time: str | None
    confidence: float | None


@dataclass(frozen=True)
class GroupCard:
    """A group.

    Attributes:
        number: Number of the group by size, from 0.
        title: Its title.
        size: Number of its images.
        confidence: Mean confidence of its images; None: not computed.
        is_sure: Whether the mean confidence is high enough to call the group sure; None: not computed.
        images: The surest, the middle and the least sure image.
        cameras: Cameras of its images with their numbers of images, most first, in words; empty: unknown.
        times: First and last time, in words; empty: unknown.
        identities: Identities among its images with their numbers, most first, in words; empty: unknown.
        tracks: Number of its tracks, in words; empty: unknown.
    """

    number: int
    title: str
    size: int
    confidence: float | None
    is_sure: bool | None
    images: tuple[GroupImage, ...]
    cameras: str
    times: str
    identities: str
    tracks: str


@dataclass(frozen=True)
class GroupedImages:
    """The group of each image.

    Attributes:
        group: ``[N]`` int64, numbered by size; -1: none; ``NOT_GROUPED``: not among the images that were grouped.
        confidence: ``[N]`` float64 from 0 to 1; None: not computed.
        origin: How the groups were made, in a sentence.
        titles: Title of each group, by its number: a name that a person gave, or ``group 3``.
        individuals: The estimated number of individuals; None: there is no estimate.
    """

    group: NDArray[np.int64]
    confidence: NDArray[np.float64] | None
    origin: str
    titles: tuple[str, ...]
    individuals: Individuals | None = None

    @classmethod
    def of_numbers(
        cls,
        numbers: NDArray[np.int64],
        confidence: NDArray[np.float64] | None,
        origin: str,
        names: Mapping[int, str] | None = None,
    ) -> GroupedImages:
        """Number groups by size, where their numbers have gaps; their titles keep the numbers that they had.

        Args:
            numbers: ``[N]`` int64, the group of each image by the numbers of a table; -1: none.
            confidence: ``[N]`` confidence of each image; None: not computed.
            origin: How the groups were made, in a sentence.
            names: Names of groups, by the numbers of the table; None: none has a name.
        """
        given, sizes = np.unique(numbers[numbers >= 0], return_counts=True)
        order = np.lexsort((given, -sizes))
        place = np.empty(len(given), dtype=np.int64)
        place[order] = np.arange(len(order))
        group = np.full(len(numbers), -1, dtype=np.int64)
        group[numbers >= 0] = place[np.searchsorted(given, numbers[numbers >= 0])]
        known = names or {}
        titles = tuple(
            f"{known[number]} (group {number})" if number in known else f"group {number}"
            for number in given[order].tolist()
        )
        return cls(group, confidence, origin, titles)


def members_of(group: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Give the rows of each group, by its number."""
    order = np.argsort(group, kind="stable")
    order = order[group[order] >= 0]
    sizes = np.bincount(group[group >= 0])
    return [np.asarray(rows) for rows in np.split(order, np.cumsum(sizes)[:-1])] if len(sizes) else []


def group_card(
    images: ShownImages,
    grouped: GroupedImages,
    number: int,
    rows: NDArray[np.int64],
    sure: tuple[float | None, bool | None],
    book: PictureBook,
) -> GroupCard:
    """Describe a group.

    Args:
        images: All images.
        grouped: The group of each image.
        number: Number of the group.
        rows: Rows of its images.
        sure: Its mean confidence, and whether that is high enough to call it sure; None: not computed.
        book: Book that the pictures are asked of.
    """
    ordered = by_confidence(grouped, rows)
    places = list(dict.fromkeys((0, (len(ordered) - 1) // 2, len(ordered) - 1)))
    roles = {1: ("",), 2: ("surest", "least sure"), 3: ("surest", "middle", "least sure")}[len(places)]
    if grouped.confidence is None:
        roles = ("",) * len(places)
    shown = tuple(
        group_image(images, int(ordered[place]), role, grouped, book) for place, role in zip(places, roles, strict=True)
    )
    tracks = {images.tracks[row] for row in rows.tolist()} - {None}
    return GroupCard(
        number=number,
        title=grouped.titles[number],
        size=len(rows),
        confidence=sure[0],
        is_sure=sure[1],
        images=shown,
        cameras=_counted([images.cameras[row] for row in rows.tolist()]),
        times=_span([images.times[row] for row in rows.tolist()]),
        identities=_counted([images.identities[row] for row in rows.tolist()]),
        tracks=f"{len(tracks)}" if tracks else "",
    )


def by_confidence(grouped: GroupedImages, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Order rows from the surest image to the least sure one."""
    return rows if grouped.confidence is None else rows[np.argsort(-grouped.confidence[rows], kind="stable")]


def group_image(
    images: ShownImages, row: int, role: str, grouped: GroupedImages | None, book: PictureBook, tier: str = "small"
) -> GroupImage:
    """Describe an image of a group."""
    path = images.records[row].path
    confidence = None if grouped is None or grouped.confidence is None else float(grouped.confidence[row])
    return GroupImage(
        book.picture(path, tier), role, path.name, str(path), images.cameras[row], images.times[row], confidence
    )


def _counted(values: list[str | None]) -> str:
    counts = Counter(value for value in values if value is not None)
    shown = [f"{value} ({count})" if len(counts) > 1 else value for value, count in counts.most_common(_ENTRIES)]
    more = len(counts) - len(shown)
    return ", ".join(shown) + (f", {more} more" if more else "")


def _span(times: list[str | None]) -> str:
    known = sorted(time for time in times if time is not None)
    if not known:
        return ""
    return known[0] if known[0] == known[-1] else f"{known[0]} to {known[-1]}"
