"""``spcl evaluate``: mAP and top-k of a checkpoint on a data set."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
import tyro

from spcl.cli.options import EncodingOptions, at_least, parsed
from spcl.data.catalogue import load_dataset
from spcl.data.from_folders import split_for_evaluation
from spcl.data.images import ImageStore
from spcl.engine.checkpoint import load_network
from spcl.engine.evaluate import evaluate_encoder, evaluation_lines
from spcl.engine.journal import ConsoleReporter, SilentReporter
from spcl.engine.preflight import can_evaluate, check_queries
from spcl.errors import InputError
from spcl.nn.encoder import Encoder
from spcl.records import Record, ReIDDataset
from spcl.runtime import Runtime, end_processes


@dataclass(frozen=True)
class Evaluate(EncodingOptions):
    """Rate a checkpoint (ours, or one of the official scripts) on the queries and the gallery of a data set."""

    checkpoint: tyro.conf.Positional[str]
    """The checkpoint: model_best.pth.tar, say."""
    data: tyro.conf.Positional[str]
    """A registered name or a path; a labelled folder without queries is split into queries and gallery."""
    rerank: bool = False
    """Rate once more after k-reciprocal re-ranking."""
    protocol: Literal["auto", "market1501", "vehicleid", "no-camera"] = "auto"
    """How matches count; auto: as fits the data set."""
    batch_size: int = 256
    """Images at a time."""
    flip: bool = False
    """Average the features of each image and its mirror image: twice the time; the official figures do without."""
    on_broken: Literal["error", "skip"] = "error"
    """What to do with an image that cannot be read: stop, or name it and rank it as grey."""
    json: bool = False
    """Print the figures as JSON, as fractions, and the images that cannot be read."""


def main(arguments: Sequence[str]) -> None:
    """Run ``spcl evaluate`` with these words."""
    options = parsed(Evaluate, arguments, "spcl evaluate")
    run_evaluation(
        Path(options.checkpoint),
        options.data,
        data_dir=Path(options.data_dir),
        arch=options.arch or None,
        domain=options.domain,
        rerank=options.rerank,
        protocol=None if options.protocol == "auto" else options.protocol,
        batch_size=options.batch_size,
        flip=options.flip,
        workers=options.workers,
        device=options.device,
        precision=options.precision,
        on_broken=options.on_broken,
        as_json=options.json,
    )


def run_evaluation(
    checkpoint: Path,
    data: str,
    *,
    data_dir: Path = Path("examples/data"),
    arch: str | None = None,
    size: tuple[int, int] | None = None,
    features: int | None = None,
    expect_domains: bool | None = None,
    domain: str = "target",
    rerank: bool = False,
    protocol: str | None = None,
    batch_size: int = 256,
    flip: bool = False,
    workers: int = 4,
    device: str = "auto",
    precision: str = "fp32",
    on_broken: Literal["error", "skip"] = "error",
    as_json: bool = False,
) -> None:
    """Rate a checkpoint and print the figures.

    Raises:
        InputError: If the checkpoint or the data cannot be used, before any image is encoded.
    """
    runtime = Runtime(device, precision)

    def inputs() -> tuple[ReIDDataset, Encoder]:
        # The official script's flags come here unchecked.
        at_least("--workers", workers, 1)
        at_least("--batch-size", batch_size, 1)
        dataset = load_dataset(data, data_dir, keep_missing=on_broken == "skip")
        if not can_evaluate(dataset):
            dataset = split_for_evaluation(dataset)
        check_queries(dataset, protocol or dataset.protocol)
        network = load_network(checkpoint, arch=arch, size=size, features=features)
        if expect_domains and len(network.domains) < 2:
            raise InputError(f"{checkpoint} has one batch norm, not one per domain; leave --dsbn out")
        if expect_domains is False and len(network.domains) > 1:
            raise InputError(f"{checkpoint} has a batch norm per domain; add --dsbn")
        if domain not in network.domains:
            raise InputError(f"{checkpoint} has no domain {domain!r}; it has {', '.join(network.domains)}")
        return dataset, network

    dataset, network = runtime.together(inputs)

    def store_of(records: tuple[Record, ...]) -> ImageStore:
        settings = network.settings
        # Each image is read once here: nothing is gained by keeping it.
        return ImageStore(
            records,
            height=settings.height,
            width=settings.width,
            on_broken=on_broken,
            memory=0,
            num_threads=workers,
        )

    report = SilentReporter() if as_json or not runtime.is_main else ConsoleReporter()
    result = evaluate_encoder(
        network.folded(domain).to(runtime.device).to(memory_format=torch.channels_last).eval(),
        dataset,
        store_of,
        runtime,
        report,
        protocol=protocol,
        with_rerank=rerank,
        batch_size=batch_size,
        flip=flip,
    )
    end_processes()
    if not runtime.is_main:
        return
    if as_json:
        more = {"num_queries": result.num_queries, "num_gallery": result.num_gallery}
        print(json.dumps(result.to_row() | more | {"broken": result.broken, "notes": dataset.notes}))
        return
    for note in dataset.notes:
        report.say(f"note: {note}")
    for line in evaluation_lines(result, dataset.name):
        report.say(line)
