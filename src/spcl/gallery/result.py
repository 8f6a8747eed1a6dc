"""What a search finds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

Engine = Literal["exact", "index"]


@dataclass(frozen=True)
class Hit:
    """An image that was found.

    Attributes:
        path: As it was added.
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
        # What the search tells comes first: an older gallery may have a column called similarity.
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
    engine: Engine
    recall: float

    def __len__(self) -> int:
        return len(self.hits)

    def __getitem__(self, query: int) -> tuple[Hit, ...]:
        return self.hits[query]

    def __iter__(self) -> Iterator[tuple[Hit, ...]]:
        return iter(self.hits)


class GalleryRows(NamedTuple):
    """A part of a gallery.

    Attributes:
        features: ``[n, D]`` float32, unit rows.
        columns: A list of ``n`` values for each column asked for.
    """

    features: NDArray[np.float32]
    columns: dict[str, list[Any]]
