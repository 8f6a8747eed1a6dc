"""Reading many points of a collection, page by page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from spcl.gallery.qdrant.address import QdrantPlace
from spcl.gallery.qdrant.conditions import Condition
from spcl.gallery.qdrant.connection import asking

PAYLOADS_AT_ONCE = 5_000
"""Points without vectors in an answer."""

_LOCAL_AT_ONCE = 1_000_000


def pages_of(
    place: QdrantPlace, client: Any, condition: Condition | None, columns: Sequence[str], size: int, *, vectors: bool
) -> Iterator[list[Any]]:
    """Read the points that meet a condition, in the order of their ids.

    Args:
        place: The collection.
        client: Client of its server or folder.
        condition: The condition; None: all points.
        columns: Names of the columns to read.
        size: Number of points in a page; local mode gives larger pages.
        vectors: Whether vectors are read.
    """
    # Local mode looks at all rows for each page.
    size = size if place.folder is None else _LOCAL_AT_ONCE
    at = None
    while True:
        with asking(place):
            points, at = client.scroll(
                place.collection,
                scroll_filter=condition,
                limit=size,
                offset=at,
                with_payload=list(columns) if columns else False,
                with_vectors=vectors,
            )
        if points:
            yield points
        if at is None:
            return
