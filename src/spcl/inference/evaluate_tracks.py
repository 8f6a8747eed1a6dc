"""Evaluation with a track as query and as gallery entry, in the place of an image.

Two rankings are measured: ``mean``, by the fused feature of each track (``retrieval/track_features.py``), and
``best-of``, by the two most similar images of two tracks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from spcl.data.image_store import ImageStore
from spcl.inference.dataset_tracks import DatasetTracks, dataset_tracks
from spcl.inference.evaluation import EvaluationResult, RankingSettings, extracted, left_out_by, ranked
from spcl.nn.encoder_network import EncoderNetwork
from spcl.records import Record, ReIDDataset, identities_of
from spcl.reporting.console import Reporter
from spcl.retrieval.ranking import RankingResult, rank_metrics
from spcl.retrieval.track_features import track_features, track_similarities
from spcl.runtime import Runtime

_WEIGHT_OF_BROKEN = 1e-9


def evaluate_tracks(
    encoder: EncoderNetwork,
    dataset: ReIDDataset,
    store_of: Callable[[tuple[Record, ...]], ImageStore],
    runtime: Runtime,
    report: Reporter,
    settings: RankingSettings,
) -> EvaluationResult:
    """Evaluate an encoder on the tracks of a data set's queries and gallery.

    Args:
        encoder: The network, on the runtime's device.
        dataset: A data set with queries and gallery.
        store_of: Function that gives the images of records; called once with all records.
        runtime: Device and precision.
        report: Receives progress, and warnings about images that cannot be read.
        settings: How images are encoded and ranked.

    Returns:
        EvaluationResult of the fused features, with ``best_of``; its hits are rows of the gallery's tracks.

    Raises:
        InputError: If no image has a track.
        ValueError: If no query has a match.
    """
    whole = dataset_tracks(dataset)
    records = dataset.query + dataset.gallery
    features, broken = extracted(encoder, records, store_of, runtime, report, settings)
    # An image that cannot be read counts only in a track of such images.
    quality = np.ones(len(records))
    quality[list(broken)] = _WEIGHT_OF_BROKEN
    fused = track_features(features.numpy(), whole.tracks, quality).features
    result = ranked(torch.from_numpy(fused), whole.dataset, runtime, report, settings)
    best_of = None
    if (settings.protocol or dataset.protocol) != "vehicleid":
        best_of = _best_of(features.numpy(), whole, settings.protocol or dataset.protocol)
    return replace(
        result,
        broken=tuple(str(records[row].path) for row in broken),
        best_of=best_of,
        num_images=whole.num_images,
    )


def _best_of(features: NDArray[np.float32], whole: DatasetTracks, protocol: str) -> RankingResult:
    """Rank by the two most similar images of each pair of a query track and a gallery track."""
    dataset, num = whole.dataset, len(whole.dataset.query)
    is_query = whole.tracks < num
    similarities = track_similarities(
        features[is_query], whole.tracks[is_query], features[~is_query], whole.tracks[~is_query] - num
    )
    records = dataset.query + dataset.gallery
    identities, (cameras, ranked_as) = identities_of(records), left_out_by(records, protocol)
    found = rank_metrics(
        1.0 - similarities,
        identities[:num],
        identities[num:],
        cameras[:num],
        cameras[num:],
        protocol=ranked_as,
    )
    return replace(found, protocol=protocol)
