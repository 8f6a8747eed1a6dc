"""Features of many images, in evaluation mode and large batches; the next batch is read while one is encoded.

Several processes take a part of the images each.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from spcl.data.image_store import ImageStore, ReadsImages
from spcl.data.normalise import test_transform
from spcl.errors import InputError, require
from spcl.nn.encoder_network import EncoderNetwork
from spcl.nn.evaluation_mode import encoded_rows, evaluation_mode
from spcl.runtime import Runtime

Advance = Callable[[int, int], None]

_PIECE = 32
"""Number of images that are read between two checks of whether reading was cancelled."""


@torch.no_grad()
def extract_features(
    encoder: EncoderNetwork,
    store: ReadsImages,
    runtime: Runtime,
    *,
    domain: str | None = None,
    batch_size: int = 256,
    flip: bool = False,
    rows: range | None = None,
    progress: Advance | None = None,
) -> torch.Tensor:
    """Extract the feature of each image of a store, in the order of the store.

    The encoder is set to evaluation mode, and back to its mode afterwards.

    Args:
        encoder: The network, on the runtime's device.
        store: The images.
        runtime: Device and precision.
        domain: Domain whose batch norm is used; None: the encoder's default (the target).
        batch_size: Number of images encoded at a time.
        flip: Whether to average the features of each image and its mirror image.
        rows: Consecutive rows of the images to encode; None: all.
        progress: Called with (images done, all images).

    Returns:
        ``[len(rows), D]`` float32 on the CPU, unit rows, on every process.

    Raises:
        InputError: If ``batch_size`` is below 1, or features are not finite.
    """
    checked_batch_size(batch_size)
    wanted = range(len(store)) if rows is None else rows
    was_domain = encoder.evaluation_domain
    if domain is not None:
        encoder.evaluation_domain = domain
    part = runtime.part(len(wanted))
    own = range(wanted.start + part.start, wanted.start + part.stop)
    features = torch.empty(len(own), encoder.feature_dim)
    done = 0
    try:
        with evaluation_mode(encoder):
            for images in _read_ahead(store, own, batch_size):
                pixels = torch.from_numpy(images).to(runtime.device)
                encoded = _encoded(encoder, pixels, runtime)
                if flip:
                    # The mean of an image and its mirror image.
                    encoded = F.normalize(encoded + _encoded(encoder, pixels.flip(2), runtime), dim=1)
                features[done : done + len(images)] = finite_features(encoded.cpu())
                done += len(images)
                if progress is not None:
                    progress(done, len(own))
    finally:
        encoder.evaluation_domain = was_domain
    return runtime.gather_parts(features, len(wanted))


def extract_in_parts(
    encoder: EncoderNetwork,
    store: ImageStore,
    runtime: Runtime,
    *,
    domain: str | None = None,
    batch_size: int = 256,
    part: int = 64 * 256,
    progress: Advance | None = None,
) -> Iterator[tuple[range, torch.Tensor]]:
    """Extract features as ``extract_features`` does, in parts: memory is that of a part, for any number of images.

    Yields:
        The rows of a part, and their features.
    """
    for start in range(0, len(store), part):
        rows = range(start, min(start + part, len(store)))

        def advance(done: int, total: int, rows: range = rows) -> None:
            if progress is not None:
                # The progress of this process's share is shown as that of the part.
                progress(rows.start + done * len(rows) // max(1, total), len(store))

        yield (
            rows,
            extract_features(
                encoder, store, runtime, domain=domain, batch_size=batch_size, rows=rows, progress=advance
            ),
        )


def checked_batch_size(batch_size: int) -> int:
    """Give the batch size, or raise an ``InputError`` if it is below 1."""
    require(batch_size >= 1, "batch_size", batch_size, "at least 1")
    return batch_size


def finite_features(features: torch.Tensor) -> torch.Tensor:
    """Give the features, or raise an ``InputError`` if one is NaN or infinite, as after a training that diverged."""
    if not bool(features.isfinite().all()):
        raise InputError(
            "the encoder gives features that are not finite (NaN or infinite): its weights have diverged, or values "
            "exceed what half precision holds. Take an earlier checkpoint, or --precision fp32",
            code="not-finite",
        )
    return features


def broken_images(store: ImageStore, runtime: Runtime) -> dict[int, str]:
    """Give the row numbers of images that any process could not read, ascending, with the reasons."""
    together = {row: why for broken in runtime.gather_objects(store.broken) for row, why in broken.items()}
    return dict(sorted(together.items()))


def _encoded(encoder: EncoderNetwork, pixels: torch.Tensor, runtime: Runtime) -> torch.Tensor:
    inputs = test_transform(pixels, encoder.mean, encoder.std)
    with runtime.autocast():
        return encoded_rows(encoder, inputs)


def _read_ahead(store: ReadsImages, rows: range, batch_size: int) -> Iterator[NDArray[np.uint8]]:
    parts = [np.arange(at, min(at + batch_size, rows.stop)) for at in range(rows.start, rows.stop, batch_size)]
    if not parts:
        return
    stopped = threading.Event()

    def read(part: NDArray[np.int64]) -> NDArray[np.uint8]:
        pieces = [store.read(part[:_PIECE])]
        for at in range(_PIECE, len(part), _PIECE):
            # Do not wait for pending reads: the user may have pressed Ctrl-C.
            if stopped.is_set():
                break
            pieces.append(store.read(part[at : at + _PIECE]))
        return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)

    with ThreadPoolExecutor(max_workers=1) as reader:
        try:
            waiting = [reader.submit(read, part) for part in parts[:1]]
            for following in [*parts[1:], None]:
                images = waiting.pop().result()
                if following is not None:
                    waiting.append(reader.submit(read, following))
                yield images
        finally:
            stopped.set()
