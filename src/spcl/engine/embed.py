"""From a checkpoint and images to features: what users do with a trained encoder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from spcl.data.augment import test_transform
from spcl.data.files import image_files
from spcl.data.images import open_image, resized
from spcl.engine.checkpoint import load_network
from spcl.errors import InputError
from spcl.nn.encoder import Encoder as Network

ImageLike = str | Path | Image.Image | NDArray[np.uint8]


class Encoder(nn.Module):
    """A trained encoder of one domain, with the preparation of its images.

    Attributes:
        network: The folded network: plain batch norm, evaluation mode.
        size: Height and width of its images, pixels.
        feature_dim: D, the length of a feature.
        domain: The domain whose batch norm it has.
    """

    def __init__(self, network: Network, domain: str) -> None:
        """Fold a network with all its domains into an encoder of one."""
        super().__init__()
        self.network = network.folded(domain).eval().to(memory_format=torch.channels_last)
        self.size = (network.settings.height, network.settings.width)
        self.feature_dim = network.feature_dim
        self.domain = domain

    def forward(self, images: Tensor) -> Tensor:
        """``[B, 3, H, W]`` normalised float images to ``[B, D]`` unit rows."""
        features: Tensor = self.network(images)
        return features

    @torch.no_grad()
    def embed(self, images: ImageLike | Sequence[ImageLike], *, batch_size: int = 64) -> NDArray[np.float32]:
        """Features of images.

        Args:
            images: Paths, PIL images or uint8 arrays ``[H, W, 3]`` (RGB) in any mixture; one of them; or a folder of
                images, taken in the order of their names.
            batch_size: Images at a time.

        Returns:
            ``[N, D]`` float32, unit rows, in the order given.

        Raises:
            InputError: If an image cannot be read; names it.
        """
        listed = _listed(images)
        device = next(self.network.parameters()).device
        features = np.empty((len(listed), self.feature_dim), dtype=np.float32)
        for at in range(0, len(listed), batch_size):
            part = [resized(_opened(image), (self.size[1], self.size[0])) for image in listed[at : at + batch_size]]
            pixels = torch.from_numpy(np.stack(part)).to(device)
            encoded = self.network(test_transform(pixels, self.network.mean, self.network.std))
            features[at : at + len(part)] = encoded.float().cpu().numpy()
        return features


def load_encoder(checkpoint: str | Path, *, arch: str | None = None, domain: str = "target") -> Encoder:
    """An encoder from a checkpoint, ready to embed images.

    Args:
        checkpoint: A file of ours or of the official scripts (``model_best.pth.tar``).
        arch: The architecture, where the checkpoint does not tell; otherwise it must agree.
        domain: Whose batch norm is used: ``target``, or ``source`` for a checkpoint that was trained with one.

    Returns:
        Encoder, on the CPU, in evaluation mode. Move it with ``.to("cuda")``.

    Raises:
        InputError: If it is no checkpoint, of another network, or does not know the domain.
    """
    network = load_network(Path(checkpoint), arch=arch)
    if domain not in network.domains:
        raise InputError(f"{checkpoint} has no domain {domain!r}; it has {', '.join(network.domains)}")
    return Encoder(network, domain)


def _listed(images: ImageLike | Sequence[ImageLike]) -> list[ImageLike]:
    if isinstance(images, str | Path):
        path = Path(images)
        if path.is_dir():
            found: list[ImageLike] = [*image_files(path)]
            if not found:
                raise InputError(f"there are no images in {path}")
            return found
        return [path]
    if isinstance(images, Image.Image) or (isinstance(images, np.ndarray) and images.ndim == 3):
        return [images]
    return list(images)


def _opened(image: ImageLike) -> Image.Image:
    if isinstance(image, Image.Image):
        return image.convert("RGB")
    if isinstance(image, np.ndarray):
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise InputError(f"an image array is {image.dtype} of shape {image.shape}; expected uint8 [H, W, 3]")
        return Image.fromarray(image)
    return open_image(Path(image))
