"""Adapting an encoder to crops without labels: where it starts, what is kept, what is left as it was."""

from __future__ import annotations

import json
import shlex
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch

import spcl
from spcl.adaptation import adapt as program
from spcl.adaptation import crops as crops_module
from spcl.adaptation.adapt import adapt
from spcl.adaptation.crops import MOST_HELD_BACK, held_back
from spcl.adaptation.settings import AdaptationSettings
from spcl.cli.main import main
from spcl.config import overlay
from spcl.grouping.label_free_quality import ClusteringSettings, label_free_quality
from spcl.inference.checkpoint import add_facts, load_facts
from spcl.reporting.console import SilentReporter
from spcl.training import loop
from tests.fakes import draw, write_fake
from tests.shared import input_error
from tests.training_run.test_starting_point import used_encoder, written

SMALL = AdaptationSettings(recipe="spcl", epochs=2, iters=2, batch_size=8, k1=6, k2=2, device="cpu", workers=2)
SMALL_PLUS = replace(SMALL, recipe="", k1=None, k2=None)
SMALL_WORDS = shlex.split("--recipe spcl --epochs 2 --iters 2 --batch-size 8 --k1 6 --k2 2 --device cpu")


@pytest.fixture
def crops(tmp_path):
    for number in range(24):
        draw(tmp_path / "crops" / f"{number:03d}_c{number % 3 + 1}.png", number % 6, number)
    return tmp_path / "crops"


def settings(tmp_path, **changed) -> AdaptationSettings:
    return replace(SMALL, logs_dir=str(tmp_path / "run"), **changed)


@pytest.mark.parametrize(("domains", "official", "domain"), [
    (("target",), False, "auto"),
    pytest.param(("source", "target"), False, "source", marks=pytest.mark.slow),
    pytest.param(("source", "target"), True, "auto", marks=pytest.mark.slow),
    pytest.param(("source",), False, "auto", marks=pytest.mark.slow),
])  # fmt: skip
def test_old_and_new_encoders_of_any_checkpoint(tmp_path, crops, monkeypatch, domains, official, domain):
    # An official file of another network contains neither the architecture nor the size.
    stated = {"arch": "timm/test_resnet", "height": 32, "width": 16} if official else {}
    path = written(used_encoder(*domains), tmp_path / "c.pth.tar", official)
    original = path.read_bytes()
    taken = domain if domain != "auto" else domains[-1]
    expected = spcl.load_encoder(path, domain=taken, arch=stated.get("arch"))
    judge = program.judge
    for keeps_new in (True, False):
        monkeypatch.setattr(program, "judge", lambda *given, keep=keeps_new: replace(judge(*given), keeps_new=keep))
        given = settings(tmp_path, domain=domain, **stated)
        outcome = adapt(path, crops, replace(given, logs_dir=f"{given.logs_dir}-{keeps_new}"))
        kept = spcl.load_encoder(outcome.path)
        same = all(torch.equal(value, expected.state_dict()[name]) for name, value in kept.state_dict().items())
        assert same == (not keeps_new)
        assert kept.size == (32, 16)
        assert outcome.num_trained == outcome.num_rated == 24
        assert not outcome.held_back
    assert path.read_bytes() == original


def test_the_figures_before_are_the_checkpoints(tmp_path, crops):
    path = written(used_encoder("target"), tmp_path / "c.pth.tar")
    outcome = adapt(path, crops, settings(tmp_path))
    rows = spcl.load_encoder(path).embed(crops)
    figures = label_free_quality(rows, np.arange(24) % 3, clustering=ClusteringSettings(k1=6, k2=2))
    for name in ("half_agreement", "mutual_neighbours", "across_cameras", "share_clustered"):
        assert getattr(outcome.before, name) == pytest.approx(getattr(figures, name), abs=0.02), name
    assert 0 <= outcome.before.found_again <= 1


def test_what_is_left(tmp_path, crops):
    path = written(used_encoder("target"), tmp_path / "c.pth.tar")
    outcome = adapt(path, crops, settings(tmp_path))
    left = json.loads((tmp_path / "run/adaptation.json").read_text())
    assert left == json.loads(json.dumps(outcome.to_dict()))
    assert left["verdict"]["keeps_new"] in (True, False)
    assert left["before"].keys() == left["after"].keys()
    assert left["evaluation"] is None
    assert left["settings"] == json.loads(json.dumps(asdict(settings(tmp_path))))
    assert load_facts(outcome.path)["adaptation"]["num_trained"] == 24
    by_itself = adapt(path, crops, replace(SMALL, eps="auto", logs_dir=str(tmp_path / "auto")))
    assert by_itself.before == outcome.before
    assert (tmp_path / "run/metrics.jsonl").exists()


