"""The most similar image of an identity to a query, by which a person can check an answer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from spcl.gallery.columns import VECTOR, vectors_of
from spcl.gallery.filters import both, quoted
from spcl.gallery.keys import OwnImages
from spcl.gallery.search import Found
from spcl.gallery.snapshot import Snapshot


def nearest_of_identities(
    snapshot: Snapshot,
    queries: NDArray[np.float32],
    identities: Sequence[str],
    where: str | None,
    own: OwnImages | None,
) -> Found:
    """Find, for each query, the nearest row of one identity, in one pass over the vectors.

    Args:
        snapshot: Snapshot of the gallery that is searched.
        queries: ``[Q, D]`` unit rows.
        identities: The identity to search for, for each query.
        where: A filter that images must pass.
        own: The images that the queries are, which do not count; None: every row counts.

    Returns:
        One row for each query; no row if no other image has the identity.
    """
    searched = _searched(snapshot, queries, identities, where, own)
    if searched is not None:
        return searched
    best = np.full(len(queries), -np.inf, dtype=np.float32)
    rows = np.full(len(queries), -1, dtype=np.int64)
    asked: dict[str, list[int]] = {}
    for query, identity in enumerate(identities):
        asked.setdefault(identity, []).append(query)
    name = "path" if own is None else own.column(snapshot)
    wanted = pa.array(list(asked), pa.string())
    for row_ids, batch in snapshot.scan([VECTOR, "identity", name], where):
        places = np.flatnonzero(pc.is_in(batch.column("identity"), value_set=wanted).to_numpy(zero_copy_only=False))
        if not len(places):
            continue
        some = batch.take(pa.array(places))
        held = [] if own is None else own.of_rows(snapshot, some.column(name).to_pylist())
        vectors = vectors_of(some.column(VECTOR), snapshot.dim)
        for row, identity in enumerate(some.column("identity").to_pylist()):
            for query in asked[identity]:
                similarity = queries[query] @ vectors[row]
                if similarity > best[query] and (own is None or held[row] != own.keys[query]):
                    best[query], rows[query] = similarity, row_ids[places[row]]
    is_found = rows >= 0
    return Found(
        [rows[query : query + 1][is_found[query : query + 1]] for query in range(len(rows))],
        [best[query : query + 1][is_found[query : query + 1]] for query in range(len(rows))],
        "exact",
    )


def _searched(
    snapshot: Snapshot,
    queries: NDArray[np.float32],
    identities: Sequence[str],
    where: str | None,
    own: OwnImages | None,
) -> Found | None:
    """The same by a search for each identity; None if the store cannot search by itself."""
    asked: dict[str, list[int]] = {}
    for query, identity in enumerate(identities):
        asked.setdefault(identity, []).append(query)
    rows = [np.empty(0, dtype=np.int64)] * len(queries)
    similarities = [np.empty(0, dtype=np.float32)] * len(queries)
    for identity, some in asked.items():
        of_identity = both(where, f"identity = {quoted(identity)}")
        # One row more: the own image may be the nearest.
        found = snapshot.search_every(queries[some], 1 if own is None else 2, of_identity)
        if found is None:
            return None
        for query, near, values in zip(some, *found, strict=True):
            held = [] if own is None else own.of_rows(snapshot, _column(snapshot, near, own.column(snapshot)))
            others = [place for place in range(len(near)) if own is None or held[place] != own.keys[query]][:1]
            rows[query], similarities[query] = near[others], values[others]
    return Found(rows, similarities, "exact")


def _column(snapshot: Snapshot, rows: NDArray[np.int64], name: str) -> list[str]:
    values: list[str] = snapshot.take(rows, [name]).column(name).to_pylist()
    return values
