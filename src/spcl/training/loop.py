"""The training loop: Algorithm 1 of the paper.

Unsupervised learning is domain adaptation with no source classes: the loop, the memory, the loss and the sampler are
the same for both. Only the data differ: one domain in a batch, or two. The loop does not depend on the kinds of its
parts: ``parts.py`` contains the methods that it calls.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from spcl.data.batches import Batch
from spcl.errors import InputError
from spcl.nn.domain_batchnorm import running_statistics
from spcl.reporting.epoch_report import EpochReport
from spcl.reporting.events import Emitter, EpochEnded, Labelled, Saved
from spcl.selfpaced.hybrid_memory import NotFiniteError
from spcl.training.interrupts import stops_between_steps
from spcl.training.known_pairs import require_known_pairs
from spcl.training.label_score import label_agreement
from spcl.training.parts import ExplainsLabels, FollowsLabels, RatesLabels
from spcl.training.selection import Criterion, no_longer_improves, score_of, stop_message
from spcl.training.state import RunState
from spcl.training.step import TrainingParts, step


@dataclass(frozen=True)
class LoopCalls:
    """The functions that the loop calls.

    Attributes:
        batches: Gives the batches of an epoch, source images first, from (epoch, target labels ``[N]``, first
            iteration).
        figures_on_target: Gives the figures of ``TrainingParts.evaluated`` on the target; None: the target has no
            queries and gallery.
        save: Writes the state; called with (state, whether an epoch ended, whether it is the best so far). Gives the
            files that were written.
    """

    batches: Callable[[int, NDArray[np.int64], int], Iterable[Batch]]
    figures_on_target: Callable[[], dict[str, Any]] | None
    save: Callable[[RunState, bool, bool], tuple[Path, ...]]


@dataclass(frozen=True)
class LoopSettings:
    """The length of the loop, and the times of evaluations and saves.

    Attributes:
        epochs: Number of epochs.
        iters: Number of steps in an epoch.
        eval_step: Epochs between two evaluations; the last epoch is always evaluated.
        checkpoint_iters: Steps between two saves inside an epoch; 0: none.
        accumulate: Number of parts in which a process encodes its share of a batch.
        criterion: Score by which epochs are compared (``training/selection.py``).
        patience: Number of epochs without a better score after which the loop stops; 0: it never does.
    """

    epochs: int
    iters: int
    eval_step: int = 1
    checkpoint_iters: int = 0
    accumulate: int = 1
    criterion: Criterion = "evaluation"
    patience: int = 0


def run_loop(
    state: RunState, parts: TrainingParts, calls: LoopCalls, settings: LoopSettings, events: Emitter
) -> RunState:
    """Run the remaining epochs.

    In each epoch: label the target, relabel the memory, run the steps, evaluate if it is due, save. A state that was
    saved inside an epoch continues with the labels of that epoch. With a patience the loop stops before the last epoch
    if the epochs no longer get better.
    """
    while state.epoch < settings.epochs and not _is_over(state.history, settings):
        if state.iteration == 0:
            _label(state, parts, events)
        _steps(state, parts, calls, settings, events)
        _evaluate(state, calls, settings)
        is_best = _is_best(state, settings.criterion)
        parts.optimisation.scheduler.step()
        report = report_of(state)
        state.epoch += 1
        state.iteration = 0
        state.history.append(report)
        state.report = None
        parts.runtime.on_main(lambda report=report: events.emit(EpochEnded(report, tuple(state.history))))  # type: ignore[misc]
        events.emit(Saved(calls.save(state, True, is_best), is_best))
    if state.epoch < settings.epochs:
        events.say(stop_message(state.history, settings.criterion, settings.epochs))
    if isinstance(parts.labeller, ExplainsLabels):
        advice = parts.labeller.advice_at_end(state.history, parts.target.num_images)
        if advice is not None:
            events.warn(advice)
    return state


def _is_over(history: Sequence[EpochReport], settings: LoopSettings) -> bool:
    """Whether the finished epochs no longer get better."""
    return no_longer_improves([score_of(report, settings.criterion) for report in history], settings.patience)


def report_of(state: RunState) -> EpochReport:
    """Give the report of the epoch in progress."""
    if state.report is None:
        raise RuntimeError(f"epoch {state.epoch + 1} has no report: it was not started")
    return state.report


def _label(state: RunState, parts: TrainingParts, events: Emitter) -> None:
    """Start an epoch: compute the pseudo labels, and relabel the memory."""
    state.report = report = EpochReport(epoch=state.epoch + 1)
    with _timed(report, "label"):
        found = parts.labeller.label(parts.label_features.features(), parts.target)
        before, state.labels = state.labels, np.asarray(found.labels, dtype=np.int64)
        require_known_pairs(state.labels, parts.target)
        parts.memory.relabel(torch.from_numpy(parts.slots.class_of_each(state.labels)))
        for term in parts.losses:
            if isinstance(term, FollowsLabels):
                term.follow_labels(state.labels)
    events.emit(Labelled(state.labels))
    sizes = found.cluster_sizes
    report.num_clusters, report.num_unclustered = found.num_clusters, found.num_unclustered
    report.cluster_size_quartiles = [float(q) for q in np.percentile(sizes, (25, 50, 75))] if len(sizes) else []
    report.largest_cluster = int(sizes.max(initial=0))
    report.independence_threshold = found.independence_threshold
    report.label_agreement = None if before is None else label_agreement(before, state.labels)
    if isinstance(parts.labeller, RatesLabels):
        report.label_score = parts.labeller.label_score()
    if isinstance(parts.labeller, ExplainsLabels):
        report.label_figures = dict(parts.labeller.figures())
        advice = parts.labeller.advice(found)
        if advice is not None:
            events.warn(f"epoch {report.epoch}: {advice}")


def _steps(state: RunState, parts: TrainingParts, calls: LoopCalls, settings: LoopSettings, events: Emitter) -> None:
    """Run the remaining steps of an epoch."""
    report = report_of(state)
    if state.labels is None:
        raise RuntimeError("an epoch's steps need its labels")
    # The sums stay on the device until they are shown, a few times a minute, so that no step waits for the host.
    totals = _totals_so_far(report, parts) * state.iteration
    parts.encoder.train()

    def mean_loss() -> str:
        return f"mean loss {float(totals.sum()) / max(1, state.iteration):.3f}"

    with (
        _timed(report, "train"),
        events.progress(f"epoch {report.epoch} of {settings.epochs}: training", mean_loss) as advance,
        # Several processes would not stop after the same step.
        stops_between_steps(when=parts.runtime.num_processes == 1) as is_stopped,
    ):
        for batch in calls.batches(state.epoch, state.labels, state.iteration):
            try:
                totals += step(parts, batch, settings.accumulate)
            except NotFiniteError as error:
                raise _not_finite(report_of(state)) from error
            state.iteration += 1
            advance(state.iteration, settings.iters)
            is_due = settings.checkpoint_iters and state.iteration % settings.checkpoint_iters == 0
            if is_due or is_stopped():
                _gather(state, parts, totals)
                _require_finite(state, parts)
                events.emit(Saved(calls.save(state, False, False), False))
            if is_stopped():
                raise KeyboardInterrupt
    _gather(state, parts, totals)
    _require_finite(state, parts)


def _evaluate(state: RunState, calls: LoopCalls, settings: LoopSettings) -> None:
    """Evaluate if it is due: every few epochs, and in the last epoch."""
    report = report_of(state)
    # The score of the labels is known by now, so that the last epoch of a run that stops early is evaluated too.
    is_last = state.epoch + 1 == settings.epochs or _is_over([*state.history, report], settings)
    if calls.figures_on_target is None or not (is_last or (state.epoch + 1) % settings.eval_step == 0):
        return
    with _timed(report, "evaluate"):
        report.evaluation = calls.figures_on_target()


def _is_best(state: RunState, criterion: Criterion) -> bool:
    """Whether the epoch in progress is the best so far by the criterion; notes it in the state."""
    report = report_of(state)
    mean_ap, before = report.mean_ap, state.best_mean_ap
    if mean_ap is not None and (before is None or mean_ap > before):
        state.best_mean_ap = mean_ap
    score = score_of(report, criterion)
    best = state.best_label_score if criterion == "label-free" else before
    if score is None or (best is not None and score <= best):
        return False
    state.best_epoch = report.epoch
    if criterion == "label-free":
        state.best_label_score = score
    return True


def _totals_so_far(report: EpochReport, parts: TrainingParts) -> Tensor:
    """Give the mean losses of the epoch so far, ``[terms, domains]``; zero at its start."""
    means = [
        [report.loss_terms.get(term.name, {}).get(domain, 0.0) for domain in parts.domains] for term in parts.losses
    ]
    return torch.tensor(means, device=parts.runtime.device)


def _gather(state: RunState, parts: TrainingParts, totals: Tensor) -> None:
    """Average the values that differ between the processes: losses, and the running statistics of batch norm.

    Running statistics change linearly, so that their mean over the processes equals the result of one process.
    """
    networks: list[nn.Module] = [parts.encoder, *([] if parts.teacher is None else [parts.teacher.network])]
    for network in networks:
        parts.runtime.average(running_statistics(network))
    means = totals / max(1, state.iteration)
    parts.runtime.average([means])
    report = report_of(state)
    by_domain = means.sum(dim=0).tolist()
    report.losses = dict(zip(parts.domains, by_domain, strict=True))
    report.loss = sum(by_domain)
    report.loss_terms = {
        term.name: dict(zip(parts.domains, mine, strict=True))
        for term, mine in zip(parts.losses, means.tolist(), strict=True)
    }


def _require_finite(state: RunState, parts: TrainingParts) -> None:
    """Raise an error before a state that is NaN or infinite is saved.

    Raises:
        InputError: In every process, if the loss or a weight is NaN or infinite.
    """
    # The statistics of batch norm are included: the encoder uses them after the training.
    values = [value for value in parts.encoder.state_dict().values() if value.is_floating_point()]
    finite = torch.stack([value.isfinite().all() for value in values])
    report = report_of(state)
    if report.loss is not None and np.isfinite(report.loss) and bool(finite.all()):
        return
    raise _not_finite(report)


def _not_finite(report: EpochReport) -> InputError:
    error = InputError(
        f"in epoch {report.epoch} the loss or the weights are NaN or infinite. Start again in another --logs-dir, with "
        "--precision fp32 or a smaller --lr (docs/adapt.md)",
        code="not-finite",
    )
    error.is_shared = True
    return error


@contextmanager
def _timed(report: EpochReport, stage: str) -> Iterator[None]:
    """Add the seconds of a stage to the report; those before a resume are kept."""
    started = time.monotonic()
    try:
        yield
    finally:
        report.seconds[stage] = report.seconds.get(stage, 0.0) + time.monotonic() - started
