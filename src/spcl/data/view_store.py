"""Images of a store, each slightly turned, scaled, sheared and shifted: a view, the same each time it is read."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from spcl.data.affine_augment import AffineAugmentation, AffineStrength, sample_bilinear
from spcl.data.augment import TrainAugmentation
from spcl.data.image_store import ReadsImages
from spcl.randomness import generator


class ViewStore:
    """A view of the images of a store.

    Args:
        store: The images.
        size: Height and width of the images in pixels.
        strength: Ranges of the changes; colour and erased boxes are not used.
        seed: Seed of the run.
        number: Number of the view; each has separate random draws, which depend on nothing else.
    """

    def __init__(
        self, store: ReadsImages, *, size: tuple[int, int], strength: AffineStrength, seed: int, number: int
    ) -> None:
        base = TrainAugmentation(*size, mean=(0.5,) * 3, std=(0.5,) * 3, erase=0.0)
        draw = AffineAugmentation(base, strength).draw(len(store), generator(seed, "views", number))
        self._store, self._matrix = store, draw.matrix

    def __len__(self) -> int:
        return len(self._store)

    def read(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Give the altered images of some rows, ``[len(rows), H, W, 3]`` uint8."""
        images = self._store.read(rows)
        output = np.empty_like(images)
        _altered(images, self._matrix[rows], output)
        return output


@njit(cache=True, nogil=True)
def _altered(images, matrix, output):  # type: ignore[no-untyped-def]
    pixels = np.empty(images.shape[1:], dtype=np.float32)
    for image in range(len(images)):
        sample_bilinear(images[image], matrix[image], pixels)
        for y in range(pixels.shape[0]):
            for x in range(pixels.shape[1]):
                for channel in range(3):
                    output[image, y, x, channel] = np.uint8(pixels[y, x, channel] + np.float32(0.5))
