"""The values that become black and white in an image of more than 8 bits; in colour, one range for all channels.

A 12-bit camera writes 16-bit files, and the temperatures of a thermal camera cover a hundredth of the range of its
files. Scaled by the range of the format, such images are nearly black or of one grey, and look alike. The rule uses one
file alone, so that an image gives the same feature in training, in a gallery and as a query.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from spcl.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_LIMITS = (1.0, 255.0, 65535.0, float(2**31 - 1))
_PERCENTILES = (0.5, 99.5)
_LEAST_SHARE = 0.5
"""Share of the format's range; an image whose bright pixels reach it is not stretched."""

_LEAST_SPREAD = 32.0
"""Least difference of black and white for whole numbers, so that the noise of a uniform image is not amplified."""


@dataclass(frozen=True)
class PixelRange:
    """The conversion of values of more than 8 bits to 0 to 255; images of 8 bits are never changed.

    Attributes:
        bounds: Values that become black and white; None: from the image (``auto``) or from the format (``full``).
        stretches: ``auto``: an image that uses less than half of its format's range is stretched from its 0.5th to its
            99.5th percentile. Otherwise the range of the format is used.
    """

    bounds: tuple[float, float] | None = None
    stretches: bool = True

    @classmethod
    def parse(cls, text: str) -> PixelRange:
        """Parse ``auto``, ``full`` or ``LOW:HIGH``.

        Raises:
            InputError: If the text has another form.
        """
        if text in ("auto", "full"):
            return cls(stretches=text == "auto")
        low, _, high = text.partition(":")
        try:
            bounds = float(low), float(high)
        except ValueError:
            bounds = math.nan, math.nan
        if not (math.isfinite(bounds[0]) and math.isfinite(bounds[1]) and bounds[0] < bounds[1]):
            raise InputError(
                f"--range {text!r}: expected auto, full, or the values that become black and white as LOW:HIGH, "
                "for example 0:4095 for a 12-bit camera",
                code="setting-not-understood",
            )
        return cls(bounds)

    def words(self, count: int, num_reduced: int = 0) -> str:
        """Describe the conversion of images whose values were stretched.

        Args:
            count: Number of images that were stretched.
            num_reduced: Number of images among them of which only the upper 8 bits of a channel could be read.
        """
        reduced = (
            f". Of {num_reduced}, only the upper 8 bits of a channel could be read: convert them to 16-bit PNG for all "
            "grey levels"
        )
        return self._conversion(count) + (reduced if num_reduced else "")

    def _conversion(self, count: int) -> str:
        images = "1 image" if count == 1 else f"{count} images"
        if self.bounds is not None:
            return f"{images} of more than 8 bits: {self.bounds[0]:g} is black, {self.bounds[1]:g} white (--range)"
        return (
            f"{images} of more than 8 bits use little of their range: each is stretched from its dark to its bright "
            "values; --range changes this (docs/data.md)"
        )

    def to_eight_bits(
        self,
        pixels: NDArray[np.generic],
        largest: float | None = None,
        shown: NDArray[np.bool_] | None = None,
    ) -> tuple[NDArray[np.uint8], bool]:
        """Convert values to 0 to 255; also whether they were stretched or cut to another range than the format's.

        Args:
            pixels: ``[H, W]`` or ``[H, W, 3]`` whole or floating-point numbers; NaN and infinite values become black.
            largest: Largest value of the format; None: the smallest of 1 (only for floating-point numbers), 255, 65535
                and 2^31 - 1 that is not exceeded.
            shown: ``[H, W]`` True for the pixels whose values count for the range; None: all.

        Raises:
            ValueError: If all values are NaN or infinite.
        """
        # Imported here, because every command parses settings before it imports libraries that load slowly.
        import numpy as np

        values = pixels.astype(np.float64)
        is_finite = np.isfinite(values)
        known = values[is_finite] if shown is None else values[shown][is_finite[shown]]
        if not known.size:
            raise ValueError("none of its values is a finite number")
        is_real = np.issubdtype(pixels.dtype, np.floating)
        if largest is None:
            fitting = (limit for limit in _LIMITS[0 if is_real else 1 :] if known.max() <= limit)
            largest = next(fitting, float(known.max()))
        low, high, stretched = 0.0, largest, False
        if self.bounds is not None:
            (low, high), stretched = self.bounds, True
        elif self.stretches:
            dark, bright = (float(value) for value in np.percentile(known, _PERCENTILES))
            if bright > dark and (bright < _LEAST_SHARE * largest or known.min() < 0):
                least = 0.0 if is_real else _LEAST_SPREAD
                low, high, stretched = dark, max(bright, dark + least), True
        share = np.where(is_finite, (values - low) / (high - low), 0)
        return (share.clip(0, 1) * 255).round().astype(np.uint8), stretched
