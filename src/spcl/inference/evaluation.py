"""Evaluation of an encoder on queries and gallery: features, then the ranking by a protocol, then re-ranking."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from spcl.data.image_key import image_keys
from spcl.data.image_store import ImageStore
from spcl.data.msmt17_vehicleid import vehicleid_draw
from spcl.inference.extraction import broken_images, extract_features
from spcl.nn.encoder_network import EncoderNetwork
from spcl.records import Record, ReIDDataset, cameras_of, identities_of
from spcl.reporting.console import Reporter
from spcl.retrieval.matches import RankingLabels
from spcl.retrieval.ranking import RankingResult, SharedQueries, average_results, rank_features
from spcl.retrieval.rerank import rank_reranked
from spcl.retrieval.top_gallery import TopGallery, top_gallery
from spcl.runtime import Runtime

VEHICLEID_DRAWS = 10


@dataclass(frozen=True)
class EvaluationResult:
    """The result of an evaluation.

    Attributes:
        plain: The ranking by cosine distance.
        reranked: The ranking after k-reciprocal re-ranking; None if it was not requested.
        num_queries: Number of queries; ``plain.num_valid_queries`` of them have a match.
        num_gallery: Number of gallery images.
        broken: Paths of images that could not be read, and were ranked as grey images.
        hits: The gallery images most similar to each query, by row of the data set's gallery; None if they were not
            requested, or if the protocol draws several galleries.
        best_of: Where queries and gallery are tracks: the ranking by the two most similar images of two tracks; None
            for images, and for a protocol that draws several galleries.
        num_images: Number of images of the tracks; 0 if queries and gallery are images.
    """

    plain: RankingResult
    reranked: RankingResult | None
    num_queries: int
    num_gallery: int
    broken: tuple[str, ...]
    hits: TopGallery | None = None
    best_of: RankingResult | None = None
    num_images: int = 0

    def to_row(self) -> dict[str, Any]:
        """Give mAP and top-1/5/10 as fractions, the protocol, the number of valid queries and that of broken images."""
        row = _row(self.plain) | {
            "protocol": self.plain.protocol,
            "valid_queries": self.plain.num_valid_queries,
            "broken": len(self.broken),
        }
        if self.reranked is not None:
            row["reranked"] = _row(self.reranked)
        if self.num_images:
            row |= {"by": "track", "num_images": self.num_images}
        if self.best_of is not None:
            row["best_of"] = _row(self.best_of)
        return row


@dataclass(frozen=True, kw_only=True)
class RankingSettings:
    """How the images of an evaluation are encoded and ranked.

    Attributes:
        protocol: How matches count; None: the data set's protocol.
        rerank: Whether to evaluate a second time after k-reciprocal re-ranking.
        batch_size: Number of images encoded at a time.
        flip: Whether to average the features of each image and its mirror image.
        num_hits: Number of most similar gallery images to return for each query; 0: none.
    """

    protocol: str | None = None
    rerank: bool = False
    batch_size: int = 256
    flip: bool = False
    num_hits: int = 0


def evaluate_encoder(
    encoder: EncoderNetwork,
    dataset: ReIDDataset,
    store_of: Callable[[tuple[Record, ...]], ImageStore],
    runtime: Runtime,
    report: Reporter,
    settings: RankingSettings | None = None,
) -> EvaluationResult:
    """Evaluate an encoder on a data set's queries and gallery.

    Args:
        encoder: The network, on the runtime's device.
        dataset: A data set with queries and gallery.
        store_of: Function that gives the images of records; called once with all records.
        runtime: Device and precision.
        report: Receives progress, and warnings about images that cannot be read.
        settings: How images are encoded and ranked; None: the defaults.

    Raises:
        ValueError: If no query has a match.
    """
    settings = settings or RankingSettings()
    records = dataset.query + dataset.gallery
    features, broken = extracted(encoder, records, store_of, runtime, report, settings)
    result = ranked(features, dataset, runtime, report, settings)
    return replace(result, broken=tuple(str(records[row].path) for row in broken))


def extracted(
    encoder: EncoderNetwork,
    records: tuple[Record, ...],
    store_of: Callable[[tuple[Record, ...]], ImageStore],
    runtime: Runtime,
    report: Reporter,
    settings: RankingSettings,
) -> tuple[torch.Tensor, tuple[int, ...]]:
    """Give the features ``[N, D]`` of all images, and the rows of those that could not be read, with a warning."""
    store = store_of(records)
    with report.progress("evaluation: features") as advance:
        features = extract_features(
            encoder, store, runtime, batch_size=settings.batch_size, flip=settings.flip, progress=advance
        )
    broken = tuple(broken_images(store, runtime))
    if broken:
        listed = "; ".join(str(records[row].path) for row in broken[:5]) + (" ..." if broken[5:] else "")
        report.warn(f"{len(broken)} image(s) could not be read and are ranked as grey: {listed}")
    return features, broken


def ranked(
    features: torch.Tensor, dataset: ReIDDataset, runtime: Runtime, report: Reporter, settings: RankingSettings
) -> EvaluationResult:
    """Rank the gallery for each query.

    Args:
        features: ``[Q + G, D]`` features of the queries, then of the gallery.
        dataset: The queries and the gallery.
        runtime: Device and precision.
        report: Receives progress.
        settings: How they are ranked.

    Returns:
        EvaluationResult without broken images.

    Raises:
        ValueError: If no query has a match.
    """
    chosen = settings.protocol or dataset.protocol
    records = dataset.query + dataset.gallery
    num_unknown = sum(record.identity is None for record in dataset.query)
    if num_unknown:
        report.warn(f"{num_unknown} of {len(dataset.query)} queries have no identity and are left out of the figures")
    row_of = {id(record): row for row, record in enumerate(records)}
    results, reranked = [], []
    for query, gallery in _draws(dataset, chosen):
        query_rows, gallery_rows = (
            np.array([row_of[id(record)] for record in part], dtype=np.int64) for part in (query, gallery)
        )
        plain, better = _rate(features, records, query_rows, gallery_rows, chosen, settings.rerank, runtime, report)
        results.append(plain)
        reranked += [better] if better is not None else []
    hits = None
    if settings.num_hits and len(results) == 1:
        # One draw means that the data set's own queries and gallery are used.
        hits = _hits(features, records, query_rows, gallery_rows, chosen, settings.num_hits, runtime)
    return EvaluationResult(
        plain=results[0] if len(results) == 1 else average_results(results),
        reranked=None if not reranked else reranked[0] if len(reranked) == 1 else average_results(reranked),
        num_queries=len(dataset.query),
        num_gallery=len(dataset.gallery),
        broken=(),
        hits=hits,
    )


def _hits(
    features: torch.Tensor,
    records: tuple[Record, ...],
    query: NDArray[np.int64],
    gallery: NDArray[np.int64],
    protocol: str,
    num_hits: int,
    runtime: Runtime,
) -> TopGallery:
    """Find the most similar gallery images of each query; each process searches for its part of the queries."""
    identities, (cameras, protocol) = identities_of(records), left_out_by(records, protocol)
    part = runtime.part(len(query))
    own = query[part.start : part.stop]
    columns = features[torch.from_numpy(gallery)].to(runtime.device)
    found = top_gallery(
        features[torch.from_numpy(own)].to(runtime.device),
        columns,
        RankingLabels.checked(identities[own], identities[gallery], cameras[own], cameras[gallery], protocol=protocol),
        k=num_hits,
    )
    rows, similarities = (
        runtime.gather_parts(torch.from_numpy(values), len(query)).numpy()
        for values in (found.rows, found.similarities)
    )
    return TopGallery(rows, similarities)


def _draws(dataset: ReIDDataset, protocol: str) -> list[tuple[tuple[Record, ...], tuple[Record, ...]]]:
    """Give the queries and galleries to rank: those of the data set, or VehicleID's ten draws of a gallery."""
    if protocol != "vehicleid":
        return [(dataset.query, dataset.gallery)]
    return [vehicleid_draw(dataset.query + dataset.gallery, seed) for seed in range(VEHICLEID_DRAWS)]


