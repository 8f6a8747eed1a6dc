"""Figures of an image that change when a camera changes: brightness, sharpness, colour, size."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from PIL import Image

PIXEL_FIGURES = ("brightness", "sharpness", "colour", "size")
"""Figures of the pixels of an image, in the order of ``PixelFigures``."""

FIGURES = ("similarity", "unknown", *PIXEL_FIGURES)
"""All figures: the similarity to the nearest image of the gallery; 1 where no identity is similar enough, otherwise 0;
and those of the pixels."""

_HEIGHT = 96


class PixelFigures(NamedTuple):
    """Figures of the pixels of an image.

    Attributes:
        brightness: Mean luminance, 0 to 255.
        sharpness: Standard deviation of the Laplacian of the luminance, at a height of 96 pixels.
        colour: Mean of red minus blue, -255 to 255.
        size: Square root of width times height, pixels.
    """

    brightness: float
    sharpness: float
    colour: float
    size: float


def pixel_figures(image: Image.Image) -> PixelFigures:
    """Measure an RGB image."""
    width = max(3, round(image.width * _HEIGHT / max(1, image.height)))
    small = np.asarray(image.resize((width, _HEIGHT), Image.Resampling.BILINEAR), dtype=np.float32)
    luminance = small @ np.array([0.299, 0.587, 0.114], dtype=np.float32)
    inner = luminance[1:-1, 1:-1]
    around = luminance[:-2, 1:-1] + luminance[2:, 1:-1] + luminance[1:-1, :-2] + luminance[1:-1, 2:]
    return PixelFigures(
        float(luminance.mean()),
        float((around - 4 * inner).std()),
        float((small[..., 0] - small[..., 2]).mean()),
        float((image.width * image.height) ** 0.5),
    )
