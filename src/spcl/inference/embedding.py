"""Features of the images of a list of records, with progress; images that cannot be read are listed, not raised."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from spcl.data.image_store import ImageStore, OnBroken
from spcl.errors import InputError
from spcl.inference.encode_options import ComputeOptions
from spcl.inference.encoder import SMALL_IMAGENET_ARCH, Encoder, ImageLike, imagenet_encoder, load_encoder
from spcl.inference.extraction import broken_images, extract_features
from spcl.pixel_range import PixelRange
from spcl.records import Record
from spcl.reporting.console import Advance, Reporter
from spcl.reporting.quiet_reporters import LoggingReporter
from spcl.runtime import Runtime
from spcl.short_repr import with_short_repr
from spcl.threads import NumThreads

__all__ = [
    "SMALL_IMAGENET_ARCH",
    "EmbedSettings",
    "EmbeddedImages",
    "Encoder",
    "ImageLike",
    "embed_parts",
    "embed_records",
    "imagenet_encoder",
    "load_encoder",
]


@with_short_repr
@dataclass(frozen=True)
class EmbeddedImages:
    """Images that were read, and their features.

    Attributes:
        records: Records of the images that could be read, in the order given.
        features: ``[len(records), D]`` float32, unit rows.
        broken: Path and reason of each image that could not be read.
        num_stretched: Number of images of more than 8 bits whose values were stretched (``pixel_range.py``).
        num_reduced: Number of images among them of which only the upper 8 bits of a channel could be read.
    """

    records: tuple[Record, ...]
    features: NDArray[np.float32]
    broken: tuple[tuple[Path, str], ...] = field(default=())
    num_stretched: int = 0
    num_reduced: int = 0


@dataclass(frozen=True, kw_only=True)
class EmbedSettings:
    """How many images are read and encoded.

    Attributes:
        runtime: Device and precision; None: the CPU.
        flip: Whether to average the features of each image and its mirror image.
        num_threads: Number of threads that decode; ``auto``: as many as compute; 0: the calling thread decodes.
        on_broken: ``skip``: images that cannot be read are left out and listed; ``error``: the first one raises.
    """

    runtime: Runtime | None = None
    flip: bool = False
    num_threads: NumThreads = "auto"
    on_broken: OnBroken = "skip"

    @property
    def device(self) -> torch.device:
        """The device of the runtime."""
        return torch.device("cpu") if self.runtime is None else self.runtime.device

    @classmethod
    def of(cls, options: ComputeOptions, runtime: Runtime) -> EmbedSettings:
        """Take the user's options, with the runtime that was made of them."""
        return cls(runtime=runtime, flip=options.flip, num_threads=options.workers)


def embed_records(
    encoder: Encoder,
    records: Sequence[Record],
    settings: EmbedSettings | None = None,
    *,
    report: Reporter | None = None,
    name: str = "features",
) -> EmbeddedImages:
    """Compute the features of many images, with progress.

    Args:
        encoder: The encoder; it is moved to the runtime's device.
        records: Records of the images.
        settings: How the images are read and encoded; None: the defaults.
        report: Receives progress.
        name: Name of the stage in progress reports.

    Raises:
        InputError: If none of the images can be read.
    """
    parts = embed_parts(encoder, records, settings, part=max(1, len(records)), report=report, name=name)
    (result,) = parts
    return result


def embed_parts(
    encoder: Encoder,
    records: Sequence[Record],
    settings: EmbedSettings | None = None,
    *,
    part: int = 4096,
    report: Reporter | None = None,
    name: str = "features",
) -> Iterator[EmbeddedImages]:
    """Compute features as ``embed_records`` does, in parts: memory is that of one part, for any number of images.

    Args:
        encoder: The encoder; it is moved to the runtime's device.
        records: Records of the images.
        settings: How the images are read and encoded; None: the defaults.
        part: Number of images in a part.
        report: Receives the progress over all images.
        name: Name of the stage in progress reports.

    Yields:
        The images and features of each part; a part whose images are all broken has none.

    Raises:
        InputError: After the last part, if none of all the images could be read.
    """
    settings = settings or EmbedSettings()
    report = report or LoggingReporter()
    encoder.to(settings.device)

    def parts(advance: Advance) -> Iterator[EmbeddedImages]:
        for at in range(0, max(1, len(records)), part):

            def advance_part(done: int, total: int, at: int = at) -> None:
                advance(at + done, len(records))

            yield embed_part(encoder, records[at : at + part], settings, progress=advance_part)

    with report.progress(name) as advance:
        yield from with_counts(parts(advance), encoder, len(records), report)


def with_counts(
    parts: Iterator[EmbeddedImages], encoder: Encoder, num_images: int, report: Reporter
) -> Iterator[EmbeddedImages]:
    """Pass parts on, and say at the end how many images of more than 8 bits were stretched.

    Raises:
        InputError: In place of the last part, if none of all the images could be read.
    """
    first_broken, num_read, num_done, num_stretched, num_reduced = None, 0, 0, 0, 0
    for embedded in parts:
        num_read += len(embedded.records)
        num_done += len(embedded.records) + len(embedded.broken)
        num_stretched += embedded.num_stretched
        num_reduced += embedded.num_reduced
        first_broken = first_broken or next(iter(embedded.broken), None)
        if first_broken and not num_read and num_done == num_images:
            raise InputError(
                f"none of the {num_images} images can be read; the first, {first_broken[0]}: {first_broken[1]}",
                code="no-readable-images",
            )
        yield embedded
    if num_stretched:
        report.say(PixelRange.parse(encoder.network.settings.pixel_range).words(num_stretched, num_reduced))


def embed_part(
    encoder: Encoder,
    records: Sequence[Record],
    settings: EmbedSettings,
    *,
    batch_size: int | None = None,
    progress: Advance | None = None,
) -> EmbeddedImages:
    """Compute the features of some images, without a word: those that cannot be read are listed.

    Args:
        encoder: The encoder, on the settings' device.
        records: Records of the images.
        settings: How the images are read and encoded.
        batch_size: Number of images encoded at a time; None: the encoder's default on its device.
        progress: Called with (images done, all images).
    """
    runtime = settings.runtime or Runtime("cpu")
    # Each image is read once here: nothing is gained by keeping it.
    store = ImageStore(
        records,
        size=encoder.size,
        on_broken=settings.on_broken,
        memory=0,
        num_threads=settings.num_threads,
        pixel_range=encoder.network.settings.pixel_range,
    )
    together = encoder.batch_size() if batch_size is None else batch_size
    features = extract_features(
        encoder.network, store, runtime, batch_size=together, flip=settings.flip, progress=progress
    ).numpy()
    broken = broken_images(store, runtime)
    is_good = np.ones(len(records), dtype=np.bool_)
    is_good[list(broken)] = False
    return EmbeddedImages(
        records=tuple(record for record, good in zip(records, is_good, strict=True) if good),
        features=features if not broken else features[is_good],
        broken=tuple((records[row].path, reason) for row, reason in broken.items()),
        num_stretched=store.num_stretched,
        num_reduced=store.num_reduced,
    )
