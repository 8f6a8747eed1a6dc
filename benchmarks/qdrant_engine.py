"""The storage engine of Qdrant in this process (package ``qdrant-edge-py``), with the methods of its client.

A gallery at an address of a server asks this object in place of the server: its filters, its HNSW graph and its indexes
of columns are those of the engine; what is missing is the network and what a server does besides.
"""

from __future__ import annotations

import uuid
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import qdrant_edge as edge
from qdrant_client import models

_INDEXES = {
    "keyword": edge.PayloadSchemaType.Keyword,
    "integer": edge.PayloadSchemaType.Integer,
    "float": edge.PayloadSchemaType.Float,
    "bool": edge.PayloadSchemaType.Bool,
    "datetime": edge.PayloadSchemaType.Datetime,
}


class EngineClient:
    """One collection in a folder.

    Args:
        folder: A folder that does not exist yet or is empty.
        indexing_threshold: Size in KB of the vectors above which ``optimize`` builds a graph; None: that of a server.
    """

    def __init__(self, folder: Path, indexing_threshold: int | None = None) -> None:
        self._folder, self._threshold = folder, indexing_threshold
        self._name = ""
        self._metadata: dict[str, Any] = {}
        self._size = 0
        self._shard: Any = None

    def collection_exists(self, name: str) -> bool:
        return self._shard is not None and name == self._name

    def create_collection(self, name: str, vectors_config: Any, metadata: dict[str, Any] | None) -> bool:
        self._name, self._size, self._metadata = name, vectors_config.size, dict(metadata or {})
        self._folder.mkdir(parents=True, exist_ok=True)
        vectors = edge.EdgeVectorParams(size=vectors_config.size, distance=edge.Distance.Dot)
        optimizers = edge.EdgeOptimizersConfig(indexing_threshold=self._threshold)
        config = edge.EdgeConfig(vectors=vectors, optimizers=optimizers)
        self._shard = edge.EdgeShard.create(str(self._folder), config)
        return True

    def delete_collection(self, name: str) -> bool:
        self._shard.close()
        self._shard = None
        return True

    def get_collection(self, name: str) -> Any:
        info = self._shard.info()
        params = SimpleNamespace(vectors=SimpleNamespace(size=self._size))
        return SimpleNamespace(
            status="green",
            indexed_vectors_count=info.indexed_vectors_count,
            points_count=info.points_count,
            config=SimpleNamespace(params=params, metadata=self._metadata),
        )

    def update_collection(self, name: str, metadata: dict[str, Any]) -> bool:
        self._metadata |= metadata
        return True

    def create_payload_index(self, name: str, field_name: str, field_schema: str, wait: bool = True) -> None:
        self._shard.update(edge.UpdateOperation.create_field_index(field_name, _INDEXES[field_schema]))

    def optimize(self) -> None:
        """Build the HNSW graph, which a server does by itself."""
        self._shard.optimize()

    def upsert(self, name: str, points: list[Any], wait: bool = True) -> None:
        rows = [edge.Point(uuid.UUID(str(point.id)), point.vector, point.payload) for point in points]
        self._shard.update(edge.UpdateOperation.upsert_points(rows))

    def delete(self, name: str, points_selector: Any, wait: bool = True) -> None:
        self._shard.update(edge.UpdateOperation.delete_points_by_filter(_filter(points_selector.filter)))

    def delete_payload(self, name: str, keys: list[str], points: Any, wait: bool = True) -> None:
        self._shard.update(edge.UpdateOperation.delete_payload_by_filter(_filter(points.filter), keys))

    def count(self, name: str, count_filter: Any = None, exact: bool = True) -> Any:
        return SimpleNamespace(count=self._shard.count(edge.CountRequest(filter=_filter(count_filter), exact=exact)))

    def facet(self, name: str, key: str, limit: int, exact: bool) -> Any:
        return self._shard.facet(edge.FacetRequest(key, limit=limit, exact=exact))

    def scroll(
        self, name: str, scroll_filter: Any, limit: int, offset: Any, with_payload: Any, with_vectors: bool
    ) -> tuple[list[Any], Any]:
        asked = edge.ScrollRequest(
            offset=offset,
            limit=limit,
            filter=_filter(scroll_filter),
            with_payload=with_payload,
            with_vector=with_vectors,
        )
        return self._shard.scroll(asked)

    def retrieve(self, name: str, ids: list[str], with_payload: Any = True, with_vectors: bool = False) -> list[Any]:
        return self._shard.retrieve([uuid.UUID(each) for each in ids], with_payload, with_vectors)

    def query_points(self, name: str, query: Any, limit: int, with_payload: Any, with_vectors: bool) -> Any:
        asked = edge.QueryRequest(limit, query=edge.Sample.Random, with_payload=with_payload, with_vector=with_vectors)
        return SimpleNamespace(points=self._shard.query(asked))

    def query_batch_points(self, name: str, requests: list[Any]) -> list[Any]:
        return [SimpleNamespace(points=self._shard.query(_query(request))) for request in requests]

    def close(self) -> None:
        if self._shard is not None:
            self._shard.close()


def _query(request: Any) -> Any:
    params = edge.SearchParams(hnsw_ef=request.params.hnsw_ef, exact=bool(request.params.exact))
    nearest = edge.Query.Nearest(request.query)
    return edge.QueryRequest(
        request.limit, query=nearest, filter=_filter(request.filter), params=params, with_payload=request.with_payload
    )


def _filter(given: Any) -> Any:
    if given is None:
        return None
    return edge.Filter(**{name: _conditions(getattr(given, name)) for name in ("must", "should", "must_not")})


def _conditions(given: Any) -> list[Any] | None:
    if given is None:
        return None
    return [_condition(each) for each in (given if isinstance(given, list) else [given])]


def _condition(given: Any) -> Any:
    if isinstance(given, models.Filter):
        return _filter(given)
    if isinstance(given, models.IsEmptyCondition):
        return edge.IsEmptyCondition(given.is_empty.key)
    if isinstance(given, models.HasIdCondition):
        return edge.HasIdCondition({uuid.UUID(str(each)) for each in given.has_id})
    if isinstance(given.match, models.MatchValue):
        return edge.FieldCondition(given.key, match=edge.MatchValue(given.match.value))
    if isinstance(given.match, models.MatchAny):
        return edge.FieldCondition(given.key, match=edge.MatchAny(given.match.any))
    bounds = {name: getattr(given.range, name) for name in ("gte", "gt", "lte", "lt")}
    if isinstance(given.range, models.DatetimeRange):
        moments = {name: None if value is None else value.isoformat() for name, value in bounds.items()}
        return edge.FieldCondition(given.key, range=edge.RangeDateTime(**moments))
    return edge.FieldCondition(given.key, range=edge.RangeFloat(**bounds))
