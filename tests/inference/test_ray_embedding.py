"""Features by a Ray cluster: equal to those of this process, also when a process of the cluster is killed."""

from __future__ import annotations

import builtins
import os
import signal
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
import pytest

from spcl.errors import InputError
from spcl.inference import ray_embedding
from spcl.inference.embedding import EmbedSettings, embed_records, imagenet_encoder
from spcl.inference.encode_options import EncodeOptions
from spcl.inference.engine import EmbeddingEngine, RayJob
from spcl.inference.ray_embedding import EncodingWorker, WorkerSettings, embed_parts_with_ray
from spcl.records import Record
from spcl.runtime import Runtime
from tests.fakes import draw
from tests.input_errors import input_error


@pytest.fixture(scope="module")
def encoder() -> Any:
    return imagenet_encoder("timm/test_resnet", pretrained="none", size=(32, 16))


@pytest.fixture
def records(tmp_path: Path) -> list[Record]:
    (tmp_path / "5.jpg").write_bytes(b"no image")
    paths = [tmp_path / "5.jpg" if at == 5 else draw(tmp_path / f"{at}.jpg", at % 7, at) for at in range(24)]
    return [Record(path) for path in paths]


def test_the_options_of_a_cluster_are_for_ray_alone() -> None:
    with input_error("option-does-not-apply", "--address", "--engine ray"):
        EmbeddingEngine(address="10.0.0.1:6379")
    with input_error("option-does-not-apply", "--ray-workers"):
        EmbeddingEngine(num_workers=2)
    with input_error("setting-out-of-range", "ray_workers is 0"):
        EmbeddingEngine(name="ray", num_workers=0)
    with input_error("setting-out-of-range", "engine is 'dask'"):
        EmbeddingEngine(name="dask")  # type: ignore[arg-type]


def test_without_ray_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch, encoder: Any) -> None:
    real = builtins.__import__

    def refuse(name: str, *others: Any, **named: Any) -> Any:
        if name == "ray" or name.startswith("ray."):
            raise ImportError(name)
        return real(name, *others, **named)

    monkeypatch.setattr(builtins, "__import__", refuse)
    monkeypatch.delitem(sys.modules, "ray", raising=False)
    with input_error("package-not-installed", 'pip install "spcl[ray]"'):
        list(
            embed_parts_with_ray(encoder, [Record(Path("a.jpg"))], RayJob(EmbeddingEngine(name="ray"), EncodeOptions()))
        )


@pytest.mark.parametrize(
    ("nodes", "number", "device", "expected"),
    [
        ([{"CPU": 8}], "auto", "auto", (2, 4, 0.0)),
        ([{"CPU": 2}], "auto", "auto", (1, 2, 0.0)),
        ([{"CPU": 8}, {"CPU": 6}], "auto", "auto", (3, 4, 0.0)),
        ([{"CPU": 16, "GPU": 2}], "auto", "auto", (2, 8, 1.0)),
        ([{"CPU": 16, "GPU": 2}], "auto", "cpu", (4, 4, 0.0)),
        ([{"CPU": 2}], 2, "auto", (2, 1, 0.0)),
        ([{}, {"CPU": 4}], "auto", "auto", (1, 4, 0.0)),
    ],
)
def test_the_number_of_processes_follows_the_cluster(nodes: Any, number: Any, device: str, expected: Any) -> None:
    ray = SimpleNamespace(nodes=lambda: [{"Alive": True, "Resources": node} for node in nodes])
    assert ray_embedding._workers(ray, EmbeddingEngine(name="ray", num_workers=number), device) == expected


def test_more_processes_than_the_cluster_has_room_for_are_refused() -> None:
    ray = SimpleNamespace(nodes=lambda: [{"Alive": True, "Resources": {"CPU": 2}}])
    with input_error("setting-out-of-range", "--ray-workers is 3", "2 CPU cores"):
        ray_embedding._workers(ray, EmbeddingEngine(name="ray", num_workers=3), "auto")
    dead = SimpleNamespace(nodes=lambda: [{"Alive": False, "Resources": {"CPU": 2}}])
    with input_error("cluster-failed", "no CPU cores"):
        ray_embedding._workers(dead, EmbeddingEngine(name="ray"), "auto")


