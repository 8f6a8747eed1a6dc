"""Settings: validated, typed, to TOML and back."""

from __future__ import annotations

from dataclasses import asdict
from math import inf, nan

import pytest

from spcl.config import Recipe, load_config, load_recipe, overlay, recipe_names, to_toml
from spcl.errors import InputError


def test_the_default_recipe_is_the_paper():
    assert load_recipe("spcl") == Recipe()
    assert {"spcl", "person", "vehicle", "quick"} <= set(recipe_names())


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_loads_and_survives_toml(name, tmp_path):
    config = load_recipe(name)
    (tmp_path / "c.toml").write_text(to_toml(config))
    assert load_config(tmp_path / "c.toml") == config


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"labels": {"epss": 0.5}}, r"unknown setting 'epss'; did you mean 'eps'\?"),
        ({"label": {"eps": 0.5}}, "unknown setting 'label'; did you mean 'labels'"),
        ({"labels": {"eps": "half"}}, "eps is 'half'; expected float"),
        ({"labels": {"k1": 2.5}}, "k1 is 2.5; expected int"),
        ({"labels": {"k1": True}}, "k1 is True; expected int"),
        ({"labels": 3}, "is a section"),
        ({"network": {"pooling": "max"}}, "pooling is 'max'; expected one of 'avg', 'gem'"),
        ({"schedule": {"epochs": 0}}, "epochs is 0; expected at least 1"),
        ({"network": {"batch_norm_group": 1}}, "batch_norm_group is 1"),
        ({"data": {"image_memory": inf}}, "image_memory is inf; expected a finite number of GiB"),
        ({"schedule": {"lr": inf}}, "lr is inf; expected a finite number, 0 or more"),
        ({"schedule": {"weight_decay": nan}}, "weight_decay is nan; expected a finite number"),
        ({"memory": {"temperature": inf}}, "temperature is inf; expected a positive, finite number"),
    ],
)
def test_bad_values_are_named(values, message):
    with pytest.raises(InputError, match=message):
        overlay(Recipe(), values, "mine.toml")


def test_a_whole_number_will_do_for_a_fraction():
    assert overlay(Recipe(), {"schedule": {"lr": 1}}, "x").optimiser.lr == 1.0


def test_bad_toml_is_named(tmp_path):
    (tmp_path / "c.toml").write_text("[labels\n")
    with pytest.raises(InputError, match=r"c\.toml is not valid TOML"):
        load_config(tmp_path / "c.toml")


def test_settings_cannot_be_changed():
    with pytest.raises(AttributeError):
        Recipe().labels.eps = 0.1  # type: ignore[misc]
    assert asdict(Recipe())["labels"]["eps"] == 0.6
