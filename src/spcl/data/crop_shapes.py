"""The shape of a user's crops, and the settings that fit it: tall crops show persons, wide and square ones do not.

Only the headers of a sample of the files are read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from spcl.data.image_decoding import identified
from spcl.randomness import generator
from spcl.records import Record

_SAMPLE = 200
_TALL_FROM = 1.4
"""The ratio of height to width is 2 to 3 for a standing person, and below 1.3 for a vehicle, a face or a thing."""

_TURNED = (5, 6, 7, 8)
_ORIENTATION = 0x0112


@dataclass(frozen=True)
class CropShape:
    """The shape of a set of crops, and the settings that fit it.

    Attributes:
        height: Median height of the upright images in pixels.
        width: Median width of the upright images in pixels.
        recipe: Recipe of training: ``person`` or ``vehicle``.
        size: Height and width of the encoder's input in pixels.
        reason: Reason for recipe and size, as a sentence.
    """

    height: int
    width: int
    recipe: str
    size: tuple[int, int]
    reason: str


def crop_shape(records: Sequence[Record], *, sample: int = _SAMPLE, seed: int = 0) -> CropShape:
    """Measure the shape of a set of crops, from the headers of a sample.

    Args:
        records: Records of the images; those that cannot be read are not counted.
        sample: Number of images that are read, drawn at random.
        seed: Seed of the random draws.
    """
    rows = np.arange(len(records))
    if len(rows) > sample:
        rows = np.sort(generator(seed, "crops to measure").choice(rows, size=sample, replace=False))
    sizes = [size for row in rows.tolist() if (size := _upright_size(records[row])) is not None]
    if not sizes:
        return CropShape(
            0,
            0,
            "person",
            (256, 128),
            "no image size could be read, so this is the paper's size for persons",
        )
    height, width = (int(np.median([size[side] for size in sizes])) for side in (0, 1))
    ratio = float(np.median([size[0] / size[1] for size in sizes]))
    seen = f"crops (median height x width of {len(sizes)} images: {height} x {width}) are resized to"
    if ratio >= _TALL_FROM:
        size = (256, 128) if height > 160 else (128, 64)
        kind = "tall"
    else:
        size = (224, 224) if max(height, width) > 140 else (112, 112)
        kind = "wide" if ratio < 0.8 else "square"
    recipe = "person" if ratio >= _TALL_FROM else "vehicle"
    small = size in ((128, 64), (112, 112))
    also = ", because a larger size does not help for small crops" if small else ""
    return CropShape(height, width, recipe, size, f"{kind} {seen} {size[0]} x {size[1]}{also}")


def _upright_size(record: Record) -> tuple[int, int] | None:
    """Height and width as shown, without decoding the pixels; None: they cannot be read."""
    try:
        with identified(record.path) as image:
            width, height = image.size
            turned = image.getexif().get(_ORIENTATION) in _TURNED
    # Decoders raise errors of any type on broken files; reading them reports it.
    except Exception:
        return None
    return (width, height) if turned else (height, width)