def test_a_worse_encoder_is_not_kept_nor_the_old_calibration_lost(tmp_path, crops, monkeypatch):
    path = written(used_encoder("target"), tmp_path / "c.pth.tar")
    add_facts(path, {"calibration": {"threshold": 0.5}})
    trained = program.run_training

    def spoiled(run):
        trained(run)
        with torch.no_grad():
            # All but one direction of the feature vanish.
            run.encoder.neck.norms["target"].weight[1:] = 0

    monkeypatch.setattr(program, "run_training", spoiled)
    outcome = adapt(path, crops, settings(tmp_path))
    assert not outcome.verdict.keeps_new
    assert "collapse into 1 directions" in outcome.verdict.words
    assert spcl.load_encoder(outcome.path).fingerprint == spcl.load_encoder(path).fingerprint
    assert load_facts(outcome.path)["calibration"] == {"threshold": 0.5}
    assert load_facts(outcome.path)["adaptation"]["verdict"]["keeps_new"] is False


def test_too_large_steps_are_undone(tmp_path):
    for number in range(96):
        draw(tmp_path / "many" / f"{number:03d}.png", number // 4, number)
    path = written(used_encoder("target"), tmp_path / "c.pth.tar")
    outcome = adapt(path, tmp_path / "many", settings(tmp_path, lr=100.0, iters=10))
    assert not outcome.verdict.keeps_new
    assert outcome.verdict.reasons


def test_crops_are_held_back_where_there_are_enough(tmp_path, crops, monkeypatch):
    assert held_back(399, 1).tolist() == list(range(399))
    rows = held_back(1000, 1)
    assert len(rows) == len(set(rows.tolist())) == 250
    assert rows.tolist() == sorted(rows.tolist()) == held_back(1000, 1).tolist() != held_back(1000, 2).tolist()
    assert len(held_back(10**6, 1)) == MOST_HELD_BACK
    monkeypatch.setattr(crops_module, "HELD_BACK_FROM", 20)
    path = written(used_encoder("target"), tmp_path / "c.pth.tar")
    seen = []
    original = program.prepare
    monkeypatch.setattr(program, "prepare", lambda *a, **k: seen.append(k["target"].train) or original(*a, **k))
    outcome = adapt(path, crops, settings(tmp_path))
    assert (outcome.num_trained, outcome.num_rated, outcome.held_back) == (18, 6, True)
    names = {record.path.name for record in seen[0]}
    assert len(names) == 18
    assert all(record.identity is None for record in seen[0])


class StopError(Exception):
    pass


@pytest.mark.parametrize(
    "small", [pytest.param(SMALL, marks=pytest.mark.slow, id="spcl"), pytest.param(SMALL_PLUS, id="spcl-plus")]
)
def test_a_stopped_adaptation_ends_as_if_it_had_not_been(tmp_path, crops, monkeypatch, small):
    given = program.run_recipe
    # What is left out in a step is drawn from torch's own generator.
    dropout = {"network": {"dropout": 0.3}}
    monkeypatch.setattr(program, "run_recipe", lambda *words: overlay(given(*words), dropout, "test"))
    path = written(used_encoder("target"), tmp_path / "c.pth.tar")
    whole = adapt(path, crops, replace(small, logs_dir=str(tmp_path / "whole")))
    original, taken = loop.step, []

    def step(*arguments):
        # In the second epoch: the first is saved.
        if len(taken) == 3:
            raise StopError
        taken.append(1)
        return original(*arguments)

    monkeypatch.setattr(loop, "step", step)
    with pytest.raises(StopError):
        adapt(path, crops, replace(small, logs_dir=str(tmp_path / "run")))
    assert not (tmp_path / "run/adapted.pth.tar").exists()
    monkeypatch.setattr(loop, "step", original)
    resumed = adapt(path, crops, replace(small, logs_dir=str(tmp_path / "run")), resume=True)
    assert (resumed.before, resumed.after, resumed.verdict) == (whole.before, whole.after, whole.verdict)
    assert spcl.load_encoder(resumed.path).fingerprint == spcl.load_encoder(whole.path).fingerprint
    with input_error("folder-not-empty", str(tmp_path / "run")):
        adapt(path, crops, replace(small, logs_dir=str(tmp_path / "run")))


def test_labelled_data_measures_and_decides_nothing(tmp_path, crops):
    labelled = write_fake("market1501", tmp_path)
    path = written(used_encoder("target"), tmp_path / "c.pth.tar")
    with_labels = adapt(path, crops, settings(tmp_path, evaluate=str(labelled)))
    assert set(with_labels.evaluation) == {"before", "after"}
    assert 0 < with_labels.evaluation["before"]["mAP"] <= 1
    without = adapt(path, crops, replace(SMALL, logs_dir=str(tmp_path / "other")))
    assert (without.after, without.verdict) == (with_labels.after, with_labels.verdict)


def test_broken_crops_are_left_out_and_named(tmp_path, crops, capsys):
    (crops / "raw.cr2").write_bytes(b"II*")
    (crops / "003_c1.png").write_bytes(b"broken")
    report = SilentReporter()
    path = written(used_encoder("target"), tmp_path / "c.pth.tar")
    outcome = adapt(path, crops, settings(tmp_path), report=report)
    assert outcome.num_trained == 23
    assert [entry[0].name for entry in outcome.broken] == ["003_c1.png"]
    assert any("1 crop(s) cannot be read and are left out: " in warning for warning in report.warnings)
    assert list(outcome.warnings) == report.warnings
    assert any(note.startswith("not read: 1 .cr2") for note in outcome.notes)
    plain = json.loads((tmp_path / "run" / "adaptation.json").read_text())
    assert (plain["notes"], plain["warnings"]) == (list(outcome.notes), report.warnings)
    assert capsys.readouterr() == ("", "")


@pytest.mark.slow
def test_trackers_receive_the_training_of_an_adaptation(tmp_path, crops):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    path = written(used_encoder("target"), tmp_path / "c.pth.tar")
    main(["adapt", str(path), str(crops), *SMALL_WORDS, "--logs-dir", str(tmp_path / "run"), "--log", "tensorboard"])
    events = EventAccumulator(str(tmp_path / "run/tensorboard"))
    events.Reload()
    assert [scalar.step for scalar in events.Scalars("loss/target")] == [1, 2]


def refused(words, capsys, others=SMALL_WORDS) -> str:
    with pytest.raises(SystemExit) as stopped:
        main(["adapt", *words, *others])
    assert stopped.value.code == 2
    return capsys.readouterr().err


def test_the_command(tmp_path, crops, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    written(used_encoder("target"), tmp_path / "c.pth.tar")
    main(["adapt", "c.pth.tar", "crops", *SMALL_WORDS])
    printed = capsys.readouterr().out
    for part in (
        "training takes about",
        "Measured on 24 training crops",
        "before",
        "kept: ",
        "runs/adapted/adapted.pth.tar",
    ):
        assert part in printed
    main(["adapt", "c.pth.tar", "crops", *SMALL_WORDS, "--resume", "--json"])
    again = json.loads(capsys.readouterr().out)
    assert again["num_rated"] == 24
    assert "[folder-not-empty]" in refused(["c.pth.tar", "crops"], capsys)


def test_refusals_before_any_work(tmp_path, crops, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    written(used_encoder("target"), tmp_path / "c.pth.tar")
    (tmp_path / "empty").mkdir()
    for number in range(5):
        draw(tmp_path / "few" / f"{number}.png", number)
    for words, message in (
        (["no.pth.tar", "crops"], "there is no checkpoint no.pth.tar"),
        (["c.pth.tar", "nowhere"], "there are no images at nowhere"),
        (["c.pth.tar", "empty"], "no images in empty"),
        (["c.pth.tar", "few"], "[too-few-images]"),
        (["c.pth.tar", "crops", "--domain", "source"], "[no-such-domain]"),
        (["c.pth.tar", "crops", "--evaluate", "few"], "cannot be evaluated: its images have no identities"),
        (["crops/000_c1.png", "crops"], "cannot be read as a checkpoint"),
    ):
        assert message in refused(words, capsys)
    assert not (tmp_path / "runs").exists()


def test_nothing_clusters_is_said(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for number in range(20):
        draw(tmp_path / "crops" / f"{number}.png", number)
    written(used_encoder("target"), tmp_path / "c.pth.tar")
    main(["adapt", "c.pth.tar", "crops", *SMALL_WORDS, "--eps", "0.05"])
    assert "no clusters: the encoder had nothing to learn from" in capsys.readouterr().out
