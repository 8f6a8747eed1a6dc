"""Experiment trackers, the real TensorBoard and MLflow among them: what they keep of a run, also of a resumed one."""

from __future__ import annotations

import json
import sys
from importlib.machinery import ModuleSpec
from types import SimpleNamespace

import numpy as np
import pytest
from torch.distributed.run import get_args_parser

import spcl
from spcl.cli.train import parsed_recipe
from spcl.config import overlay
from spcl.reporting.console import ReporterListener, SilentReporter
from spcl.reporting.epoch_report import EpochReport
from spcl.reporting.events import Emitter, EpochEnded, Guarded, RunEnded, RunStarted
from spcl.tracking import trackers
from spcl.tracking.pictures import by_size
from spcl.tracking.trackers import ExperimentTracker, check_trackers, figures_of, tracker_names, with_trackers
from spcl.training_run.run_epochs import run_training
from tests.fakes import write_fake
from tests.input_errors import input_error
from tests.training_run.small_runs import prepared, small_config

NAMES = ("tensorboard", "mlflow")


@pytest.fixture(scope="module")
def tracked(tmp_path_factory):
    """The folder of a run of two epochs that was made in two goes, with both trackers."""
    folder = tmp_path_factory.mktemp("tracked")
    data = write_fake("market1501", folder / "data")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", (folder / "mlruns").as_uri())
        patch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
        config = small_config(data, folder / "run", schedule={"epochs": 1, "iters": 2})
        for epochs, resume in ((1, False), (2, True)):
            recipe = overlay(config, {"schedule": {"epochs": epochs}}, "test")
            report = SilentReporter()
            heard = with_trackers(report, NAMES)
            run_training(prepared(recipe, resume=resume, report=heard))
            assert not [text for text in report.warnings if "failed" in text]
        yield folder / "run"


@pytest.mark.slow
def test_tensorboard_has_figures_settings_and_pictures(tracked):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(tracked / "tensorboard"))
    events.Reload()
    tags = events.Tags()
    rows = [json.loads(line) for line in (tracked / "metrics.jsonl").read_text().splitlines()]
    for tag, name in (("loss/sum", "loss"), ("labels/clusters", "num_clusters"), ("target/mAP", "mAP")):
        shown = [(scalar.step, scalar.value) for scalar in events.Scalars(tag)]
        assert shown == [(row["epoch"], pytest.approx(row[name])) for row in rows]
    assert {"loss/target", "seconds/label", "seconds/train", "seconds/evaluate", "target/top1"} <= set(tags["scalars"])
    for name in ("clusters", "rankings"):
        assert [image.step for image in events.Images(name)] == [1, 2]
        assert events.Images(name)[0].width > 100
    # Hyper-parameters lie in a folder of their own, once.
    (settings,) = (tracked / "tensorboard").glob("*/hparams.yml")
    assert "labels.k1: 6\n" in settings.read_text()


@pytest.mark.slow
def test_mlflow_has_one_finished_run_with_all_of_it(tracked, tmp_path):
    import mlflow

    client = mlflow.MlflowClient()
    (experiment,) = [each for each in client.search_experiments() if each.name == "spcl"]
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.status == "FINISHED"
    assert run.info.run_name == "run"
    assert run.data.params["labels.k1"] == "6"
    assert run.data.params["losses.0.kind"] == "contrastive"
    rows = [json.loads(line) for line in (tracked / "metrics.jsonl").read_text().splitlines()]
    kept = client.get_metric_history(run.info.run_id, "target/mAP")
    assert [(metric.step, metric.value) for metric in kept] == [(row["epoch"], row["mAP"]) for row in rows]
    for name in ("clusters", "rankings"):
        files = [file.path for file in client.list_artifacts(run.info.run_id, f"pictures/{name}")]
        assert files == [f"pictures/{name}/{name}-0001.png", f"pictures/{name}/{name}-0002.png"]
    assert mlflow.active_run() is None
    # One that is stopped is no finished one, and the caller's own run stays open around it.
    with mlflow.start_run(experiment_id=experiment.experiment_id, run_name="mine") as mine:
        listener = ExperimentTracker("mlflow")
        (tmp_path / "stopped").mkdir()
        listener.on(RunStarted(tmp_path / "stopped", {}, 2, (), None))
        listener.on(RunEnded(finished=False))
        assert mlflow.active_run().info.run_id == mine.info.run_id
    kept = client.search_runs([experiment.experiment_id])
    assert {run.info.run_name: run.info.status for run in kept} == {
        "run": "FINISHED",
        "stopped": "KILLED",
        "mine": "FINISHED",
    }


