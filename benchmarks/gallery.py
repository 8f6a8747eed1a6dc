"""A gallery of a million vectors: how long it takes to fill, to open and to search, and in how much memory.

python benchmarks/gallery.py --n 1000000 --dim 512

Features are the heavy-tailed mixture of ``mixture.py``; queries are further rows of it. Each stage runs in a
process of its own, so that the memory of one is not counted for another.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from measuring import PeakMemory, machine
from mixture import mixture

from spcl.gallery.gallery import Gallery
from spcl.gallery.result import SearchResult
from spcl.runtime import Runtime

CHUNK = 50_000


def write_features(folder: Path, num: int, dim: int, num_queries: int) -> dict[str, Any]:
    rows = mixture(num + num_queries, dim)
    np.save(folder / "queries.npy", rows[num:])
    rows[:num].tofile(folder / "features.f32")
    return {}


def fill(folder: Path, num: int, dim: int) -> dict[str, Any]:
    memory = PeakMemory()
    gallery = Gallery.create(folder / "gallery", fingerprint="benchmark", dim=dim)
    started = time.perf_counter()
    with (folder / "features.f32").open("rb") as file:
        for at in range(0, num, CHUNK):
            # Not mapped into memory: the pages of the file would count as memory of this process.
            count = min(CHUNK, num - at)
            rows = np.fromfile(file, np.float32, count * dim).reshape(count, dim)
            names = [f"gate/{number:08d}.jpg" for number in range(at, at + count)]
            gallery.add_features(rows, names, cameras=[number % 16 for number in range(at, at + count)])
    added = time.perf_counter()
    memory_adding = memory.read()
    gallery.tidy()
    return {
        "add_seconds": added - started,
        "index_seconds": time.perf_counter() - added,
        "peak_bytes_adding": memory_adding,
        "peak_bytes_filling": memory.read(),
        "disk_bytes": sum(path.stat().st_size for path in (folder / "gallery").rglob("*") if path.is_file()),
    }


def search(folder: Path, num: int) -> dict[str, Any]:
    queries = np.load(folder / "queries.npy")
    started = time.perf_counter()
    import lancedb  # noqa: F401  (what the first gallery of a process waits for)

    imported = time.perf_counter() - started
    memory = PeakMemory()
    memory_before = memory.read()
    started = time.perf_counter()
    gallery = Gallery.open(folder / "gallery")
    assert len(gallery) == num
    opened = time.perf_counter() - started
    first = _times(gallery, queries[:1])
    by_index = _times(gallery, queries)
    filtered = _times(gallery, queries[:50], where="camera != 3")
    one_camera_times = _times(gallery, queries[:50], where="camera = 3")
    numbers = _times(gallery, queries[:50], where="camera > 3")
    few = _times(gallery, queries[:20], where="camera = 3 and path < 'gate/00100000.jpg'")
    memory_index = memory.read()
    exact = _times(gallery, queries[:5], exact=True)
    facts = gallery.index
    found = gallery.search(queries, k=10)
    truth = gallery.search(queries, k=10, exact=True)
    one_camera = [gallery.search(queries[:60], k=10, where="camera = 3", exact=exact) for exact in (None, True)]
    return {
        "import_seconds": imported,
        "open_seconds": opened,
        "first_query_seconds": first[0],
        "query_median_seconds": float(np.median(by_index)),
        "query_p95_seconds": float(np.percentile(by_index, 95)),
        "filtered_query_median_seconds": float(np.median(filtered)),
        "one_camera_query_median_seconds": float(np.median(one_camera_times)),
        "camera_as_number_query_median_seconds": float(np.median(numbers)),
        "narrow_filter_query_median_seconds": float(np.median(few)),
        "exact_query_median_seconds": float(np.median(exact)),
        "recall_at_10": _recall(found, truth),
        "one_camera_recall_at_10": _recall(*one_camera),
        "index": None if facts is None else vars(facts),
        "peak_bytes_before_opening": memory_before,
        "peak_bytes_searching": memory_index,
        "peak_bytes_with_exact": memory.read(),
    }


def _times(gallery: Gallery, queries: np.ndarray, **options: Any) -> list[float]:
    times = []
    for query in queries:
        started = time.perf_counter()
        gallery.search(query, k=10, **options)
        times.append(time.perf_counter() - started)
    return times


def _recall(found: SearchResult, truth: SearchResult) -> float:
    pairs = zip(found, truth, strict=True)
    return float(np.mean([len({hit.path for hit in a} & {hit.path for hit in b}) / 10 for a, b in pairs]))


def _apart(stage: Callable[..., dict[str, Any]], *given: Any) -> dict[str, Any]:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        return process.submit(stage, *given).result()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=100_000, help="vectors")
    parser.add_argument("--dim", type=int, default=512, help="length of a vector")
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--folder", type=Path, help="where to work; what is there already is used again")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "features.f32").exists():
            _apart(write_features, folder, options.n, options.dim, options.queries)
        figures = {"n": options.n, "dim": options.dim}
        if not (folder / "gallery").exists():
            figures |= _apart(fill, folder, options.n, options.dim)
        figures |= _apart(search, folder, options.n)
    figures["machine"] = machine(Runtime("cpu").device)
    if options.json:
        print(json.dumps(figures))
        return
    for name, value in figures.items():
        if name.endswith("_bytes") or "_bytes_" in name:
            print(f"{name:<36} {value / 1e9:.2f} GB" if value else f"{name:<36} unknown")
        else:
            print(f"{name:<36} {value:.4f}" if isinstance(value, float) else f"{name:<36} {value}")


if __name__ == "__main__":
    main()
