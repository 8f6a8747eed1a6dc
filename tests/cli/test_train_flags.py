"""The flags of ``spcl train``: those of version 0.1.0 stay, whatever a recipe is made of."""

from __future__ import annotations

import re

import pytest

from spcl.cli.flags import flags_of, recipe_of
from spcl.cli.main import main
from spcl.cli.train import parsed_recipe
from spcl.config import Recipe, load_recipe, overlay
from spcl.errors import InputError

FROZEN = {
    "--recipe",
    "--config",
    "--resume",
    "--source",
    "--target",
    "--data-dir",
    "--height",
    "--width",
    "--workers",
    "--image-memory",
    "--cache-dir",
    "--check",
    "--on-broken",
    "--arch",
    "--pretrained",
    "--from-checkpoint",
    "--from-domain",
    "--features",
    "--dropout",
    "--pooling",
    "--last-stride",
    "--batch-norm-group",
    "--k1",
    "--k2",
    "--eps",
    "--eps-gap",
    "--min-samples",
    "--search",
    "--momentum",
    "--temperature",
    "--batch-size",
    "--num-instances",
    "--lr",
    "--weight-decay",
    "--epochs",
    "--iters",
    "--step-size",
    "--eval-step",
    "--accumulate",
    "--source-only",
    "--logs-dir",
    "--seed",
    "--device",
    "--precision",
    "--compile",
    "--memory",
    "--checkpoint-iters",
}


def test_the_names_of_the_flags_are_frozen(capsys):
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    shown = set(re.findall(r"(?<![\w-])--[a-z0-9][a-z0-9-]*", capsys.readouterr().out))
    assert shown >= FROZEN
    # Of parts in recipes alone.
    assert not shown & {"--kind", "--weight", "--placement", "--losses", "--teacher"}


def test_a_flag_reaches_its_part():
    words = [
        "--momentum",
        "0.4",
        "--memory",
        "sharded",
        "--temperature",
        "0.1",
        "--lr",
        "0.01",
        "--num-instances",
        "2",
        "--k1",
        "9",
        "--epochs",
        "3",
    ]
    _, recipe = parsed_recipe(["x", *words])
    expected = {
        "labels": {"k1": 9},
        "memory": {"momentum": 0.4, "placement": "sharded"},
        "losses": [{"kind": "contrastive", "temperature": 0.1}],
        "optimiser": {"lr": 0.01},
        "sampler": {"num_instances": 2},
        "schedule": {"epochs": 3},
    }
    assert recipe == overlay(load_recipe("spcl"), expected, "test")
    assert recipe_of(flags_of(recipe), recipe) == recipe


def test_a_flag_of_a_part_of_another_kind_is_refused(tmp_path):
    (tmp_path / "mine.toml").write_text('[memory]\nkind = "tests.training.own_parts:ClusterMemorySettings"\n')
    words = ["x", "--config", str(tmp_path / "mine.toml")]
    _, recipe = parsed_recipe([*words, "--temperature", "0.2"])
    assert recipe.losses[0].temperature == 0.2
    assert recipe.memory.momentum == 0.3
    with pytest.raises(InputError, match=r"--momentum: a setting of memory of the kind 'hybrid', and the recipe has"):
        parsed_recipe([*words, "--momentum", "0.5"])
    own = overlay(Recipe(), {"losses": [{"kind": "tests.training.own_parts:CameraLoss"}]}, "test")
    with pytest.raises(InputError, match="temperature is"):
        overlay(own, {"memory": {"temperature": 0.1}}, "command line")
