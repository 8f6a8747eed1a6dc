"""The encoder itself as what runs the network of a server."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from spcl.data.normalise import test_transform
from spcl.inference.embedding import Encoder
from spcl.inference.extraction import finite_features
from spcl.runtime import Runtime


class TorchEngine:
    """The encoder itself."""

    name = "torch"

    def __init__(self, encoder: Encoder, runtime: Runtime, *, flip: bool) -> None:
        """Move the encoder to the runtime's device."""
        self._encoder, self._runtime, self._flip = encoder.to(runtime.device), runtime, flip

    @torch.no_grad()
    def encode(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Encode ``[B, H, W, 3]`` images of the encoder's size to ``[B, D]`` unit rows.

        Raises:
            InputError: If a feature is NaN or infinite.
        """
        network = self._encoder.network
        inputs = test_transform(torch.from_numpy(pixels).to(self._runtime.device), network.mean, network.std)
        with self._runtime.autocast():
            encoded = self._encoder.encode(inputs, flip=self._flip)
        features: NDArray[np.float32] = finite_features(encoded.float().cpu()).numpy()
        return features
