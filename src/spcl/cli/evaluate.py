"""``spcl evaluate``: mAP and top-k of a checkpoint on a data set."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import tyro

from spcl.cli.encoder_flags import CheckpointWord
from spcl.cli.options import EncodingOptions, at_least, parsed
from spcl.data.checked_tables import check_tables
from spcl.data.source_options import IdentityFrom
from spcl.engine.journal import ConsoleReporter, Reporter, SilentReporter
from spcl.engine.whole_files import check_place
from spcl.errors import InputError

if TYPE_CHECKING:
    from spcl.engine.evaluate import EvaluationResult
    from spcl.engine.evaluate_checkpoint import EvaluationOptions
    from spcl.nn.encoder import Encoder
    from spcl.records import ReIDDataset
    from spcl.report.per_query import QueryResult

_HITS = 10
"""First hits of each query in the table and in the picture."""
_WORST_IN_A_PICTURE = 20


@dataclass(frozen=True)
class Evaluate(EncodingOptions):
    """Rate a checkpoint (ours, or one of the official scripts) on the queries and the gallery of a data set."""

    other_words: ClassVar[tuple[str, ...]] = ("data",)

    checkpoint: CheckpointWord = ""
    """The encoder: model_best.pth.tar, say. Without one: ImageNet weights, images of a size that fits the data's."""
    data: tyro.conf.Positional[Annotated[str, tyro.conf.arg(metavar="DATA", help_behavior_hint="")]] = ""
    """A registered name or a path; a labelled folder without queries is split into queries and gallery."""
    identity_from: IdentityFrom = "auto"
    """Identities: a table's column; the name of the folder an image lies in; the number before _c in its name."""
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
    per_query: str = ""
    """Write a CSV file with a line for each query: average precision, rank of the first match, the first hits."""
    worst: int = 0
    """Print so many queries with the lowest average precision."""
    save_picture: str = ""
    """Draw the worst queries with their first hits: worst.png. Without --worst: 20 of them."""
    json: bool = False
    """Print the figures as JSON, as fractions, and the images that cannot be read."""

    def check(self) -> None:
        """Check the shared options, then the size of a batch, and the files to write."""
        super().check()
        at_least("--batch-size", self.batch_size, 1)
        at_least("--worst", self.worst, 0)
        for flag, place, ending in (
            ("--per-query", self.per_query, ".csv"),
            ("--save-picture", self.save_picture, ".png"),
        ):
            if place and Path(place).suffix != ending:
                raise InputError(f"{flag} is {place}; expected the name of a file that ends in {ending}")
            if place:
                check_place(Path(place))

    @property
    def looks_at_queries(self) -> bool:
        """Whether results of single queries are asked for."""
        return bool(self.per_query or self.worst or self.save_picture)

    @property
    def named_protocol(self) -> str | None:
        """The protocol that was asked for; None: as fits the data set."""
        return None if self.protocol == "auto" else self.protocol

    def evaluation(self) -> EvaluationOptions:
        """How images are found, read and encoded."""
        from spcl.engine.evaluate_checkpoint import EvaluationOptions

        return EvaluationOptions(
            source=self.source(),
            batch_size=self.batch_size,
            flip=self.flip,
            workers=self.workers,
            device=self.device,
            precision=self.precision,
            on_broken=self.on_broken,
            num_hits=_HITS if self.looks_at_queries else 0,
        )


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
    check_tables(
        options.data, options=options.source().table, with_times=False, keep_missing=options.on_broken == "skip"
    )

    from spcl.engine.evaluate_checkpoint import rate
    from spcl.runtime import Runtime, end_processes

    runtime = Runtime(options.device, options.precision)
    report = SilentReporter() if options.json or not runtime.is_main else ConsoleReporter()
    dataset, network = runtime.together(lambda: _inputs(options, expected or Expected(), report))
    result = rate(
        network.folded(options.domain),
        dataset,
        runtime,
        report,
        options.evaluation(),
        protocol=options.named_protocol,
        rerank=options.rerank,
    )
    end_processes()
    if runtime.is_main:
        queries = _query_results(result, dataset, options) if options.looks_at_queries else []
        _print(result, dataset, report, queries, options)
        _write(queries, (network.settings.height, network.settings.width), report, options)


def _inputs(options: Evaluate, expected: Expected, report: Reporter) -> tuple[ReIDDataset, Encoder]:
    """The data set and the encoder, checked."""
    from spcl.engine.checkpoint import load_network
    from spcl.engine.encoder_choice import chosen_encoder
    from spcl.engine.evaluate_checkpoint import rated_dataset

    # The official script's flags come here unchecked.
    options.check()
    dataset = rated_dataset(options.data, options.named_protocol, options.evaluation())
    protocol = options.named_protocol or dataset.protocol
    if options.looks_at_queries and protocol == "vehicleid":
        raise InputError(
            "the protocol vehicleid draws ten galleries, so that no query has one ranking; --per-query, --worst and "
            "--save-picture need --protocol no-camera"
        )
    if not options.named_checkpoint:
        encoder = chosen_encoder(options.choice(), lambda: (*dataset.query, *dataset.gallery), report=report)
        return dataset, encoder.network
    checkpoint, domain = Path(options.named_checkpoint), options.domain
    network = load_network(checkpoint, arch=options.arch or None, size=expected.size, features=expected.features)
    if expected.domains and len(network.domains) < 2:
        raise InputError(f"{checkpoint} has one batch norm, not one per domain; leave --dsbn out")
    if expected.domains is False and len(network.domains) > 1:
        raise InputError(f"{checkpoint} has a batch norm per domain; add --dsbn")
    if domain not in network.domains:
        raise InputError(f"{checkpoint} has no domain {domain!r}; it has {', '.join(network.domains)}")
    return dataset, network


def _query_results(result: EvaluationResult, dataset: ReIDDataset, options: Evaluate) -> list[QueryResult]:
    from spcl.report.per_query import names_in_source, query_results

    identities, cameras = names_in_source(options.data, dataset, options.source())
    return query_results(result, dataset, identities=identities, cameras=cameras)


def _write(queries: list[QueryResult], size: tuple[int, int], report: Reporter, options: Evaluate) -> None:
    """The table and the picture: last, so that the figures are there if they cannot be written."""
    from spcl.report.per_query import worst_picture, write_query_table

    if options.per_query:
        report.say(f"queries: {write_query_table(Path(options.per_query), queries)}")
    if options.save_picture:
        count = options.worst or _WORST_IN_A_PICTURE
        report.say(f"picture: {worst_picture(Path(options.save_picture), queries, count, size)}")


def _print(
    result: EvaluationResult, dataset: ReIDDataset, report: Reporter, queries: list[QueryResult], options: Evaluate
) -> None:
    from spcl.engine.evaluate import evaluation_lines
    from spcl.report.per_query import worst, worst_lines

    if options.json:
        more: dict[str, object] = {"num_queries": result.num_queries, "num_gallery": result.num_gallery}
        if options.worst:
            more["worst"] = [query.to_row() for query in worst(queries, options.worst)]
        print(json.dumps(result.to_row() | more | {"broken": result.broken, "notes": dataset.notes}))
        return
    for note in dataset.notes:
        report.say(f"note: {note}")
    for line in evaluation_lines(result, dataset.name):
        report.say(line)
    if options.worst:
        report.say("the queries with the lowest average precision:")
        for line in worst_lines(queries, options.worst):
            report.say(f"  {line}")
