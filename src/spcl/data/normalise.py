"""The test transform of a whole batch: normalisation of pixels by mean and standard deviation."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def test_transform(images: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Normalise: ``[B, H, W, 3]`` uint8 to ``[B, 3, H, W]`` float32, ``(pixel / 255 - mean) / std``.

    The channels of a pixel stay adjacent in memory (channels last), for fast convolutions.
    """
    scale, shift = (constant(values, images.device) for values in scale_and_shift(mean, std))
    return images.permute(0, 3, 1, 2).to(torch.float32) * scale - shift


def constant(values: Sequence[float], device: torch.device) -> Tensor:
    """Give a value for each channel as ``[1, 3, 1, 1]``; made on the host, so that it does not wait for the device."""
    return torch.tensor(list(values)).to(device, non_blocking=True).view(1, 3, 1, 1)


def scale_and_shift(mean: Sequence[float], std: Sequence[float]) -> tuple[list[float], list[float]]:
    """Give for each channel the factor for a pixel from 0 to 255, and the value that is then subtracted."""
    return [1 / (255 * value) for value in std], [m / s for m, s in zip(mean, std, strict=True)]
