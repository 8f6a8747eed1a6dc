"""Results of a gallery: hits of a search, counts of a write, rows that are read."""

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
    """An image of a gallery that was found.

    Attributes:
        path: Path of the image as it was added.
        similarity: Cosine similarity with the query, -1 to 1.
        identity: Identity or group, as the user wrote it; None if unknown.
        camera: Camera, as the user wrote it; None if unknown.
        time: Time without zone; None if unknown.
        columns: Values of the gallery's further columns.
        distance: Distance of re-ranking, low when near; None without re-ranking.
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
        # Results of the search have priority: a gallery of spcl 0.1.0 may have a column called similarity.
        row |= {name: value for name, value in self.columns.items() if name not in row and name != "distance"}
        if self.distance is not None:
            row["distance"] = round(self.distance, 6)
        return {name: value.isoformat(sep=" ") if isinstance(value, datetime) else value for name, value in row.items()}


@dataclass(frozen=True)
class SearchResult:
    """The hits of one or several queries; ``result[0]`` are those of the first query.

    Attributes:
        hits: Hits of each query, nearest first; fewer than requested if no more images pass the filter.
        engine: ``exact``: every image was compared; ``index``: images in the nearest regions were compared.
        recall: Share of the true nearest images that are found: 1 for ``exact``, measured on a sample for ``index``.
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
        num_added: Number of new images.
        num_replaced: Number of images that were in the gallery before; their vectors and given columns were replaced.
        broken: Path and reason of each image that could not be read and was left out.
        kept: For each column, the number of replaced images without a new value, which kept their value.
        note: Description of the conversion of a gallery of spcl 0.1.0; empty: no conversion.
    """

    num_added: int
    num_replaced: int
    broken: tuple[tuple[Path, str], ...] = ()
    kept: Mapping[str, int] = field(default_factory=dict)
    note: str = ""

    def __add__(self, other: Added) -> Added:
        """Add the counts of a later write."""
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
        columns: Values of the requested columns, ``n`` for each name.
    """

    features: NDArray[np.float32]
    columns: dict[str, list[Any]]
