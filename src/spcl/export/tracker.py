"""The input that multi-object trackers give to a re-identification model in an ONNX file.

BoxMOT 25 (``boxmot/reid``) reads the size of the images from the graph, whatever the name of the file. It resizes crops
to it bilinearly without smoothing, converts them to RGB, divides by 255, normalises by ImageNet's mean and standard
deviation, and scales the first output to length 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from spcl.export.onnx_graph import GraphInput

if TYPE_CHECKING:
    from PIL import Image


def tracker_input(size: tuple[int, int]) -> GraphInput:
    """Give the input that a tracker gives to a graph of this height and width."""
    return GraphInput(size=size, is_normalised=True, name="images", output_name="output")


def resized_as_trackers_do(images: Sequence[Image.Image], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Resize RGB images bilinearly without smoothing, as OpenCV's ``INTER_LINEAR`` does.

    Args:
        images: The images.
        size: Height and width in pixels.

    Returns:
        ``[N, H, W, 3]`` uint8.
    """
    resized = []
    for image in images:
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1).unsqueeze(0).float()
        small = F.interpolate(pixels, size, mode="bilinear", align_corners=False, antialias=False)
        resized.append(small[0].round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0).numpy())
    return np.stack(resized)
