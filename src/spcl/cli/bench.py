"""``spcl bench``: how fast this machine is at what takes the time."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from spcl.cli.computing import ComputingOptions
from spcl.cli.options import at_least
from spcl.errors import InputError
from spcl.reporting.console import ConsoleReporter, SilentReporter
from spcl.threads import use_threads

if TYPE_CHECKING:
    from rich.console import Console


@dataclass(frozen=True)
class Cluster(ComputingOptions):
    """The label stage of an epoch: neighbours, Jaccard distance, clusters at three scales, reliability."""

    n: int = 30000
    """Images."""
    dim: int = 2048
    """Length of a feature."""
    k1: int = 30
    """Neighbours in the k-reciprocal encoding."""
    k2: int = 6
    """Neighbours in the local query expansion."""
    engine: Literal["auto", "torch", "faiss", "approximate"] = "auto"
    """Of the neighbour search; auto goes by size."""
    device: str = "cpu"
    """Where the search multiplies: cpu, auto, cuda, cuda:N or mps."""
    repeat: int = 3
    """Number of repetitions; the fastest is reported."""
    no_full_product: bool = False
    """Leave out the search without symmetry, which the search is compared with."""
    json: bool = False
    """Print JSON."""


@dataclass(frozen=True)
class Rank(ComputingOptions):
    """An evaluation: mAP and CMC of queries against a gallery, plain and after re-ranking."""

    queries: int = 3368
    """Query images; the default is Market-1501's size."""
    gallery: int = 19732
    """Gallery images."""
    dim: int = 2048
    """Length of a feature."""
    no_rerank: bool = False
    """Leave re-ranking out."""
    device: str = "cpu"
    """Where products are made: cpu, auto, cuda, cuda:N or mps."""
    repeat: int = 1
    """Number of repetitions; the fastest is reported."""
    json: bool = False
    """Print JSON."""


@dataclass(frozen=True)
class Train(ComputingOptions):
    """A training step, against forward, backward and Adam of the same network on ready tensors."""

    arch: str = "timm/test_resnet"
    """The network."""
    height: int = 64
    """Height of the images, pixels."""
    width: int = 64
    """Width of the images, pixels."""
    features: int = 512
    """Length of the embedding layer; 0: none."""
    batch_size: int = 64
    """Images of each of the two domains in a batch."""
    slots: int = 20000
    """Rows of the memory."""
    batch_norm_group: int = 16
    """Images of a batch-norm group."""
    iters: int = 20
    """Steps of a measurement."""
    repeat: int = 3
    """Number of repetitions; the fastest is reported."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:N or mps."""
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    """Of the network."""
    compile: bool = False
    """Compile the network."""
    json: bool = False
    """Print JSON."""


def main(arguments: Sequence[str]) -> None:
    """Run ``spcl bench`` with these words."""
    options = tyro.cli(
        Annotated[Cluster, tyro.conf.subcommand("cluster")]
        | Annotated[Rank, tyro.conf.subcommand("rank")]
        | Annotated[Train, tyro.conf.subcommand("train")],
        args=list(arguments),
        prog="spcl bench",
        config=(tyro.conf.FlagCreatePairsOff, tyro.conf.OmitArgPrefixes),
    )
    _check(options)
    use_threads(options.threads)

    from spcl.bench.cluster import bench_cluster
    from spcl.bench.rank import bench_rank
    from spcl.bench.train import bench_train

    report = SilentReporter() if options.json else ConsoleReporter()
    if isinstance(options, Cluster):
        figures = bench_cluster(
            options.n,
            options.dim,
            k1=options.k1,
            k2=options.k2,
            engine=options.engine,
            device=_found_device(options.device),
            repeat=options.repeat,
            with_full_product=not options.no_full_product,
            report=report,
        )
    elif isinstance(options, Train):
        figures = bench_train(
            arch=options.arch,
            height=options.height,
            width=options.width,
            features=options.features,
            batch_size=options.batch_size,
            num_slots=options.slots,
            group_size=options.batch_norm_group,
            iters=options.iters,
            repeat=options.repeat,
            device=options.device,
            precision=options.precision,
            compiled=options.compile,
            report=report,
        )
    else:
        figures = bench_rank(
            options.queries,
            options.gallery,
            options.dim,
            with_rerank=not options.no_rerank,
            device=_found_device(options.device),
            repeat=options.repeat,
            report=report,
        )
    if options.json:
        print(json.dumps(figures, indent=1))
    else:
        _show(figures, ConsoleReporter().console)


def _check(options: Any) -> None:
    for name, value in asdict(options).items():
        if isinstance(value, int) and not isinstance(value, bool):
            at_least(f"--{name.replace('_', '-')}", value, 0 if name in ("features", "batch_norm_group") else 1)
    if getattr(options, "engine", "") != "faiss":
        return

    from spcl.neighbours.faiss_search import is_installed

    if not is_installed():
        raise InputError('faiss is not installed: pip install "spcl[faiss]", or leave --engine out')


def _found_device(name: str) -> str:
    """The device that a name means, checked."""
    from spcl.runtime import Runtime

    return str(Runtime(name).device)


def _show(figures: dict[str, Any], console: Console) -> None:
    from rich.table import Table

    table = Table(show_header=False)
    table.add_column("what")
    table.add_column("figure", justify="right")
    for name, value in figures.items():
        entries = (
            {f"{name}: {key}": entry for key, entry in value.items()} if isinstance(value, dict) else {name: value}
        )
        for title, entry in entries.items():
            table.add_row(title.replace("_", " "), _text(entry))
    console.print(table)


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return "-" if value is None else str(value)
