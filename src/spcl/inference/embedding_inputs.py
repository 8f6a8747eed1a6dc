"""What ``Encoder.embed`` takes, as batches of prepared images: files, arrays, tensors, data loaders.

Images of every kind but prepared tensors are prepared as image files are in training: read as RGB, resized with bicubic
interpolation, normalised.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader

from spcl.data.image_decoding import image_in_memory, open_image, resized
from spcl.data.image_sources import images_of
from spcl.data.normalise import test_transform
from spcl.errors import InputError
from spcl.pixel_range import PixelRange
from spcl.threads import NumThreads, decoding_threads

ImageLike = str | Path | Image.Image | NDArray[np.uint8] | Tensor
"""One image: a path, a PIL image, a uint8 array ``[H, W, 3]``, or a tensor ``[3, H, W]`` (uint8, or prepared float)."""
Images = ImageLike | Sequence[ImageLike] | Sequence[Sequence[ImageLike]] | DataLoader[Any]
"""Images to embed: one, a sequence of them, a tensor ``[B, 3, H, W]``, a folder, or a data loader of such tensors."""

_KEYS_OF_IMAGES = ("images", "image", "pixel_values")


@dataclass(frozen=True)
class ImagePreparation:
    """Prepares one image for an encoder; it can be pickled, so that the workers of a data loader can use it.

    Attributes:
        size: Height and width in pixels.
        mean: Mean of each channel, of values from 0 to 1.
        std: Standard deviation of each channel, of values from 0 to 1.
        pixel_range: Value range of images of more than 8 bits: ``auto``, ``full`` or ``LOW:HIGH``.
    """

    size: tuple[int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    pixel_range: str = "auto"

    def __call__(self, image: ImageLike) -> Tensor:
        """Prepare an image: ``[3, H, W]`` float32, normalised.

        Args:
            image: A path, a PIL image, a uint8 array ``[H, W, 3]`` or a uint8 tensor ``[3, H, W]``, RGB.

        Raises:
            InputError: If the image cannot be read.
        """
        if isinstance(image, Tensor) and image.is_floating_point():
            return self._checked(image.unsqueeze(0))[0]
        return self.normalised(torch.from_numpy(np.stack([self.pixels(image)])))[0]

    def pixels(self, image: ImageLike, name: str = "the image") -> NDArray[np.uint8]:
        """Give an image of any kind but a prepared one as resized pixels ``[H, W, 3]`` uint8, RGB."""
        pixel_range = PixelRange.parse(self.pixel_range)
        if isinstance(image, Tensor):
            image = _as_array(image, name)
        read = (
            open_image(Path(image), pixel_range)
            if isinstance(image, str | Path)
            else image_in_memory(image, name, pixel_range)
        )
        return resized(read, (self.size[1], self.size[0]))

    def normalised(self, pixels: Tensor) -> Tensor:
        """Normalise ``[B, H, W, 3]`` uint8 to ``[B, 3, H, W]`` float32."""
        return test_transform(pixels, self.mean, self.std)

    def _checked(self, prepared: Tensor) -> Tensor:
        if tuple(prepared.shape[1:]) != (3, *self.size):
            raise InputError(
                f"a tensor of prepared images has the shape {list(prepared.shape)}; expected [B, 3, {self.size[0]}, "
                f"{self.size[1]}], as encoder.transform gives. Tensors of uint8 may have any height and width",
                code="wrong-shape",
            )
        return prepared

    def of_tensor(self, images: Tensor, at: int = 0) -> Tensor:
        """Prepare a batch ``[B, 3, H, W]``: uint8 is resized and normalised, float is prepared already.

        Args:
            images: The batch.
            at: Number of the first image among all, for messages.
        """
        if images.ndim != 4 or images.shape[1] != 3:
            raise InputError(
                f"a tensor of images has the shape {list(images.shape)}; expected [B, 3, H, W] or [3, H, W]",
                code="wrong-shape",
            )
        if images.is_floating_point():
            return self._checked(images)
        pixels = [self.pixels(image, _name(number)) for number, image in enumerate(images, start=at)]
        return self.normalised(torch.from_numpy(np.stack(pixels)).to(images.device))


def num_images(images: Images) -> int | None:
    """Give the number of images, or None for a data loader that does not know it."""
    if isinstance(images, DataLoader):
        try:
            return len(images.dataset)  # type: ignore[arg-type]
        except TypeError:
            return None
    return len(images) if isinstance(images, Sequence | Tensor) and not isinstance(images, str) else 1


def prepared_batches(
    images: Images, prepare: ImagePreparation, *, batch_size: int, num_threads: NumThreads, device: torch.device
) -> Iterator[Tensor]:
    """Give the images in batches, prepared, on a device.

    Args:
        images: What to embed; a folder is listed before (``listed``).
        prepare: The preparation of the encoder.
        batch_size: Number of images in a batch; a data loader's batches are split where they are larger.
        num_threads: Number of threads that decode; ``auto``: as many as compute; 0: the calling thread decodes.
        device: Device of the result.

    Yields:
        ``[<= batch_size, 3, H, W]`` float32, in the order of the images.

    Raises:
        InputError: If an image cannot be read, or is of another kind or shape.
    """
    if isinstance(images, DataLoader | Tensor):
        yield from _of_tensors(images, prepare, batch_size, device)
        return
    threads = decoding_threads(num_threads)
    numbered = list(enumerate(images if isinstance(images, Sequence) and not isinstance(images, str) else [images]))
    for number, image in numbered:
        _refuse_prepared(number, image)
    with ThreadPoolExecutor(max_workers=max(1, threads)) as pool:
        for at in range(0, len(numbered), batch_size):
            part = numbered[at : at + batch_size]
            one = partial(_numbered_pixels, prepare)
            try:
                pixels = list(pool.map(one, part) if threads and len(part) > 1 else map(one, part))
            except BaseException:
                # Otherwise an error or Ctrl-C would wait for the images that are still to be read.
                pool.shutdown(wait=False, cancel_futures=True)
                raise
            yield prepare.normalised(torch.from_numpy(np.stack(pixels)).to(device))


def listed(images: Images) -> Images:
    """Give a folder as the paths of its images, one image as a list, a list of tensors as one; others as they are."""
    if isinstance(images, DataLoader):
        return images
    if isinstance(images, str | Path):
        path = Path(images)
        return [record.path for record in images_of(path).records] if path.is_dir() else [path]
    if isinstance(images, Tensor):
        return images.unsqueeze(0) if images.ndim == 3 else images
    if isinstance(images, Image.Image) or (isinstance(images, np.ndarray) and images.ndim in (2, 3)):
        return [images]
    several = list(images)
    tensors = [image for image in several if isinstance(image, Tensor)]
    if tensors and len(tensors) == len(several) and len({image.shape for image in tensors}) == 1:
        return torch.stack(tensors)
    return several


def _of_tensors(
    images: Tensor | DataLoader[Any], prepare: ImagePreparation, batch_size: int, device: torch.device
) -> Iterator[Tensor]:
    at = 0
    for batch in [images] if isinstance(images, Tensor) else images:
        tensor = _images_of_batch(batch)
        for part in torch.split(tensor, batch_size):
            yield prepare.of_tensor(part, at).to(device)
            at += len(part)


def _images_of_batch(batch: Any) -> Tensor:
    """Give the images of what a data loader yields: the first tensor of a tuple, or that of a known key."""
    found = batch
    if isinstance(batch, Mapping):
        found = next((batch[key] for key in _KEYS_OF_IMAGES if key in batch), None)
    elif isinstance(batch, Sequence) and len(batch):
        found = batch[0]
    if not isinstance(found, Tensor):
        raise InputError(
            f"the data loader gives a {type(batch).__name__} without a tensor of images; expected a tensor [B, 3, H, "
            f"W], a tuple that begins with one, or a mapping with {', '.join(_KEYS_OF_IMAGES)}",
            code="not-an-image",
        )
    return found


def _numbered_pixels(prepare: ImagePreparation, numbered: tuple[int, ImageLike]) -> NDArray[np.uint8]:
    number, image = numbered
    return prepare.pixels(image, _name(number))


def _as_array(image: Tensor, name: str) -> NDArray[np.uint8]:
    if image.ndim != 3 or image.shape[0] != 3 or image.dtype != torch.uint8:
        raise InputError(
            f"{name} is a tensor {str(image.dtype).removeprefix('torch.')} {list(image.shape)}; expected uint8 [3, H, "
            "W], or prepared images of one size",
            code="wrong-shape",
        )
    return np.ascontiguousarray(image.permute(1, 2, 0).cpu().numpy())


def _refuse_prepared(number: int, image: Any) -> None:
    """Raise an ``InputError`` for a prepared tensor among other images; uint8 tensors of any size are images."""
    if isinstance(image, Tensor) and image.is_floating_point():
        raise InputError(
            f"{_name(number)} is a float tensor {list(image.shape)} beside images of another kind or size; give "
            "prepared images as one tensor [B, 3, H, W]",
            code="wrong-shape",
        )


def _name(number: int) -> str:
    return f"image {number} of those given (from 0)"
