"""The flags of ``spcl train``: those of version 0.1.0 stay, whatever a recipe is made of."""

from __future__ import annotations

import re

import pytest

from spcl.cli.flags import flags_of, recipe_of
from spcl.cli.main import main
from spcl.cli.train import note_on_recipe, parsed_recipe
from spcl.config import Recipe, load_recipe, overlay, to_toml
from spcl.errors import InputError
from spcl.kinds import KINDS
from spcl.settings import kind_of
from tests.input_errors import input_error

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
    _, recipe = parsed_recipe(["x", "--recipe", "spcl", *words])
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
    with pytest.raises(InputError, match=r"--memory: a setting of memory of the kind 'hybrid', and the recipe has"):
        parsed_recipe([*words, "--memory", "sharded"])
    assert parsed_recipe([*words, "--momentum", "0.5"])[1].memory.momentum == 0.5
    own = overlay(Recipe(), {"losses": [{"kind": "tests.training.own_parts:CameraLoss"}]}, "test")
    with pytest.raises(InputError, match="temperature is"):
        overlay(own, {"memory": {"temperature": 0.1}}, "command line")


def test_a_flag_applies_to_another_kind_that_has_the_setting():
    _, recipe = parsed_recipe(["x", "--recipe", "spcl-plus", "--lr", "0.01", "--k1", "30", "--search", "torch"])
    assert recipe.optimiser.lr == 0.01 and kind_of("optimiser", recipe.optimiser, KINDS) == "adamw"
    # 30 is the default of the flag, and auto that of the recipe.
    assert recipe.labels.k1 == 30 and recipe.labels.search == "torch"
    _, plain = parsed_recipe(["x", "--recipe", "spcl-plus"])
    assert plain.labels.k1 == "auto" and plain.optimiser == load_recipe("spcl-plus").optimiser
    # A value that is the flag's default is an error as well where the kind has no such setting.
    for flag, value in (("--eps", "0.6"), ("--k2", "6"), ("--eps-gap", "0.3")):
        with input_error("option-does-not-apply", flag, "'average-linkage'", "--recipe spcl"):
            parsed_recipe(["x", "--recipe", "spcl-plus", flag, value])
    with input_error("option-does-not-apply", "--memory", "'cluster'"):
        parsed_recipe(["x", "--recipe", "spcl-cluster-memory", "--memory", "auto"])


def test_a_run_that_is_continued_keeps_its_recipe(tmp_path):
    words = ["x", "--logs-dir", str(tmp_path)]
    _, first = parsed_recipe([*words, "--recipe", "spcl-plus", "--epochs", "3", "--seed", "5", "--workers", "1"])
    (tmp_path / "config.toml").write_text(to_toml(overlay(first, {"data": {"target": "y"}}, "test")))
    _, again = parsed_recipe([*words, "--resume"])
    assert again == overlay(first, {"data": {"workers": "auto"}}, "test")
    assert parsed_recipe([*words, "--resume_or_start", "--epochs", "9"])[1].schedule.epochs == 9
    # Not without --resume, and not with another recipe.
    assert parsed_recipe(words)[1].schedule.epochs == load_recipe("spcl-plus").schedule.epochs
    assert parsed_recipe([*words, "--resume", "--recipe", "spcl"])[1].labels == load_recipe("spcl").labels
    # Without a run in the folder it is as without --resume.
    assert (
        parsed_recipe(["x", "--logs-dir", str(tmp_path / "no"), "--resume"])[1]
        == parsed_recipe(["x", "--logs-dir", str(tmp_path / "no")])[1]
    )
    (tmp_path / "config.toml").write_text("[labels")
    with input_error("damaged-file", "--recipe"):
        parsed_recipe([*words, "--resume"])


def test_a_continued_run_imports_no_code_that_only_its_folder_names(tmp_path):
    (tmp_path / "config.toml").write_text(
        '[labels]\nkind = "self-paced-each-epoch"\n[memory]\nkind = "tests.no_such_module:Memory"\n'
        '[[losses]]\nkind = "contrastive"\n[[losses]]\nkind = "tests.no_such_module:Loss"\n'
    )
    _, recipe = parsed_recipe(["x", "--logs-dir", str(tmp_path), "--resume"])
    assert kind_of("labels", recipe.labels, KINDS) == "self-paced-each-epoch"
    assert recipe.memory == Recipe().memory and recipe.losses == Recipe().losses


def test_a_settings_file_may_name_its_recipe(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('base = "spcl-plus"\n[schedule]\nepochs = 3\n')
    _, recipe = parsed_recipe(["x", "--config", str(path)])
    assert recipe.labels == load_recipe("spcl-plus").labels and recipe.schedule.epochs == 3
    assert parsed_recipe(["x", "--config", str(path), "--recipe", "spcl-plus"])[1] == recipe
    with input_error("option-contradiction", "--recipe spcl", "'spcl-plus'"):
        parsed_recipe(["x", "--config", str(path), "--recipe", "spcl"])


def test_the_default_recipe_and_the_line_about_it(tmp_path):
    assert parsed_recipe(["x"])[1] == parsed_recipe(["x", "--recipe", "spcl-plus"])[1]
    assert note_on_recipe(["x"]) == "recipe spcl-plus; --recipe spcl is the paper's"
    assert note_on_recipe(["x", "--recipe", "spcl"]) == note_on_recipe(["x", "--recipe=quick"]) == ""
    path = tmp_path / "mine.toml"
    path.write_text('base = "spcl"\n[labels]\neps = 0.5\n')
    assert note_on_recipe(["x", "--config", str(path)]) == ""
    assert parsed_recipe(["x", "--config", str(path)])[1].labels.eps == 0.5
    (tmp_path / "config.toml").write_text(to_toml(load_recipe("spcl")))
    words = ["x", "--logs-dir", str(tmp_path)]
    assert note_on_recipe([*words, "--resume"]) == "recipe: that of the run that is continued"
    # A run that was started by the paper's recipe, before another one was the default.
    assert parsed_recipe([*words, "--resume"])[1].labels == load_recipe("spcl").labels
    path.write_text("[labels]\neps = 0.5\n")
    with input_error("no-such-setting", "--recipe spcl"):
        parsed_recipe(["x", "--config", str(path)])


def test_settings_of_the_labels_that_are_chosen_in_each_epoch():
    # It asks for what these labels do anyway; another value is refused.
    assert parsed_recipe(["x", "--recipe", "quick", "--eps", "auto"])[1] == parsed_recipe(["x", "--recipe", "quick"])[1]
    assert parsed_recipe(["x", "--recipe", "spcl", "--eps", "auto"])[1].labels.eps == "auto"
    # The rate falls by a cosine, not in steps.
    with input_error("option-does-not-apply", "--step-size", "'adamw'"):
        parsed_recipe(["x", "--step-size", "10"])


@pytest.mark.parametrize("name", ["quick", "person", "vehicle"])
def test_recipes_of_the_package_build_on_the_default(name):
    plus, recipe = load_recipe("spcl-plus"), load_recipe(name)
    for part in ("labels", "label_features", "losses", "augmentation", "optimiser", "memory", "sampler"):
        assert getattr(recipe, part) == getattr(plus, part)
    assert recipe.schedule.select == "auto" and recipe != plus
