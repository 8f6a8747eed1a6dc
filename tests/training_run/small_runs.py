"""Small training runs for tests: a test network, 32 x 16 images, a few steps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from spcl.config import Recipe, overlay
from spcl.reporting.console import Reporter, SilentReporter
from spcl.training_run.assemble import Run, prepare
from spcl.training_run.run_epochs import run_training
from spcl.training_run.session import Session

SMALL: dict[str, Any] = {
    "data": {"height": 32, "width": 16, "workers": 2},
    "network": {"arch": "timm/test_resnet", "pretrained": "none", "batch_norm_group": 4},
    "labels": {"k1": 6, "k2": 2},
    "schedule": {"batch_size": 8, "epochs": 2, "iters": 3, "eval_step": 1},
    "run": {"device": "cpu"},
}


def small_config(target: Path | str, logs: Path, source: Path | str = "", **changed: dict[str, Any]) -> Recipe:
    """Settings of a small run; ``changed`` holds further values by section."""
    values: dict[str, dict[str, Any]] = {section: dict(given) for section, given in SMALL.items()}
    values["data"] |= {"target": str(target), "source": str(source)}
    values["run"] |= {"logs_dir": str(logs)}
    for section, given in changed.items():
        values[section] |= given
    return overlay(Recipe(), values, "test")


def prepared(config: Recipe, *, resume: bool = False, report: Reporter | None = None) -> Run:
    """A run before its first step."""
    return prepare(config, Session.of(config, report or SilentReporter()), resume=resume)


def trained(config: Recipe, *, resume: bool = False, report: Reporter | None = None) -> Run:
    """A finished run."""
    run = prepared(config, resume=resume, report=report)
    run_training(run)
    return run


def weights_of(run: Run) -> dict[str, torch.Tensor]:
    """Everything that a run has learnt."""
    encoder = {f"encoder.{name}": value for name, value in run.encoder.state_dict().items()}
    return encoder | {f"memory.{name}": value for name, value in run.parts.memory.state_dict().items()}


def assert_bit_equal(first: Run, second: Run) -> None:
    """Both runs have learnt exactly the same."""
    ours, theirs = weights_of(first), weights_of(second)
    assert ours.keys() == theirs.keys()
    different = [name for name in ours if not torch.equal(ours[name], theirs[name])]
    assert not different