def test_names_and_packages_are_checked_before_anything_else(monkeypatch):
    # The small package of MLflow, where that is installed alone, needs a server.
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://localhost:5000")
    assert tracker_names(" TensorBoard,mlflow, tensorboard") == NAMES
    assert tracker_names("") == ()
    # torchrun reads the words of the program, too.
    words = ["market1501", "--trackers", "tensorboard"]
    assert parsed_recipe(words)[0].log == "tensorboard"
    assert get_args_parser().parse_args(["-m", "spcl", "train", *words]).training_script_args == ["train", *words]
    with input_error("no-such-tracker", "'tensorbord'", "'tensorboard'"):
        ExperimentTracker("tensorbord")
    with input_error("no-such-tracker", "tensorboard, mlflow, wandb, trackio"):
        tracker_names("everything")
    found = {"mlflow": SimpleNamespace(origin="mlflow.py"), "wandb": SimpleNamespace(origin=None)}
    monkeypatch.setattr(trackers, "find_spec", found.get)
    for name in ("trackio", "wandb"):  # a folder called wandb that only holds files is no package
        with input_error("package-not-installed", f"pip install {name}"):
            check_trackers([name])
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with input_error("package-not-installed", "pip install mlflow", "MLFLOW_TRACKING_URI"):
        check_trackers(["mlflow"])
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://localhost:5000")
    check_trackers(["mlflow"])


def test_figures_are_numbers_in_groups():
    report = EpochReport(3, num_clusters=2, cluster_size_quartiles=[2.0, 3.0, 4.0], loss=1.5, losses={"target": 1.5})
    report.label_figures = {"eps": 0.5, "reason": "near"}
    report.evaluation = {"mAP": 0.25, "protocol": "market1501", "reranked": {"mAP": 0.3}}
    report.loss_terms = {"contrastive": {"target": 1.0}, "camera": {"target": 0.5}}
    report.seconds = {"train": 2.0}
    assert figures_of(report) == {
        "loss/sum": 1.5,
        "loss/target": 1.5,
        "loss/contrastive/target": 1.0,
        "loss/camera/target": 0.5,
        "labels/clusters": 2,
        "labels/unclustered": 0,
        "labels/largest": 0,
        "labels/size_q1": 2.0,
        "labels/size_median": 3.0,
        "labels/size_q3": 4.0,
        "labels/eps": 0.5,
        "seconds/train": 2.0,
        "target/mAP": 0.25,
    }


def test_groups_of_labels_are_numbered_by_size():
    assert by_size(np.array([5, 3, 3, 5, 5, 9])).tolist() == [0, 1, 1, 0, 0, -1]
    assert by_size(np.zeros(0, dtype=np.int64)).tolist() == []


class _Fails:
    """A listener that fails at everything."""

    num_hits = 3

    def __init__(self):
        self.heard = 0

    def on(self, event):
        self.heard += 1
        raise ConnectionError("no route\nto the server")


def test_a_listener_that_fails_is_warned_of_once_and_ends_nothing():
    report, fails = SilentReporter(), _Fails()
    events = Emitter([ReporterListener(report), Guarded(fails, report.warn)])
    events.say("one")
    events.emit(RunEnded(finished=True))
    assert fails.heard == 2
    assert events.num_hits == 3
    assert report.warnings == ["_Fails failed (no route); the run continues, and its records may have gaps"]


def test_train_goes_on_with_a_listener_that_fails(tmp_path):
    data = write_fake("market1501", tmp_path / "data", num_identities=4)
    recipe = small_config(data, tmp_path / "run", schedule={"epochs": 1, "iters": 1})
    with pytest.warns(RuntimeWarning, match="_Fails failed") as warned:
        result = spcl.train(data, recipe=recipe, listeners=[_Fails()], logs_dir=tmp_path / "run")
    assert len(result.history) == 1
    assert len([each for each in warned if "_Fails" in str(each.message)]) == 1


@pytest.mark.parametrize("name", ["wandb", "trackio"])
def test_what_the_other_trackers_are_given(name, tmp_path, monkeypatch):
    """Stand-ins for packages that need a server or an account; a second run of the folder goes on in the first."""
    calls = []
    run = SimpleNamespace(
        log=lambda values, step=None: calls.append(("log", step, values)),
        finish=lambda exit_code=0: calls.append(("finish", exit_code)),
    )

    def init(**given):
        calls.append(("init", given))
        return run

    config = SimpleNamespace(update=lambda values, allow_val_change: calls.append(("settings", values)))
    module = SimpleNamespace(init=init, config=config, Image=lambda image: "picture", __spec__=ModuleSpec(name, None))
    monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(trackers, "find_spec", lambda name: SimpleNamespace(origin=name))
    settings = {"data": {"height": 32, "width": 16}, "schedule": {"eval_step": 1}}
    for history in ((), (EpochReport(1),)):
        listener = ExperimentTracker(name)
        listener.on(RunStarted(tmp_path / "run", settings, 2, history, None))
        listener.on(EpochEnded(EpochReport(len(history) + 1), ()))
        listener.on(RunEnded(finished=False))
    kinds = [call[0] for call in calls]
    assert kinds == ["init", "settings", "log", "finish", "init", "log", "finish"]
    first, second = (call[1] for call in calls if call[0] == "init")
    assert first == second
    assert first["project"] == "spcl"
    assert first["resume"] == "allow"
    assert [call[1] for call in calls if call[0] == "log"] == [1, 2]
    # Weights & Biases tells a stopped run from a finished one.
    assert [call[1] for call in calls if call[0] == "finish"] == [int(name == "wandb")] * 2
    assert calls[1][1]["data.height"] == 32
