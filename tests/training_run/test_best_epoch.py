"""Which epoch of a run is kept, early stop, and a run that collapses with the paper's labels alone."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from spcl import PseudoLabels
from spcl.cli.train import run_training_command
from spcl.config import overlay
from spcl.inference.checkpoint import load_facts
from spcl.inference.official_checkpoints import load_safely
from tests.fakes import draw, write_fake
from tests.shared import input_error
from tests.training_run.small_runs import assert_bit_equal, small_config, trained


@dataclass
class Scripted:
    """Gives pairs of images as clusters, and scores from a list, one each epoch; rates nothing without scores."""

    scores: tuple[float, ...] = (0.1, 0.5, 0.3, 0.2, 0.6)

    def __post_init__(self):
        self.epochs = 0

    def label(self, features, target):
        self.epochs += 1
        return PseudoLabels.from_labels(np.arange(len(features)) // 2)

    def label_score(self):
        return self.scores[self.epochs - 1]

    def state_dict(self):
        return {"epochs": self.epochs}

    def load_state_dict(self, state):
        self.epochs = state["epochs"]


class Unrated:
    """A labeller without a score."""

    def label(self, features, target):
        return PseudoLabels.from_labels(np.arange(len(features)) // 2)


@pytest.fixture(scope="module")
def crops(tmp_path_factory):
    """A folder of crops without identities: 24 images of 4 objects."""
    folder = tmp_path_factory.mktemp("crops")
    for number in range(24):
        draw(folder / f"{number:03d}.png", number % 4, number)
    return folder


def config_of(target, logs, labeller=None, **schedule):
    config = small_config(target, logs, schedule={"iters": 1, **schedule})
    return replace(config, labels=labeller or config.labels)


def weights(path):
    return load_safely(path)["state_dict"]


def test_without_queries_the_epoch_with_the_best_label_free_score_is_kept(crops, tmp_path):
    run = trained(config_of(crops, tmp_path / "run", Scripted(), select="auto", epochs=4))
    assert run.state.best_epoch == 2
    assert [epoch.label_score for epoch in run.state.history] == [0.1, 0.5, 0.3, 0.2]
    assert [epoch.label_agreement for epoch in run.state.history] == [None, 1.0, 1.0, 1.0]
    best = tmp_path / "run/model_best.pth.tar"
    assert load_facts(best)["selection"] == {"by": "label-free", "epoch": 2, "score": 0.5}
    assert load_safely(best)["epoch"] == 2
    trained(config_of(crops, tmp_path / "two", Scripted(), select="auto", epochs=2))
    kept, last = weights(best), weights(tmp_path / "two/checkpoint.pth.tar")
    assert all(torch.equal(kept[name], last[name]) for name in kept)
    rows = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    assert [row["label_score"] for row in rows] == [0.1, 0.5, 0.3, 0.2]


@pytest.mark.parametrize("select", ["evaluation", "last"])
def test_without_queries_the_paper_keeps_the_last_epoch_alone(crops, tmp_path, select):
    run = trained(config_of(crops, tmp_path / "run", Scripted(), select=select, epochs=1))
    assert run.state.best_epoch == 0 and not (tmp_path / "run/model_best.pth.tar").exists()
    assert "selection" not in load_facts(tmp_path / "run/checkpoint.pth.tar")


def test_queries_decide_unless_another_score_is_asked_for(tmp_path):
    target = write_fake("market1501", tmp_path, num_identities=6)
    rated = trained(config_of(target, tmp_path / "auto", Scripted(), select="auto", epochs=2))
    assert rated.state.best_epoch == np.argmax([epoch.mean_ap for epoch in rated.state.history]) + 1
    assert rated.state.best_label_score is None
    blind = trained(config_of(target, tmp_path / "blind", Scripted((0.9, 0.1)), select="label-free", epochs=2))
    assert blind.state.best_epoch == 1 and blind.state.best_label_score == 0.9
    assert blind.state.best_mean_ap == max(epoch.mean_ap for epoch in blind.state.history)


def test_a_run_stops_early_and_says_so(crops, tmp_path, capsys):
    config = config_of(crops, tmp_path / "run", Scripted(), select="auto", epochs=9, patience=2)
    run_training_command(config, resume=False)
    printed = capsys.readouterr().out
    assert "stopped after epoch 4 of 9" in printed and "epoch 2" in printed
    assert f"best epoch: {tmp_path / 'run/model_best.pth.tar'} (epoch 2, by the label-free score" in printed
    run_training_command(config, resume=True)
    assert "stopped after epoch 4 of 9" in capsys.readouterr().out
    assert load_safely(tmp_path / "run/checkpoint.pth.tar")["epoch"] == 4


def test_a_stopped_run_goes_on_with_more_patience_to_the_same_bits(crops, tmp_path):
    whole = trained(config_of(crops, tmp_path / "whole", Scripted(), select="auto", epochs=5))
    first = config_of(crops, tmp_path / "parts", Scripted(), select="auto", epochs=5, patience=2)
    assert trained(first).state.epoch == 4
    more = replace(first, labels=Scripted(), schedule=replace(first.schedule, patience=0))
    continued = trained(more, resume=True)
    assert_bit_equal(whole, continued)
    assert continued.state.best_epoch == whole.state.best_epoch == 5


def test_a_run_that_is_continued_stops_where_an_uninterrupted_one_does(crops, tmp_path):
    whole = trained(config_of(crops, tmp_path / "whole", Scripted(), select="auto", epochs=9, patience=2))
    part = config_of(crops, tmp_path / "parts", Scripted(), select="auto", epochs=3, patience=2)
    trained(part)
    longer = replace(part, labels=Scripted(), schedule=replace(part.schedule, epochs=9))
    continued = trained(longer, resume=True)
    assert continued.state.epoch == whole.state.epoch == 4
    assert_bit_equal(whole, continued)


def test_the_last_epoch_before_an_early_stop_is_evaluated(tmp_path):
    target = write_fake("market1501", tmp_path, num_identities=6)
    schedule = {"select": "label-free", "epochs": 9, "patience": 1, "eval_step": 9}
    run = trained(config_of(target, tmp_path / "run", Scripted((0.5, 0.4)), **schedule))
    assert [epoch.mean_ap is None for epoch in run.state.history] == [True, False]


def test_epochs_without_a_score_are_refused_before_training(crops, tmp_path):
    for labeller, schedule in ((Unrated(), {"select": "label-free"}), (Unrated(), {"select": "auto", "patience": 2})):
        with input_error("setting-does-not-apply", "label_score"):
            trained(config_of(crops, tmp_path / "run", labeller, **schedule))
    with input_error("setting-does-not-apply", "patience is 2"):
        trained(config_of(crops, tmp_path / "run", patience=2))
    run = trained(config_of(crops, tmp_path / "unrated", Unrated(), select="auto", epochs=1))
    assert run.state.best_epoch == 0


@pytest.mark.parametrize("kind", ["self-paced", "self-paced-each-epoch", "average-linkage"])
def test_the_paper_s_labels_collapse_on_few_images_and_those_that_follow_the_training_do_not(crops, tmp_path, kind):
    config = small_config(crops, tmp_path / "run", schedule={"iters": 2}, labels={"k1": 30, "k2": 6})
    labels = {} if kind == "self-paced" else {"labels": {"kind": kind}}
    run = trained(overlay(config, labels, "test"))
    collapsed = [epoch.num_clusters == 1 and epoch.loss == pytest.approx(0, abs=1e-6) for epoch in run.state.history]
    assert all(collapsed) if kind == "self-paced" else not any(collapsed)
    if kind != "self-paced":
        assert all(epoch.num_clusters >= 2 and epoch.loss > 0.01 for epoch in run.state.history)


def test_a_collapsed_run_stops_with_advice(crops, tmp_path, capsys):
    schedule = {"iters": 1, "epochs": 9, "select": "auto", "patience": 2}
    config = small_config(crops, tmp_path / "run", schedule=schedule, labels={"k1": 30, "k2": 6})
    run_training_command(config, resume=False)
    printed = capsys.readouterr().out
    assert "stopped after epoch 3 of 9" in printed and "lower --eps (now 0.6)" in printed
    assert "learnt almost nothing" in printed
