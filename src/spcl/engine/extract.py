"""Features of many images: evaluation mode, large batches, the next one read while this one is encoded."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray

from spcl.data.augment import test_transform
from spcl.data.images import ImageStore
from spcl.nn.encoder import Encoder
from spcl.runtime import Runtime

Advance = Callable[[int, int], None]


@torch.no_grad()
def extract_features(
    encoder: Encoder,
    store: ImageStore,
    runtime: Runtime,
    *,
    domain: str | None = None,
    batch_size: int = 256,
    progress: Advance | None = None,
) -> torch.Tensor:
    """The feature of each image of a store, in its order.

    The encoder is put in evaluation mode for this, and back in the mode it was in.

    Args:
        encoder: On the runtime's device.
        store: The images.
        runtime: Device and precision.
        domain: Whose batch norm is used; None: the encoder's own choice (the target's).
        batch_size: Images at a time.
        progress: Called with (images done, images in all).

    Returns:
        ``[len(store), D]`` float32 on the CPU, unit rows.
    """
    was_training, was_domain = encoder.training, encoder.evaluation_domain
    encoder.eval()
    if domain is not None:
        encoder.evaluation_domain = domain
    features = torch.empty(len(store), encoder.feature_dim)
    done = 0
    try:
        for images in _read_ahead(store, batch_size):
            inputs = test_transform(torch.from_numpy(images).to(runtime.device), encoder.mean, encoder.std)
            with runtime.autocast():
                encoded = encoder(inputs)
            features[done : done + len(images)] = encoded.float().cpu()
            done += len(images)
            if progress is not None:
                progress(done, len(store))
    finally:
        encoder.evaluation_domain = was_domain
        encoder.train(was_training)
    return features


def _read_ahead(store: ImageStore, batch_size: int) -> Iterator[NDArray[np.uint8]]:
    parts = [np.arange(at, min(at + batch_size, len(store))) for at in range(0, len(store), batch_size)]
    if not parts:
        return
    with ThreadPoolExecutor(max_workers=1) as reader:
        waiting = [reader.submit(store.read, part) for part in parts[:1]]
        for following in [*parts[1:], None]:
            images = waiting.pop().result()
            if following is not None:
                waiting.append(reader.submit(store.read, following))
            yield images
