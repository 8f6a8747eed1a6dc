"""The loop: reproducible, resumable to the bit, blind to the target's identities, one for USL and UDA."""

from __future__ import annotations

import copy
import json
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from spcl.cli.train import run_training_command
from spcl.config import to_toml
from spcl.data.batches import Batch
from spcl.data.catalogue import load_dataset
from spcl.nn.domain_batchnorm import running_statistics
from spcl.records import ReIDDataset
from spcl.reporting.console import SilentReporter
from spcl.selfpaced.contrastive_loss import contrastive_loss
from spcl.training import loop
from spcl.training.interrupts import stops_between_steps
from spcl.training_run import training_sets
from spcl.training_run.first_pass import fill_memory
from spcl.training_run.run_epochs import loop_calls, run_training
from tests.fakes import draw, write_fake
from tests.shared import input_error, slow_but
from tests.training_run.small_runs import assert_bit_equal, prepared, small_config, trained, weights_of


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A labelled source and a target, both in Market-1501's layout."""
    root = tmp_path_factory.mktemp("data")
    return write_fake("personx", root), write_fake("market1501", root, num_identities=10)


def test_the_same_command_gives_the_same_weights(data, tmp_path):
    source, target = data
    first = trained(small_config(target, tmp_path / "a", source))
    second = trained(small_config(target, tmp_path / "b", source))
    assert_bit_equal(first, second)
    other = trained(small_config(target, tmp_path / "c", source, run={"seed": 2}))
    assert not torch.equal(weights_of(first)["memory.features"], weights_of(other)["memory.features"])


class StopError(Exception):
    pass


@pytest.mark.parametrize("steps", slow_but([1, 2, 3, 4, 5], 2))
@pytest.mark.parametrize("checkpoint_iters", [0, 1])
def test_a_stopped_run_ends_with_the_same_bits(data, tmp_path, monkeypatch, steps, checkpoint_iters):
    source, target = data
    # Dropout draws from the network's own generator: it must continue, too.
    changed = {"network": {"dropout": 0.3}, "run": {"checkpoint_iters": checkpoint_iters}}
    whole = trained(small_config(target, tmp_path / "whole", source, **changed))
    config = small_config(target, tmp_path / "stopped", source, **changed)
    taken = 0
    original = loop.step

    def step(*arguments):
        nonlocal taken
        if taken == steps:
            raise StopError
        taken += 1
        return original(*arguments)

    monkeypatch.setattr(loop, "step", step)
    with pytest.raises(StopError):
        trained(config)
    monkeypatch.setattr(loop, "step", original)
    resumed = trained(config, resume=True)
    assert_bit_equal(whole, resumed)
    rows = [json.loads(line) for line in (tmp_path / "stopped/metrics.jsonl").read_text().splitlines()]
    assert [row["epoch"] for row in rows] == [1, 2]
    assert [row["mAP"] for row in rows] == [epoch.mean_ap for epoch in whole.state.history]


@pytest.mark.slow
def test_a_killed_process_continues(data, tmp_path):
    source, target = data
    whole = trained(small_config(target, tmp_path / "whole", source, schedule={"epochs": 3}))
    config = small_config(target, tmp_path / "killed", source, schedule={"epochs": 3}, run={"checkpoint_iters": 1})
    settings = tmp_path / "settings.toml"
    settings.write_text(to_toml(config))
    process = subprocess.Popen([sys.executable, "-m", "spcl", "train", "--config", str(settings)])
    while not (tmp_path / "killed/resume.pt").exists() and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert (tmp_path / "killed/resume.pt").exists()
    assert_bit_equal(whole, trained(config, resume=True))


def test_a_killed_run_that_saved_nothing_starts_over(data, tmp_path):
    _, target = data
    config = small_config(target, tmp_path / "run")
    prepared(config)
    assert_bit_equal(trained(config, resume=True), trained(small_config(target, tmp_path / "other")))


def test_a_finished_run_can_be_lengthened(data, tmp_path):
    _, target = data
    long = trained(small_config(target, tmp_path / "long", schedule={"epochs": 3}))
    config = small_config(target, tmp_path / "short")
    trained(config)
    longer = replace(config, schedule=replace(config.schedule, epochs=3))
    assert_bit_equal(long, trained(longer, resume=True))


