"""Augmented copies of crops, as another camera might take them: mirrored, shifted, in other light.

They rate an encoder without labels: it should retrieve the original of each copy among many crops. They differ from the
training's augmentations (``augment.py``) by the change of light, so that the rating does not only measure what was
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
"""Of the height: the crop moves by up to so much each way."""


class AlteredImageStore(ImageStore):
    """The images of records, each altered in the same way every time it is read."""

    def read(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        """The images of some rows, altered, ``[len(rows), H, W, 3]`` uint8; errors as ``ImageStore.read``."""
        images = super().read(rows)
        return np.stack(
            [altered(image, generator(0, "altered crop", int(row))) for row, image in zip(rows, images, strict=True)]
        )


def altered(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """An image ``[H, W, 3]`` mirrored, shifted (its edge repeated) and in other light, of the same shape."""
    height, width = image.shape[:2]
    reach = max(1, round(_SHIFT * height))
    padded = np.pad(image[:, ::-1], ((reach, reach), (reach, reach), (0, 0)), mode="edge")
    top, left = rng.integers(0, 2 * reach + 1, size=2)
    framed = padded[top : top + height, left : left + width].astype(np.float32) / 255
    gain = float(rng.uniform(1 - _LIGHT, 1 + _LIGHT))
    gamma = float(np.exp(rng.uniform(-_LIGHT, _LIGHT)))
    lit: NDArray[np.float32] = np.clip(framed**gamma * gain, 0, 1)
    return np.asarray((255 * lit).round(), dtype=np.uint8)
