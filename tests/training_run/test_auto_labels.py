"""``--eps auto``: the first epoch's features settle eps, k1 and k2 for the whole run, and a resumed one too."""

from __future__ import annotations

import numpy as np
import torch

from spcl.config import Recipe, load_config, overlay, to_toml
from spcl.grouping.eps_choice import suggest
from spcl.reporting.console import SilentReporter
from spcl.runtime import Runtime
from spcl.selfpaced.pseudo_labels import pseudo_labels
from spcl.training.parts import TargetView
from spcl.training.self_paced_labels import SelfPacedLabeller, SelfPacedLabelSettings
from tests.fakes import write_fake
from tests.selfpaced.test_pseudo_labels import groups
from tests.shared import input_error
from tests.training_run.small_runs import assert_bit_equal, small_config, trained


class Listening(SilentReporter):
    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []

    def say(self, text: str) -> None:
        self.said.append(text)


def test_a_run_settles_once_and_resumes_exactly(tmp_path):
    target = write_fake("market1501", tmp_path)
    auto = {"labels": {"eps": "auto"}}
    report = Listening()
    whole = trained(small_config(target, tmp_path / "whole", **auto), report=report)
    settled = whole.parts.labeller.chosen
    assert settled is not None
    assert settled["k1"] < 30
    assert [epoch.label_figures for epoch in whole.state.history] == [settled, settled]
    reported = [text for text in report.said if text.startswith("eps auto: ")]
    assert reported == [
        f"eps auto: eps {settled['eps']:g}, k1 {settled['k1']}, k2 {settled['k2']} for the whole run, because"
    ]
    trained(small_config(target, tmp_path / "parts", **auto, schedule={"epochs": 1}))
    continued = trained(small_config(target, tmp_path / "parts", **auto), resume=True)
    assert continued.parts.labeller.chosen == settled
    assert_bit_equal(whole, continued)


def test_given_settings_stay(tmp_path):
    run = trained(small_config(write_fake("market1501", tmp_path), tmp_path / "run", schedule={"epochs": 1}))
    assert run.parts.labeller.chosen is None
    assert "eps" not in run.state.history[0].to_row()


def test_labels_follow_what_is_suggested():
    rows = torch.from_numpy(groups(np.random.default_rng(4), [8, 9, 10, 11], spread=0.6))
    runtime, target = Runtime("cpu"), TargetView(len(rows), np.full(len(rows), -1))
    auto = SelfPacedLabeller(SelfPacedLabelSettings(eps="auto", search="torch"), runtime, SilentReporter())
    labels = auto.label(rows, target).labels.tolist()
    expected = suggest(rows)
    assert auto.figures() == {"eps": expected.eps, "k1": expected.k1, "k2": expected.k2}
    assert labels == pseudo_labels(rows, **auto.figures()).labels.tolist()
    given = SelfPacedLabeller(SelfPacedLabelSettings(search="torch"), runtime, SilentReporter())
    assert given.label(rows, target).labels.tolist() == pseudo_labels(rows).labels.tolist()
    assert given.figures() == {}


def test_the_word_in_a_file_and_its_refusals(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('[labels]\neps = "auto"\n')
    config = load_config(path)
    assert config.labels.eps == "auto"
    path.write_text(to_toml(config))
    assert load_config(path) == config
    assert overlay(Recipe(), {"labels": {"eps": 0.5}}, "x").labels.eps == 0.5
    with input_error("setting-not-understood", "eps is 'automatic'"):
        overlay(Recipe(), {"labels": {"eps": "automatic"}}, "x")
    with input_error("setting-out-of-range", "min_samples is 1"):
        SelfPacedLabelSettings(eps="auto", min_samples=1)
