"""Whether mirror images may show other objects: a guess from the pixels alone.

A mirrored person or vehicle is the same object; a mirrored character is another character. Writing is recognised by
its tones: no colour, and nearly every pixel is ink or paper. Where two flanks of an animal differ, mirror images are
other objects, too; that cannot be seen in the images (docs/recipes.md says what was tried), and is a setting.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

_LEAST_COLOUR = 24
"""Difference of a pixel's channels from which on it has colour."""
_TONE_WIDTH = 0.25
"""Width of the dark and of the bright tones, as a share of an image's range of tones."""
_SHARE_IN_TONES = 0.85
"""Least share of the pixels in the dark and the bright tones together."""
_LEAST_PAPER = 0.6
"""Least share of the pixels in the tone of the paper."""
_LEAST_RANGE = 64
"""Least difference between the darkest and the brightest tone."""


class MirrorAdvice(NamedTuple):
    """Whether to mirror images in training, and to erase boxes of them.

    Attributes:
        flip: Share of images that are mirrored: 0.5 or 0.
        erase: Share of images in which a box is erased: 0.5 or 0.
        reason: Reason for both, in a sentence.
    """

    flip: float
    erase: float
    reason: str


def mirror_advice(images: NDArray[np.uint8]) -> MirrorAdvice:
    """Suggest whether images are mirrored in training.

    Args:
        images: ``[n, H, W, 3]`` uint8, a sample of the images.

    Returns:
        MirrorAdvice: both 0 where at least nine of ten images look like writing.

    Examples:
        >>> page = np.full((1, 8, 8, 3), 255, np.uint8)
        >>> page[0, 2:6, 3] = 0
        >>> mirror_advice(page).flip
        0.0
    """
    if len(images) and float(np.mean([_is_writing(image) for image in images])) >= 0.9:
        reason = "the images look like writing, ink on paper: mirrored or without a stroke it is another character"
        return MirrorAdvice(0.0, 0.0, reason)
    reason = (
        "the images do not look like writing: a mirror image is taken for the same object. Where left and right "
        "differ, as the flanks of an animal do, write flip = 0.0 under [augmentation]"
    )
    return MirrorAdvice(0.5, 0.5, reason)


def _is_writing(image: NDArray[np.uint8]) -> bool:
    low, high = image.min(axis=2).astype(np.int64), image.max(axis=2).astype(np.int64)
    if float(np.mean(high - low >= _LEAST_COLOUR)) > 0.02:
        return False
    tones = image.mean(axis=2)
    dark, bright = float(tones.min()), float(tones.max())
    if bright - dark < _LEAST_RANGE:
        return False
    ink = float(np.mean(tones < dark + _TONE_WIDTH * (bright - dark)))
    paper = float(np.mean(tones > bright - _TONE_WIDTH * (bright - dark)))
    return ink + paper >= _SHARE_IN_TONES and max(ink, paper) >= _LEAST_PAPER
