"""A user's crops, ready to be grouped: an encoder for them, their features, their nearest neighbours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from spcl.engine.embed import EmbeddedImages, Encoder, embed_records
from spcl.engine.encode_options import EncoderChoice
from spcl.engine.encoder_choice import chosen_encoder
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


def embed_and_search(
    records: Sequence[Record],
    *,
    choice: EncoderChoice,
    k1: int | Literal["auto"],
    min_samples: int,
    workers: NumThreads,
    runtime: Runtime,
    report: Reporter,
    memory_flags: Sequence[str] = (),
) -> SearchedImages:
    """Features of images and their nearest neighbours, as many as suggesting and grouping need.

    ``choice`` is what the user said of the encoder, ``memory_flags`` are those of the caller that need less memory, for
    the error where it is short.

    Raises:
        InputError: If there is no usable encoder, no image can be read, or so many do not fit in memory.
    """
    encoder = chosen_encoder(choice, lambda: records, report=report)
    if choice.checkpoint:
        report.say(f"encoder: {choice.checkpoint}, images of {encoder.size[0]} x {encoder.size[1]}")
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
