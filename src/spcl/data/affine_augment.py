"""Training augmentation by small affine changes, colour and blur; the paper's is in ``augment.py``.

An output pixel is read from the place ``A x + t`` of the image, bilinear, with the border pixel repeated outside (a
black border, as in the paper, is a strong edge on bright images). ``A`` is a rotation times a scale and a shear, with a
negative first column where the image is mirrored. Then, on values from 0 to 255 and clipped there::

    contrast    c * x + (1 - c) * mean(grey)          brightness    b * x
    saturation  s * x + (1 - s) * grey,  grey = 0.299 r + 0.587 g + 0.114 b        (s = 0: a grey image)
    blur        [w, 1 - 2 w, w] along rows, then along columns

Reference: Krizhevsky et al., NeurIPS 2012 (colour); Chen et al., ICML 2020 (SimCLR: jitter, grey, blur); Lake et al.,
Science 2015, and Koch et al., 2015 (affine changes of characters). The draw is separate from its application.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import torch
from numba import njit
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from spcl.data.augment import TrainAugmentation
from spcl.data.normalise import constant, scale_and_shift

_GREY = (0.299, 0.587, 0.114)


@dataclass(frozen=True)
class AffineStrength:
    """The ranges from which changes are drawn, uniformly and for each image.

    Attributes:
        flip: Share of images that are mirrored.
        rotation: Largest rotation to either side, degrees.
        scale: Largest change of each side's length, as a share: 0.1 is from 1 / 1.1 to 1.1.
        shear: Largest shear of the columns, as a share of the height.
        shift: Largest shift in each direction, as a share of the side.
        brightness: Largest change of brightness, as a share.
        contrast: Largest change of contrast, as a share.
        saturation: Largest change of saturation, as a share.
        grey: Share of images without colour.
        blur: Share of images that are blurred.
        erase: Share of images in which a box is erased, as in the paper.
    """

    flip: float = 0.5
    rotation: float = 10.0
    scale: float = 0.1
    shear: float = 0.1
    shift: float = 0.06
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    grey: float = 0.0
    blur: float = 0.0
    erase: float = 0.5


@dataclass(frozen=True)
class AffineDraw:
    """The random draw for each image of a batch.

    Attributes:
        matrix: ``[B, 2, 3]`` float32: from the output place (x, y), from -1 to 1 over the image, to the input place.
        tone: ``[B, 3]`` float32: factors of contrast, brightness, saturation.
        blur: ``[B]`` float32: weight of the pixels beside; 0: none.
        erase: ``[B, 4]`` int64: top, left, height, width of the erased box; height 0: none.
    """

    matrix: NDArray[np.float32]
    tone: NDArray[np.float32]
    blur: NDArray[np.float32]
    erase: NDArray[np.int64]

    def part(self, rows: slice) -> AffineDraw:
        """Give the draw for some of the images."""
        return AffineDraw(*(getattr(self, entry.name)[rows] for entry in fields(self)))


@dataclass(frozen=True)
class AffineAugmentation:
    """The training transforms of images of one size.

    Attributes:
        base: Size of the images, normalisation, and the boxes that are erased.
        strength: Ranges of the changes.
    """

    base: TrainAugmentation
    strength: AffineStrength

    def draw(self, batch_size: int, rng: np.random.Generator) -> AffineDraw:
        """Draw the augmentation of a batch."""
        given, num = self.strength, batch_size
        angle = np.deg2rad(rng.uniform(-given.rotation, given.rotation, num))
        scale = (1 + given.scale) ** rng.uniform(-1, 1, (num, 2))
        shear = rng.uniform(-given.shear, given.shear, num)
        shift = rng.uniform(-2 * given.shift, 2 * given.shift, (num, 2))
        mirrored = np.where(rng.random(num) < given.flip, -1.0, 1.0)
        # A rotation of pixels, not of the unit square: the sides may differ.
        aspect = self.base.height / self.base.width
        cosine, sine = np.cos(angle), np.sin(angle)
        rotation = np.stack([np.stack([cosine, -sine * aspect], 1), np.stack([sine / aspect, cosine], 1)], 1)
        shape = np.zeros((num, 2, 2))
        shape[:, 0, 0], shape[:, 1, 1], shape[:, 0, 1] = scale[:, 0] * mirrored, scale[:, 1], shear
        matrix = np.concatenate([rotation @ shape, shift[:, :, None]], axis=2)
        ranges = np.array([given.contrast, given.brightness, given.saturation])
        tone = 1 + ranges * rng.uniform(-1, 1, (num, 3))
        tone[rng.random(num) < given.grey, 2] = 0
        blur = np.where(rng.random(num) < given.blur, rng.uniform(0.05, 0.3, num), 0)
        boxes = self.base.draw(num, rng).erase
        return AffineDraw(matrix.astype(np.float32), tone.astype(np.float32), blur.astype(np.float32), boxes)

    def apply(self, images: Tensor, draw: AffineDraw) -> Tensor:
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

    def _apply_on_host(self, images: Tensor, draw: AffineDraw) -> Tensor:
        """Apply a draw by compiled passes over the pixels."""
        scale, shift = scale_and_shift(self.base.mean, self.base.std)
        output = torch.empty(len(images), self.base.height, self.base.width, 3)
        _warp_and_tone(
            images.numpy(),
            draw.matrix,
            draw.tone,
            draw.blur,
            draw.erase,
            np.array([scale, shift, self.base.mean], dtype=np.float32),
            output.numpy(),
        )
        return output.permute(0, 3, 1, 2)

    def _apply_on_device(self, images: Tensor, draw: AffineDraw) -> Tensor:
        """Apply a draw by operations on the whole batch."""
        device = images.device
        matrix, tone, blur, boxes = (
            torch.from_numpy(part).to(device, non_blocking=True)
            for part in (draw.matrix, draw.tone, draw.blur, draw.erase)
        )
        pixels = images.permute(0, 3, 1, 2).to(torch.float32)
        grid = F.affine_grid(matrix, list(pixels.shape), align_corners=False)
        pixels = F.grid_sample(pixels, grid, padding_mode="border", align_corners=False)
        contrast, brightness, saturation = tone[:, :, None, None, None].unbind(dim=1)
        weights = torch.tensor(_GREY).to(device, non_blocking=True).view(1, 3, 1, 1)
        mean = (pixels * weights).sum(dim=1, keepdim=True).mean(dim=(2, 3), keepdim=True)
        pixels = (contrast * pixels + (1 - contrast) * mean).clamp(0, 255)
        pixels = (brightness * pixels).clamp(0, 255)
        pixels = (saturation * pixels + (1 - saturation) * (pixels * weights).sum(dim=1, keepdim=True)).clamp(0, 255)
        if draw.blur.any():
            pixels = _blurred(pixels, blur[:, None, None, None])
        scale, shift = (constant(values, device) for values in scale_and_shift(self.base.mean, self.base.std))
        y = torch.arange(self.base.height, device=device)
        x = torch.arange(self.base.width, device=device)
        rows = (y >= boxes[:, :1]) & (y < boxes[:, :1] + boxes[:, 2:3])
        columns = (x >= boxes[:, 1:2]) & (x < boxes[:, 1:2] + boxes[:, 3:4])
        erased = rows[:, None, :, None] & columns[:, None, None, :]
        output = torch.where(erased, constant(self.base.mean, device), pixels * scale - shift)
        return output.contiguous(memory_format=torch.channels_last)


def _blurred(pixels: Tensor, weight: Tensor) -> Tensor:
    """Pixels ``[B, 3, H, W]`` blurred along columns, then along rows; the border is repeated."""
    for before, after, dim in (((1, 0, 0, 0), (0, 1, 0, 0), 3), ((0, 0, 1, 0), (0, 0, 0, 1), 2)):
        size = pixels.shape[dim]
        left = F.pad(pixels, before, mode="replicate").narrow(dim, 0, size)
        right = F.pad(pixels, after, mode="replicate").narrow(dim, 1, size)
        pixels = (1 - 2 * weight) * pixels + weight * (left + right)
    return pixels


# One thread, without the interpreter's lock: it works beside the network, which has the other cores.
@njit(cache=True, nogil=True)
def _warp_and_tone(images, matrix, tone, blur, boxes, channels, output):  # type: ignore[no-untyped-def]
    """Sample, change colours, blur, normalise and erase; ``images`` and ``output`` are ``[B, H, W, 3]``."""
    for image in range(len(images)):
        pixels = output[image]
        sample_bilinear(images[image], matrix[image], pixels)
        if tone[image, 0] != 1 or tone[image, 1] != 1 or tone[image, 2] != 1:
            _change_tone(pixels, tone[image, 0], tone[image, 1], tone[image, 2])
        if blur[image] > 0:
            _blur(pixels, blur[image])
        for y in range(pixels.shape[0]):
            for x in range(pixels.shape[1]):
                for channel in range(3):
                    pixels[y, x, channel] = pixels[y, x, channel] * channels[0, channel] - channels[1, channel]
        top, left, height, width = boxes[image]
        for y in range(top, top + height):
            for x in range(left, left + width):
                for channel in range(3):
                    pixels[y, x, channel] = channels[2, channel]


@njit(cache=True, nogil=True)
def sample_bilinear(image, matrix, output):  # type: ignore[no-untyped-def]
    """Read an image ``[H, W, 3]`` at the places of ``matrix [2, 3]`` into ``output``, values from 0 to 255."""
    height, width = image.shape[0], image.shape[1]
    for y in range(height):
        v = (2 * y + 1) / height - 1
        for x in range(width):
            u = (2 * x + 1) / width - 1
            column = ((matrix[0, 0] * u + matrix[0, 1] * v + matrix[0, 2] + 1) * width - 1) / 2
            row = ((matrix[1, 0] * u + matrix[1, 1] * v + matrix[1, 2] + 1) * height - 1) / 2
            column = min(max(column, 0.0), width - 1.0)
            row = min(max(row, 0.0), height - 1.0)
            left, top = int(column), int(row)
            right, bottom = min(left + 1, width - 1), min(top + 1, height - 1)
            a, b = np.float32(column - left), np.float32(row - top)
            for channel in range(3):
                above = (1 - a) * image[top, left, channel] + a * image[top, right, channel]
                below = (1 - a) * image[bottom, left, channel] + a * image[bottom, right, channel]
                output[y, x, channel] = (1 - b) * above + b * below


@njit(cache=True, nogil=True)
def _change_tone(pixels, contrast, brightness, saturation):  # type: ignore[no-untyped-def]
    mean = 0.0
    for y in range(pixels.shape[0]):
        for x in range(pixels.shape[1]):
            mean += 0.299 * pixels[y, x, 0] + 0.587 * pixels[y, x, 1] + 0.114 * pixels[y, x, 2]
    mean /= pixels.shape[0] * pixels.shape[1]
    for y in range(pixels.shape[0]):
        for x in range(pixels.shape[1]):
            for channel in range(3):
                value = min(max(contrast * pixels[y, x, channel] + (1 - contrast) * mean, 0.0), 255.0)
                pixels[y, x, channel] = min(max(brightness * value, 0.0), 255.0)
            grey = 0.299 * pixels[y, x, 0] + 0.587 * pixels[y, x, 1] + 0.114 * pixels[y, x, 2]
            for channel in range(3):
                value = saturation * pixels[y, x, channel] + (1 - saturation) * grey
                pixels[y, x, channel] = min(max(value, 0.0), 255.0)


@njit(cache=True, nogil=True)
def _blur(pixels, weight):  # type: ignore[no-untyped-def]
    height, width = pixels.shape[0], pixels.shape[1]
    for channel in range(3):
        for y in range(height):
            before = pixels[y, 0, channel]
            for x in range(width):
                here, after = pixels[y, x, channel], pixels[y, min(x + 1, width - 1), channel]
                pixels[y, x, channel] = (1 - 2 * weight) * here + weight * (before + after)
                before = here
        for x in range(width):
            before = pixels[0, x, channel]
            for y in range(height):
                here, after = pixels[y, x, channel], pixels[min(y + 1, height - 1), x, channel]
                pixels[y, x, channel] = (1 - 2 * weight) * here + weight * (before + after)
                before = here
