"""What each of two processes checks: run by ``test_processes.py``, not by pytest."""

from __future__ import annotations

import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
import torch

from spcl.data.image_store import ImageStore
from spcl.errors import InputError
from spcl.inference.evaluation import RankingSettings, evaluate_encoder
from spcl.nn.encoder_network import EncoderNetwork, EncoderSettings
from spcl.pairs.known_pairs import KnownPairs, PairOrigin
from spcl.records import Record, ReIDDataset
from spcl.reporting.console import SilentReporter
from spcl.runtime import Runtime, end_processes
from spcl.selfpaced.contrastive_loss import contrastive_loss
from spcl.selfpaced.hybrid_memory import HybridMemory
from spcl.selfpaced.pseudo_labels import pseudo_labels
from spcl.selfpaced.sharded_memory import ShardedMemory, sharded_contrastive_loss
from spcl.training.known_pairs import require_known_pairs
from spcl.training.parts import TargetView
from spcl.training.self_paced_labels import SelfPacedLabeller, SelfPacedLabelSettings
from spcl.training_run.first_pass import fill_memory
from spcl.training_run.run_epochs import run_training
from tests.fakes import draw
from tests.training_run.small_runs import prepared, small_config, weights_of


def collectives(runtime: Runtime) -> None:
    rows = torch.arange(14.0).reshape(7, 2)
    own = runtime.part(7)
    assert torch.equal(runtime.gather_parts(rows[own.start : own.stop].clone(), 7), rows)
    assert runtime.gather_parts(torch.full((len(runtime.part(1)), 3), 4.0), 1).tolist() == [[4.0] * 3]
    assert runtime.gather_equal(torch.tensor([runtime.rank])).tolist() == [[0], [1]]
    assert runtime.sum(torch.tensor([1.0 + runtime.rank])).tolist() == [3.0]
    assert runtime.largest(torch.tensor([1.0 + runtime.rank])).tolist() == [2.0]
    mean = torch.tensor([4.0 * runtime.rank])
    runtime.average([mean])
    assert mean.tolist() == [2.0]
    assert runtime.gather_objects(runtime.rank) == [0, 1]
    whole = runtime.gather_to_main(rows[own.start : own.stop], 7)
    assert whole is None if runtime.rank else torch.equal(whole, rows)
    lone = runtime.gather_to_main(torch.full((len(runtime.part(1)), 3), 4.0), 1)
    assert lone is None if runtime.rank else lone.tolist() == [[4.0] * 3]
    # Waiting for labels or re-ranking of millions of images is no failure.
    waits = runtime._host_group._get_backend(torch.device("cpu")).options._timeout
    assert waits >= timedelta(hours=12)
    assert runtime.processes_here == 2
    assert runtime.on_main(lambda: runtime.rank) == 0

    def fail() -> None:
        raise InputError("only the main process saw this")

    with pytest.raises(InputError, match="only the main") as raised:
        runtime.on_main(fail)
    assert raised.value.is_shared


def one_memory_for_all() -> None:
    """Devices differ; what is decided by their memory is decided alike."""
    real = Runtime._own_memory
    Runtime._own_memory = lambda runtime: real(runtime) // (1 + runtime.rank)
    runtime = Runtime("cpu")
    Runtime._own_memory = real
    assert runtime.device_memory() == real(runtime) // 2


def errors_of_some(runtime: Runtime) -> None:
    """What one process finds is told with its number; what all find, as it is. Every process has the error."""

    def fail(where: list[int]) -> int:
        if runtime.rank in where:
            raise InputError("there is no checkpoint c.pth.tar")
        return runtime.rank

    assert runtime.together(lambda: fail([])) == runtime.rank
    with pytest.raises(InputError, match=r"^there is no checkpoint c\.pth\.tar$") as raised:
        runtime.together(lambda: fail([0, 1]))
    assert raised.value.is_shared
    with pytest.raises(InputError, match=r"^process 1 of 2, on \S+: there is no checkpoint c\.pth\.tar$") as raised:
        runtime.together(lambda: fail([1]))
    assert raised.value.is_shared


