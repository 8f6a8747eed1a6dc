"""Asking as a function: from a folder of groups to a sheet of pairs and a table to fill in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from spcl.atomic_files import written_aside
from spcl.corrections.answers import PARTS, QUESTIONS, has_answers
from spcl.corrections.corrected_groups import CorrectedGroups, read_groups
from spcl.corrections.folder_state import read_summary
from spcl.data.image_key import image_keys
from spcl.data.table_files import write_table
from spcl.errors import InputError, require
from spcl.inference.encode_options import EncodeOptions
from spcl.records import Record
from spcl.reporting.console import Reporter
from spcl.reporting.quiet_reporters import LoggingReporter

if TYPE_CHECKING:
    from spcl.inference.embedding import EmbeddedImages
    from spcl.questions.pair_probabilities import PairProbabilities
    from spcl.questions.question import Question

SHEET = "questions.png"
_SAMPLE = 2000
"""Images whose pairs with all images are the sample of similarities."""


@dataclass(frozen=True)
class AskRequest:
    """Which groups to ask about.

    Attributes:
        folder: A folder of ``spcl cluster``; its corrections count.
        num: Number of questions, at least 1.
        overwrite: Replace questions that have answers.
        seed: Seed of the random draw of pairs for the calibration.
        encoding: The encoder and its options; by default the one of the groups.
    """

    folder: str | Path
    num: int = 20
    overwrite: bool = False
    seed: int = 0
    encoding: EncodeOptions = field(default_factory=EncodeOptions)

    def __post_init__(self) -> None:
        """Raise an ``InputError`` for a setting that is out of range."""
        require(self.num >= 1, "num", self.num, "at least 1")


@dataclass(frozen=True)
class AskResult:
    """Questions about pairs of images.

    Attributes:
        groups: The groups that the questions are about.
        records: Records of the images that could be read.
        questions: The questions, the one with the largest expected gain first; rows are those of ``records``.
        table: The table to fill in; None: there is no question.
        sheet: The picture of the pairs; None: there is no question.
        broken: Path and reason of each image that could not be read.
    """

    groups: CorrectedGroups
    records: tuple[Record, ...]
    questions: tuple[Question, ...]
    table: Path | None
    sheet: Path | None
    broken: tuple[tuple[Path, str], ...]

    def to_dict(self) -> dict[str, Any]:
        """Give the questions as plain values."""
        return {
            "questions": [
                {
                    "path_a": str(self.records[one.first].path),
                    "path_b": str(self.records[one.second].path),
                    "probability": one.probability,
                    "gain": one.gain,
                }
                for one in self.questions
            ],
            "table": None if self.table is None else str(self.table),
            "sheet": None if self.sheet is None else str(self.sheet),
            "broken": len(self.broken),
        }


def ask(request: AskRequest, *, report: Reporter | None = None) -> AskResult:
    """Choose pairs of images whose answer is expected to improve the groups the most; write a sheet and a table.

    Args:
        request: The groups and the number of questions.
        report: Receives progress; None: nothing is shown.

    Raises:
        InputError: If there are no groups, questions with answers would be replaced, no image can be read, or the
            images are too few for a calibration.

    Cost: one pass over the images, ``N^2 D`` for their similarities.
    """
    report = report or LoggingReporter()
    groups = read_groups(request.folder)
    if not request.overwrite and has_answers(groups.folder / QUESTIONS):
        raise InputError(
            f"{groups.folder / QUESTIONS} has answers: take them with spcl correct {groups.folder} answers "
            f"{groups.folder / QUESTIONS}, or replace them with --overwrite",
            code="already-exists",
        )
    images = embedded_images(groups, request, report)
    questions = chosen_questions(groups, images, probabilities_of(images, request.seed), request.num)
    table, sheet = _written(groups, images.records, questions)
    return AskResult(groups, images.records, tuple(questions), table, sheet, images.broken)


def embedded_images(groups: CorrectedGroups, request: AskRequest, report: Reporter) -> EmbeddedImages:
    """Embed the images of groups, by the encoder of the groups where the request names none; broken ones are left out.

    Raises:
        InputError: If the encoder cannot be used, or no image can be read.
    """
    from spcl.inference.embedding import EmbedSettings, embed_records
    from spcl.inference.encoder_choice import chosen_encoder

    encoding = request.encoding
    summary = read_summary(groups.folder)
    if encoding.encoder == type(encoding.encoder)() and summary.get("checkpoint"):
        encoding = replace(encoding, encoder=replace(encoding.encoder, checkpoint=str(summary["checkpoint"])))
    records = [Record(path) for path in groups.table.paths]
    encoder = chosen_encoder(encoding.encoder, lambda: records, report=report)
    if summary.get("encoder") not in (None, encoder.fingerprint):
        report.warn("the groups were made with another encoder; --checkpoint names it")
    return embed_records(encoder, records, EmbedSettings.of(encoding, encoding.runtime()), report=report)


def probabilities_of(images: EmbeddedImages, seed: int = 0) -> PairProbabilities:
    """Calibrate the similarities of images without labels; the groups do not count.

    Raises:
        InputError: If the images are too few for a calibration.
    """
    from spcl.questions.pair_probabilities import PairProbabilities, calibration_of

    features = images.features
    rng = np.random.default_rng(seed)
    try:
        calibration = calibration_of(features, rng)
    except ValueError as error:
        raise InputError(
            f"{len(features)} images are too few to ask about: {error}; look at groups.png and correct by hand",
            code="too-few-pairs",
        ) from error
    some = np.sort(rng.choice(len(features), size=min(_SAMPLE, len(features)), replace=False))
    sample = (features[some] @ features.T)[some[:, None] != np.arange(len(features))[None]]
    return PairProbabilities(calibration, sample)


def chosen_questions(
    groups: CorrectedGroups, images: EmbeddedImages, probabilities: PairProbabilities, num: int
) -> list[Question]:
    """Choose questions about groups as they are now; rows are those of the images that were embedded.

    Cost: ``N^2 D`` for the similarities.
    """
    from spcl.pairs.contradictions import linked_nodes
    from spcl.questions.question_choice import choose_questions

    rows = dict(zip(image_keys(groups.table.paths), range(len(groups.table.paths)), strict=True))
    kept = [rows[key] for key in image_keys([record.path for record in images.records])]
    place = {row: at for at, row in enumerate(kept)}
    answered = [(place[a], place[b]) for a, b in groups.replayed.cannot_link.tolist() if a in place and b in place]
    together = linked_nodes(len(groups.table.paths), groups.replayed.must_link)[kept]
    return choose_questions(
        images.features, groups.table.group[kept], probabilities, num=num, answered=answered, together=together
    )


def _written(
    groups: CorrectedGroups, records: Sequence[Record], questions: Sequence[Question]
) -> tuple[Path | None, Path | None]:
    """Write the table and the sheet; without a question, neither."""
    if not questions:
        return None, None
    from spcl.data.image_decoding import open_image
    from spcl.report.sheet import SheetRow, contact_sheet

    number_of = dict(zip(image_keys(groups.table.paths), groups.table.group.tolist(), strict=True))
    keys = image_keys([record.path for record in records])
    rows, sheet, parts = [], [], []
    for number, one in enumerate(questions, start=1):
        pair = records[one.first].path, records[one.second].path
        labels = [_label(groups, number_of[keys[row]]) for row in (one.first, one.second)]
        parts += [(*pair, records[row].path) for row in one.part]
        rows.append((number, *pair, *labels, f"{one.probability:.3f}", ""))
        sheet.append(SheetRow(f"question {number}", _words(one, labels), [open_image(path) for path in pair]))
    with written_aside(groups.folder / SHEET) as aside:
        contact_sheet(aside, sheet, caption="one object in each row?")
    with written_aside(groups.folder / PARTS) as aside:
        write_table(aside, ("path_a", "path_b", "path"), parts)
    # Last: until then the earlier table, with its answers, is whole.
    with written_aside(groups.folder / QUESTIONS) as aside:
        header = ("question", "path_a", "path_b", "group_a", "group_b", "probability", "answer")
        write_table(aside, header, rows)
    return groups.folder / QUESTIONS, groups.folder / SHEET


def _words(question: Question, labels: Sequence[str]) -> str:
    if question.part:
        return f"{labels[1]}: {len(question.part)} images would leave it"
    return f"{labels[0]} | {labels[1]}"


def _label(groups: CorrectedGroups, number: int) -> str:
    return "no group" if number < 0 else groups.table.label(number)
