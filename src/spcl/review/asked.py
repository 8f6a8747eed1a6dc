"""The questions of ``spcl ask`` for the review page, and pairs of groups that may show one object."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from spcl.corrections.corrected_groups import CorrectedGroups
from spcl.corrections.group_table import NO_GROUP
from spcl.data.image_key import image_keys
from spcl.errors import InputError
from spcl.inference.encode_options import EncodeOptions
from spcl.questions.ask import AskRequest, chosen_questions, embedded_images, probabilities_of
from spcl.reporting.console import Reporter
from spcl.review.session import NUM_SHOWN, ReviewSession

if TYPE_CHECKING:
    from spcl.inference.embedding import EmbeddedImages
    from spcl.questions.pair_probabilities import PairProbabilities
    from spcl.questions.question import Question

SAME, DIFFERENT, UNSURE = "same", "different", "unsure"


@dataclass(frozen=True)
class _Known:
    """What is computed once of the images of the groups.

    Attributes:
        paths: Path of each image of the groups.
        images: The images that could be read, embedded.
        rows: Row in ``paths`` of each of them.
        probabilities: Probability of a pair of them by its similarity.
    """

    paths: tuple[Path, ...]
    images: EmbeddedImages
    rows: NDArray[np.int64]
    probabilities: PairProbabilities


class Asked:
    """Chooses questions about the groups as they are now, and groups that may be one; takes the answers.

    The images are embedded, and their similarities calibrated, when the first is asked for. A pair that was answered
    with "not sure" is not asked about again by this program.

    Args:
        session: The groups.
        encoding: The encoder and its options; by default the one of the groups.
        report: Receives the progress of embedding.
    """

    def __init__(self, session: ReviewSession, encoding: EncodeOptions, report: Reporter) -> None:
        self._session, self._encoding, self._report = session, encoding, report
        self._lock = threading.Lock()
        self._known: _Known | None = None
        self._unsure: set[frozenset[int]] = set()
        self._parts: dict[tuple[int, int], tuple[int, ...]] = {}

    def questions(self, num: int) -> dict[str, Any]:
        """Give questions as plain values, the one with the largest expected gain first.

        Args:
            num: Largest number of questions.

        Raises:
            InputError: If no image can be read, or the images are too few for a calibration.
        """
        with self._lock:
            groups = self._session.groups()
            known = self._embedded(groups)
            chosen = chosen_questions(groups, known.images, known.probabilities, num + len(self._unsure))
            found = []
            for one in chosen:
                first, second = int(known.rows[one.first]), int(known.rows[one.second])
                part = tuple(known.rows[list(one.part)].tolist())
                self._parts[first, second] = part
                found.append(described(groups, one, (first, second), part))
        return {"questions": [each for each in found if _pair(each) not in self._unsure][:num]}

    def merges(self, num: int) -> dict[str, Any]:
        """Give pairs of groups that may show one object as plain values, the likeliest first.

        Pairs that a person has kept apart, and pairs of two names, are left out.

        Args:
            num: Largest number of pairs.

        Raises:
            InputError: If no image can be read, or the images are too few for a calibration.
        """
        from spcl.questions.likely_merges import likely_merges

        with self._lock:
            groups = self._session.groups()
            known = self._embedded(groups)
            group = groups.table.group
            apart = group[groups.replayed.cannot_link].reshape(-1, 2)
            found = likely_merges(
                known.images.features,
                group[known.rows],
                known.probabilities,
                num=num,
                apart=apart,
                distinct=sorted(groups.table.names),
            )
        return {"merges": [asdict(each) for each in found]}

    def _embedded(self, groups: CorrectedGroups) -> _Known:
        """The images of the groups, embedded; the lock is held."""
        if self._known is None or self._known.paths != groups.table.paths:
            paths = groups.table.paths
            images = embedded_images(groups, AskRequest(self._session.folder, encoding=self._encoding), self._report)
            row_of = dict(zip(image_keys(paths), range(len(paths)), strict=True))
            rows = np.array([row_of[key] for key in image_keys([record.path for record in images.records])])
            self._known = _Known(paths, images, rows, probabilities_of(images))
            self._unsure.clear()
        return self._known

    def answer(self, first: int, second: int, answer: str) -> dict[str, Any]:
        """Take an answer; ``same`` merges two groups, ``different`` keeps them apart for good, or divides one group.

        Args:
            first: Row of one image.
            second: Row of the other image.
            answer: ``same``, ``different`` or ``unsure``.

        Returns:
            As of ``ReviewSession.correct``; for ``unsure`` no change.

        Raises:
            InputError: If there is no such answer or image.
        """
        if answer == UNSURE:
            self._unsure.add(frozenset((first, second)))
            return {"changes": []}
        action = {SAME: "merge", DIFFERENT: "deny"}.get(answer)
        if action is None:
            raise InputError(
                f"there is no answer {answer!r}; expected {SAME}, {DIFFERENT} or {UNSURE}", code="invalid-parameter"
            )
        part = self._parts.get((first, second), ())
        if part and answer == DIFFERENT:
            return self._session.divide(first, second, part)
        return self._session.link(action, first, second)


def described(
    groups: CorrectedGroups, question: Question, pair: tuple[int, int], part: Sequence[int]
) -> dict[str, Any]:
    """Give a question as plain values, with the surest images of both groups or of both parts of a group.

    Args:
        groups: The groups.
        question: The question.
        pair: Rows of its images in the table of the groups.
        part: Rows of the images that leave the group if the pair shows two objects; empty: there are two groups.
    """
    leaving = set(part)
    plain: dict[str, Any] = {"probability": round(question.probability, 3), "gain": round(question.gain, 3)}
    for name, row in zip(("first", "second"), pair, strict=True):
        number = int(groups.table.group[row])
        others = [] if number == NO_GROUP else [each for each in groups.references.members(number) if each != row]
        label = "in no group" if number == NO_GROUP else f"group {groups.table.label(number)}"
        if leaving:
            others = [each for each in others if (each in leaving) == (row in leaving)]
            label = f"{label}, {'one part' if row in leaving else 'the rest'}"
        plain |= {
            name: row,
            f"{name}_file": groups.table.paths[row].name,
            f"{name}_label": label,
            f"{name}_rows": others[:NUM_SHOWN],
        }
    return plain


def _pair(question: dict[str, Any]) -> frozenset[int]:
    return frozenset((question["first"], question["second"]))