def draws_apart(runtime: Runtime) -> None:
    """Each process drops other features out; the main one goes on as one process alone would."""
    torch.manual_seed(3)
    runtime.draw_apart(3)
    drawn = runtime.gather_equal(torch.rand(4))
    assert not torch.equal(drawn[0], drawn[1])
    torch.manual_seed(3)
    assert torch.equal(drawn[0], torch.rand(4))


def memory_in_parts(runtime: Runtime) -> None:
    """Rows spread over the processes: loss, gradient, update and state are those of a whole memory."""
    rng = np.random.default_rng(0)
    num_slots, dim, batch = 23, 6, 8
    rows = torch.from_numpy(rng.standard_normal((num_slots, dim)).astype(np.float32))
    labels = torch.from_numpy(np.concatenate([np.arange(9), np.arange(9), rng.integers(0, 9, 5)]))
    labels[labels == 4] = 3  # an empty class
    whole, parts = HybridMemory(num_slots, dim), ShardedMemory(num_slots, dim, runtime=runtime)
    for memory in (whole, parts):
        memory.fill(rows)
        memory.relabel(labels)
    for turn in range(3):
        inputs = torch.nn.functional.normalize(
            torch.from_numpy(rng.standard_normal((2 * batch, dim)).astype(np.float32)), dim=1
        )
        slots = torch.from_numpy(rng.integers(0, num_slots, 2 * batch))
        slots[3] = slots[5] = slots[0]
        own = slice(runtime.rank * batch, (runtime.rank + 1) * batch)
        ours, theirs = inputs[own].clone().requires_grad_(), inputs[own].clone().requires_grad_()
        loss = sharded_contrastive_loss(ours, slots[own], parts)
        expected = contrastive_loss(theirs, slots[own], whole)
        torch.testing.assert_close(loss, expected)
        weights = torch.arange(1.0, batch + 1)
        (loss * weights).sum().backward()
        (expected * weights).sum().backward()
        # Differences of large numbers: logits reach 20, and the weights above make the gradient hundreds long.
        torch.testing.assert_close(ours.grad, theirs.grad, atol=1e-6 * float(theirs.grad.norm()), rtol=1e-4)
        for memory in (whole, parts):
            memory.update(inputs, slots)
        torch.testing.assert_close(parts.rows(), whole.features)
        state = parts.state_dict()
        assert runtime.is_main or not state  # nothing comes together where nothing is saved
        for name, value in whole.state_dict().items() if runtime.is_main else ():
            torch.testing.assert_close(state[name], value, msg=f"{name} after update {turn}")
    assert len(parts.features) < num_slots
    again = ShardedMemory(num_slots, dim, runtime=runtime)
    for at in range(0, num_slots, 5):
        again.put(at, rows[at : at + 5])
    torch.testing.assert_close(again.rows(), torch.nn.functional.normalize(rows, dim=1))
    with pytest.raises(ValueError, match="no classes yet"):
        sharded_contrastive_loss(inputs[own], slots[own], again)
    again.load_state_dict(whole.state_dict())
    torch.testing.assert_close(again.rows(), whole.features)
    torch.testing.assert_close(again.class_means, parts.class_means)


def labels_of_an_epoch(runtime: Runtime) -> None:
    rng = np.random.default_rng(1)
    centres = rng.standard_normal((12, 16))
    rows = centres[rng.integers(0, 12, 301)] + 0.25 * rng.standard_normal((301, 16))
    features = torch.from_numpy((rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32))
    settings = {"k1": 12, "k2": 4, "eps": 0.6, "eps_gap": 0.02, "min_samples": 4}
    labeller = SelfPacedLabeller(SelfPacedLabelSettings(**settings), runtime, SilentReporter())
    target = TargetView(len(features), np.full(len(features), -1))
    found, expected = labeller.label(features, target), pseudo_labels(features, **settings)
    assert np.array_equal(found.labels, expected.labels)
    assert found.independence_threshold == expected.independence_threshold
    assert found.num_clusters > 3
    hand = PairOrigin("by hand", "test")
    pairs = KnownPairs.of([(0, 1, hand), (1, 2, hand)], [(2, 3, hand)])
    known = SelfPacedLabeller(SelfPacedLabelSettings(**settings), runtime, SilentReporter())
    with_pairs = known.label(features, replace(target, pairs=pairs))
    wanted = pseudo_labels(features, **settings, must_link=pairs.must_link, cannot_link=pairs.cannot_link)
    assert np.array_equal(with_pairs.labels, wanted.labels) and not np.array_equal(found.labels, wanted.labels)
    require_known_pairs(with_pairs.labels, replace(target, pairs=pairs))


