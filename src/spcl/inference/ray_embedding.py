"""Features of many images by the processes of a Ray cluster (``pip install "spcl[ray]"``).

Ray Data hands batches of paths to processes that have the encoder loaded, holds back new batches while results wait,
starts a process again that has died, and computes its batch again. Results come in the order of the images. The images
must be at the same paths on every machine (a shared folder).
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from spcl.errors import InputError, first_line
from spcl.inference.embedding import EmbeddedImages, EmbedSettings, embed_part, with_counts
from spcl.inference.encode_options import ComputeOptions
from spcl.inference.encoder import Encoder
from spcl.inference.engine import EmbeddingEngine, RayJob
from spcl.records import Record
from spcl.reporting.console import Reporter
from spcl.reporting.quiet_reporters import LoggingReporter
from spcl.threads import usable_cores, use_threads

_CORES_A_WORKER = 4


@dataclass(frozen=True, kw_only=True)
class WorkerSettings:
    """How each process encodes.

    Attributes:
        options: Device, precision, flip and decoding threads; the device ``auto`` is the GPU that Ray gives the
            process, otherwise the CPU.
        batch_size: Number of images encoded at a time.
        num_cores: Number of threads that compute.
    """

    options: ComputeOptions
    batch_size: int
    num_cores: int


class EncodingWorker:
    """What a process of the cluster runs: it loads the encoder once, and embeds batches of paths."""

    def __init__(self, encoder: list[Any], settings: WorkerSettings) -> None:
        """Fetch the encoder.

        Args:
            encoder: The reference of the encoder in Ray's store, in a list, so that Ray does not replace it by a copy.
            settings: How to encode.
        """
        import ray

        use_threads(settings.num_cores)
        self._settings = EmbedSettings.of(settings.options, settings.options.runtime())
        self._batch_size = settings.batch_size
        self._encoder: Encoder = ray.get(encoder[0])
        self._encoder.to(self._settings.device)

    def __call__(self, batch: pa.Table) -> pa.Table:
        """Embed the images of a batch: the table gets their features, and the reason for each that cannot be read."""
        records = [Record(Path(path)) for path in batch.column("path").to_pylist()]
        done = embed_part(self._encoder, records, self._settings, batch_size=self._batch_size)
        reasons = dict(done.broken)
        is_read = np.array([record.path not in reasons for record in records], dtype=np.bool_)
        features = np.zeros((len(records), self._encoder.feature_dim), dtype=np.float32)
        features[is_read] = done.features
        counts = np.zeros((2, len(records)), dtype=np.int64)
        counts[:, :1] = [[done.num_stretched], [done.num_reduced]]
        return pa.table(
            {
                "row": batch.column("row"),
                "feature": pa.FixedSizeListArray.from_arrays(pa.array(features.ravel()), self._encoder.feature_dim),
                "reason": pa.array([reasons.get(record.path) for record in records], pa.string()),
                "stretched": counts[0],
                "reduced": counts[1],
            }
        )


def embed_parts_with_ray(
    encoder: Encoder,
    records: Sequence[Record],
    job: RayJob,
    *,
    part: int = 4096,
    report: Reporter | None = None,
    name: str = "features",
) -> Iterator[EmbeddedImages]:
    """Compute features as ``embed_parts`` does, by the processes of a Ray cluster.

    Args:
        encoder: The encoder; each process gets a copy.
        records: Records of the images, at paths that every machine of the cluster has.
        job: The cluster, and how its processes encode.
        part: Least number of images in a part, except in the last one.
        report: Receives the progress over all images.
        name: Name of the stage in progress reports.

    Yields:
        The images and features of each part, in the order of the records.

    Raises:
        InputError: If Ray is not installed, the cluster cannot be reached or has no free place, or, after the last
            part, if none of the images can be read.
    """
    report = report or LoggingReporter()
    with _cluster(job.engine) as ray, report.progress(name) as advance:
        blocks = _blocks(ray, encoder, records, job)
        parts = _together(blocks, records, part, lambda done: advance(done, len(records)))
        yield from with_counts(parts, encoder, len(records), report)


def _blocks(ray: Any, encoder: Encoder, records: Sequence[Record], job: RayJob) -> Iterator[pa.Table]:
    """The results of the batches, in order."""
    num_workers, num_cores, num_gpus = _workers(ray, job.engine, job.options.device)
    batch_size = encoder.batch_size()
    worker = WorkerSettings(options=job.options, batch_size=batch_size, num_cores=num_cores)
    context = ray.data.DataContext.get_current()
    context.execution_options.preserve_order = True
    context.enable_progress_bars = False
    paths = [str(record.path) for record in records]
    tables = [
        pa.table({"row": np.arange(at, min(at + batch_size, len(paths))), "path": paths[at : at + batch_size]})
        for at in range(0, len(paths), batch_size)
    ]
    stored = ray.put(encoder.to("cpu"))
    data = ray.data.from_arrow(tables).map_batches(
        EncodingWorker,
        fn_constructor_kwargs={"encoder": [stored], "settings": worker},
        batch_size=None,
        batch_format="pyarrow",
        compute=ray.data.ActorPoolStrategy(size=num_workers),
        num_cpus=num_cores,
        num_gpus=num_gpus,
    )
    try:
        yield from data.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=num_workers)
    except ray.exceptions.RayError as error:
        raise _as_input_error(error) from error


def _together(
    blocks: Iterator[pa.Table], records: Sequence[Record], part: int, advance: Any
) -> Iterator[EmbeddedImages]:
    """Join the results of batches to parts of at least ``part`` images, checked to be complete and in order."""
    waiting: list[pa.Table] = []
    begin = done = 0
    for block in blocks:
        waiting.append(block)
        done += len(block)
        advance(done)
        if done - begin >= part or done == len(records):
            yield _part_of(pa.concat_tables(waiting), records, begin)
            waiting, begin = [], done
    if done != len(records):
        raise InputError(
            f"the cluster gave the features of {done} of {len(records)} images; run the command again",
            code="cluster-failed",
        )


def _part_of(table: pa.Table, records: Sequence[Record], begin: int) -> EmbeddedImages:
    rows = table.column("row").to_numpy()
    if not np.array_equal(rows, np.arange(begin, begin + len(rows))):
        raise InputError("the cluster gave features out of order; run the command again", code="cluster-failed")
    reasons = table.column("reason").to_pylist()
    is_read = np.array([reason is None for reason in reasons], dtype=np.bool_)
    feature = table.column("feature").combine_chunks()
    features = feature.flatten().to_numpy(zero_copy_only=False).reshape(len(rows), -1)
    given = records[begin : begin + len(rows)]
    return EmbeddedImages(
        records=tuple(record for record, reason in zip(given, reasons, strict=True) if reason is None),
        features=np.ascontiguousarray(features[is_read], dtype=np.float32),
        broken=tuple(
            (record.path, reason) for record, reason in zip(given, reasons, strict=True) if reason is not None
        ),
        num_stretched=int(table.column("stretched").to_numpy().sum()),
        num_reduced=int(table.column("reduced").to_numpy().sum()),
    )


def _workers(ray: Any, engine: EmbeddingEngine, device: str) -> tuple[int, int, float]:
    """Number of processes, and cores and GPUs of each.

    Raises:
        InputError: If the cluster cannot hold them.
    """
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    cores = [int(node.get("CPU", 0)) for node in nodes]
    gpus = int(sum(node.get("GPU", 0) for node in nodes))
    with_gpu = gpus > 0 and device != "cpu"
    if not sum(cores):
        raise InputError("the Ray cluster has no CPU cores: add machines to it", code="cluster-failed")
    if engine.num_workers != "auto":
        wanted = engine.num_workers
        most = gpus if with_gpu else sum(cores)
        if wanted > most:
            kind = "GPUs" if with_gpu else "CPU cores"
            raise InputError(
                f"--ray-workers is {wanted}, and the cluster has {most} {kind}; give at most {most}",
                code="setting-out-of-range",
            )
        return wanted, max(1, min(max(cores), sum(cores) // wanted)), float(with_gpu)
    if with_gpu:
        return gpus, max(1, sum(cores) // gpus), 1.0
    each = min(_CORES_A_WORKER, min(number for number in cores if number))
    return sum(number // each for number in cores), each, 0.0


@contextmanager
def _cluster(engine: EmbeddingEngine) -> Iterator[Any]:
    """Ray, connected; a cluster that was started or joined here is left at the end."""
    # Without it, Ray reports its use to a server of its makers.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise InputError(
            'the engine ray needs the package ray: pip install "spcl[ray]", or leave --engine out',
            code="package-not-installed",
        ) from error
    logging.getLogger("ray").setLevel(logging.ERROR)
    begun = not ray.is_initialized()
    if begun:
        _join(ray, engine.address)
    try:
        yield ray
    finally:
        if begun:
            ray.shutdown()


def _join(ray: Any, address: str) -> None:
    place: dict[str, Any] = {"address": address} if address else {"num_cpus": usable_cores(), "address": "local"}
    if not address:
        place["include_dashboard"] = False
    try:
        _check_answers(address)
        ray.init(**place, log_to_driver=False, logging_level=logging.ERROR)
    except (OSError, ValueError, RuntimeError) as error:
        raise InputError(
            f"there is no Ray cluster at {address or 'this machine'}: {first_line(error)}. Start one with "
            "ray start --head, or leave --address out to use this machine alone",
            code="cluster-failed",
        ) from error


def _check_answers(address: str) -> None:
    """Raise an ``OSError`` unless something listens there: Ray itself tries for minutes."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if colon and port.isdecimal():
        socket.create_connection((host, int(port)), timeout=10).close()


def _as_input_error(error: BaseException) -> InputError:
    """The error of a process as the user's error where it is one; otherwise one that says what Ray said."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, InputError):
            return cause
        cause = getattr(cause, "cause", None) or cause.__cause__
    lines = [line for line in str(error).splitlines() if line.strip()]
    return InputError(
        f"the Ray cluster stopped: {lines[-1] if lines else type(error).__name__}. Run the command again; the images "
        "must be at the same paths on every machine",
        code="cluster-failed",
    )
