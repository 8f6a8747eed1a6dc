"""What an identification with groups needs before any image is encoded: a usable folder, and the known pairs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from spcl.corrections.corrections_file import CorrectionLog
from spcl.corrections.grouped_again import check_groups_unedited
from spcl.corrections.replay import replay
from spcl.gallery.unknown_grouping import UnknownGrouping
from spcl.pairs.corrected_pairs import corrected_pairs
from spcl.pairs.pair_sources import PairSources, pair_sources
from spcl.records import Record


@dataclass(frozen=True)
class PlannedGroups:
    """Groups that can be written.

    Attributes:
        asked: How unknown images are grouped, and the folder.
        sources: The sources of known pairs, the corrections in the folder among them.
        log: The corrections in the folder.
    """

    asked: UnknownGrouping
    sources: PairSources
    log: CorrectionLog

    @classmethod
    def of(cls, asked: UnknownGrouping, images: Sequence[str | Path]) -> PlannedGroups:
        """Check the folder, and find what is known of the images.

        Args:
            asked: How unknown images are grouped, and the folder.
            images: The sources of the images.

        Raises:
            InputError: If the folder holds something else, or groups that are not to be replaced or were edited; if a
                table of pairs cannot be read.
        """
        from spcl.grouping.groups_folder import check_folder

        out = Path(asked.out)
        check_folder(out, overwrite=asked.overwrite)
        check_groups_unedited(out)
        corrections = corrected_pairs(out)
        return cls(asked, pair_sources(images, asked.pairs, others=[corrections]), corrections.log)

    @property
    def grouped_with(self) -> int:
        """Number of the last correction in the folder; 0: there is none."""
        return self.log.next_number - 1

    def names_by_hand(self, records: Sequence[Record]) -> list[str | None]:
        """Give the name that the corrections in the folder give to each image; None: none."""
        found = replay(self.log, [record.path for record in records])
        return [found.names.get(number) for number in found.group.tolist()]