def broken_images_of_both(runtime: Runtime, folder: Path) -> None:
    """Each process reads a part of the images; what any could not read, all list."""
    paths = [folder / f"{number}.png" for number in range(6)]
    for number, path in enumerate(paths if runtime.is_main else ()):
        draw(path, number)
    runtime.on_main(lambda: [paths[number].write_bytes(b"no image") for number in (0, 5)])
    records = tuple(Record(path, identity=number // 2, camera=number % 2) for number, path in enumerate(paths))
    dataset = ReIDDataset("crops", query=records[::2], gallery=records[1::2])
    torch.manual_seed(0)
    encoder = EncoderNetwork(EncoderSettings(arch="timm/test_resnet", height=32, width=16))
    result = evaluate_encoder(
        encoder,
        dataset,
        lambda some: ImageStore(some, size=(32, 16), on_broken="skip", memory=0),
        runtime,
        SilentReporter(),
        RankingSettings(num_hits=2),
    )
    # Each process searches for a part of the queries; all have the hits of all.
    assert result.hits.rows.shape == result.hits.similarities.shape == (3, 2)
    assert len(set(map(str, runtime.gather_objects(result.hits.rows.tolist())))) == 1
    assert sorted(result.hits.rows[0].tolist()) != [-1, -1]
    assert sorted(result.broken) == [str(paths[0]), str(paths[5])], result.broken


def training(runtime: Runtime, target: Path, source: Path, logs: Path) -> None:
    """Two epochs; leaves the weights, the labels and the figures of each epoch."""
    for name, changed in (
        ("replicated", {}),
        ("sharded", {"run": {"memory": "sharded"}}),
        ("accumulated", {"schedule": {"accumulate": 2, "batch_size": 16}}),
        # Larger: where a map becomes 2 x 1, torch's bf16 convolution of stride 2 now and then gives NaN (2.14, CPU).
        (
            "bf16",
            {
                "data": {"height": 128, "width": 64},
                "run": {"precision": "bf16"},
                "network": {"dropout": 0.2},
            },
        ),
    ):
        config = small_config(target, logs / name, source, **changed)
        run = prepared(config)
        fill_memory(run)
        run.resumed = True
        run_training(run)
        weights = {key: value for key, value in weights_of(run).items() if not key.startswith("memory")}
        if name == "bf16":
            # Different images and different dropout in each process, and the same weights after each step.
            drawn = runtime.gather_equal(torch.rand(8))
            assert not torch.equal(drawn[0], drawn[1])
            for key, value in weights.items():
                both = runtime.gather_equal(value)
                assert torch.equal(both[0], both[1]), key
            assert run.parts.memory.features.dtype == torch.float32
            assert all(np.isfinite(epoch.loss) for epoch in run.state.history)
        weights |= {f"memory.{key}": value for key, value in run.parts.memory.state_dict().items()}
        if runtime.is_main:
            torch.save(
                {"weights": weights, "history": [epoch.to_row() for epoch in run.state.history]}, logs / f"{name}.pt"
            )


if __name__ == "__main__":
    shared = Runtime("cpu")
    assert shared.num_processes == 2
    collectives(shared)
    one_memory_for_all()
    errors_of_some(shared)
    draws_apart(shared)
    memory_in_parts(shared)
    labels_of_an_epoch(shared)
    broken_images_of_both(shared, Path(sys.argv[3]) / "crops")
    training(shared, *(Path(argument) for argument in sys.argv[1:]))
    end_processes()
