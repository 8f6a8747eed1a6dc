"""Which boxes become crops: boxes inside the picture, and of each track the best of evenly spaced parts.

A track of T boxes is cut into n parts of equal numbers of boxes. Of each part the crop with the highest quality is
kept: the crops are spread over the track, and blurred or hidden ones are avoided. One crop of each track is in memory.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from spcl.errors import require

OUTSIDE = "outside the picture"
EMPTY = "without an area"
SMALL = "too small"
UNSURE = "below the confidence"

_HEIGHT_OF_SHARPNESS = 128
"""Height in pixels to which crops are brought before they are compared: a small crop is blurred there, as it is for
the encoder."""


@dataclass(frozen=True)
class CropChoice:
    """Which boxes of a track become crops.

    Attributes:
        best: Number of crops of a track; 0: all.
        min_visible: Smallest share of a box that lies inside the picture, above 0 and at most 1.
        min_size: Smallest shorter side of a crop in pixels.
        min_confidence: Smallest confidence of a box; boxes of unknown confidence are used.

    Raises:
        InputError: If a value is out of range.
    """

    best: int = 8
    min_visible: float = 0.5
    min_size: int = 2
    min_confidence: float = 0.0

    def __post_init__(self) -> None:
        """Check the values."""
        require(self.best >= 0, "best", self.best, "0 (all) or more")
        require(0 < self.min_visible <= 1, "min_visible", self.min_visible, "above 0, at most 1")
        require(self.min_size >= 2, "min_size", self.min_size, "at least 2 pixels")


class ClippedBoxes(NamedTuple):
    """Boxes as parts of a picture.

    Attributes:
        edges: ``[M, 4]`` int64: left, top, right and bottom in whole pixels, inside the picture.
        visible: ``[M]`` float64, share of each box that lies inside the picture.
        reasons: ``M`` reasons why a box is not used; empty: it is used.
    """

    edges: NDArray[np.int64]
    visible: NDArray[np.float64]
    reasons: NDArray[np.str_]


def clipped_boxes(
    boxes: NDArray[np.float64], confidences: NDArray[np.float64], size: tuple[int, int], choice: CropChoice
) -> ClippedBoxes:
    """Cut boxes at the edges of the picture, and find those that cannot be used.

    Args:
        boxes: ``[M, 4]`` left, top, width and height in pixels.
        confidences: ``[M]``, NaN where unknown.
        size: Width and height of the picture in pixels.
        choice: What a usable box is.
    """
    width, height = size
    left, top = boxes[:, 0], boxes[:, 1]
    right, bottom = left + boxes[:, 2], top + boxes[:, 3]
    inside = np.stack(
        [np.clip(left, 0, width), np.clip(top, 0, height), np.clip(right, 0, width), np.clip(bottom, 0, height)], axis=1
    )
    area = boxes[:, 2] * boxes[:, 3]
    seen = np.maximum(inside[:, 2] - inside[:, 0], 0) * np.maximum(inside[:, 3] - inside[:, 1], 0)
    is_empty = (boxes[:, 2] <= 0) | (boxes[:, 3] <= 0)
    visible = np.where(is_empty, 0.0, seen / np.where(is_empty, 1.0, area))
    edges = np.round(inside).astype(np.int64)
    shorter = np.minimum(edges[:, 2] - edges[:, 0], edges[:, 3] - edges[:, 1])
    reasons = np.select(
        [is_empty, visible < choice.min_visible, shorter < choice.min_size, confidences < choice.min_confidence],
        [EMPTY, OUTSIDE, SMALL, UNSURE],
        "",
    )
    return ClippedBoxes(edges, visible, reasons)


def covered_shares(edges: NDArray[np.int64]) -> NDArray[np.float64]:
    """Give the largest share ``[n]`` of each box of one frame that another box of the frame covers.

    Args:
        edges: ``[n, 4]`` left, top, right and bottom; a box without an area covers nothing.
    """
    if len(edges) < 2:
        return np.zeros(len(edges))
    low = np.maximum(edges[:, None, :2], edges[None, :, :2])
    high = np.minimum(edges[:, None, 2:], edges[None, :, 2:])
    shared = np.prod(np.maximum(high - low, 0), axis=2).astype(np.float64)
    own = np.prod(np.maximum(edges[:, 2:] - edges[:, :2], 0), axis=1)
    np.fill_diagonal(shared, 0)
    return np.asarray(shared.max(axis=1) / np.maximum(own, 1))


def sharpness(crop: NDArray[np.uint8]) -> float:
    """Measure the sharpness of a crop ``[h, w, 3]``: the variance of the Laplacian of its grey values at one height."""
    image = Image.fromarray(crop).convert("L")
    width = max(3, round(image.width * _HEIGHT_OF_SHARPNESS / image.height))
    grey = np.asarray(image.resize((width, _HEIGHT_OF_SHARPNESS), Image.Resampling.BILINEAR), dtype=np.float32)
    middle = grey[1:-1, 1:-1]
    edges = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:] - 4 * middle
    return float(edges.var())


def parts_of_tracks(tracks: Sequence[str], usable: NDArray[np.bool_], best: int) -> NDArray[np.int64]:
    """Cut each track into parts of which one crop is kept.

    Args:
        tracks: ``M`` names, in the order of the frames.
        usable: ``[M]``, whether a box may become a crop.
        best: Number of parts of a track; 0: each box is a part.

    Returns:
        ``[M]`` int64, the number of the part of its track for each box, ascending; -1 where it is not usable.
    """
    lengths = Counter(track for track, is_usable in zip(tracks, usable.tolist(), strict=True) if is_usable)
    done: Counter[str] = Counter()
    parts = np.full(len(tracks), -1, dtype=np.int64)
    for row, (track, is_usable) in enumerate(zip(tracks, usable.tolist(), strict=True)):
        if is_usable:
            number = min(best, lengths[track]) if best else lengths[track]
            parts[row] = done[track] * number // lengths[track]
            done[track] += 1
    return parts


@dataclass
class ChosenCrop:
    """A crop that is kept until a better one of its part comes.

    Attributes:
        row: Row of its box in the tracks file.
        pixels: ``[h, w, 3]`` uint8.
        quality: Sharpness, times the share of the box that is visible and not covered.
        frame: Number of its frame.
        seconds: Time of its frame since the first frame; None: unknown.
    """

    row: int
    pixels: NDArray[np.uint8]
    quality: float
    frame: int
    seconds: float | None


class BestOfParts:
    """Keeps the best crop of the present part of each track."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[int, ChosenCrop]] = {}

    def take(self, track: str, part: int, crop: ChosenCrop) -> ChosenCrop | None:
        """Take the next crop of a track; give the best crop of its last part where that part has ended."""
        kept = self._kept.get(track)
        if kept is None or kept[0] != part:
            self._kept[track] = part, crop
            return None if kept is None else kept[1]
        if crop.quality > kept[1].quality:
            self._kept[track] = part, crop
        return None

    def rest(self) -> list[ChosenCrop]:
        """Give the best crops of the last part of each track."""
        return [crop for _, crop in self._kept.values()]
