"""Filters of users as conditions of one collection: what Qdrant has no condition for is answered by reading columns."""

from __future__ import annotations

import uuid
from typing import Any

import pyarrow as pa

from spcl.errors import InputError
from spcl.gallery.columns import KEY
from spcl.gallery.filter_parsing import parsed_filter
from spcl.gallery.filter_tree import And, Tree, columns_of, truth
from spcl.gallery.filters import invalid_filter
from spcl.gallery.qdrant.address import QdrantPlace
from spcl.gallery.qdrant.conditions import Condition, condition_of, no_row
from spcl.gallery.qdrant.connection import asking, models
from spcl.gallery.qdrant.pages import PAYLOADS_AT_ONCE, pages_of
from spcl.gallery.qdrant.payload import value_of

_MOST_DISTINCT = 10_000
_MOST_READ = 100_000


class Conditions:
    """Conditions of filters, each made once.

    Args:
        place: The collection.
        client: Client of its server or folder.
        schema: Columns of the gallery.
    """

    def __init__(self, place: QdrantPlace, client: Any, schema: pa.Schema) -> None:
        self._place, self._client, self._schema = place, client, schema
        self._made: dict[str, Condition] = {}

    def condition(self, where: str) -> Condition:
        """The condition of a checked filter.

        Raises:
            InputError: If the filter cannot be used, or would be answered by reading more rows than a request can name.
        """
        if where not in self._made:
            try:
                tree = parsed_filter(where, self._schema.insert(0, pa.field(KEY, pa.string())))
            except ValueError as error:
                raise invalid_filter(where, str(error), self._schema) from error
            self._made[where] = self._condition(tree)
        return self._made[where]

    def _condition(self, tree: Tree) -> Condition:
        parts = tree.parts if isinstance(tree, And) else (tree,)
        known = [(part, condition_of(part, self.distinct)) for part in parts]
        native = [condition for _, condition in known if condition is not None]
        rest = tuple(part for part, condition in known if condition is None)
        asked = models().Filter(must=native)
        return asked if not rest else self._by_reading(And(rest), asked if native else None)

    def distinct(self, column: str) -> list[str] | None:
        """The values of a column of text; None if there may be more than can be listed."""
        if column in ("path", KEY):
            return None
        with asking(self._place):
            hits = self._client.facet(self._place.collection, column, limit=_MOST_DISTINCT + 1, exact=True).hits
        # The index of a server also lists values whose rows were removed, with a count of 0.
        values = [str(hit.value) for hit in hits if hit.count]
        # Local mode lists a UUID in one spelling, whichever is stored.
        return None if len(hits) > _MOST_DISTINCT or any(map(_is_uuid, values)) else values

    def _by_reading(self, tree: Tree, native: Condition | None) -> Condition:
        """The condition of a filter that is answered by reading the columns that it names."""
        fields = [self._schema.field(name) if name != KEY else pa.field(KEY, pa.string()) for name in columns_of(tree)]
        names = [field.name for field in fields]
        pages = pages_of(self._place, self._client, native, names, PAYLOADS_AT_ONCE, vectors=False)
        passing: list[str] = []
        for points in pages:
            for point in points:
                if truth(tree, {field.name: value_of(point.payload or {}, field) for field in fields}):
                    passing.append(str(point.id))
            if len(passing) > _MOST_READ:
                raise InputError(
                    f"more than {_MOST_READ} images pass a condition that Qdrant has none for (text compared by order, "
                    "like on paths other than path like 'FOLDER/%'): make the filter narrower, or use columns with few "
                    "values",
                    code="filter-too-wide",
                )
        return models().Filter(must=[models().HasIdCondition(has_id=passing)]) if passing else no_row()


def _is_uuid(text: str) -> bool:
    try:
        uuid.UUID(text)
    except ValueError:
        return False
    return True
