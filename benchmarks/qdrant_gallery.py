"""A gallery in Qdrant beside one in a folder: recall, and times of filling, searching and filtering.

python benchmarks/qdrant_gallery.py --n 100000 --dim 256

Features and queries are those of ``gallery.py``. Each store has a process of its own. ``engine`` is the storage engine
of Qdrant in the process (``qdrant_engine.py``): its time is without network and server. ``local`` is the local mode
of the client, which compares every row in NumPy; its time says nothing of a server. ``--address`` measures a server.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from measuring import machine

import gallery as in_folder
from spcl.gallery.gallery import Gallery
from spcl.runtime import Runtime

STORES = ("folder", "engine", "local", "server")
FILTERS = {
    "not_one_camera": "camera != 3",
    "one_camera": "camera = 3",
    "camera_as_number": "camera > 3",
    "folder": "path like 'gate/%' and camera = 3",
    "narrow": "camera = 3 and path < 'gate/00010000.jpg'",
}


def _place(store: str, folder: Path, address: str) -> str | Path:
    if store == "folder":
        return folder / "gallery"
    if store == "local":
        return f"qdrant-local:{folder / 'local'}/benchmark"
    if store == "server":
        return address
    from qdrant_engine import EngineClient

    from spcl.gallery.qdrant import connection

    connection._clients["http://engine:6333 "] = EngineClient(folder / "engine")
    return "qdrant://engine/benchmark"


def measure(store: str, folder: Path, num: int, dim: int, address: str) -> dict[str, Any]:
    """Fill a gallery and search in it."""
    place = _place(store, folder, address)
    made = Gallery.create(place, fingerprint="benchmark", dim=dim)
    features = np.fromfile(folder / "features.f32", np.float32).reshape(num, dim)
    started = time.perf_counter()
    for at in range(0, num, in_folder.CHUNK):
        rows = features[at : at + in_folder.CHUNK]
        names = [f"gate/{number:08d}.jpg" for number in range(at, at + len(rows))]
        made.add_features(rows, names, cameras=[number % 16 for number in range(at, at + len(rows))])
    added = time.perf_counter()
    if store == "engine":
        made._store._client.optimize()
    made.tidy()
    indexed = time.perf_counter()
    queries = np.load(folder / "queries.npy")
    truth = [[f"gate/{row:08d}.jpg" for row in rows] for rows in _nearest(features, queries)]
    facts = made.index
    figures: dict[str, Any] = {
        "add_seconds": added - started,
        "index_seconds": indexed - added,
        "index": None if facts is None else vars(facts),
        "recall_at_10": _recall(made, queries, truth),
        "exact_recall_at_10": _recall(made, queries[:20], truth, exact=True),
        "query_ms": _milliseconds(made, queries),
        "exact_query_ms": _milliseconds(made, queries[:10], exact=True),
    }
    for name, where in FILTERS.items():
        # Local mode reads every row's payload for each filter.
        some = queries[: 3 if store == "local" else 30]
        figures[f"{name}_query_ms"] = _milliseconds(made, some, where=where)
    few = queries[: 3 if store == "local" else 60]
    of_camera = _nearest(features[3::16], few)
    one_camera = [[f"gate/{16 * row + 3:08d}.jpg" for row in rows] for rows in of_camera]
    figures["one_camera_recall_at_10"] = _recall(made, few, one_camera, where="camera = 3")
    started = time.perf_counter()
    assert sum(len(part.features) for part in made.read(["identity"])) == num
    figures["read_all_seconds"] = time.perf_counter() - started
    return figures


def _nearest(features: np.ndarray, queries: np.ndarray) -> list[list[int]]:
    """The rows of the 10 largest similarities of each query, by NumPy."""
    found = []
    for query in queries:
        similarities = features @ query
        best = np.argpartition(-similarities, 10)[:10]
        found.append(best[np.argsort(-similarities[best])].tolist())
    return found


def _recall(made: Gallery, queries: np.ndarray, truth: list[list[str]], **options: Any) -> float:
    found = made.search(queries, k=10, **options)
    pairs = zip(found, truth[: len(queries)], strict=True)
    return float(np.mean([len({hit.path for hit in hits} & set(names)) / 10 for hits, names in pairs]))


def _milliseconds(made: Gallery, queries: np.ndarray, **options: Any) -> dict[str, float]:
    times = [1000 * seconds for seconds in in_folder._times(made, queries, **options)]
    return {"median": float(np.median(times)), "p95": float(np.percentile(times, 95))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=100_000, help="vectors")
    parser.add_argument("--dim", type=int, default=256, help="length of a vector")
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--stores", nargs="+", choices=STORES, default=["folder", "engine"])
    parser.add_argument("--address", default="qdrant://localhost:6333/spcl_benchmark", help="of the store server")
    parser.add_argument("--folder", type=Path, help="where to work; an empty folder")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "features.f32").exists():
            in_folder._apart(in_folder.write_features, folder, options.n, options.dim, options.queries)
        figures: dict[str, Any] = {"n": options.n, "dim": options.dim, "machine": machine(Runtime("cpu").device)}
        for store in options.stores:
            given = (store, folder, options.n, options.dim, options.address)
            figures[store] = in_folder._apart(measure, *given)
            print(json.dumps({store: figures[store]}), flush=True)
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