def test_other_settings_or_images_are_not_continued(data, tmp_path):
    source, target = data
    config = small_config(target, tmp_path / "run")
    trained(config)
    with input_error("settings-changed", "eps was 0.6 and is 0.5"):
        prepared(replace(config, labels=replace(config.labels, eps=0.5)), resume=True)
    with input_error("settings-changed", "target was"):
        prepared(small_config(source, tmp_path / "run"), resume=True)
    with input_error("folder-not-empty", str(tmp_path / "run")):
        prepared(config)


def test_identities_of_the_target_are_never_read(data, tmp_path, monkeypatch):
    source, target = data
    expected = trained(small_config(target, tmp_path / "true", source))
    loaded = load_dataset

    def with_other_identities(kind):
        def load(name, root=None, **options):
            dataset = loaded(name, root, **options)
            if name == str(source):
                return dataset
            rng = np.random.default_rng(0)
            identities = rng.permutation([record.identity for record in dataset.train]).tolist()
            if kind == "removed":
                identities = [None] * len(identities)
            train = tuple(replace(r, identity=i) for r, i in zip(dataset.train, identities, strict=True))
            return replace(dataset, train=train)

        return load

    for kind in ("shuffled", "removed"):
        monkeypatch.setattr(training_sets, "load_dataset", with_other_identities(kind))
        assert_bit_equal(expected, trained(small_config(target, tmp_path / kind, source)))


def test_unsupervised_learning_is_adaptation_from_an_empty_source(data, tmp_path, monkeypatch):
    _, target = data
    unsupervised = trained(small_config(target, tmp_path / "usl"))
    monkeypatch.setattr(training_sets, "check_training_sets", lambda *_, **__: None)
    monkeypatch.setattr(
        training_sets,
        "load_dataset",
        lambda name, *given, **options: (
            ReIDDataset("empty") if name == "none" else load_dataset(name, *given, **options)
        ),
    )
    adapted = trained(small_config(target, tmp_path / "uda", "none"))
    assert adapted.source is not None
    assert_bit_equal(unsupervised, adapted)


def test_unlabelled_crops_are_enough(tmp_path):
    for number in range(24):
        draw(tmp_path / "crops" / f"{number:03d}.png", number % 4, number)
    run = trained(small_config(tmp_path / "crops", tmp_path / "run"))
    assert run.state.epoch == 2
    assert run.state.best_mean_ap is None
    assert not (tmp_path / "run/model_best.pth.tar").exists()
    assert (tmp_path / "run/checkpoint.pth.tar").exists()


def test_the_source_alone(data, tmp_path):
    source, target = data
    run = trained(small_config(target, tmp_path / "run", source, schedule={"source_only": True}))
    assert run.encoder.domains == ("source",)
    assert len(run.parts.memory.features) == run.slots.num_source_classes
    assert run.state.history[-1].mean_ap is not None


def test_training_learns(tmp_path):
    # With labels the loss must fall; with pseudo labels it changes its meaning each epoch.
    source = write_fake("personx", tmp_path, num_identities=16)
    changed = {
        "data": {"height": 64, "width": 32},
        "schedule": {"batch_size": 16, "epochs": 3, "iters": 30, "lr": 0.002, "source_only": True},
        # A batch-norm group must contain several identities, or it removes the differences between them.
        "network": {"batch_norm_group": 0},
    }
    run = trained(small_config(source, tmp_path / "run", source, **changed))
    losses = [epoch.loss for epoch in run.state.history]
    assert losses[-1] < 0.7 * losses[0]


@pytest.mark.parametrize(("num", "same"), [(3, False), (5, False), (12, True)])
def test_degenerate_sets_train(tmp_path, num, same):
    """Fewer images than a batch, than k1, than a cluster; all images identical."""
    for number in range(num):
        draw(tmp_path / "crops" / f"{number}.png", 0 if same else number, 0)
    report = SilentReporter()
    run = trained(small_config(tmp_path / "crops", tmp_path / "run"), report=report)
    assert run.state.epoch == 2
    assert all(torch.isfinite(value).all() for value in run.encoder.state_dict().values())
    if same:
        first = run.state.history[0]
        # Of equal distances the lower row is the nearer one: the first k1 rows are the neighbours of all rows.
        assert (first.num_clusters, first.largest_cluster, first.num_unclustered) == (1, 6, 6)
        assert report.warnings == []
    else:
        assert any("no clusters" in warning for warning in report.warnings)