def _rate(
    features: torch.Tensor,
    records: tuple[Record, ...],
    query: NDArray[np.int64],
    gallery: NDArray[np.int64],
    protocol: str,
    rerank: bool,
    runtime: Runtime,
    report: Reporter,
) -> tuple[RankingResult, RankingResult | None]:
    identities, (cameras, ranked_as) = identities_of(records), left_out_by(records, protocol)
    labels = RankingLabels.checked(
        identities[query], identities[gallery], cameras[query], cameras[gallery], protocol=ranked_as
    )
    rows, columns = features[torch.from_numpy(query)], features[torch.from_numpy(gallery)]
    part = runtime.part(len(rows))

    def join(figures: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(runtime.gather_parts(torch.from_numpy(figures), len(rows)).numpy())

    with report.progress("evaluation: ranking") as advance:
        plain = rank_features(
            rows,
            columns,
            labels,
            device=runtime.device,
            progress=advance,
            shared=SharedQueries(part, join),
        )
    plain = replace(plain, protocol=protocol)
    if not rerank:
        return plain, None
    on_device = rows.to(runtime.device), columns.to(runtime.device)
    with report.progress("evaluation: re-ranking") as advance:
        better = runtime.on_main(lambda: rank_reranked(*on_device, labels, progress=advance))
    return plain, replace(better, protocol=protocol)


def left_out_by(records: Sequence[Record], protocol: str) -> tuple[NDArray[np.int64], str]:
    """Give numbers of records, and a protocol, with which a query's own image never counts as a match.

    The protocol market1501 leaves out gallery images that have the query's identity and camera, and so the query's own
    image. With another protocol, if an image is both query and gallery, image numbers take the place of cameras.
    """
    if protocol == "market1501":
        return cameras_of(records), protocol
    keys = image_keys([record.path for record in records])
    if len(set(keys)) == len(keys):
        return cameras_of(records), protocol
    return np.unique(keys, return_inverse=True)[1].astype(np.int64), "market1501"


def _row(result: RankingResult) -> dict[str, float]:
    return {
        "mAP": result.mean_ap,
        "top1": result.top(1),
        "top5": result.top(5),
        "top10": result.top(10),
    }


def evaluation_lines(result: EvaluationResult, name: str) -> list[str]:
    """Describe an evaluation in lines of text, with its protocol and the number of queries that counted."""
    plain = result.plain
    queries, gallery = ("query tracks", "gallery tracks") if result.num_images else ("queries", "gallery images")
    lines = [
        f"{name}: protocol {plain.protocol}, {plain.num_valid_queries} of {result.num_queries} {queries} can match, "
        f"{result.num_gallery} {gallery}"
        + (f", mean of {VEHICLEID_DRAWS} draws of the gallery" if plain.protocol == "vehicleid" else "")
    ]
    of_tracks = " mean: one feature for each track" if result.num_images else ""
    for title, rated in (
        (of_tracks, plain),
        (f" after re-ranking{',' if of_tracks else ''}{of_tracks}", result.reranked),
        (" best-of: the two most similar images of two tracks", result.best_of),
    ):
        if rated is not None:
            lines.append(
                f"  mAP {100 * rated.mean_ap:.1f}%   top-1 {100 * rated.top(1):.1f}%   "
                f"top-5 {100 * rated.top(5):.1f}%   top-10 {100 * rated.top(10):.1f}%{title}"
            )
    return lines
