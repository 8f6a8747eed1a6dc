"""Settings: validated, typed, to TOML and back."""

from __future__ import annotations

from dataclasses import asdict
from math import inf, nan

import pytest

from spcl.config import Recipe, load_config, load_recipe, overlay, recipe_names, to_toml
from tests.shared import input_error


def test_the_default_recipe_is_the_paper():
    assert load_recipe("spcl") == Recipe()
    assert {"spcl", "person", "vehicle", "quick"} <= set(recipe_names())


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_loads_and_survives_toml(name, tmp_path):
    config = load_recipe(name)
    (tmp_path / "c.toml").write_text(to_toml(config))
    assert load_config(tmp_path / "c.toml") == config


@pytest.mark.parametrize(
    ("values", "code", "named"),
    [
        ({"labels": {"epss": 0.5}}, "no-such-setting", "'epss'; did you mean 'eps'"),
        ({"label": {"eps": 0.5}}, "no-such-setting", "'label'; did you mean 'labels'"),
        ({"labels": {"eps": "half"}}, "setting-not-understood", "eps is 'half'"),
        ({"labels": {"k1": 2.5}}, "setting-not-understood", "k1 is 2.5"),
        ({"labels": {"k1": True}}, "setting-not-understood", "k1 is True"),
        ({"labels": 3}, "setting-not-understood", "[labels]"),
        ({"network": {"pooling": "max"}}, "setting-not-understood", "pooling is 'max'"),
        ({"schedule": {"epochs": 0}}, "setting-out-of-range", "epochs is 0"),
        ({"network": {"batch_norm_group": 1}}, "setting-out-of-range", "batch_norm_group is 1"),
        ({"data": {"image_memory": inf}}, "setting-out-of-range", "image_memory is inf"),
        ({"schedule": {"lr": inf}}, "setting-out-of-range", "lr is inf"),
        ({"schedule": {"weight_decay": nan}}, "setting-out-of-range", "weight_decay is nan"),
        ({"memory": {"temperature": inf}}, "setting-out-of-range", "temperature is inf"),
    ],
)
def test_bad_values_are_named(values, code, named):
    with input_error(code, named):
        overlay(Recipe(), values, "mine.toml")


def test_a_whole_number_will_do_for_a_fraction():
    assert overlay(Recipe(), {"schedule": {"lr": 1}}, "x").optimiser.lr == 1.0


def test_bad_toml_is_named(tmp_path):
    (tmp_path / "c.toml").write_text("[labels\n")
    with input_error("malformed-settings", "c.toml"):
        load_config(tmp_path / "c.toml")


def test_settings_cannot_be_changed():
    with pytest.raises(AttributeError):
        Recipe().labels.eps = 0.1  # type: ignore[misc]
    assert asdict(Recipe())["labels"]["eps"] == 0.6


def test_a_recipe_starts_from_the_one_that_it_names(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('base = "spcl-plus"\n[schedule]\nepochs = 3\n')
    plus = load_recipe("spcl-plus")
    expected = overlay(plus, {"schedule": {"epochs": 3}}, "test")
    assert load_recipe(path) == load_recipe(str(path)) == load_config(path) == expected
    # A base that is given counts.
    assert load_config(path, Recipe()) == overlay(Recipe(), {"schedule": {"epochs": 3}}, "test")
    for base in ('"spcl-puls"', "3", '"mine.toml"'):
        path.write_text(f"base = {base}\n")
        with input_error("no-such-recipe", "base is"):
            load_recipe(path)


@pytest.mark.parametrize("kind", ["[1]", "{a = 1}", "true", "nan"])
def test_a_kind_of_another_type_is_refused(tmp_path, kind):
    (tmp_path / "r.toml").write_text(f"[[losses]]\nkind = {kind}\n")
    with input_error("missing-kind"):
        load_config(tmp_path / "r.toml")
