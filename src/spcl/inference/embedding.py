"""From an encoder and images to features: what users do with a trained encoder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spcl.data.image_store import ImageStore, OnBroken
from spcl.errors import InputError
from spcl.inference.encoder import SMALL_IMAGENET_ARCH, Encoder, ImageLike, imagenet_encoder, load_encoder
from spcl.inference.extraction import broken_images, extract_features
from spcl.pixel_range import PixelRange
from spcl.records import Record
from spcl.reporting.console import Advance, Reporter, SilentReporter
from spcl.runtime import Runtime
from spcl.threads import NumThreads

__all__ = [
    "SMALL_IMAGENET_ARCH",
    "EmbeddedImages",
    "Encoder",
    "ImageLike",
    "embed_parts",
    "embed_records",
    "imagenet_encoder",
    "load_encoder",
]


@dataclass(frozen=True)
class EmbeddedImages:
    """Images that were read, and their features.

    Attributes:
        records: Records of the images that could be read, in the order given.
        features: ``[len(records), D]`` float32, unit rows.
        broken: Path and reason of each image that could not be read.
        num_stretched: Images of more than 8 bits whose values were stretched: see ``pixel_range.py``.
    """

    records: tuple[Record, ...]
    features: NDArray[np.float32]
    broken: tuple[tuple[Path, str], ...] = field(default=())
    num_stretched: int = 0


def embed_records(
    encoder: Encoder,
    records: Sequence[Record],
    *,
    runtime: Runtime | None = None,
    report: Reporter | None = None,
    on_broken: OnBroken = "skip",
    num_threads: NumThreads = "auto",
    flip: bool = False,
    name: str = "features",
) -> EmbeddedImages:
    """Features of many images, with progress; one that cannot be read never ends the job.

    Args:
        encoder: The encoder; it is moved to the runtime's device.
        records: Records of the images.
        runtime: Device and precision; None: the CPU.
        report: Receives progress.
        on_broken: ``skip``: images that cannot be read are left out and listed; ``error``: the first one raises.
        num_threads: Number of threads that decode; ``auto``: as many as compute; 0: the calling thread decodes.
        flip: Whether to average the features of each image and its mirror image.
        name: Name of the stage in progress reports.

    Raises:
        InputError: If none of the images can be read.
    """
    whole = embed_parts(
        encoder,
        records,
        part=max(1, len(records)),
        runtime=runtime,
        report=report,
        on_broken=on_broken,
        num_threads=num_threads,
        flip=flip,
        name=name,
    )
    (result,) = whole
    return result


def embed_parts(
    encoder: Encoder,
    records: Sequence[Record],
    *,
    part: int = 4096,
    runtime: Runtime | None = None,
    report: Reporter | None = None,
    on_broken: OnBroken = "skip",
    num_threads: NumThreads = "auto",
    flip: bool = False,
    name: str = "features",
) -> Iterator[EmbeddedImages]:
    """As ``embed_records``, a part of the images after the other: memory for one part, whatever their number.

    Args:
        encoder: The encoder; it is moved to the runtime's device.
        records: Records of the images.
        part: Images whose features are given at a time.
        runtime: Device and precision; None: the CPU.
        report: Receives the progress over all images.
        on_broken: ``skip`` or ``error``.
        num_threads: Number of threads that decode; ``auto``: as many as compute; 0: the calling thread decodes.
        flip: Whether to average the features of each image and its mirror image.
        name: Name of the stage in progress reports.

    Yields:
        The images and features of each part; a part whose images are all broken has none.

    Raises:
        InputError: After the last part, if none of all the images could be read.
    """
    report = report or SilentReporter()
    runtime = runtime or Runtime("cpu")
    encoder.to(runtime.device)
    first_broken, num_read, num_stretched = None, 0, 0
    with report.progress(name) as advance:
        for at in range(0, max(1, len(records)), part):
            some = records[at : at + part]

            def advance_part(done: int, total: int, at: int = at) -> None:
                advance(at + done, len(records))

            embedded = _embed_part(encoder, some, runtime, on_broken, num_threads, flip, advance_part)
            num_read += len(embedded.records)
            num_stretched += embedded.num_stretched
            first_broken = first_broken or next(iter(embedded.broken), None)
            if first_broken and not num_read and at + len(some) == len(records):
                raise InputError(
                    f"none of the {len(records)} images can be read; the first, {first_broken[0]}: {first_broken[1]}"
                )
            yield embedded
    if num_stretched:
        report.say(PixelRange.parse(encoder.network.settings.pixel_range).words(num_stretched))


def _embed_part(
    encoder: Encoder,
    records: Sequence[Record],
    runtime: Runtime,
    on_broken: OnBroken,
    num_threads: NumThreads,
    flip: bool,
    progress: Advance,
) -> EmbeddedImages:
    # Each image is read once here: nothing is gained by keeping it.
    store = ImageStore(
        records,
        size=(encoder.size[0], encoder.size[1]),
        on_broken=on_broken,
        memory=0,
        num_threads=num_threads,
        pixel_range=encoder.network.settings.pixel_range,
    )
    features = extract_features(
        encoder.network, store, runtime, batch_size=encoder.batch_size(), flip=flip, progress=progress
    ).numpy()
    broken = broken_images(store, runtime)
    is_good = np.ones(len(records), dtype=np.bool_)
    is_good[list(broken)] = False
    return EmbeddedImages(
        records=tuple(record for record, good in zip(records, is_good, strict=True) if good),
        features=features if not broken else features[is_good],
        broken=tuple((records[row].path, reason) for row, reason in broken.items()),
        num_stretched=store.num_stretched,
    )
