"""Evaluation as a function: from a checkpoint and a data set to mAP and top-k."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch

from spcl.data.catalogue import load_dataset
from spcl.data.folder_dataset import split_for_evaluation
from spcl.data.image_store import ImageStore
from spcl.data.source_options import SourceOptions
from spcl.inference.embedding import Encoder, load_encoder
from spcl.inference.evaluation import EvaluationResult, evaluate_encoder
from spcl.inference.query_checks import can_evaluate, check_queries
from spcl.nn.encoder_network import EncoderNetwork
from spcl.records import Record, ReIDDataset
from spcl.reporting.console import Reporter, SilentReporter
from spcl.runtime import Runtime


@dataclass(frozen=True)
class EvaluationOptions:
    """Options of ``evaluate``: how images are found, read and encoded.

    Attributes:
        source: How the images are found, and which columns are read.
        batch_size: Number of images encoded at a time.
        flip: Whether to average the features of each image and its mirror image, in twice the time.
        workers: Number of threads that decode images; ``auto``: as many as compute; 0: decode in the main thread.
        device: Device of the network: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
        precision: Precision of the network: ``fp32``, ``bf16`` or ``fp16``.
        on_broken: Handling of images that cannot be read: ``error`` ends the evaluation, ``skip`` lists them and ranks
            them as grey images.
        num_hits: Number of most similar gallery images to return for each query; 0: none.
    """

    source: SourceOptions = field(default_factory=SourceOptions)
    batch_size: int = 256
    flip: bool = False
    workers: int | Literal["auto"] = "auto"
    device: str = "auto"
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    on_broken: Literal["error", "skip"] = "error"
    num_hits: int = 0


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
    """Rate an encoder on the queries and the gallery of a data set. Prints nothing.

    Args:
        checkpoint: A checkpoint of ours or of the official scripts, or an encoder.
        data: A registered name or a path; a labelled folder without queries is split into queries and gallery.
        protocol: How matches count: ``market1501``, ``vehicleid`` or ``no-camera``; None: the data set's protocol.
        rerank: Whether to evaluate a second time after k-reciprocal re-ranking.
        domain: Domain of the checkpoint whose batch norm is used: ``target`` or ``source``.
        arch: Architecture; needed only for a checkpoint that does not contain it.
        options: How images are found, read and encoded; None: the defaults.

    Returns:
        EvaluationResult; its ``plain`` is the ranking by cosine distance: ``plain.mean_ap`` and ``plain.top(1)`` are
        fractions.

    Raises:
        InputError: If the checkpoint or the data cannot be used, before any image is encoded.

    Cost: one pass over the images, and queries x gallery similarities.
    """
    options = options or EvaluationOptions()
    runtime = Runtime(options.device, options.precision)

    def inputs() -> tuple[ReIDDataset, EncoderNetwork]:
        dataset = rated_dataset(str(data), protocol, options)
        if isinstance(checkpoint, Encoder):
            return dataset, checkpoint.network
        return dataset, load_encoder(checkpoint, arch=arch, domain=domain).network

    dataset, network = runtime.together(inputs)
    return rate(network, dataset, runtime, SilentReporter(), options, protocol=protocol, rerank=rerank)


def rated_dataset(data: str, protocol: str | None, options: EvaluationOptions) -> ReIDDataset:
    """Read a data set and check that its queries can match.

    Args:
        data: A registered name or a path; a labelled folder without queries is split.
        protocol: How matches count; None: the data set's protocol.
        options: How images are found.

    Raises:
        InputError: If the data set cannot be read, or no query can match.
    """
    skip = options.on_broken == "skip"
    dataset = load_dataset(data, keep_missing=skip, labelled=True, options=options.source)
    if not can_evaluate(dataset):
        dataset = split_for_evaluation(dataset)
    check_queries(dataset, protocol or dataset.protocol)
    return dataset


def rate(
    network: EncoderNetwork,
    dataset: ReIDDataset,
    runtime: Runtime,
    report: Reporter,
    options: EvaluationOptions,
    *,
    protocol: str | None = None,
    rerank: bool = False,
) -> EvaluationResult:
    """Rate a network of one domain on a data set.

    Args:
        network: Folded network, with plain batch norm; it is copied to the runtime's device.
        dataset: The data set, from ``rated_dataset``.
        runtime: Device and precision.
        report: Receives progress.
        options: How images are read and encoded.
        protocol: How matches count; None: the data set's protocol.
        rerank: Whether to evaluate a second time after k-reciprocal re-ranking.
    """
    settings = network.settings

    def store_of(records: tuple[Record, ...]) -> ImageStore:
        # Each image is read once: keeping it in memory would save nothing.
        return ImageStore(
            records,
            size=(settings.height, settings.width),
            on_broken=options.on_broken,
            memory=0,
            num_threads=options.workers,
            pixel_range=settings.pixel_range,
        )

    return evaluate_encoder(
        network.folded().to(runtime.device).to(memory_format=torch.channels_last).eval(),
        dataset,
        store_of,
        runtime,
        report,
        protocol=protocol,
        with_rerank=rerank,
        batch_size=options.batch_size,
        flip=options.flip,
        num_hits=options.num_hits,
    )
