"""Every source of known pairs of a command: the tracks of its images, a table of pairs, and pairs of other programs.

A command finds its sources first, so that a mistake in a table is reported before any work, and asks for the pairs of
rows when it is known which images can be read.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from spcl.corrections.corrections_file import CORRECTIONS
from spcl.data.image_key import shown_path
from spcl.data.table_columns import tables_meant
from spcl.errors import InputError
from spcl.pairs.constraints import PairConstraints
from spcl.pairs.contradictions import without_contradictions
from spcl.pairs.corrected_pairs import corrected_pairs, is_corrections
from spcl.pairs.known_pairs import KnownPairs
from spcl.pairs.pair_options import PairOptions as PairOptions
from spcl.pairs.pair_table import PAIRS_FILE, PairTable, read_pairs
from spcl.pairs.pairs_of_tracks import pairs_of_tracks
from spcl.records import Record

PairsOfRecords = Callable[[Sequence[Record]], KnownPairs]
"""A further source: gives pairs of rows of some images."""


@dataclass(frozen=True)
class PairSources:
    """The sources of known pairs of some images.

    Attributes:
        tables: The tables of pairs.
        are_named: Whether the user named the tables; otherwise they were found beside the images.
        tracks: Whether the tracks of the images are used.
        others: Further sources.
        notes: Files that look like tables of pairs and are not used, in sentences.
    """

    tables: tuple[PairTable, ...] = ()
    are_named: bool = False
    tracks: bool = True
    others: tuple[PairsOfRecords, ...] = ()
    notes: tuple[str, ...] = ()

    def known(self, records: Sequence[Record]) -> tuple[KnownPairs, tuple[str, ...]]:
        """Give the pairs of rows of some images, without contradictions, and a warning for each contradiction.

        The notes of the pairs say how much of each source was used.

        Raises:
            InputError: If a table that the user named has rows, and none of them is about these images.
        """
        parts = [table.known(records) for table in self.tables]
        for table, part in zip(self.tables, parts, strict=True):
            if self.are_named and table.statements and not len(part):
                raise InputError(
                    f"none of the {len(table.statements)} rows of {table.file} is about these images: "
                    f"{part.notes[-1]}. Paths are relative to the folder of the table, or to the current folder",
                    code="no-pairs-used",
                )
        if self.tracks:
            parts.append(pairs_of_tracks(records))
        elif any(record.track is not None for record in records):
            parts.append(KnownPairs(notes=("the tracks of the images are not used (--no-tracks)",)))
        parts += [source(records) for source in self.others]
        known = KnownPairs(notes=self.notes).joined(*parts)
        found, contradictions = without_contradictions(
            known, len(records), lambda row: str(shown_path(records[row].path))
        )
        if len(known):
            found = found.joined(
                KnownPairs(notes=(f"known pairs: {found.words()}; {len(contradictions)} contradiction(s)",))
            )
        return found, contradictions


def constraints_and_fair_ones(
    sources: PairSources | None, records: Sequence[Record]
) -> tuple[PairConstraints | None, PairConstraints | None]:
    """Give the known pairs, and the same without cannot-links from corrections, made where images look alike.

    Pairs of two objects of the other sources are taken for a fair sample of such pairs. None: none are known.
    """
    if sources is None:
        return None, None
    known, _ = sources.known(records)
    fair = known.without([], [at for at, origin in enumerate(known.cannot_origins) if origin.is_chosen])
    num = len(records)
    return (
        PairConstraints.of(num, known.must_link, known.cannot_link),
        PairConstraints.of(num, fair.must_link, fair.cannot_link),
    )


def pair_sources(
    source: str | Path | Sequence[str | Path], options: PairOptions, *, others: Sequence[PairsOfRecords] = ()
) -> PairSources:
    """Find the sources of known pairs of the images of a source.

    Args:
        source: The images, as a command takes them; ``pairs.csv`` in a folder, or beside a table, is a table of pairs,
            and ``corrections.csv`` are corrections by hand.
        options: Which knowledge is used.
        others: Further sources, for example corrections.

    Raises:
        InputError: If a table cannot be read; the message has file, line and value.
    """
    if options.files:
        tables = tuple(read_pairs(file) for file in options.files if not is_corrections(file))
        corrected = [corrected_pairs(file, is_named=True) for file in options.files if is_corrections(file)]
        return PairSources(tables, True, options.tracks, (*others, *corrected))
    found: list[PairTable] = []
    notes: list[str] = []
    others = (*others, *(corrected_pairs(file) for file in _beside(source, CORRECTIONS)))
    for file in _beside(source, PAIRS_FILE):
        try:
            found.append(read_pairs(file))
        except InputError as error:
            # A file of this name may be another program's; damage to a table of pairs is an error.
            if error.code != "no-such-column":
                raise
            notes.append(f"{file} is not used: {error}")
    return PairSources(tuple(found), False, options.tracks, tuple(others), tuple(notes))


def _beside(source: str | Path | Sequence[str | Path], name: str) -> list[Path]:
    """The files of a name in the folders of a source, or beside its files; each once."""
    places = [Path(source)] if isinstance(source, str | Path) else [Path(one) for one in source]
    named = [place for one in places for place in ([one] if one.is_dir() else tables_meant(one).values())]
    folders = dict.fromkeys(place if place.is_dir() else place.parent for place in named if place.exists())
    return [folder / name for folder in folders if (folder / name).is_file()]