def test_a_row_contains_the_figures_of_the_epoch(data, tmp_path):
    source, target = data
    run = trained(small_config(target, tmp_path / "run", source))
    row = run.state.history[-1].to_row()
    assert set(row["losses"]) == {"source", "target"}
    assert row["loss"] == pytest.approx(sum(row["losses"].values()))
    assert set(row["seconds"]) == {"label", "train", "evaluate"}
    assert row["protocol"] == "market1501"
    assert row["valid_queries"] > 0
    assert {"mAP", "top1", "top5", "top10", "num_clusters", "num_unclustered", "cluster_size_quartiles"} <= set(row)


def test_each_domain_weighs_the_same_and_the_memory_moves_after_the_step(data, tmp_path):
    source, target = data
    report = SilentReporter()
    run = prepared(small_config(target, tmp_path / "run", source), report=report)
    fill_memory(run)
    before = run.parts.memory.features.clone()
    parts = run.parts
    labels = parts.labeller.label(parts.label_features.features(), parts.target).labels
    parts.memory.relabel(torch.from_numpy(run.slots.class_of_each(labels)))
    whole = next(iter(loop_calls(run).batches(0, labels, 0)))
    # Half of the source's images: a mean over the batch would weigh it less than the target.
    batch = Batch(whole.images[4:], whole.slots[4:], (4, 8), whole.slots[4:], whole.cameras[4:])
    assert int(batch.slots[:4].max()) < run.slots.num_source_classes <= int(batch.slots[4:].min())
    run.encoder.train()
    original = copy.deepcopy(run.encoder)
    memory = copy.deepcopy(parts.memory)
    of_each = contrastive_loss(original(batch.images, batch.domain_sizes), batch.slots, memory, temperature=0.05)
    expected = torch.stack([of_each[:4].mean(), of_each[4:].mean()])
    expected.sum().backward()

    losses = loop.step(parts, batch)
    torch.testing.assert_close(losses, expected.detach().unsqueeze(0))
    for ours, theirs in zip(run.encoder.parameters(), original.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad)
    moved = (run.parts.memory.features != before).any(dim=1)
    assert set(moved.nonzero()[:, 0].tolist()) == set(batch.slots.tolist())


def test_bfloat16_trains(data, tmp_path):
    _, target = data
    # Larger: where a map becomes 2 x 1, torch's bf16 convolution of stride 2 now and then gives NaN (2.14, CPU).
    changed = {"run": {"precision": "bf16"}, "data": {"height": 128, "width": 64}}
    run = trained(small_config(target, tmp_path / "run", **changed))
    assert run.parts.memory.features.dtype == torch.float32
    assert np.isfinite(run.state.history[-1].loss)


@pytest.mark.slow
def test_a_compiled_run_learns_what_a_plain_one_does(data, tmp_path):
    _, target = data
    changed = {"schedule": {"epochs": 1, "iters": 2}}
    plain = trained(small_config(target, tmp_path / "plain", **changed))
    compiled = trained(small_config(target, tmp_path / "compiled", run={"compile": True}, **changed))
    assert compiled.parts.network is not compiled.encoder
    assert compiled.state.history[0].loss == pytest.approx(plain.state.history[0].loss, rel=1e-3)
    theirs = weights_of(compiled)
    for name, value in weights_of(plain).items():
        # Adam divides by a gradient's size: one near zero moves as far the other way.
        torch.testing.assert_close(theirs[name], value, atol=2e-3, rtol=1e-2, msg=lambda text, n=name: f"{n}: {text}")


def test_nothing_of_a_continued_run_lies_in_its_file(data, tmp_path):
    _, target = data
    config = small_config(target, tmp_path / "run", schedule={"epochs": 1})
    trained(config)
    run = prepared(config, resume=True)
    before = {name: value.clone() for name, value in weights_of(run).items()}
    moments = [value["exp_avg"].clone() for value in run.parts.optimisation.optimizer.state.values()]
    path = tmp_path / "run/resume.pt"
    with path.open("r+b") as file:
        file.write(bytes(path.stat().st_size))
    assert all(torch.equal(value, before[name]) for name, value in weights_of(run).items())
    kept = [value["exp_avg"] for value in run.parts.optimisation.optimizer.state.values()]
    assert moments
    assert all(torch.equal(mine, saved) for mine, saved in zip(kept, moments, strict=True))


