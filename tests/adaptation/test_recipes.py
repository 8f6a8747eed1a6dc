"""The recipe of an adaptation: which one it is, what of it is used, and settings that it does not have."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

import spcl
from spcl.adaptation.adapt import adapt
from spcl.adaptation.rating import _clustering
from spcl.adaptation.run_recipe import chosen_recipe, run_recipe
from spcl.adaptation.settings import AdaptationSettings
from spcl.cli.main import main
from spcl.config import Recipe, load_recipe, overlay, recipe_names
from spcl.grouping.label_free_quality import ClusteringSettings
from spcl.reporting.console import SilentReporter
from spcl.training.average_linkage_labels import AverageLinkageSettings
from spcl.training_run.starting_point import settings_from_checkpoint
from tests.adaptation.test_adapt import SMALL_PLUS, crops, refused, settings  # noqa: F401
from tests.input_errors import input_error
from tests.training_run.test_starting_point import used_encoder, written

SMALL_FLAGS = ["--epochs", "1", "--iters", "2", "--batch-size", "8", "--device", "cpu"]


@pytest.fixture
def checkpoint(tmp_path) -> Path:
    return written(used_encoder("target"), tmp_path / "c.pth.tar")


def recipe_of(given: AdaptationSettings, checkpoint: Path, *, resume: bool = False) -> Recipe:
    return run_recipe(given, chosen_recipe(given, resume=resume), checkpoint, "crops")


def former_recipe(given: AdaptationSettings, checkpoint: Path) -> Recipe:
    """The recipe of the run before there was a choice: the paper's, with adapt's own clusters, rate and steps."""
    values = {
        "data": {
            "target": "crops",
            **{name: getattr(given, name) for name in ("data_dir", "columns", "layout", "duplicates", "workers")},
            "on_broken": "skip",
        },
        "network": {"from_checkpoint": str(checkpoint), "from_domain": given.domain},
        "labels": {"k1": given.k1 or 20, "k2": given.k2 or 6, "eps": given.eps or 0.6},
        "schedule": {
            "batch_size": given.batch_size,
            "lr": given.lr or 0.00035,
            "epochs": given.epochs,
            "iters": given.iters,
            "step_size": max(1, 2 * given.epochs // 3),
        },
        "run": {name: getattr(given, name) for name in ("logs_dir", "seed", "device", "precision")},
    }
    return overlay(overlay(Recipe(), settings_from_checkpoint(checkpoint), "checkpoint"), values, "adapt")


def test_with_the_papers_recipe_the_run_is_that_of_before(checkpoint):
    for given in (
        AdaptationSettings(),
        AdaptationSettings(eps="auto", k1=9),
        AdaptationSettings(eps=0.45, k2=3, lr=0.002, epochs=5, iters=7, seed=4, domain="target", layout="all"),
    ):
        assert recipe_of(replace(given, recipe="spcl"), checkpoint) == former_recipe(given, checkpoint), given


def test_the_recipe_is_spcl_plus_and_said(checkpoint):
    chosen = chosen_recipe(AdaptationSettings())
    assert (chosen.name, chosen.recipe) == ("spcl-plus", load_recipe("spcl-plus"))
    assert chosen.notes == ("recipe spcl-plus; --recipe spcl is the paper's",)
    made, plus = recipe_of(AdaptationSettings(), checkpoint), load_recipe("spcl-plus")
    for part in ("labels", "label_features", "memory", "losses", "augmentation", "sampler", "optimiser"):
        assert getattr(made, part) == getattr(plus, part), part
    assert (made.network.arch, made.data.height, made.data.width) == ("timm/test_resnet", 32, 16)
    assert (made.schedule.epochs, made.schedule.iters, made.schedule.batch_size) == (8, 30, 32)
    # The last epoch is rated, so that no other one is kept.
    assert made.schedule.select == Recipe().schedule.select


@pytest.mark.parametrize("name", recipe_names())
def test_an_adaptation_is_made_by_every_recipe(checkpoint, name):
    made = recipe_of(AdaptationSettings(recipe=name), checkpoint)
    assert (made.network.arch, made.data.height, made.data.width) == ("timm/test_resnet", 32, 16)
    assert made.labels == recipe_of(AdaptationSettings(recipe=name, lr=0.1), checkpoint).labels
    assert _clustering(made).min_samples == 4


def test_settings_that_the_labels_do_not_have_are_refused(tmp_path, checkpoint):
    plus = AdaptationSettings()
    for given, flags in (
        (replace(plus, eps=0.5), "--eps 0.5"),
        (replace(plus, k2=6), "--k2 6"),
        (replace(plus, recipe="quick", eps=0.6, k2=3), "--eps 0.6, --k2 3"),
    ):
        with input_error("option-does-not-apply", flags, "average-linkage", "--recipe spcl"):
            chosen_recipe(given)
    # What eps auto asks for is done in each epoch, and k1 is a setting of these labels, too.
    made = recipe_of(replace(plus, eps="auto", k1=9), checkpoint)
    assert made.labels == AverageLinkageSettings(k1=9)
    own = tmp_path / "own.toml"
    own.write_text('base = "spcl-plus"\n[labels]\nthreshold = 0.8\n')
    with input_error("option-does-not-apply", "--eps auto"):
        chosen_recipe(replace(plus, recipe=str(own), eps="auto"))


def test_a_file_is_taken_as_it_stands_and_what_is_left_of_it_is_said(tmp_path, checkpoint):
    own = tmp_path / "own.toml"
    own.write_text("[labels]\nk1 = 11\n[optimiser]\nlr = 0.002\n[schedule]\nepochs = 99\n[data]\nheight = 8\n")
    given = AdaptationSettings(recipe=str(own))
    chosen = chosen_recipe(given)
    assert chosen.notes[0] == f"recipe {own}"
    assert "[data] and [schedule]" in chosen.notes[1]
    made = recipe_of(given, checkpoint)
    assert (made.labels.k1, made.labels.eps, made.optimiser.lr) == (11, 0.6, 0.002)
    assert (made.schedule.epochs, made.data.height) == (8, 32)
    assert recipe_of(replace(given, lr=0.001, k1=5), checkpoint).optimiser.lr == 0.001
    with input_error("no-such-recipe", "spcl-minus"):
        chosen_recipe(AdaptationSettings(recipe="spcl-minus"))


def test_the_rating_is_of_the_same_clusters_with_both_recipes(checkpoint):
    both = [recipe_of(AdaptationSettings(recipe=name), checkpoint) for name in ("spcl", "spcl-plus")]
    assert [_clustering(each) for each in both] == [ClusteringSettings(k1=20, k2=6, eps=0.6)] * 2
    given = AdaptationSettings(recipe="spcl", k1=9, eps=0.5)
    assert _clustering(recipe_of(given, checkpoint)) == ClusteringSettings(k1=9, k2=6, eps=0.5)


def test_a_continued_run_keeps_its_recipe(tmp_path, crops, checkpoint):  # noqa: F811
    first = adapt(checkpoint, crops, settings(tmp_path))
    assert first.recipe == "spcl"
    report = SilentReporter()
    again = adapt(checkpoint, crops, settings(tmp_path, recipe="", k1=None, k2=None), resume=True, report=report)
    assert (again.before, again.after, again.recipe) == (first.before, first.after, "")
    with input_error("settings-changed"):
        adapt(checkpoint, crops, settings(tmp_path, recipe="spcl-plus", k1=None, k2=None), resume=True)


@pytest.mark.slow
def test_both_recipes_are_rated_alike_before_and_the_result_names_them(tmp_path, crops, checkpoint):  # noqa: F811
    found = {}
    for name in ("spcl", ""):
        given = replace(SMALL_PLUS, recipe=name, logs_dir=str(tmp_path / f"run-{name}"))
        found[name] = adapt(checkpoint, crops, given)
        left = json.loads((tmp_path / f"run-{name}" / "adaptation.json").read_text())
        assert left["recipe"] == (name or "spcl-plus")
    assert found["spcl"].before == found[""].before
    assert found["spcl"].after != found[""].after
    fingerprints = {spcl.load_encoder(tmp_path / f"run-{name}/checkpoint.pth.tar").fingerprint for name in found}
    assert len(fingerprints) == 2


def test_the_command_says_the_recipe_and_refuses_eps_before_any_work(tmp_path, crops, capsys, monkeypatch):  # noqa: F811
    monkeypatch.chdir(tmp_path)
    written(used_encoder("target"), tmp_path / "c.pth.tar")
    assert "--eps 0.5" in refused(["c.pth.tar", "crops", "--recipe", "spcl-plus", "--eps", "0.5"], capsys, SMALL_FLAGS)
    assert not (tmp_path / "runs").exists()
    main(["adapt", "c.pth.tar", "crops", *SMALL_FLAGS])
    assert "recipe spcl-plus; --recipe spcl is the paper's" in capsys.readouterr().out
