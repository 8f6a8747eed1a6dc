"""Known pairs: pairs of images that show one object (must-link) or two (cannot-link), with the origin of each.

Must-links are transitive, so that a chain through the images of a track stands for all its pairs. Where must-links are
complete between two tracks, one cannot-link stands for all pairs of their images. ``contradictions.py`` removes what
contradicts itself; ``constraints.py`` makes the form that clustering uses.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

OriginKind = Literal["track", "simultaneous", "by hand"]


@dataclass(frozen=True)
class PairOrigin:
    """Where the knowledge of a pair comes from.

    Attributes:
        kind: ``track``: one track; ``simultaneous``: two tracks of one camera at one time; ``by hand``: a
            person looked at the images. What is known by hand is preferred to what a tracker found.
        words: The origin for a message: ``track 2/17``, ``line 4 of pairs.csv``.
        is_chosen: Whether the images were looked at because a program confused them or was unsure, so that such pairs
            are more similar than pairs in general.
    """

    kind: OriginKind
    words: str
    is_chosen: bool = False


def no_pairs() -> NDArray[np.int64]:
    """Give an empty array of pairs, ``[0, 2]`` int64."""
    return np.empty((0, 2), dtype=np.int64)


@dataclass(frozen=True)
class KnownPairs:
    """Pairs of images of which it is known whether they show one object.

    Attributes:
        must_link: ``[M, 2]`` int64 row numbers of images that show one object.
        cannot_link: ``[C, 2]`` int64 row numbers of images that show two objects.
        must_origins: M origins, of each pair of ``must_link``.
        cannot_origins: C origins, of each pair of ``cannot_link``.
        notes: How much of each source was used, and what was not, in sentences.
    """

    must_link: NDArray[np.int64] = field(default_factory=no_pairs)
    cannot_link: NDArray[np.int64] = field(default_factory=no_pairs)
    must_origins: tuple[PairOrigin, ...] = ()
    cannot_origins: tuple[PairOrigin, ...] = ()
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Raise a ``ValueError`` unless there is one origin for each pair."""
        lengths = (len(self.must_link), len(self.cannot_link))
        if lengths != (len(self.must_origins), len(self.cannot_origins)):
            raise ValueError(
                f"{lengths[0]} must-links and {lengths[1]} cannot-links, with {len(self.must_origins)} and "
                f"{len(self.cannot_origins)} origins; expected one origin for each pair"
            )

    @classmethod
    def of(
        cls,
        must_link: Iterable[tuple[int, int, PairOrigin]],
        cannot_link: Iterable[tuple[int, int, PairOrigin]],
        notes: Sequence[str] = (),
    ) -> KnownPairs:
        """Make known pairs of (first row, second row, origin)."""
        must, cannot = list(must_link), list(cannot_link)
        return cls(
            _rows(must), _rows(cannot), tuple(one[2] for one in must), tuple(one[2] for one in cannot), tuple(notes)
        )

    def __len__(self) -> int:
        """Number of pairs of both kinds."""
        return len(self.must_link) + len(self.cannot_link)

    def joined(self, *others: KnownPairs) -> KnownPairs:
        """Give these pairs and those of other sources."""
        parts = (self, *others)
        return KnownPairs(
            np.concatenate([part.must_link for part in parts]),
            np.concatenate([part.cannot_link for part in parts]),
            tuple(origin for part in parts for origin in part.must_origins),
            tuple(origin for part in parts for origin in part.cannot_origins),
            tuple(note for part in parts for note in part.notes),
        )

    def without(self, must: Iterable[int], cannot: Iterable[int]) -> KnownPairs:
        """Give the pairs without some must-links and some cannot-links, by their places."""
        gone = set(must), set(cannot)
        kept = [
            np.array([at for at in range(length) if at not in places], dtype=np.int64)
            for length, places in zip((len(self.must_link), len(self.cannot_link)), gone, strict=True)
        ]
        return KnownPairs(
            self.must_link[kept[0]],
            self.cannot_link[kept[1]],
            tuple(self.must_origins[at] for at in kept[0].tolist()),
            tuple(self.cannot_origins[at] for at in kept[1].tolist()),
            self.notes,
        )

    def words(self) -> str:
        """Give the numbers of pairs by origin, as a phrase; must-links are those that chains need."""
        counts = [
            ", ".join(f"{number} {kind}" for kind, number in sorted(Counter(o.kind for o in origins).items()))
            for origins in (self.must_origins, self.cannot_origins)
        ]
        return (
            f"{len(self.must_link)} must-links{f' ({counts[0]})' if counts[0] else ''}, "
            f"{len(self.cannot_link)} cannot-links{f' ({counts[1]})' if counts[1] else ''}"
        )

    def checksum(self) -> int:
        """Give a number by which a continued run recognises the same pairs; 0 without any."""
        if not len(self):
            return 0
        return crc32(self.must_link.tobytes() + b"|" + self.cannot_link.tobytes())


def pair_facts(known: KnownPairs, contradictions: Sequence[str]) -> dict[str, Any]:
    """Give the numbers of known pairs and their contradictions as plain values, for a summary; empty without any."""
    if not len(known) and not contradictions:
        return {}
    return {
        "must_links": len(known.must_link),
        "cannot_links": len(known.cannot_link),
        "contradictions": list(contradictions),
    }


def _rows(pairs: Sequence[tuple[int, int, PairOrigin]]) -> NDArray[np.int64]:
    return np.array([one[:2] for one in pairs], dtype=np.int64).reshape(-1, 2)
