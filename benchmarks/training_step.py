"""A training step against the pure forward and backward pass of the same network, in the same run.

python benchmarks/training_step.py
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from command import BenchmarkSettings, run
from measuring import machine, tiny_numbers_as_zero

from spcl.config import Recipe, RunConfig
from spcl.data.augment import TrainAugmentation
from spcl.data.batches import Batch, DomainStream, joined_batches
from spcl.data.identity_sampler import IdentityBatches
from spcl.data.image_store import ImageStore
from spcl.nn.encoder_network import EncoderNetwork, EncoderSettings
from spcl.nn.imagenet_weights import find_weights
from spcl.records import UNKNOWN, Record
from spcl.reporting.console import Reporter, SilentReporter
from spcl.runtime import Runtime
from spcl.selfpaced.slots import Slots
from spcl.training.hybrid_memory import HybridMemorySettings
from spcl.training.parts import StepInputs, TargetView
from spcl.training.step import TrainingParts, step
from spcl.training_run.build import RunShape, build_parts
from spcl.training_run.session import Session

_DOMAINS = ("source", "target")
_WARM_STEPS = 3


@dataclass(frozen=True, kw_only=True)
class TrainingStepSettings(BenchmarkSettings):
    """Time a training step, against forward, backward and Adam of the same network on ready tensors."""

    may_be_zero: ClassVar[tuple[str, ...]] = ("features", "batch_norm_group")

    arch: str = "timm/test_resnet"
    """The network, with random weights."""
    height: int = 64
    """Height of the images in pixels."""
    width: int = 64
    """Width of the images in pixels."""
    features: int = 512
    """Length of the embedding layer; 0: no such layer."""
    batch_size: int = 64
    """Images of each of the two domains in a batch."""
    slots: int = 20000
    """Rows of the memory."""
    batch_norm_group: int = 16
    """Images of a batch-norm group."""
    iters: int = 20
    """Steps of a measurement."""
    device: str = "auto"
    """Device of the steps: auto, cpu, cuda, cuda:N or mps."""
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    """Precision of the network."""
    compile: bool = False
    """Compile the network."""


@tiny_numbers_as_zero()
def measure(settings: TrainingStepSettings, report: Reporter) -> dict[str, Any]:
    """Measure steps on random images.

    Returns:
        ``milliseconds`` of a step of the real loop and of ``pure`` forward, backward and Adam on ready tensors, their
        ratio, images a second, and what each part takes alone: data (which a thread reads ahead), forward, backward,
        loss and memory, optimiser.
    """
    runtime = Runtime(settings.device, settings.precision)
    torch.manual_seed(0)
    encoder = EncoderNetwork(
        EncoderSettings(
            arch=settings.arch,
            height=settings.height,
            width=settings.width,
            features=settings.features,
            domains=_DOMAINS,
            group_size=settings.batch_norm_group,
        ),
        find_weights(settings.arch, "none"),
    )
    parts = _training_parts(encoder, settings.slots, runtime, settings.compile)
    streams, labels = _streams(settings, encoder)
    parts.memory.put(0, torch.randn(settings.slots, encoder.feature_dim))
    parts.memory.relabel(torch.from_numpy(labels))
    encoder.train()
    batch = next(_batches(streams, 0, 1, runtime.device))
    best = _best(parts, streams, batch, settings, report)
    shares = {"data": best["data alone"]} | _shares(parts, batch, settings.iters)
    shares["loss and memory"] = best["loss and memory alone"]
    images = len(_DOMAINS) * settings.batch_size
    return {
        "machine": machine(runtime.device),
        "arch": settings.arch,
        "size": [settings.height, settings.width],
        "batch": [settings.batch_size] * len(_DOMAINS),
        "slots": settings.slots,
        "classes": int(labels.max()) + 1,
        "feature_dim": encoder.feature_dim,
        "precision": settings.precision,
        "compiled": settings.compile,
        "milliseconds": {name: 1000 * seconds for name, seconds in best.items()},
        "share_of_the_step": {name: seconds / best["step"] for name, seconds in shares.items()},
        "images_per_second": {name: images / best[name] for name in ("step", "pure", "data alone")},
        "step_by_pure": best["step"] / best["pure"],
        "hours_of_50_epochs_x_400_steps": 50 * 400 * best["step"] / 3600,
    }


def _best(
    parts: TrainingParts, streams: list[DomainStream], batch: Batch, settings: TrainingStepSettings, report: Reporter
) -> dict[str, float]:
    """The shortest seconds of a step, of a pure step, of a batch, and of loss and memory."""
    iters = settings.iters
    measured: dict[str, Callable[[], float]] = {
        "step": lambda: _loop(parts, streams, iters),
        "pure": lambda: _pure(parts, batch, iters),
        "data alone": lambda: _data(streams, iters, parts.runtime.device),
        "loss and memory alone": lambda: _memory(parts, batch, iters),
    }
    best = dict.fromkeys(measured, float("inf"))
    # In turns, so that a slow moment of the machine does not fall on one of them alone.
    with report.progress("measuring steps") as advance:
        for turn in range(settings.repeat):
            for number, (name, call) in enumerate(measured.items()):
                best[name] = min(best[name], call())
                advance(turn * len(measured) + number + 1, settings.repeat * len(measured))
    return best


def _training_parts(encoder: EncoderNetwork, num_slots: int, runtime: Runtime, compiled: bool) -> TrainingParts:
    """What a step of the paper's recipe needs; nothing is labelled."""
    slots, target = Slots(0, num_slots), TargetView(num_slots, np.full(num_slots, UNKNOWN))

    def extract(network: EncoderNetwork) -> torch.Tensor:
        raise RuntimeError("a measurement labels nothing")

    session = Session(runtime, SilentReporter())
    recipe = Recipe(memory=HybridMemorySettings(placement="replicated"), run=RunConfig(compile=compiled))
    return build_parts(recipe, encoder, RunShape(slots, target, _DOMAINS, extract), session)


