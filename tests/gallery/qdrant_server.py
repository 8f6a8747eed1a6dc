"""A stand-in for a server of Qdrant: its REST requests, answered by the client's local mode in memory.

It shows that requests and answers go over HTTP as the client's models describe them. It is no Qdrant: indexes,
approximate search, limits and timing are not those of a server.
"""

from __future__ import annotations

import json
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

from pydantic import TypeAdapter
from qdrant_client import QdrantClient, models

from spcl.gallery.qdrant.connection import close_clients


class StandIn:
    """The server.

    Attributes:
        client: What answers.
        key: The key that requests need; empty: none.
        keeps_metadata: Whether the metadata of collections are kept, as servers before 1.16 do not.
        status: Status and text that every request is answered with; None: requests are answered.
        requests: Method and path of each request.
        indexed: Name and type of each column that was to be indexed.
    """

    def __init__(self) -> None:
        self.client = QdrantClient(":memory:", force_disable_check_same_thread=True)
        self.key, self.keeps_metadata = "", True
        self.status: tuple[int, str] | None = None
        self.requests: list[tuple[str, str]] = []
        self.indexed: dict[str, str] = {}
        self.num_indexed = 0
        self.waits: threading.Event | None = None

    def answer(self, method: str, path: str, body: Any) -> Any:
        """The result of a request; None: there is no such collection or request."""
        _, first, name, *rest = unquote(path).split("/")
        client, what = self.client, f"{method} {'/'.join(rest)}"
        if first != "collections":
            return None
        if what == "GET exists":
            return {"exists": client.collection_exists(name)}
        if what == "PUT ":
            config = models.CreateCollection(**body)
            metadata = config.metadata if self.keeps_metadata else None
            return client.create_collection(name, vectors_config=config.vectors, metadata=metadata)
        if not client.collection_exists(name):
            return None
        if what == "GET ":
            info = client.get_collection(name).model_dump(mode="json")
            return info | {"indexed_vectors_count": self.num_indexed}
        if what == "DELETE ":
            return client.delete_collection(name)
        if what == "PATCH ":
            return client.update_collection(name, metadata=body["metadata"])
        if what == "PUT index":
            self.indexed[body["field_name"]] = body["field_schema"]
            return _DONE
        return self._of_points(name, what, body)

    def _of_points(self, name: str, what: str, body: dict[str, Any]) -> Any:
        client = self.client
        if what == "PUT points":
            client.upsert(name, models.PointsList(**body).points)
            return _DONE
        if what == "POST points/delete":
            client.delete(name, TypeAdapter(models.PointsSelector).validate_python(body))
            return _DONE
        if what == "POST points/payload/delete":
            asked = models.DeletePayload(**body)
            client.delete_payload(name, asked.keys, models.FilterSelector(filter=asked.filter))
            return _DONE
        if what == "POST points/count":
            asked = models.CountRequest(**body)
            return client.count(name, asked.filter, asked.exact).model_dump(mode="json")
        if what == "POST points/scroll":
            asked = models.ScrollRequest(**body)
            points, following = client.scroll(
                name, asked.filter, asked.limit, None, asked.offset, asked.with_payload, asked.with_vector
            )
            return {"points": _plain(points), "next_page_offset": following}
        if what == "POST points":
            asked = models.PointRequest(**body)
            return _plain(client.retrieve(name, asked.ids, asked.with_payload, asked.with_vector))
        if what == "POST facet":
            asked = models.FacetRequest(**body)
            return client.facet(name, asked.key, asked.filter, asked.limit, asked.exact).model_dump(mode="json")
        if what == "POST points/query/batch":
            searches = models.QueryRequestBatch(**body).searches
            return [{"points": _plain(found.points)} for found in client.query_batch_points(name, searches)]
        if what == "POST points/query":
            asked = models.QueryRequest(**body)
            found = client.query_points(
                name, asked.query, limit=asked.limit, with_payload=asked.with_payload, with_vectors=asked.with_vector
            )
            return {"points": _plain(found.points)}
        return None


_DONE = {"operation_id": 1, "status": "completed"}


def _plain(points: list[Any]) -> list[dict[str, Any]]:
    return [{"version": 0} | point.model_dump(mode="json") for point in points]


@contextmanager
def stand_in() -> Iterator[tuple[str, StandIn]]:
    """A running stand-in: its host and port, and itself."""
    served, lock = StandIn(), threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def _serve(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            path = urlsplit(self.path).path
            served.requests.append((self.command, path))
            if served.waits is not None:
                served.waits.wait(20)
            status, content = 200, b""
            if served.status is not None:
                status, content = served.status[0], served.status[1].encode()
            elif served.key and self.headers.get("api-key") != served.key:
                status, content = 401, b"Must provide an API key or an Authorization bearer token"
            else:
                with lock, warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    result = served.answer(self.command, path, body)
                status = 404 if result is None else 200
                reason = {"error": "Not found: Collection does not exist!"} if result is None else "ok"
                content = json.dumps({"result": result, "status": reason, "time": 0.0}).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_PUT = do_POST = do_DELETE = do_PATCH = _serve  # noqa: N815

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    host = f"127.0.0.1:{server.server_address[1]}"
    try:
        yield host, served
    finally:
        close_clients(host)
        if served.waits is not None:
            served.waits.set()
        server.shutdown()
        server.server_close()
        served.client.close()
