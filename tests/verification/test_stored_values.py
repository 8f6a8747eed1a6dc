"""A calibration from a file: every value that it cannot have is refused, and named, before anything is computed."""

from __future__ import annotations

import copy
import json
import math
from types import SimpleNamespace

import numpy as np
import pytest

from spcl.verification.calibration import Calibration
from spcl.verification.stored_calibration import FACT, EncoderCalibration, read_calibration, stored_calibration
from spcl.verification.stranger_scores import StrangerScores
from tests.gallery.features import unit_rows
from tests.input_errors import input_error


@pytest.fixture(scope="module")
def whole():
    rng = np.random.default_rng(0)
    same, different = rng.normal(0.8, 0.05, 400).clip(-1, 1), rng.normal(0.1, 0.1, 4000).clip(-1, 1)
    groups = np.sort(rng.choice(60, size=(4000, 2)), axis=1)
    objects = np.arange(240) // 6
    strangers = StrangerScores.measure(unit_rows(240), objects, objects, rng)
    assert strangers is not None
    found = Calibration.fit(same, different, different_groups=groups, strangers=strangers)
    values = EncoderCalibration(found, "labels", "f", 400, 60, ("a note",)).to_dict()
    assert EncoderCalibration.from_dict(values) == EncoderCalibration.from_dict(json.loads(json.dumps(values)))
    return values


def places_in(values, at=()):
    """The path of every value, containers included."""
    yield at
    if isinstance(values, dict | list | tuple):
        for key, value in values.items() if isinstance(values, dict) else enumerate(values[:2]):
            yield from places_in(value, (*at, key))


def changed(values, at, new):
    copied = copy.deepcopy(values)
    if not at:
        return new
    inside = copied
    for key in at[:-1]:
        inside[key] = list(inside[key]) if isinstance(inside[key], tuple) else inside[key]
        inside = inside[key]
    inside[at[-1]] = new
    return copied


WRONG = [None, "x", [], {}, [1, "x"], {"a": 1}, math.nan, math.inf, -5, 10**400, True, ["x"] * 3, 1e300]


def test_any_value_of_a_wrong_kind_is_an_error_or_has_no_effect(whole):
    plain = json.loads(json.dumps(whole))
    refused = 0
    for at in places_in(plain):
        for new in WRONG:
            values = changed(plain, at, new)
            try:
                found = EncoderCalibration.from_dict(values)
            except ValueError:
                refused += 1
                continue
            # What is accepted can be computed with.
            assert math.isfinite(found.threshold(0.01).similarity), (at, new)
            assert np.isfinite(found.calibration.probability([-1, 0.3, 1])).all(), (at, new)
    assert refused > 1000


def test_a_damaged_one_in_a_checkpoint_or_a_file_names_the_next_step(whole, tmp_path):
    for value in (5, "x", [1], {"a": 1}, whole | {"num_images": math.nan}, whole | {"calibration": "x"}):
        with input_error("not-a-calibration", "make it again with spcl calibrate"):
            stored_calibration(SimpleNamespace(facts={FACT: value}, fingerprint="f"))
        (tmp_path / "c.json").write_text(json.dumps(value))
        with input_error("not-a-calibration", tmp_path / "c.json"):
            read_calibration(tmp_path / "c.json")
    for text in ("[" * 100_000, "{" * 100_000, '{"a":' * 50_000):
        (tmp_path / "c.json").write_text(text)
        with input_error("not-a-calibration", tmp_path / "c.json"):
            read_calibration(tmp_path / "c.json")
