"""The questions of ``spcl ask`` for the review page: pairs whose answer is expected to improve the groups the most."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spcl.corrections.corrected_groups import CorrectedGroups
from spcl.corrections.group_table import NO_GROUP
from spcl.data.image_key import image_keys
from spcl.errors import InputError
from spcl.inference.encode_options import EncodeOptions
from spcl.questions.ask import AskRequest, chosen_questions, embedded_images
from spcl.reporting.console import Reporter
from spcl.review.session import NUM_SHOWN, ReviewSession

if TYPE_CHECKING:
    from spcl.inference.embedding import EmbeddedImages
    from spcl.questions.question_choice import Question

SAME, DIFFERENT, UNSURE = "same", "different", "unsure"


class Asked:
    """Chooses questions about the groups as they are now, and takes the answers.

    The images are embedded when the first question is asked for. A pair that was answered with "not sure" is not asked
    about again by this program.

    Args:
        session: The groups.
        encoding: The encoder and its options; by default the one of the groups.
        report: Receives the progress of embedding.
    """

    def __init__(self, session: ReviewSession, encoding: EncodeOptions, report: Reporter) -> None:
        self._session, self._encoding, self._report = session, encoding, report
        self._lock = threading.Lock()
        self._images: EmbeddedImages | None = None
        self._paths: tuple[Path, ...] = ()
        self._unsure: set[frozenset[int]] = set()

    def questions(self, num: int) -> dict[str, Any]:
        """Give questions as plain values, the one with the largest expected gain first.

        Args:
            num: Largest number of questions.

        Raises:
            InputError: If no image can be read, or the images are too few for a calibration.
        """
        with self._lock:
            groups = self._session.groups()
            request = AskRequest(self._session.folder, num + len(self._unsure), encoding=self._encoding)
            if self._images is None or self._paths != groups.table.paths:
                self._images, self._paths = embedded_images(groups, request, self._report), groups.table.paths
                self._unsure.clear()
            row_of = dict(zip(image_keys(groups.table.paths), range(len(groups.table.paths)), strict=True))
            rows = [row_of[key] for key in image_keys([record.path for record in self._images.records])]
            found = [
                described(groups, one, rows[one.first], rows[one.second])
                for one in chosen_questions(groups, self._images, request)
            ]
        return {"questions": [each for each in found if _pair(each) not in self._unsure][:num]}

    def answer(self, first: int, second: int, answer: str) -> dict[str, Any]:
        """Take an answer; ``same`` merges two groups, ``different`` keeps them apart for good.

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
        return self._session.link(action, first, second)


def described(groups: CorrectedGroups, question: Question, first: int, second: int) -> dict[str, Any]:
    """Give a question as plain values, with the surest images of both groups."""
    plain: dict[str, Any] = {"probability": round(question.probability, 3), "gain": round(question.gain, 3)}
    for name, row in (("first", first), ("second", second)):
        number = int(groups.table.group[row])
        others = [] if number == NO_GROUP else [each for each in groups.references.members(number) if each != row]
        label = "in no group" if number == NO_GROUP else f"group {groups.table.label(number)}"
        plain |= {
            name: row,
            f"{name}_file": groups.table.paths[row].name,
            f"{name}_label": label,
            f"{name}_rows": others[:NUM_SHOWN],
        }
    return plain


def _pair(question: dict[str, Any]) -> frozenset[int]:
    return frozenset((question["first"], question["second"]))
