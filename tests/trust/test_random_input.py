"""Random input of every kind: an error of the user's at most, at most ten seconds and 2 GB, and no crash."""

from __future__ import annotations

import os
import random

import numpy as np
import pytest

from spcl.errors import InputError
from tests.shared import slow_but
from tests.trust.random_input import ENTRY_POINTS
from tests.trust.tally import record, tries
from tests.trust.workers import EntryPoint, tried_inputs


@pytest.mark.trust
@pytest.mark.parametrize("entry", ENTRY_POINTS, ids=lambda entry: entry.name)
def test_no_input_is_a_fault(entry):
    outcome = tried_inputs(entry, 10_000)
    held = outcome.num_tried - len(outcome.faults)
    record("Random input", entry.name, outcome.num_tried, held, outcome.note)
    assert not outcome.faults, outcome


FEW = ("table of images, CSV", "recipe, TOML", "image, PNG", "pairs.csv", "times")


@pytest.mark.parametrize("name", slow_but(FEW, "image, PNG", "recipe, TOML"))
def test_a_few_inputs(name):
    entry = next(each for each in ENTRY_POINTS if each.name == name)
    outcome = tried_inputs(entry, tries(300, few=30))
    assert not outcome.faults, outcome
    assert 0 < outcome.num_accepted < outcome.num_tried


def _bad(rng: random.Random) -> None:
    kind = rng.randrange(5)
    if kind == 0:
        os.abort()
    if kind == 1:
        raise InputError("refused", code="x")
    if kind == 2:
        raise KeyError("x")
    if kind == 3:
        np.ones(2**34, dtype=np.uint8)


@pytest.mark.slow
def test_crashes_exceptions_and_memory_are_found_and_the_rest_is_tried():
    outcome = tried_inputs(EntryPoint("test", lambda folder: _bad), 24)
    kinds = {fault.kind for fault in outcome.faults}
    assert "SIGABRT" in kinds and "KeyError" in kinds and kinds & {"MemoryError", "_ArrayMemoryError"}
    assert outcome.num_tried == 24
    # The random numbers of an input are those of its number.
    wanted = [random.Random(f"test {number}").randrange(5) for number in range(24)]
    assert {fault.number for fault in outcome.faults} == {at for at, kind in enumerate(wanted) if kind in (0, 2, 3)}


def test_what_takes_too_long_is_found(monkeypatch):
    from tests.trust import workers

    monkeypatch.setattr(workers, "MOST_SECONDS", 0.1)

    def slow(rng: random.Random) -> None:
        while rng is not None:
            pass

    outcome = tried_inputs(EntryPoint("test", lambda folder: slow), 1)
    assert [fault.kind for fault in outcome.faults] == ["slow"]


def test_samples_that_cannot_be_made_are_an_error():
    def fails(folder):
        raise OSError("no sample")

    with pytest.raises(RuntimeError, match="no sample"):
        tried_inputs(EntryPoint("test", fails), 1)
