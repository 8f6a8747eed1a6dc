"""Training augmentation of a whole batch; the test transform is in ``normalise.py``.

Reference: ``Resize, RandomHorizontalFlip(0.5), Pad(10), RandomCrop, ToTensor, Normalize, RandomErasing(0.5)``. Resizing
is done in ``image_decoding.py``; the rest is here. The random draw (``AugmentationDraw``) is separate from its
application: it can be repeated, and is applied to a whole batch by a compiled pass on the host or by operations on the
device.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numba import njit
from numpy.typing import NDArray
from torch import Tensor

from spcl.data.normalise import constant, scale_and_shift, test_transform

_ERASE_ATTEMPTS = 100


@dataclass(frozen=True)
class AugmentationDraw:
    """The random draw for each image of a batch.

    Attributes:
        flip: ``[B]`` bool: mirrored left to right.
        top: ``[B]`` int64: first row of the crop in the padded image.
        left: ``[B]`` int64: first column of the crop in the padded image.
        erase: ``[B, 4]`` int64: top, left, height, width of the erased box; height 0: no box.
    """

    flip: NDArray[np.bool_]
    top: NDArray[np.int64]
    left: NDArray[np.int64]
    erase: NDArray[np.int64]

    def part(self, rows: slice) -> AugmentationDraw:
        """Give the draw for some of the images."""
        return AugmentationDraw(self.flip[rows], self.top[rows], self.left[rows], self.erase[rows])


@dataclass(frozen=True)
class TrainAugmentation:
    """The training transforms of images of one size.

    Attributes:
        height: Image height in pixels.
        width: Image width in pixels.
        mean: Mean of each channel, of values in 0 to 1; erased boxes are filled with it after normalisation, as in the
            reference.
        std: Standard deviation of each channel.
        flip: Share of images that are mirrored.
        pad: Width of the black border before the crop, in pixels.
        erase: Share of images in which a box is erased.
        erase_area: Least and largest area of the box, as a share of the image.
        erase_aspect: Least ratio of height to width; the largest is its inverse.
    """

    height: int
    width: int
    mean: Sequence[float]
    std: Sequence[float]
    flip: float = 0.5
    pad: int = 10
    erase: float = 0.5
    erase_area: tuple[float, float] = (0.02, 0.4)
    erase_aspect: float = 0.3

    def draw(self, batch_size: int, rng: np.random.Generator) -> AugmentationDraw:
        """Draw the augmentation of a batch."""
        return AugmentationDraw(
            flip=rng.random(batch_size) < self.flip,
            top=rng.integers(0, 2 * self.pad + 1, batch_size),
            left=rng.integers(0, 2 * self.pad + 1, batch_size),
            erase=self._draw_boxes(batch_size, rng),
        )

    def apply(self, images: Tensor, draw: AugmentationDraw) -> Tensor:
        """Apply a draw.

        Args:
            images: ``[B, H, W, 3]`` uint8, on any device.
            draw: Draw for the same number of images.

        Returns:
            ``[B, 3, H, W]`` float32, normalised, channels last in memory.
        """
        if images.device.type == "cpu":
            return self._apply_on_host(images, draw)
        return self._apply_on_device(images, draw)

    def _apply_on_host(self, images: Tensor, draw: AugmentationDraw) -> Tensor:
        """Apply a draw by one compiled pass over the pixels."""
        scale, shift = scale_and_shift(self.mean, self.std)
        output = torch.empty(len(images), self.height, self.width, 3)
        _transform(
            images.numpy(),
            draw.flip,
            draw.top - self.pad,
            draw.left - self.pad,
            draw.erase,
            np.array([scale, shift, self.mean], dtype=np.float32),
            output.numpy(),
        )
        return output.permute(0, 3, 1, 2)

    def _apply_on_device(self, images: Tensor, draw: AugmentationDraw) -> Tensor:
        """Apply a draw by operations on the whole batch."""
        device = images.device
        flip, top, left, boxes = (
            torch.from_numpy(part).to(device, non_blocking=True)
            for part in (draw.flip, draw.top, draw.left, draw.erase)
        )
        # The pixel that lands in each place: columns count from the other side where the image is mirrored.
        rows = torch.arange(self.height, device=device) + top[:, None] - self.pad
        columns = torch.arange(self.width, device=device) + left[:, None] - self.pad
        inside = ((rows >= 0) & (rows < self.height))[:, :, None] & ((columns >= 0) & (columns < self.width))[:, None]
        columns = torch.where(flip[:, None], self.width - 1 - columns, columns)
        places = rows.clamp(0, self.height - 1)[:, :, None] * self.width + columns.clamp(0, self.width - 1)[:, None]
        flat = images.reshape(len(images), -1, 3)
        picked = flat.gather(1, places.reshape(len(images), -1, 1).expand(-1, -1, 3))
        picked = picked.view(images.shape) * inside.unsqueeze(3)
        output = test_transform(picked, self.mean, self.std)
        if not draw.erase[:, 2].any():
            return output
        y, x = torch.arange(self.height, device=device), torch.arange(self.width, device=device)
        erased_rows = (y >= boxes[:, :1]) & (y < boxes[:, :1] + boxes[:, 2:3])
        erased_columns = (x >= boxes[:, 1:2]) & (x < boxes[:, 1:2] + boxes[:, 3:4])
        erased = erased_rows[:, None, :, None] & erased_columns[:, None, None, :]
        fill = constant(self.mean, device)
        return torch.where(erased, fill, output)

    def _draw_boxes(self, batch_size: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """Draw boxes to erase. As in the reference, a box that does not fit is drawn again, up to a hundred times."""
        boxes = np.zeros((batch_size, 4), dtype=np.int64)
        waiting = np.flatnonzero(rng.random(batch_size) < self.erase)
        for _ in range(_ERASE_ATTEMPTS):
            if not len(waiting):
                break
            area = rng.uniform(*self.erase_area, len(waiting)) * self.height * self.width
            aspect = rng.uniform(self.erase_aspect, 1 / self.erase_aspect, len(waiting))
            height = np.rint(np.sqrt(area * aspect)).astype(np.int64)
            width = np.rint(np.sqrt(area / aspect)).astype(np.int64)
            fits = (height < self.height) & (width < self.width)
            height, width, chosen = height[fits], width[fits], waiting[fits]
            top = rng.integers(0, self.height - height + 1)
            left = rng.integers(0, self.width - width + 1)
            boxes[chosen] = np.stack([top, left, height, width], axis=1)
            waiting = waiting[~fits]
        return boxes


# One thread, without the interpreter's lock: it runs at the same time as the network, which uses the other cores.
@njit(cache=True, nogil=True)
def _transform(images, flip, top, left, boxes, channels, output):  # type: ignore[no-untyped-def]
    """Crop the padded images, mirror, normalise and erase boxes: each pixel is read and written once.

    ``images`` and ``output`` are ``[B, H, W, 3]``. ``channels`` is ``[3, 3]``: for each channel the factor, the value
    that is subtracted, and the value of erased pixels.
    """
    height, width = images.shape[1], images.shape[2]
    scale, shift, fill = channels[0], channels[1], channels[2]
    for image in range(len(images)):
        first_row, last_row = boxes[image, 0], boxes[image, 0] + boxes[image, 2]
        first_column, last_column = boxes[image, 1], boxes[image, 1] + boxes[image, 3]
        # Of an image that is narrower than the border, the crop may show the border alone.
        low = min(width, max(0, -left[image]))
        high = max(low, min(width, width - left[image]))
        for y in range(height):
            row = y + top[image]
            line = output[image, y]
            if not 0 <= row < height:
                low_here, high_here = width, width
            else:
                low_here, high_here = low, high
            for x in range(low_here):
                for channel in range(3):
                    line[x, channel] = -shift[channel]
            for x in range(high_here, width):
                for channel in range(3):
                    line[x, channel] = -shift[channel]
            if flip[image]:
                last = width - 1 - left[image]
                for x in range(low_here, high_here):
                    for channel in range(3):
                        pixel = np.float32(images[image, row, last - x, channel])
                        line[x, channel] = pixel * scale[channel] - shift[channel]
            else:
                for x in range(low_here, high_here):
                    for channel in range(3):
                        pixel = np.float32(images[image, row, x + left[image], channel])
                        line[x, channel] = pixel * scale[channel] - shift[channel]
            if first_row <= y < last_row:
                for x in range(first_column, last_column):
                    for channel in range(3):
                        line[x, channel] = fill[channel]
