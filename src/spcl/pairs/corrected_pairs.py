"""Known pairs from corrections by hand of groups: ``corrections.csv`` of a folder of ``spcl cluster``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from spcl.corrections.corrections_file import CORRECTIONS, CorrectionLog, read_corrections
from spcl.corrections.replay import replay
from spcl.data.image_files import what_is_there
from spcl.errors import InputError
from spcl.pairs.known_pairs import KnownPairs, PairOrigin
from spcl.records import Record


@dataclass(frozen=True)
class CorrectedPairs:
    """Corrections as a source of known pairs.

    Attributes:
        file: Path of the file of corrections.
        log: Its content.
        is_named: Whether the user named the file; otherwise it was found beside the images or the results.
    """

    file: Path
    log: CorrectionLog
    is_named: bool = False

    def __call__(self, records: Sequence[Record]) -> KnownPairs:
        """Give the pairs of rows that the corrections know of some images; the notes say how much was used.

        Raises:
            InputError: If the user named the file, and none of its corrections is about these images.
        """
        found = replay(self.log, [record.path for record in records])
        if self.is_named and self.log.active and not found.usage.used:
            raise InputError(
                f"none of the corrections in {self.file} is about these images; the first image there is "
                f"{self.log.active[0].subjects[0]}",
                code="no-pairs-used",
            )
        notes = (*self.log.notes, *((found.usage.words(),) if self.log.corrections else ()), *found.usage.notes)
        return KnownPairs(
            found.must_link,
            found.cannot_link,
            self._origins(found.must_origin.tolist()),
            self._origins(found.cannot_origin.tolist()),
            notes,
        )

    def _origins(self, numbers: Sequence[int]) -> tuple[PairOrigin, ...]:
        known = {
            number: PairOrigin("by hand", f"correction {number} of {self.file.name}", is_chosen=True)
            for number in set(numbers)
        }
        return tuple(known[number] for number in numbers)


def is_corrections(place: Path) -> bool:
    """Whether a path that was given for pairs means corrections: a folder, or a file of their name."""
    return place.is_dir() or place.name == CORRECTIONS


def corrected_pairs(place: Path, *, is_named: bool = False) -> CorrectedPairs:
    """Read the corrections of a folder of groups, or a file of corrections.

    Args:
        place: The folder, or the file.
        is_named: Whether the user named it.

    Raises:
        InputError: If it is named and has no corrections, or cannot be read.
    """
    file = place / CORRECTIONS if place.is_dir() else place
    if is_named and not file.is_file():
        raise InputError(
            f"there are no corrections in {place}: {what_is_there(file)}; spcl correct writes them", code="no-such-file"
        )
    return CorrectedPairs(file, read_corrections(file), is_named)
