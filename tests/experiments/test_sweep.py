"""Sweeps: by the command line with real training, continued where they were stopped; one run a device."""

from __future__ import annotations

import json
import re

import pytest

import spcl
from spcl.cli.main import main, run_guarded
from spcl.config import Recipe
from spcl.experiments import sweep as program
from spcl.experiments.one_a_device import run_on_devices
from spcl.experiments.plan import plan
from spcl.experiments.sweep import SweepOptions
from spcl.reporting.console import SilentReporter
from spcl.reporting.events import EpochEnded, Noted
from tests.experiments.written_runs import make_by_writing
from tests.fakes import draw, write_fake
from tests.shared import input_error
from tests.training_run.small_runs import small_config

SMALL = [
    *("network.arch=timm/test_resnet", "network.pretrained=none", "network.batch_norm_group=4", "run.device=cpu"),
    *("data.height=32", "data.width=16", "data.workers=0", "labels.k1=6", "labels.k2=2"),
    *("schedule.batch_size=8", "schedule.epochs=2", "schedule.iters=1"),
]


class _StopsAfter:
    """Stops the run, as Ctrl-C does, when so many epochs have ended."""

    def __init__(self, epochs):
        self.left = epochs
        self.lines = []

    def on(self, event):
        if isinstance(event, Noted):
            self.lines.append(event.text)
        if isinstance(event, EpochEnded):
            self.left -= 1
            if self.left == 0:
                raise KeyboardInterrupt


def test_a_stopped_sweep_goes_on_and_a_finished_one_is_not_made_again(tmp_path, monkeypatch, capsys):
    data = write_fake("market1501", tmp_path / "data", num_identities=4)
    monkeypatch.chdir(tmp_path)
    words = ["spcl", str(data), "--seed", "1", "2", "--set", "labels.eps=0.5,0.6", "--set", *SMALL]
    recipe = small_config(data, tmp_path / "unused", schedule={"epochs": 2, "iters": 1}, data={"workers": 0})
    stops = _StopsAfter(4)
    with pytest.raises(KeyboardInterrupt):
        spcl.sweep(
            data,
            recipe=recipe,
            seeds=[1, 2],
            settings={"labels.eps": [0.5, 0.6], "schedule.eval_step": 10},
            options=SweepOptions(listeners=(stops,)),
        )
    assert "the same spcl sweep continues it" in stops.lines[-1]
    # The second run was stopped before its last epoch was saved.
    made = sorted(path.name for path in (tmp_path / "runs/sweep").iterdir())
    assert made == ["eps-0.5_seed-1", "eps-0.5_seed-2"]
    main(["sweep", *words])
    said = capsys.readouterr().out
    assert "4 runs in runs/sweep, 1 of them finished" in said
    assert "run 1 of 4" not in said
    assert "run 2 of 4: labels.eps 0.5, seed 2" in said
    assert re.search(r"\|\s+0\.6 \|\s+2 \|", said)
    table = (tmp_path / "runs/sweep/table.md").read_text()
    assert table in said
    main(["runs", "runs/sweep"])
    assert capsys.readouterr().out == table
    main(["sweep", *words])
    assert "4 of them finished" in capsys.readouterr().out
    with pytest.raises(SystemExit) as ended:
        run_guarded(lambda: main(["sweep", *words, "--set", "labels.min_samples=3"]))
    assert ended.value.code == 2
    assert "cannot continue the run in runs/sweep/eps-0.5_seed-1 with other settings: min_samples" in (
        capsys.readouterr().err
    )


def test_a_run_that_fails_leaves_the_others_and_one_that_cannot_begin_ends_the_sweep(tmp_path, monkeypatch):
    planned = plan(Recipe(), seeds=[7, 1], logs_dir=tmp_path)
    monkeypatch.setattr(program, "make_run", make_by_writing)
    report = SilentReporter()
    result = program.run_sweep(planned, tmp_path, SweepOptions(), report)
    assert result.failed == {tmp_path / "seed-7": "the loss is NaN"}
    assert result.table.rows[0].seeds == (1,)
    assert report.warnings == [f"{tmp_path / 'seed-7'} failed: the loss is NaN"]
    with input_error("run-failed", "seed-9: there are no images"):
        program.run_sweep(plan(Recipe(), seeds=[9, 2], logs_dir=tmp_path), tmp_path, SweepOptions(), report)
    assert not (tmp_path / "seed-2").exists()
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")
    with input_error("processes-not-supported"):
        program.run_sweep(planned, tmp_path, SweepOptions(), report)


class _Lines(SilentReporter):
    """Keeps what is said."""

    def __init__(self):
        super().__init__()
        self.lines = []

    def say(self, text):
        self.lines.append(text)


def test_one_run_a_device_in_processes_of_their_own(tmp_path):
    planned = plan(Recipe(), seeds=[7, 8, 1, 2], logs_dir=tmp_path)
    report = _Lines()
    options = SweepOptions(devices=("cpu", "meta"))
    failed = run_on_devices(planned, options, report, make=make_by_writing)
    assert failed == {
        tmp_path / "seed-7": "the loss is NaN",
        tmp_path / "seed-8": "its process ended with exit code 3",
    }
    assert spcl.runs(tmp_path).rows[0].seeds == (1, 2)
    assert {line for line in report.lines if line.endswith(("on cpu", "on meta"))} >= {"[seed-7] on cpu"}
    with input_error("run-failed", "there are no images"):
        run_on_devices(plan(Recipe(), seeds=[9], logs_dir=tmp_path), options, report, make=make_by_writing)


def test_a_sweep_without_queries_names_the_best_run_and_keeps_runs_that_stopped_early(tmp_path, capsys):
    for number in range(16):
        draw(tmp_path / "crops" / f"{number:03d}.png", number % 4, number)
    # All images are one cluster: no epoch is better than the first.
    words = ["sweep", "spcl", str(tmp_path / "crops"), "--logs-dir", str(tmp_path / "runs"), "--set"]
    words += [*SMALL, "labels.k1=20", "schedule.select=auto", "schedule.patience=1", "schedule.epochs=3"]
    words = [word for word in words if word not in ("labels.k1=6", "schedule.epochs=2")]
    main(words)
    said = capsys.readouterr().out
    assert "stopped after epoch 2 of 3" in said
    assert f"best run by the label-free score of its pseudo labels: {tmp_path / 'runs/seed-1'} (epoch 1" in said
    main([*words, "--json"])
    printed = json.loads(capsys.readouterr().out)
    assert printed["best_by_labels"] == str(tmp_path / "runs/seed-1")
    assert printed["rows"][0]["last_label_score_mean"] == 0