def test_interrupting_before_anything_is_saved_leaves_nothing(data, tmp_path, monkeypatch, capsys):
    _, target = data
    monkeypatch.setattr(loop, "step", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    config = small_config(target, tmp_path / "runs/first")
    with pytest.raises(KeyboardInterrupt):
        run_training_command(config, resume=False)
    printed = capsys.readouterr().out
    assert "stopped before anything was saved; the same command starts again" in printed
    assert "--resume" not in printed
    assert not (tmp_path / "runs").exists()
    # What was there before stays.
    (tmp_path / "runs/first").mkdir(parents=True)
    (tmp_path / "runs/notes.txt").write_text("mine")
    with pytest.raises(KeyboardInterrupt):
        run_training_command(config, resume=False, or_start=True)
    assert {path.name for path in (tmp_path / "runs").rglob("*")} == {"notes.txt", "first"}


def test_interrupting_a_step_saves_it_and_the_run_continues_to_the_same_bits(data, tmp_path, monkeypatch, capsys):
    _, target = data
    whole = trained(small_config(target, tmp_path / "whole"))
    original, taken = loop.step, []

    def step(*given):
        taken.append(given)
        if len(taken) == 2:
            signal.raise_signal(signal.SIGINT)
        return original(*given)

    monkeypatch.setattr(loop, "step", step)
    config = small_config(target, tmp_path / "run")
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        run_training_command(config, resume=False)
    assert len(taken) == 2
    assert signal.getsignal(signal.SIGINT) is before
    assert "the same command with --resume continues" in capsys.readouterr().out
    assert_bit_equal(whole, trained(config, resume=True))


def test_a_second_interruption_does_not_wait_for_the_step():
    with pytest.raises(KeyboardInterrupt), stops_between_steps() as is_stopped:  # noqa: PT012
        assert not is_stopped()
        signal.raise_signal(signal.SIGINT)
        assert is_stopped()
        signal.raise_signal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), stops_between_steps(when=False):
        signal.raise_signal(signal.SIGINT)


def test_a_job_that_runs_more_than_once_is_one_command(data, tmp_path, capsys):
    config = small_config(data[1], tmp_path / "run", schedule={"epochs": 1, "iters": 1})
    for _ in range(2):
        run_training_command(config, resume=False, or_start=True)
    assert "this run has finished its 1 epochs" in capsys.readouterr().out


def test_run_training_is_idempotent_on_a_finished_run(data, tmp_path):
    _, target = data
    config = small_config(target, tmp_path / "run")
    first = trained(config)
    report = SilentReporter()
    run = prepared(config, resume=True, report=report)
    run_training(run)
    assert_bit_equal(first, run)


@pytest.mark.parametrize(("checkpoint_iters", "what"), [(0, "weight"), (1, "weight"), (0, "batch norm")])
def test_an_epoch_with_infinite_values_is_not_saved(data, tmp_path, monkeypatch, checkpoint_iters, what):
    """Files that were saved before are kept."""
    config = small_config(data[1], tmp_path / "run", run={"checkpoint_iters": checkpoint_iters})
    real, taken = loop.step, []

    def overflows_in_the_second_epoch(parts, *given):
        losses = real(parts, *given)
        taken.append(losses)
        if len(taken) > 3:
            with torch.no_grad():
                wrong = parts.encoder.parameters() if what == "weight" else running_statistics(parts.encoder)
                next(iter(wrong)).fill_(torch.inf)
        return losses

    monkeypatch.setattr(loop, "step", overflows_in_the_second_epoch)
    with input_error("not-finite", "in epoch 2 "):
        trained(config)
    saved = torch.load(tmp_path / "run" / "resume.pt", weights_only=True)
    assert saved["state"]["epoch"] == 1
    assert all(torch.isfinite(value).all() for value in saved["state"]["parts"]["encoder"].values())


def test_images_of_one_object_are_warned_of_in_the_first_epoch_and_at_the_end(tmp_path):
    folder = tmp_path / "few"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(6):
        pixels = 100 + rng.integers(0, 9, (32, 16, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    report = SilentReporter()
    config = small_config(folder, tmp_path / "run", schedule={"epochs": 1, "iters": 1}, labels={"eps": 0.9})
    run = trained(config, report=report)
    assert run.state.history[-1].loss == 0
    assert "epoch 1: one cluster has 6 of 6 images" in report.warnings[-2]
    assert "the run learnt almost nothing" in report.warnings[-1]