def _streams(
    settings: TrainingStepSettings, encoder: EncoderNetwork
) -> tuple[list[DomainStream], np.ndarray[Any, np.dtype[np.int64]]]:
    """Random images of two domains, all in memory: a fifth of the memory's classes are the source's."""
    num_slots, height, width = settings.slots, settings.height, settings.width
    rng = np.random.default_rng(0)
    num_classes = max(2, num_slots // 12)
    num_source = max(1, num_classes // 5)
    num_images = num_slots - num_source
    target = rng.integers(0, num_classes - num_source, num_images)
    target = np.unique(target, return_inverse=True)[1].reshape(-1)
    parts = {"source": np.repeat(np.arange(num_source), 8), "target": target}
    slots = {"source": parts["source"], "target": num_source + np.arange(num_images)}
    augmentation = TrainAugmentation(height, width, mean=encoder.mean, std=encoder.std)
    streams = []
    for number, (domain, labels) in enumerate(parts.items()):
        pixels = rng.integers(0, 256, (len(labels), height, width, 3), dtype=np.uint8)
        paths = [Path(f"{domain}/{row}") for row in range(len(labels))]
        store = ImageStore(
            [Record(path) for path in paths],
            size=(height, width),
            memory=pixels.nbytes,
            arrays=dict(zip(paths, pixels, strict=True)),
        )
        store.read(np.arange(len(labels)))
        batches = IdentityBatches(
            labels, np.full(len(labels), -1), batch_size=settings.batch_size, num_instances=4, seed=0, domain=number
        )
        cameras = np.full(len(labels), UNKNOWN)
        streams.append(DomainStream(store, batches, slots[domain], cameras, augmentation, number, 0))
    return streams, np.concatenate([np.arange(num_source), num_source + target])


def _batches(streams: list[DomainStream], start: int, count: int, device: torch.device) -> Iterator[Batch]:
    return joined_batches(streams, epoch=0, start_iteration=start, num_iterations=start + count, device=device)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _loop(parts: TrainingParts, streams: list[DomainStream], iters: int) -> float:
    """Seconds a step of the loop as it trains."""
    device = parts.runtime.device
    started = 0.0
    for number, batch in enumerate(_batches(streams, 0, _WARM_STEPS + iters, device)):
        if number == _WARM_STEPS:
            _wait(device)
            started = time.perf_counter()
        step(parts, batch)
    _wait(device)
    return (time.perf_counter() - started) / iters


def _pure(parts: TrainingParts, batch: Batch, iters: int) -> float:
    """Seconds of forward, backward and Adam on images that are ready, with a loss that costs nothing."""
    device = parts.runtime.device
    weights = torch.randn(len(batch.images), parts.encoder.feature_dim, device=device)
    started = 0.0
    for number in range(_WARM_STEPS + iters):
        if number == _WARM_STEPS:
            _wait(device)
            started = time.perf_counter()
        with parts.runtime.autocast():
            encoded = parts.network(batch.images, batch.domain_sizes)
        parts.runtime.clear_gradients(parts.optimisation.optimizer)
        parts.runtime.backward((encoded.float() * weights).sum())
        parts.runtime.optimise(parts.optimisation.optimizer)
    _wait(device)
    return (time.perf_counter() - started) / iters


def _shares(parts: TrainingParts, batch: Batch, iters: int) -> dict[str, float]:
    """Seconds of the forward pass, the backward pass and Adam, waiting for the device after each."""
    device = parts.runtime.device
    weights = torch.randn(len(batch.images), parts.encoder.feature_dim, device=device)
    marks = np.zeros((_WARM_STEPS + iters, 4))
    for step_marks in marks:
        parts.optimisation.optimizer.zero_grad(set_to_none=True)
        step_marks[0] = time.perf_counter()
        with parts.runtime.autocast():
            encoded = parts.network(batch.images, batch.domain_sizes)
        total = (encoded.float() * weights).sum()
        _wait(device)
        step_marks[1] = time.perf_counter()
        total.backward()
        _wait(device)
        step_marks[2] = time.perf_counter()
        parts.optimisation.optimizer.step()
        _wait(device)
        step_marks[3] = time.perf_counter()
    mean = np.diff(marks, axis=1)[_WARM_STEPS:].mean(axis=0)
    return dict(zip(("forward", "backward", "optimiser"), mean.tolist(), strict=True))


def _data(streams: list[DomainStream], iters: int, device: torch.device) -> float:
    """Seconds a batch: read, augment, join, with nothing else to do."""
    started = 0.0
    for number, _ in enumerate(_batches(streams, 0, _WARM_STEPS + iters, device)):
        if number == _WARM_STEPS - 1:
            _wait(device)
            started = time.perf_counter()
    _wait(device)
    return (time.perf_counter() - started) / iters


def _memory(parts: TrainingParts, batch: Batch, iters: int) -> float:
    """Seconds of the loss, its gradient and the memory's update, on features that are ready."""
    device = parts.runtime.device
    features = torch.nn.functional.normalize(
        torch.randn(len(batch.images), parts.encoder.feature_dim, device=device), dim=1
    ).requires_grad_()
    started = 0.0
    for number in range(_WARM_STEPS + iters):
        if number == _WARM_STEPS:
            _wait(device)
            started = time.perf_counter()
        features.grad = None
        total: torch.Tensor = parts.losses[0](StepInputs(features, batch.slots, batch.cameras, parts.memory)).sum()
        total.backward()  # type: ignore[no-untyped-call]
        parts.memory.update(features, batch.all_slots)
    _wait(device)
    return (time.perf_counter() - started) / iters


def main(arguments: Sequence[str] | None = None) -> None:
    run(TrainingStepSettings, measure, arguments)


if __name__ == "__main__":
    main()
