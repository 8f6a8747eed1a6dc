"""Checks before the first step: what they advise is what they accept."""

from __future__ import annotations

import re

import pytest

from spcl.errors import InputError
from spcl.training_run.checks import check_batches
from tests.shared import input_error


@pytest.mark.parametrize("group", [0, 16])
@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("processes", [2, 3, 5, 7, 64])
@pytest.mark.parametrize("batch", [2, 12, 60, 64])
def test_what_is_advised_for_a_batch_is_accepted(batch, group, processes, accumulate):
    shared = {"num_processes": processes, "accumulate": accumulate}
    try:
        check_batches(batch, group, **shared)
    except InputError as error:
        advice = str(error)
    else:
        return
    length = int(found[1]) if (found := re.search(r"--batch-norm-group (\d{2,}|[2-9])", advice)) else group
    sizes = found[1].split(", ") if (found := re.search(r"--batch-size ([\d, ]*\d)", advice)) else [batch]
    for size in sizes:
        check_batches(int(size), length, **shared)


def test_a_batch_that_no_group_fits_gets_another_size():
    with input_error("batch-not-divisible", "--batch-norm-group 21 with --batch-size 63"):
        check_batches(64, 0, num_processes=3, accumulate=1)
    with input_error("batch-not-divisible", "--batch-norm-group 32"):
        check_batches(64, 0, num_processes=2, accumulate=1)
