"""A user's crops, ready to be grouped: an encoder for them, their features, their nearest neighbours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from spcl.grouping.eps_choice import Suggestion, searched, suggest
from spcl.grouping.first_compilation import compile_label_stage
from spcl.grouping.groups import Groups, cluster
from spcl.grouping.label_stage import LabelStage, check_label_stage
from spcl.inference.embedding import EmbeddedImages, EmbedSettings, Encoder, embed_records
from spcl.inference.encode_options import EncodeOptions
from spcl.inference.encoder_choice import chosen_encoder
from spcl.neighbours.nearest import nearest_neighbours
from spcl.pairs.constraints import PairConstraints
from spcl.pairs.known_pairs import KnownPairs
from spcl.records import Record
from spcl.reporting.console import Reporter
from spcl.runtime import Runtime


@dataclass(frozen=True)
class SearchedImages:
    """Images with their features and nearest neighbours.

    Attributes:
        encoder: Encoder of the features.
        images: Those that could be read, ``[N]``, and those that could not.
        neighbours: ``[N, k]`` int64, nearest first, the image itself among them.
    """

    encoder: Encoder
    images: EmbeddedImages
    neighbours: NDArray[np.int64]


def embed_and_search(
    records: Sequence[Record],
    *,
    encoding: EncodeOptions,
    k1: int | Literal["auto"],
    min_samples: int,
    runtime: Runtime,
    report: Reporter,
    memory_flags: Sequence[str] = (),
) -> SearchedImages:
    """Features of images and their nearest neighbours, as many as suggesting and grouping need.

    Args:
        records: The images.
        encoding: The encoder and the options of reading images.
        k1: Neighbours that are to be looked at.
        min_samples: About the least number of images of a group.
        runtime: Device and precision.
        report: Receives progress.
        memory_flags: Flags of the command line that need less memory, for the error where it is short.

    Raises:
        InputError: If there is no usable encoder, no image can be read, or so many do not fit in memory.
    """
    encoder = chosen_encoder(encoding.encoder, lambda: records, report=report)
    if encoding.encoder.checkpoint:
        report.say(f"encoder: {encoding.encoder.checkpoint}, images of {encoder.size[0]} x {encoder.size[1]}")
    width = searched(k1, min_samples)
    stage = LabelStage(len(records), encoder.feature_dim, k1=width)
    check_label_stage(stage, runtime=runtime, flags=memory_flags, report=report)
    images = embed_records(encoder, records, EmbedSettings.of(encoding, runtime), report=report)
    return searched_neighbours(encoder, images, width, runtime=runtime, report=report)


def searched_neighbours(
    encoder: Encoder, images: EmbeddedImages, width: int, *, runtime: Runtime, report: Reporter
) -> SearchedImages:
    """Find the ``width`` nearest neighbours of images that are embedded, and compile the label stage.

    Args:
        encoder: Encoder of the features.
        images: The images and their features.
        width: Neighbours of each image, from ``eps_choice.searched``.
        runtime: Device of the search.
        report: Receives progress.
    """
    compile_label_stage(report)
    with report.progress("neighbours") as advance:
        neighbours = nearest_neighbours(
            torch.from_numpy(images.features), width, device=runtime.device, progress=advance
        ).indices
    return SearchedImages(encoder, images, neighbours)


@dataclass(frozen=True)
class GroupSettings:
    """Settings of a grouping.

    Attributes:
        eps: Largest distance inside a group; auto: suggested by the images.
        k1: Neighbours looked at; auto: suggested by the images.
        k2: Neighbours averaged over; auto: goes with k1.
        min_samples: About the least number of images of a group.
    """

    eps: float | Literal["auto"] = "auto"
    k1: int | Literal["auto"] = "auto"
    k2: int | Literal["auto"] = "auto"
    min_samples: int = 4


def groups_under_pairs(
    searched: SearchedImages, known: KnownPairs, settings: GroupSettings, report: Reporter
) -> Groups:
    """Choose the settings that are not given, and group the images under their known pairs."""
    suggestion = suggestion_for(
        searched,
        eps=settings.eps,
        k1=settings.k1,
        k2=settings.k2,
        min_samples=settings.min_samples,
        report=report,
        constraints=PairConstraints.of(len(searched.images.records), known.must_link, known.cannot_link),
    )
    groups = cluster(
        searched.images.features,
        eps=suggestion.eps,
        k1=suggestion.k1,
        k2=suggestion.k2,
        min_samples=settings.min_samples,
        neighbours=searched.neighbours,
        must_link=known.must_link,
        cannot_link=known.cannot_link,
    )
    return replace(groups, suggestion=suggestion)


def suggestion_for(
    searched: SearchedImages,
    *,
    eps: float | Literal["auto"] = "auto",
    k1: int | Literal["auto"] = "auto",
    k2: int | Literal["auto"] = "auto",
    min_samples: int,
    report: Reporter,
    constraints: PairConstraints | None = None,
) -> Suggestion:
    """Settings that fit the images; what is given is kept. Arguments as of ``suggest``."""
    with report.progress("trying settings") as advance:
        return suggest(
            searched.images.features,
            eps=eps,
            k1=k1,
            k2=k2,
            min_samples=min_samples,
            neighbours=searched.neighbours,
            progress=advance,
            constraints=constraints,
        )
