"""A tampered or damaged ``resume.pt``: one error that names it and what can still be used, whatever is wrong."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch

from spcl.errors import InputError
from spcl.training_run.run_files import CHECKPOINT_FILE, RESUME_FILE, saved_epochs
from tests.fakes import draw
from tests.input_errors import input_error
from tests.training_run.small_runs import prepared, small_config, trained


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("damaged_state")
    for number in range(24):
        draw(folder / "crops" / f"{number:02d}.png", number // 6, number)
    config = small_config(folder / "crops", folder / "run", schedule={"epochs": 1, "iters": 1})
    trained(config)
    return prepared(config, resume=True)


@pytest.fixture
def saved(run):
    content = torch.load(run.folder / RESUME_FILE, weights_only=True)
    yield copy.deepcopy(content)
    torch.save(content, run.folder / RESUME_FILE)


def places_in(values, at=()):
    yield at
    if isinstance(values, dict | list):
        items = values.items() if isinstance(values, dict) else enumerate(values)
        for key, value in list(items)[:3]:
            yield from places_in(value, (*at, key))


def inside(values, at):
    for key in at:
        values = values[key]
    return values


def restored(run, content):
    torch.save(content, run.folder / RESUME_FILE)
    run.files.restore(run.state)


WRONG = [..., None, {}, -5, math.nan, torch.zeros(3)]


@pytest.mark.slow
def test_whatever_is_changed_is_accepted_as_it_is_or_named(run, saved):
    restored(run, saved)
    codes = []
    num = 0
    places = [at for at in places_in(saved) if at]
    near_the_top = [at for at in places if len(at) <= 2]
    deep = [places[row] for row in np.random.default_rng(0).choice(len(places), size=12, replace=False).tolist()]
    for at in (*near_the_top, *deep):
        for new in WRONG if at in near_the_top else (..., "x", torch.zeros(3)):
            content = copy.deepcopy(saved)
            if new is ...:
                inside(content, at[:-1]).pop(at[-1])
            else:
                inside(content, at[:-1])[at[-1]] = new
            num += 1
            try:
                restored(run, content)
            except InputError as error:
                codes.append(error.code)
    assert len(codes) > num / 2
    assert set(codes) <= {"damaged-file", "settings-changed", "images-changed", "parts-changed"}
    restored(run, saved)


def test_the_error_names_what_can_still_be_used(run, saved):
    del saved["state"]["history"]
    with input_error("damaged-file", RESUME_FILE, f"--from-checkpoint {run.folder / CHECKPOINT_FILE}"):
        restored(run, saved)
    saved["state"] = {}
    torch.save(saved, run.folder / RESUME_FILE)
    with input_error("damaged-file", RESUME_FILE, "--from-checkpoint"):
        saved_epochs(run.folder)
