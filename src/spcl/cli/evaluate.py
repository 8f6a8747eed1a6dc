"""``spcl evaluate``: mAP and top-k of a checkpoint on a data set."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import tyro

from spcl.atomic_files import check_place
from spcl.cli.encoder_flags import CheckpointWord
from spcl.cli.options import EncodingOptions, at_least, parsed
from spcl.data.source_options import IdentityFrom
from spcl.data.table_checks import check_tables
from spcl.errors import InputError
from spcl.inference.encode_options import By
from spcl.inference.evaluate_dataset import WORST_IN_A_PICTURE, DatasetEvaluation, evaluate_dataset
from spcl.inference.evaluation_request import EvaluationRequest, ExpectedCheckpoint
from spcl.launched import is_main_process
from spcl.reporting.console import ConsoleReporter, Reporter, SilentReporter

_HITS = 10
"""First hits of each query in the table and in the picture."""


@dataclass(frozen=True)
class Evaluate(EncodingOptions):
    """Measure the mAP and top-k of an encoder on the queries and the gallery of a data set.

    The checkpoint can be one of spcl or of the official scripts.
    """

    usage: ClassVar[str] = "[CHECKPOINT] DATA [options]"
    example: ClassVar[str] = "spcl evaluate model_best.pth.tar market1501 --rerank"

    other_words: ClassVar[tuple[str, ...]] = ("data",)

    checkpoint: CheckpointWord = ""
    """The encoder, for example model_best.pth.tar. Without one: ImageNet weights, at a size that fits the data."""
    data: tyro.conf.Positional[str] = ""
    """A registered name or a path; a labelled folder without queries is split into queries and gallery."""
    identity_from: IdentityFrom = "auto"
    """Where identities are read: table (a column), folder (the folder of an image), top-folder (the folder directly
    below the given one) or name (the number before _c in the file name): docs/data.md."""
    by: By = "image"
    """What a query and an entry of the gallery is: an image, or a track with all its images (column track)."""
    rerank: bool = False
    """Measure a second time after k-reciprocal re-ranking."""
    protocol: Literal["auto", "market1501", "vehicleid", "no-camera"] = "auto"
    """Which gallery images count for a query: docs/cli.md. auto: the protocol that fits the data set."""
    batch_size: int = 256
    """Number of images in a batch."""
    flip: bool = False
    """Average the features of each image and its mirror image: twice the time. The official figures are without it."""
    on_broken: Literal["error", "skip"] = "error"
    """What to do with an image that cannot be read: stop, or name it and rank it as grey."""
    per_query: str = ""
    """Also write a CSV file with a row for each query: average precision, rank of the first match, the first hits."""
    worst: int = 0
    """Print the N queries with the lowest average precision; 0: none."""
    save_picture: str = ""
    """Draw the queries of --worst (without it: 20) with their first hits into this PNG file."""
    json: bool = False
    """Print the figures as JSON, as fractions of 1, and the images that cannot be read."""

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
                raise InputError(
                    f"{flag} is {place}; expected the name of a file that ends in {ending}", code="wrong-file-kind"
                )
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

    def request(self, expected: ExpectedCheckpoint | None = None) -> EvaluationRequest:
        """What is asked for.

        Args:
            expected: What the checkpoint must be; None: whatever it is.
        """
        return EvaluationRequest(
            self.data,
            protocol=self.named_protocol,
            rerank=self.rerank,
            batch_size=self.batch_size,
            on_broken=self.on_broken,
            num_hits=_HITS if self.looks_at_queries else 0,
            by=self.by,
            source=self.source(),
            encoding=self.encoding(),
            expected=expected or ExpectedCheckpoint(),
        )


def main(arguments: Sequence[str]) -> None:
    """Run ``spcl evaluate`` with these words."""
    run_evaluation(parsed(Evaluate, arguments, "spcl evaluate"))


def run_evaluation(options: Evaluate, expected: ExpectedCheckpoint | None = None) -> None:
    """Rate a checkpoint and print the figures.

    Raises:
        InputError: If the checkpoint or the data cannot be used, before any image is encoded.
    """
    # The official script's flags come here unchecked.
    options.check()
    request = options.request(expected)
    check_tables(options.data, options=request.source.table, with_times=False, keep_missing=options.on_broken == "skip")
    report: Reporter = SilentReporter() if options.json or not is_main_process() else ConsoleReporter()
    evaluated = evaluate_dataset(request, report=report)

    from spcl.runtime import end_processes

    end_processes()
    if not is_main_process():
        return
    if options.json:
        print(json.dumps(evaluated.to_dict(num_worst=options.worst)))
    else:
        print_evaluation(evaluated, report, num_worst=options.worst)
    # Last: the figures are printed already if these cannot be written.
    if options.per_query:
        evaluated.write_queries(options.per_query)
        report.say(f"queries: {Path(options.per_query)}")
    if options.save_picture:
        evaluated.save_picture(options.save_picture, count=options.worst or WORST_IN_A_PICTURE)
        report.say(f"picture: {Path(options.save_picture)}")


def print_evaluation(evaluated: DatasetEvaluation, report: Reporter, *, num_worst: int) -> None:
    """Print notes, figures, and the queries with the lowest average precision."""
    from spcl.inference.evaluation import evaluation_lines
    from spcl.inference.per_query import worst_lines

    for note in evaluated.notes:
        report.say(f"note: {note}")
    for line in evaluation_lines(evaluated.figures, evaluated.name):
        report.say(line)
    if num_worst:
        report.say("the queries with the lowest average precision:")
        for line in worst_lines(evaluated.queries, num_worst):
            report.say(f"  {line}")
