"""What a search finds, what a write did, what is read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

GalleryEngine = Literal["exact", "index"]


@dataclass(frozen=True)
class Hit:
    """An image that was found.

    Attributes:
        path: Path of the image as it was added.
        similarity: Cosine similarity with the query, -1 to 1.
        identity: Or group; text as the user wrote it, None where unknown.
        camera: Text as the user wrote it, None where unknown.
        time: Without zone, None where unknown.
        columns: The gallery's further columns.
        distance: After re-ranking, low is near; None without.
    """

    path: str
    similarity: float
    identity: str | None = None
    camera: str | None = None
    time: datetime | None = None
    columns: Mapping[str, Any] = field(default_factory=dict)
    distance: float | None = None

    def to_row(self) -> dict[str, Any]:
        """Plain values by name; a time as text."""
        row: dict[str, Any] = {
            "path": self.path,
            "similarity": round(self.similarity, 6),
            "identity": self.identity,
            "camera": self.camera,
            "time": self.time,
        }
        # What the search finds comes first: an older gallery may have a column called similarity.
        row |= {name: value for name, value in self.columns.items() if name not in row and name != "distance"}
        if self.distance is not None:
            row["distance"] = round(self.distance, 6)
        return {name: value.isoformat(sep=" ") if isinstance(value, datetime) else value for name, value in row.items()}


@dataclass(frozen=True)
class SearchResult:
    """The answer to one or several queries; ``result[0]`` is that of the first.

    Attributes:
        hits: For each query, nearest first; fewer than asked for where no more images pass the filter.
        engine: ``exact``: every image was compared; ``index``: those of the regions near the query.
        recall: Share of the true nearest images that are found: 1 for exact, measured on a sample for the index.
    """

    hits: tuple[tuple[Hit, ...], ...]
    engine: GalleryEngine
    recall: float

    def __len__(self) -> int:
        return len(self.hits)

    def __getitem__(self, query: int) -> tuple[Hit, ...]:
        return self.hits[query]

    def __iter__(self) -> Iterator[tuple[Hit, ...]]:
        return iter(self.hits)


@dataclass(frozen=True)
class Added:
    """What was added to a gallery.

    Attributes:
        num_added: New images.
        num_replaced: Images that were there: the new vector took the place of the old, and so did each column that has
            a value now.
        broken: Path and reason of each image that could not be read; it was left out.
        kept: For each column, how many of the replaced have no value of their own and kept the one that was there.
        note: Description of the conversion of an older gallery; empty: none was needed.
    """

    num_added: int
    num_replaced: int
    broken: tuple[tuple[Path, str], ...] = ()
    kept: Mapping[str, int] = field(default_factory=dict)
    note: str = ""

    def __add__(self, other: Added) -> Added:
        """Both, one after the other."""
        columns = {**self.kept, **other.kept}
        return Added(
            self.num_added + other.num_added,
            self.num_replaced + other.num_replaced,
            self.broken + other.broken,
            {name: self.kept.get(name, 0) + other.kept.get(name, 0) for name in columns},
            self.note or other.note,
        )


class GalleryRows(NamedTuple):
    """A part of a gallery.

    Attributes:
        features: ``[n, D]`` float32, unit rows.
        columns: A list of ``n`` values for each column asked for.
    """

    features: NDArray[np.float32]
    columns: dict[str, list[Any]]
