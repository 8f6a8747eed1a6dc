"""``spcl evaluate``: mAP and top-k of a checkpoint on a data set."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import tyro

from spcl.cli.options import EncodingOptions, at_least, parsed
from spcl.engine.journal import ConsoleReporter, Reporter, SilentReporter
from spcl.errors import InputError

if TYPE_CHECKING:
    from spcl.data.images import ImageStore
    from spcl.engine.evaluate import EvaluationResult
    from spcl.nn.encoder import Encoder
    from spcl.records import Record, ReIDDataset


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

    def check(self) -> None:
        """As for all; and the size of a batch."""
        super().check()
        at_least("--batch-size", self.batch_size, 1)


@dataclass(frozen=True)
class Expected:
    """What a checkpoint must be, where the caller knows; None: whatever it is."""

    size: tuple[int, int] | None = None
    features: int | None = None
    domains: bool | None = None


def main(arguments: Sequence[str]) -> None:
    """Run ``spcl evaluate`` with these words."""
    run_evaluation(parsed(Evaluate, arguments, "spcl evaluate"))


def run_evaluation(options: Evaluate, expected: Expected | None = None) -> None:
    """Rate a checkpoint and print the figures.

    Raises:
        InputError: If the checkpoint or the data cannot be used, before any image is encoded.
    """
    import torch

    from spcl.data.images import ImageStore
    from spcl.engine.evaluate import evaluate_encoder
    from spcl.runtime import Runtime, end_processes

    runtime = Runtime(options.device, options.precision)
    dataset, network = runtime.together(lambda: _inputs(options, expected or Expected()))

    def store_of(records: tuple[Record, ...]) -> ImageStore:
        settings = network.settings
        # Each image is read once here: nothing is gained by keeping it.
        return ImageStore(
            records,
            height=settings.height,
            width=settings.width,
            on_broken=options.on_broken,
            memory=0,
            num_threads=options.workers,
        )

    report = SilentReporter() if options.json or not runtime.is_main else ConsoleReporter()
    result = evaluate_encoder(
        network.folded(options.domain).to(runtime.device).to(memory_format=torch.channels_last).eval(),
        dataset,
        store_of,
        runtime,
        report,
        protocol=None if options.protocol == "auto" else options.protocol,
        with_rerank=options.rerank,
        batch_size=options.batch_size,
        flip=options.flip,
    )
    end_processes()
    if runtime.is_main:
        _print(result, dataset, report, as_json=options.json)


def _inputs(options: Evaluate, expected: Expected) -> tuple[ReIDDataset, Encoder]:
    """The data set and the encoder, checked."""
    from spcl.data.catalogue import load_dataset
    from spcl.data.from_folders import split_for_evaluation
    from spcl.engine.checkpoint import load_network
    from spcl.engine.preflight import can_evaluate, check_queries

    # The official script's flags come here unchecked.
    options.check()
    dataset = load_dataset(
        options.data, keep_missing=options.on_broken == "skip", labelled=True, options=options.source()
    )
    if not can_evaluate(dataset):
        dataset = split_for_evaluation(dataset)
    check_queries(dataset, dataset.protocol if options.protocol == "auto" else options.protocol)
    checkpoint, domain = Path(options.checkpoint), options.domain
    network = load_network(checkpoint, arch=options.arch or None, size=expected.size, features=expected.features)
    if expected.domains and len(network.domains) < 2:
        raise InputError(f"{checkpoint} has one batch norm, not one per domain; leave --dsbn out")
    if expected.domains is False and len(network.domains) > 1:
        raise InputError(f"{checkpoint} has a batch norm per domain; add --dsbn")
    if domain not in network.domains:
        raise InputError(f"{checkpoint} has no domain {domain!r}; it has {', '.join(network.domains)}")
    return dataset, network


def _print(result: EvaluationResult, dataset: ReIDDataset, report: Reporter, *, as_json: bool) -> None:
    from spcl.engine.evaluate import evaluation_lines

    if as_json:
        more = {"num_queries": result.num_queries, "num_gallery": result.num_gallery}
        print(json.dumps(result.to_row() | more | {"broken": result.broken, "notes": dataset.notes}))
        return
    for note in dataset.notes:
        report.say(f"note: {note}")
    for line in evaluation_lines(result, dataset.name):
        report.say(line)
