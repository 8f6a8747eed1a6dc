"""Two processes give what one gives."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest
import timm
import torch

from spcl.inference.checkpoint import load_facts
from tests.distributed.launching import environment, run, two_processes
from tests.fakes import draw, write_fake
from tests.shared import PROJECT_ROOT
from tests.training_run.small_runs import small_config, trained, weights_of
from tests.training_run.test_starting_point import used_encoder, written


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    return write_fake("personx", root), write_fake("market1501", root, num_identities=10)


@pytest.fixture(scope="module")
def shared_runs(data, tmp_path_factory):
    """The runs of ``two_ranks.py``, whose other checks have passed when this gives something."""
    source, target = data
    logs = tmp_path_factory.mktemp("runs")
    script = str(PROJECT_ROOT / "tests" / "distributed" / "two_ranks.py")
    done = run(two_processes(script, str(target), str(source), str(logs)))
    assert done.returncode == 0, done.stdout + done.stderr
    return logs


@pytest.mark.parametrize("name", ["replicated", "sharded", "accumulated"])
def test_the_run_of_two_processes_is_that_of_one(data, shared_runs, tmp_path, name):
    source, target = data
    changed = {"schedule": {"batch_size": 16}} if name == "accumulated" else {}
    alone = trained(small_config(target, tmp_path / name, source, **changed))
    # Another order of summation moves a gradient near zero to its other side, and Adam divides by its size: a weight
    # may move by a step of the learning rate, 0.00035, either way.
    closest = 1e-4 if name == "replicated" else 7e-4
    shared = torch.load(shared_runs / f"{name}.pt", weights_only=True)
    for ours, theirs in zip((epoch.to_row() for epoch in alone.state.history), shared["history"], strict=True):
        for key in ("num_clusters", "num_unclustered", "cluster_size_quartiles", "independence_threshold"):
            assert ours[key] == theirs[key]
        assert ours["mAP"] == pytest.approx(theirs["mAP"], abs=1e-3)
        assert ours["losses"] == pytest.approx(theirs["losses"], rel=1e-4)
    for key, value in weights_of(alone).items():
        if key == "memory.labels":
            assert torch.equal(value, shared["weights"][key])
        torch.testing.assert_close(
            value, shared["weights"][key], atol=closest, rtol=1e-4, msg=lambda text, k=key: f"{k}: {text}"
        )
        if value.is_floating_point():
            # But hardly any does.
            assert ((value - shared["weights"][key]).abs() > 1e-4).float().mean() < 0.01, key


def test_accumulation_alone_gives_the_same(data, tmp_path):
    source, target = data
    whole = trained(small_config(target, tmp_path / "whole", source))
    parts = trained(small_config(target, tmp_path / "parts", source, schedule={"accumulate": 2}))
    assert torch.equal(whole.parts.memory.labels, parts.parts.memory.labels)
    for key, value in weights_of(whole).items():
        torch.testing.assert_close(value, weights_of(parts)[key], atol=1e-4, rtol=1e-4)


def train_command(target, logs, *more: str) -> list[str]:
    small = ["--arch", "timm/test_resnet", "--pretrained", "none", "--height", "32", "--width", "16", "--k1", "6"]
    steps = ["--batch-size", "8", "--batch-norm-group", "4", "--epochs", "2", "--iters", "3", "--device", "cpu"]
    return two_processes(
        "-m", "spcl", "train", str(target), "--recipe", "spcl", "--logs-dir", str(logs), *small, *steps, *more
    )


@pytest.mark.slow
def test_torchrun_trains_and_prints_once(data, tmp_path):
    done = run(train_command(data[1], tmp_path / "run", "--epochs", "1", "--iters", "1"))
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("last epoch:") == 1
    assert (tmp_path / "run" / "model_best.pth.tar").exists()


@pytest.mark.slow
def test_an_error_is_told_once(data, tmp_path):
    done = run(train_command(data[1], tmp_path / "run", "--batch-size", "12"))
    assert done.returncode != 0
    errors = re.findall(r"^error: (.*)", done.stderr, flags=re.MULTILINE)
    assert len(errors) == 1
    assert "--batch-size 8, 10, 16 can" in errors[0]
    # The launcher shows a traceback of its own; none of ours is in it.
    assert str(PROJECT_ROOT / "src") not in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["no.pth.tar", "{target}", "--device", "cpu"], "there is no checkpoint no.pth.tar"),
        (["c", "d", "--wrong"], "--wrong"),
    ],
)
def test_what_an_evaluation_cannot_use_is_told_once(data, words, message):
    words = [word.format(target=data[1]) for word in words]
    done = run(two_processes("-m", "spcl", "evaluate", *words))
    assert done.returncode != 0
    ours = (done.stdout + done.stderr).partition("torch.distributed.elastic")[0]
    assert ours.count(message) == 1, ours


@pytest.mark.slow
def test_an_error_of_one_process_says_whose_it_is(data, tmp_path):
    weights = tmp_path / "weights.pth"
    torch.save(timm.create_model("test_resnet", pretrained=False).state_dict(), weights)
    script = str(PROJECT_ROOT / "tests" / "distributed" / "one_lacks_a_file.py")
    done = run(two_processes(script, str(data[1]), str(tmp_path / "run"), str(weights)))
    assert done.returncode != 0
    errors = re.findall(r"^error: (.*)", done.stderr, flags=re.MULTILINE)
    assert len(errors) == 1, done.stderr
    assert errors[0].startswith("process 1 of 2, on ")
    assert "weights.pth.elsewhere" in errors[0]


@pytest.mark.slow
@pytest.mark.parametrize("recipe", [["--recipe", "spcl", "--k1", "6", "--k2", "2"], []], ids=["spcl", "spcl-plus"])
def test_two_processes_adapt(tmp_path, recipe):
    for number in range(24):
        draw(tmp_path / "crops" / f"{number:03d}_c{number % 3 + 1}.png", number % 6, number)
    checkpoint = written(used_encoder("target"), tmp_path / "c.pth.tar")
    words = ["adapt", str(checkpoint), str(tmp_path / "crops"), "--logs-dir", str(tmp_path / "run"), "--json"]
    steps = ["--epochs", "1", "--iters", "2", "--batch-size", "32", "--device", "cpu", *recipe]
    done = run(two_processes("-m", "spcl", *words, *steps))
    assert done.returncode == 0, done.stderr
    outcome = json.loads(done.stdout)
    assert outcome["recipe"] == ("spcl" if recipe else "spcl-plus")
    assert (outcome["num_trained"], outcome["num_rated"]) == (24, 24)
    assert json.loads((tmp_path / "run/adaptation.json").read_text()) == outcome
    assert load_facts(tmp_path / "run/adapted.pth.tar")["adaptation"]["path"] == outcome["path"]


@pytest.mark.slow
def test_accelerates_launcher_trains(data, tmp_path):
    command = train_command(data[1], tmp_path / "run")
    launcher = [sys.executable, "-m", "accelerate.commands.launch", "--cpu", "--num_processes", "2"]
    more = ["--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0"]
    done = run([*launcher, *more, *command[command.index("-m", 2) :]])
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("last epoch:") == 1


@pytest.mark.slow
def test_killing_one_ends_the_others_and_the_run_resumes(data, tmp_path):
    logs = tmp_path / "run"
    command = train_command(data[1], logs, "--iters", "200", "--checkpoint-iters", "2")
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment(), start_new_session=True
    )
    # No limit but the test's own: how long it takes depends on what else runs on the machine.
    while not (logs / "resume.pt").exists():
        assert process.poll() is None, process.stdout.read()
        time.sleep(0.2)
    children = subprocess.run(
        ["pgrep", "-P", str(process.pid)], capture_output=True, text=True, check=True
    ).stdout.split()
    os.kill(int(children[-1]), signal.SIGKILL)
    output, _ = process.communicate()
    assert process.returncode != 0
    assert "another process of this run has ended" in output
    assert "--resume" in output
    # Elsewhere, with another number of processes, it goes on.
    alone = [*command[:1], *command[command.index("-m", 2) :]]
    done = run([*alone, "--resume", "--epochs", "1", "--checkpoint-iters", "0"])
    assert done.returncode == 0, done.stderr
    assert re.search(r"continuing after epoch 0, step \d+ of 200", done.stdout)
