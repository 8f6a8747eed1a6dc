"""A user's crops, ready to be grouped: an encoder for them, their features, their nearest neighbours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from spcl.data.crop_shapes import crop_shape
from spcl.engine.embed import EmbeddedImages, Encoder, embed_records, imagenet_encoder, load_encoder
from spcl.engine.journal import Reporter
from spcl.engine.label_stage import check_label_stage
from spcl.records import Record
from spcl.retrieval.neighbours import nearest_neighbours
from spcl.runtime import Runtime
from spcl.selfpaced.suggestion import searched
from spcl.threads import NumThreads


@dataclass(frozen=True)
class SearchedImages:
    """Images with their features and nearest neighbours.

    Attributes:
        encoder: That made the features.
        images: Those that could be read, ``[N]``, and those that could not.
        neighbours: ``[N, k]`` int64, nearest first, the image itself among them.
    """

    encoder: Encoder
    images: EmbeddedImages
    neighbours: NDArray[np.int64]


def encoder_for_images(
    records: Sequence[Record],
    checkpoint: str | Path | None,
    *,
    arch: str,
    pretrained: str = "auto",
    domain: str = "target",
    report: Reporter,
) -> Encoder:
    """An encoder, and a word on it.

    Args:
        records: Whose images it is for; their shape decides the size where there is no checkpoint.
        checkpoint: Ours or an official one; None: none is at hand.
        arch: The network without a checkpoint; with one, its network where it does not tell (empty: it does).
        pretrained: Weights of the network without a checkpoint: ``auto``, ``none`` or a file.
        domain: Whose batch norm is used, with a checkpoint.
        report: Told what is used and why.

    Raises:
        InputError: If the checkpoint or the weights cannot be used; says what to do.
    """
    if checkpoint:
        encoder = load_encoder(checkpoint, arch=arch or None, domain=domain)
        report.say(f"encoder: {checkpoint}, images of {encoder.size[0]} x {encoder.size[1]}")
        return encoder
    shape = crop_shape(records)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # random weights, where they are asked for, are the same each time
        encoder = imagenet_encoder(arch, pretrained=pretrained, size=shape.size)
    weights = "random weights, which tell little" if pretrained == "none" else "ImageNet weights"
    report.say(f"encoder: {arch}, {weights}; {shape.reason}")
    return encoder


def embed_and_search(
    records: Sequence[Record],
    *,
    checkpoint: str,
    arch: str,
    pretrained: str,
    domain: str,
    k1: int | Literal["auto"],
    min_samples: int,
    workers: NumThreads,
    runtime: Runtime,
    report: Reporter,
    memory_flags: Sequence[str] = (),
) -> SearchedImages:
    """Features of images and their nearest neighbours, as many as suggesting and grouping need.

    ``memory_flags`` are those of the caller that need less memory, for the error where it is short.

    Raises:
        InputError: If there is no usable encoder, no image can be read, or so many do not fit in memory.
    """
    encoder = encoder_for_images(
        records, checkpoint or None, arch=arch, pretrained=pretrained, domain=domain, report=report
    )
    width = searched(k1, min_samples)
    check_label_stage(
        len(records),
        encoder.feature_dim,
        k1=width,
        engine="auto",
        runtime=runtime,
        flags=memory_flags,
        report=report,
    )
    images = embed_records(encoder, records, runtime=runtime, report=report, num_threads=workers)
    with report.progress("neighbours") as advance:
        neighbours = nearest_neighbours(
            torch.from_numpy(images.features), width, device=runtime.device, progress=advance
        ).indices
    return SearchedImages(encoder, images, neighbours)
