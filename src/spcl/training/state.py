"""The state of a run that is saved: everything that the next step depends on.

Batches and augmentations are functions of (seed, epoch, iteration), so the two counters are the sampler's position;
the other state is that of the parts (network, optimiser and its schedule, memory, labeller, teacher, the network's
random generators), this epoch's labels, and what the run has reported so far.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from spcl.errors import InputError
from spcl.reporting.epoch_report import EpochReport
from spcl.training.parts import Stateful


@dataclass
class RunState:
    """The state of a training run.

    Attributes:
        parts: The parts that have a state, by name, in the order in which they are restored.
        epoch: The epoch in progress, from 0; the number of finished ones when ``iteration`` is 0.
        iteration: Number of finished steps of this epoch.
        labels: ``[N]`` int64, the target's labels of this epoch; None before the first.
        report: Report of the epoch in progress; None between two epochs.
        history: Reports of the finished epochs.
        best_mean_ap: The best evaluation so far, a fraction; None before the first.
        best_epoch: The best epoch by the criterion of the run (``training/selection.py``), from 1; 0: none.
        best_label_score: Label-free score of that epoch; None where epochs are not compared by it.
    """

    parts: dict[str, Stateful]
    epoch: int = 0
    iteration: int = 0
    labels: NDArray[np.int64] | None = None
    report: EpochReport | None = None
    history: list[EpochReport] = field(default_factory=list)
    best_mean_ap: float | None = None
    best_epoch: int = 0
    best_label_score: float | None = None

    def state_dict(self) -> dict[str, Any]:
        """Give the state as tensors and plain values that safe loading accepts; called by every process."""
        return {
            "parts": {name: part.state_dict() for name, part in self.parts.items()},
            "epoch": self.epoch,
            "iteration": self.iteration,
            "labels": None if self.labels is None else torch.from_numpy(self.labels),
            "report": None if self.report is None else asdict(self.report),
            "history": [asdict(report) for report in self.history],
            "best_mean_ap": self.best_mean_ap,
            "best_epoch": self.best_epoch,
            "best_label_score": self.best_label_score,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore a state from ``state_dict``.

        Raises:
            InputError: If the state of a part is missing.
            LookupError, TypeError, ValueError, RuntimeError: If a value is missing, or of another type or size.
        """
        _check(state)
        saved = state["parts"]
        lacking = [name for name in self.parts if name not in saved]
        if lacking:
            raise InputError(
                f"the saved run has no state of: {', '.join(lacking)}; it was made with other parts",
                code="parts-changed",
            )
        for name, part in self.parts.items():
            part.load_state_dict(saved[name])
        self.epoch, self.iteration = state["epoch"], state["iteration"]
        self.labels = None if state["labels"] is None else state["labels"].clone().numpy()
        self.report = None if state["report"] is None else EpochReport(**state["report"])
        self.history = [EpochReport(**report) for report in state["history"]]
        self.best_mean_ap, self.best_epoch = state["best_mean_ap"], state["best_epoch"]
        # A run of an older version has none.
        self.best_label_score = state.get("best_label_score")


def _check(state: Mapping[str, Any]) -> None:
    """Raise an error for values that are not those of a run, before a part is changed."""
    for name in ("epoch", "iteration", "best_epoch"):
        if type(state[name]) is not int or state[name] < 0:
            raise ValueError(f"{name} is {state[name]!r}; expected a whole number from 0 on")
    for name in ("best_mean_ap", "best_label_score"):
        value = state.get(name)
        if value is not None and not (isinstance(value, float | int) and math.isfinite(value)):
            raise ValueError(f"{name} is {value!r}; expected a finite number")
    labels = state["labels"]
    if labels is not None and (labels.ndim != 1 or labels.dtype != torch.int64):
        raise ValueError(f"labels are of {labels.dtype} and shape {tuple(labels.shape)}; expected [N] int64")
