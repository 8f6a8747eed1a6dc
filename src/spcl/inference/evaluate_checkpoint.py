"""``spcl.evaluate``: from a checkpoint and a data set to mAP and top-k.

``evaluate_dataset.py`` uses the same steps, and also gives the results of single queries.
"""

from __future__ import annotations

from pathlib import Path

import torch

from spcl.data.catalogue import load_dataset
from spcl.data.folder_dataset import split_for_evaluation
from spcl.data.image_store import ImageStore
from spcl.errors import InputError
from spcl.inference.dataset_tracks import dataset_tracks, split_tracks_for_evaluation
from spcl.inference.embedding import Encoder, load_encoder
from spcl.inference.encode_options import EncodeOptions
from spcl.inference.evaluate_tracks import evaluate_tracks
from spcl.inference.evaluation import EvaluationResult, RankingSettings, evaluate_encoder
from spcl.inference.evaluation_request import EvaluationOptions, EvaluationRequest
from spcl.inference.query_checks import can_evaluate, check_queries
from spcl.nn.encoder_network import EncoderNetwork
from spcl.records import Record, ReIDDataset
from spcl.reporting.console import Reporter
from spcl.reporting.quiet_reporters import LoggingReporter
from spcl.runtime import Runtime


def evaluate(
    checkpoint: str | Path | Encoder,
    data: str | Path,
    *,
    protocol: str | None = None,
    rerank: bool = False,
    domain: str = "target",
    arch: str | None = None,
    options: EvaluationOptions | None = None,
) -> EvaluationResult:
    """Evaluate an encoder on the queries and the gallery of a data set. Prints nothing.

    Args:
        checkpoint: A checkpoint of spcl or of the official scripts, or an encoder.
        data: A registered name or a path; a labelled folder without queries is split into queries and gallery.
        protocol: How matches count: ``market1501``, ``vehicleid`` or ``no-camera``; None: the data set's protocol.
        rerank: Whether to evaluate a second time after k-reciprocal re-ranking.
        domain: Domain of the checkpoint whose batch norm is used: ``target`` or ``source``; an encoder has only one.
        arch: Architecture; needed only for a checkpoint that does not contain it.
        options: How images are found, read and encoded; None: the defaults.

    Returns:
        EvaluationResult; its ``plain`` is the ranking by cosine distance: ``plain.mean_ap`` and ``plain.top(1)`` are
        fractions.

    Raises:
        InputError: If the checkpoint or the data cannot be used, before any image is encoded.

    Cost: one pass over the images, and queries x gallery similarities.
    """
    _check_loaded_encoder(checkpoint, domain, arch)
    options = options or EvaluationOptions()
    request = EvaluationRequest(
        data,
        protocol=protocol,
        rerank=rerank,
        source=options.source,
        batch_size=options.batch_size,
        on_broken=options.on_broken,
        num_hits=options.num_hits,
        by=options.by,
        encoding=EncodeOptions(
            flip=options.flip, workers=options.workers, device=options.device, precision=options.precision
        ),
    )
    runtime = request.encoding.runtime()

    def inputs() -> tuple[ReIDDataset, EncoderNetwork]:
        dataset = dataset_to_evaluate(request)
        encoder = checkpoint
        if not isinstance(encoder, Encoder):
            encoder = load_encoder(encoder, arch=arch, domain=domain)
        return dataset, encoder.network

    dataset, network = runtime.together(inputs)
    return evaluate_network(network, dataset, request, runtime, LoggingReporter())


def _check_loaded_encoder(checkpoint: str | Path | Encoder, domain: str, arch: str | None) -> None:
    """Raise an ``InputError`` if an encoder is given with options that are used when a checkpoint is loaded."""
    if isinstance(checkpoint, Encoder) and (arch is not None or domain not in ("target", checkpoint.domain)):
        option = f"arch={arch!r}" if arch is not None else f"domain={domain!r}"
        raise InputError(
            f"{option} is for a checkpoint, and a loaded encoder is given: give the checkpoint, or give {option} to "
            "load_encoder",
            code="option-does-not-apply",
        )


def dataset_to_evaluate(request: EvaluationRequest) -> ReIDDataset:
    """Read the data set of an evaluation and check that its queries can match.

    Raises:
        InputError: If the data set cannot be read, or no query can match.
    """
    skip = request.on_broken == "skip"
    dataset = load_dataset(str(request.data), keep_missing=skip, labelled=True, options=request.source)
    is_by_track = request.by == "track"
    if not can_evaluate(dataset):
        dataset = split_tracks_for_evaluation(dataset) if is_by_track else split_for_evaluation(dataset)
    entries = dataset_tracks(dataset).dataset if is_by_track else dataset
    check_queries(entries, request.protocol or dataset.protocol)
    return dataset


def evaluate_network(
    network: EncoderNetwork, dataset: ReIDDataset, request: EvaluationRequest, runtime: Runtime, report: Reporter
) -> EvaluationResult:
    """Evaluate a network of one domain on a data set.

    Args:
        network: Folded network, with plain batch norm; it is copied to the runtime's device.
        dataset: The data set, from ``dataset_to_evaluate``.
        request: How images are read, encoded and ranked.
        runtime: Device and precision.
        report: Receives progress and warnings.
    """
    settings = network.settings

    def store_of(records: tuple[Record, ...]) -> ImageStore:
        # Each image is read once: keeping it in memory would save nothing.
        return ImageStore(
            records,
            size=(settings.height, settings.width),
            on_broken=request.on_broken,
            memory=0,
            num_threads=request.encoding.workers,
            pixel_range=settings.pixel_range,
        )

    return (evaluate_tracks if request.by == "track" else evaluate_encoder)(
        network.folded().to(runtime.device).to(memory_format=torch.channels_last).eval(),
        dataset,
        store_of,
        runtime,
        report,
        RankingSettings(
            protocol=request.protocol,
            rerank=request.rerank,
            batch_size=request.batch_size,
            flip=request.encoding.flip,
            num_hits=request.num_hits,
        ),
    )
