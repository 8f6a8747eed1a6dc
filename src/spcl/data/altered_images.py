"""Augmented copies of crops: mirrored, shifted, with another brightness, as another camera might take them.

They evaluate an encoder without labels: it should retrieve the original of each copy among many crops. Unlike the
augmentations of training (``augment.py``) they change the brightness, so that the result does not only measure what was
trained. The three colour channels change equally, because colour identifies objects.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spcl.data.image_store import ImageStore
from spcl.randomness import generator

_LIGHT = 0.3
"""The gain lies between 0.7 and 1.3, the gamma between e^-0.3 and e^0.3."""
_SHIFT = 1 / 16
"""Largest shift in each direction, as a share of the height."""


class AlteredImageStore(ImageStore):
    """The images of records, altered; an image is altered in the same way each time it is read."""

    def read(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Read the altered images of some rows, ``[len(rows), H, W, 3]`` uint8.

        Raises:
            InputError: If an image cannot be read and broken images are not to be skipped.
        """
        images = super().read(rows)
        return np.stack(
            [altered(image, generator(0, "altered crop", int(row))) for row, image in zip(rows, images, strict=True)]
        )


def altered(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Mirror an image ``[H, W, 3]``, shift it (edge pixels are repeated) and change its brightness; same shape."""
    height, width = image.shape[:2]
    reach = max(1, round(_SHIFT * height))
    padded = np.pad(image[:, ::-1], ((reach, reach), (reach, reach), (0, 0)), mode="edge")
    top, left = rng.integers(0, 2 * reach + 1, size=2)
    framed = padded[top : top + height, left : left + width].astype(np.float32) / 255
    gain = float(rng.uniform(1 - _LIGHT, 1 + _LIGHT))
    gamma = float(np.exp(rng.uniform(-_LIGHT, _LIGHT)))
    lit: NDArray[np.float32] = np.clip(framed**gamma * gain, 0, 1)
    return np.asarray((255 * lit).round(), dtype=np.uint8)
