"""What a sweep consists of, and what is refused before its first run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from spcl.cli.sweep import gathered
from spcl.config import Recipe
from spcl.experiments.plan import parsed_settings, plan, with_values
from spcl.training.contrastive import ContrastiveSettings
from tests.shared import input_error

LOGS = Path("runs/sweep")


def test_every_combination_is_a_run_with_a_folder_of_its_own():
    settings = parsed_settings(["labels.eps=0.5,0.6", "network.pooling=avg,gem", "schedule.epochs=3"])
    planned = plan(Recipe(), seeds=[1, 2], settings=settings, logs_dir=LOGS)
    made = [(run.recipe.labels.eps, run.recipe.network.pooling, run.recipe.run.seed) for run in planned]
    assert made == [(eps, pooling, seed) for eps in (0.5, 0.6) for pooling in ("avg", "gem") for seed in (1, 2)]
    assert {run.recipe.schedule.epochs for run in planned} == {3}
    assert planned[0].folder == LOGS / "eps-0.5_pooling-avg_seed-1"
    assert all(run.recipe.run.logs_dir == str(run.folder) for run in planned)
    assert len({run.folder for run in planned}) == len(planned)
    assert planned[0].words == "labels.eps 0.5, network.pooling avg, seed 1"
    (alone,) = plan(Recipe(), logs_dir=LOGS)
    assert alone.folder == LOGS / "seed-1"


def test_folders_of_values_with_other_letters_stay_apart():
    settings = {"network.arch": ["timm/resnet18", "timm-resnet18"], "data.source": ["", "a+b"]}
    folders = [run.folder for run in plan(Recipe(), settings=settings, logs_dir=LOGS)]
    assert len(set(folders)) == 4
    assert all(folder.parent == LOGS for folder in folders)
    both = {"optimiser.kind": "adam", "labels.k1": [1, 2], "memory.momentum": [0.1, 0.2]}
    assert len({run.folder for run in plan(Recipe(), settings=both, logs_dir=LOGS)}) == 4


def test_values_are_numbers_words_and_lists():
    given = ["a.b=1,-2,0.5,1e-4,.5,true,auto", "c='1'", 'd=["x,y", "z"]', "e=k=v", "f=1.2.3"]
    assert parsed_settings(given) == {
        "a.b": (1, -2, 0.5, 1e-4, 0.5, True, "auto"),
        "c": ("1",),
        "d": ("x,y", "z"),
        "e": ("k=v",),
        "f": ("1.2.3",),
    }
    assert isinstance(parsed_settings(["a=1"])["a"][0], int)
    for wrong in ("labels.eps", "labels.eps=", "=1", "a=[1"):
        with input_error("setting-not-understood", repr(wrong)):
            parsed_settings([wrong])
    with input_error("value-given-twice", "--set gives a"):
        parsed_settings(["a=1", "a=2"])


@pytest.mark.parametrize(
    ("settings", "code", "named"),
    [
        ({"eps": 0.5}, "no-such-setting", "'eps'; did you mean 'labels.eps'?"),
        ({"label.eps": 0.5}, "no-such-setting", "'label.eps'; did you mean 'labels.eps'?"),
        ({"schedule.epoch": 5}, "no-such-setting", "did you mean 'schedule.epochs'?"),
        ({"zzz.qqq": 5}, "no-such-setting", "'zzz.qqq'"),
        ({"labels": 5}, "no-such-setting", "'labels'"),
        ({"labels.epz": 0.5}, "no-such-setting", "'epz'; did you mean 'eps'?"),
        ({"labels.eps": "many"}, "setting-not-understood", "eps is 'many'"),
        ({"labels.k1": [6, 0.5]}, "setting-not-understood", "k1 is 0.5"),
        ({"schedule.epochs": [5, 0]}, "setting-out-of-range", "epochs is 0"),
        ({"run.logs_dir": "x"}, "option-does-not-apply", "run.logs_dir"),
        ({"run.seed": [1, 2]}, "option-does-not-apply", "run.seed"),
        ({"data.target": "x"}, "option-does-not-apply", "data.target"),
        ({"labels.eps": [0.5, 0.5]}, "value-given-twice", "labels.eps"),
        ({"labels.eps": []}, "missing-value", "labels.eps"),
        ({"losses.1.temperature": 0.1}, "no-such-setting", "losses.0 to losses.0"),
        ({"losses.temperatur": 0.1}, "ambiguous-setting", "'temperatur'"),
        ({"losses.0.temperatur": 0.1}, "no-such-setting", "did you mean 'temperature'?"),
    ],
)
def test_what_cannot_be_set_is_refused_with_the_near_one(settings, code, named):
    with input_error(code, named):
        plan(Recipe(), settings=settings, logs_dir=LOGS)


def test_seeds_are_checked():
    with input_error("value-given-twice", "1 2 1"):
        plan(Recipe(), seeds=[1, 2, 1], logs_dir=LOGS)
    with input_error("setting-out-of-range", "seed is -1"):
        plan(Recipe(), seeds=[-1], logs_dir=LOGS)


def test_settings_of_parts_by_name_and_of_former_places():
    changed = with_values(Recipe(), {"losses.0.temperature": 0.1, "teacher.kind": "ema", "teacher.momentum": 0.9})
    assert changed.losses == (replace(Recipe().losses[0], temperature=0.1),)
    assert changed.teacher is not None and changed.teacher.momentum == 0.9
    assert with_values(Recipe(), {"losses.temperature": 0.1}).losses[0].temperature == 0.1
    assert with_values(Recipe(), {"schedule.lr": 0.1}).optimiser.lr == 0.1
    two = replace(Recipe(), losses=(ContrastiveSettings(), ContrastiveSettings()))
    with input_error("ambiguous-setting", "'weight'"):
        with_values(two, {"losses.weight": 2.0})


def test_values_of_a_flag_come_together_wherever_they_are():
    words = ["--set", "a=1", "b=2,3", "spcl", "data", "--seed", "1", "2", "--set=c=4", "--seed", "3", "--json"]
    merged = gathered(gathered(words, "--set", lambda word: "=" in word), "--seed", str.isdecimal)
    assert merged == ["spcl", "data", "--json", "--set", "a=1", "b=2,3", "c=4", "--seed", "1", "2", "3"]
    assert gathered(["spcl", "data"], "--set", bool) == ["spcl", "data"]


def test_a_number_of_thousands_of_digits_is_refused():
    with input_error("setting-not-understood", "k1 is"):
        plan(Recipe(), settings=parsed_settings(["labels.k1=" + "9" * 5000]), logs_dir=LOGS)