def worker_tables(encoder: Any, records: list[Record], monkeypatch: pytest.MonkeyPatch, size: int) -> list[pa.Table]:
    """What processes of a cluster give, computed here."""
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(get=lambda given: given))
    settings = WorkerSettings(options=EncodeOptions(workers=0), batch_size=size, num_cores=1)
    worker = EncodingWorker([encoder], settings)
    paths = [str(record.path) for record in records]
    return [
        worker(pa.table({"row": np.arange(at, min(at + size, len(paths))), "path": paths[at : at + size]}))
        for at in range(0, len(paths), size)
    ]


def test_the_results_of_processes_become_the_parts_of_a_local_run(
    encoder: Any, records: list[Record], monkeypatch: pytest.MonkeyPatch
) -> None:
    here = embed_records(encoder, records, EmbedSettings(runtime=Runtime("cpu"), num_threads=0))
    tables = worker_tables(encoder, records, monkeypatch, 7)
    steps: list[int] = []
    parts = list(ray_embedding._together(iter(tables), records, 10, steps.append))
    assert [len(part.records) + len(part.broken) for part in parts] == [14, 10] and steps == [7, 14, 21, 24]
    assert sum((part.records for part in parts), ()) == here.records
    assert sum((part.broken for part in parts), ()) == here.broken and here.broken[0][0].name == "5.jpg"
    np.testing.assert_allclose(np.concatenate([part.features for part in parts]), here.features, atol=1e-6)


def test_missing_or_exchanged_results_are_an_error(
    encoder: Any, records: list[Record], monkeypatch: pytest.MonkeyPatch
) -> None:
    tables = worker_tables(encoder, records, monkeypatch, 8)
    with input_error("cluster-failed", "16 of 24"):
        list(ray_embedding._together(iter(tables[:2]), records, 10, lambda done: None))
    with input_error("cluster-failed", "out of order"):
        list(ray_embedding._together(iter(tables[::-1]), records, 10, lambda done: None))


def test_an_error_of_the_user_in_a_process_is_that_error() -> None:
    inner = InputError("features are not finite", code="not-finite")
    outer = RuntimeError("task failed")
    outer.cause = inner  # type: ignore[attr-defined]
    assert ray_embedding._as_input_error(outer) is inner
    other = ray_embedding._as_input_error(RuntimeError("first\nOutOfMemory: worker died\n"))
    assert other.code == "cluster-failed" and "OutOfMemory: worker died" in str(other)


@pytest.mark.slow
@pytest.mark.parametrize("kill", [False, True])
def test_a_cluster_of_two_processes_gives_the_local_features(encoder: Any, tmp_path: Path, kill: bool) -> None:
    pytest.importorskip("ray")
    count = 4000 if kill else 600
    (tmp_path / "5.jpg").write_bytes(b"no image")
    names = [draw(tmp_path / f"{at}.jpg", at, at) for at in range(60)]
    records = [Record(tmp_path / "5.jpg" if at == 5 else names[at % 60]) for at in range(count)]
    job = RayJob(EmbeddingEngine(name="ray", num_workers=2), EncodeOptions(workers=0))
    killed: list[int] = []

    def kill_one() -> None:
        end = time.monotonic() + 240
        while not killed and time.monotonic() < end:
            for process in psutil.process_iter(["name", "cmdline"]):
                title = " ".join(process.info["cmdline"] or [])
                if "MapWorker" in title and "EncodingWorker" in title:
                    os.kill(process.pid, signal.SIGKILL)
                    killed.append(process.pid)
                    return
            time.sleep(0.05)

    parts = []
    for part in embed_parts_with_ray(encoder, records, job, part=500):
        parts.append(part)
        if kill and len(parts) == 1:
            threading.Thread(target=kill_one).start()
    here = embed_records(encoder, records, EmbedSettings(runtime=Runtime("cpu"), num_threads=0))
    assert bool(killed) == kill
    assert sum((part.records for part in parts), ()) == here.records
    assert sum((part.broken for part in parts), ()) == here.broken
    np.testing.assert_allclose(np.concatenate([part.features for part in parts]), here.features, atol=1e-6)


def test_an_address_without_a_cluster_is_an_error(encoder: Any, records: list[Record]) -> None:
    pytest.importorskip("ray")
    job = RayJob(EmbeddingEngine(name="ray", address="127.0.0.1:1"), EncodeOptions())
    with input_error("cluster-failed", "127.0.0.1:1", "ray start --head"):
        list(embed_parts_with_ray(encoder, records, job))
