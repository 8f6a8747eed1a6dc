"""Every kind of part on two processes; leaves the weights of each."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from spcl.launched import is_main_process
from spcl.runtime import end_processes
from tests.training.test_kinds import CASES, TWO_PROCESSES, recipe_of
from tests.training_run.small_runs import trained, weights_of

if __name__ == "__main__":
    target, source, logs = map(Path, sys.argv[1:])
    for name, text in CASES.items():
        if name == "paper":
            continue
        run = trained(recipe_of(text, target, logs / f"two-{name}", source, **TWO_PROCESSES))
        weights = weights_of(run)
        if is_main_process():
            torch.save(weights, logs / f"{name}.pt")
    end_processes()
