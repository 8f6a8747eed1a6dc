"""THE loop: Algorithm 1 of the paper.

Unsupervised learning is domain adaptation with no source classes: the loop, the memory, the loss and the sampler do
not know which of the two they run. What differs is data: one domain in a batch, or two.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spcl.data.batches import Batch
from spcl.engine.journal import Reporter, cluster_warning, epoch_header, epoch_line, run_warning
from spcl.engine.state import RunState
from spcl.errors import InputError
from spcl.nn.domain_batchnorm import running_statistics
from spcl.runtime import Runtime
from spcl.selfpaced.pseudo_labels import PseudoLabels
from spcl.selfpaced.slots import Slots


@dataclass(frozen=True)
class TrainingParts:
    """What the loop runs on; made by ``assemble``.

    Attributes:
        slots: The layout of the memory.
        label: Target features ``[N, D]``, the frozen threshold and the frozen settings to the labels of an epoch.
        suggest: Target features to the settings that fit them, which the first epoch freezes; None: they are given.
        batches: (epoch, target labels ``[N]``, first iteration) to the epoch's batches, source images first.
        evaluate: The encoder's present accuracy on the target; None where there is nothing to evaluate on.
        save: Writes the state; called with (state, whether an epoch ended, whether it is the best so far).
        domains: The names of the domains in a batch, in its order.
        temperature: Of the loss.
        epochs: Epochs in all.
        iters: Steps of an epoch.
        eval_step: Epochs between two evaluations.
        checkpoint_iters: Steps between two saves inside an epoch; 0: none.
        accumulate: Parts that a process encodes its share of a batch in.
        eps: The clustering's where none is suggested, for the words of a warning.
    """

    slots: Slots
    label: Callable[[Tensor, float | None, Mapping[str, Any] | None], PseudoLabels]
    suggest: Callable[[Tensor], dict[str, Any]] | None
    batches: Callable[[int, NDArray[np.int64], int], Iterable[Batch]]
    evaluate: Callable[[], dict[str, Any]] | None
    save: Callable[[RunState, bool, bool], None]
    domains: Sequence[str]
    temperature: float
    epochs: int
    iters: int
    eval_step: int
    checkpoint_iters: int
    accumulate: int
    eps: float


def train(state: RunState, parts: TrainingParts, report: Reporter) -> RunState:
    """Run the epochs that are left.

    Each epoch: label the target, relabel the memory, step, evaluate where it is due, save. A state that was saved
    inside an epoch continues with that epoch's labels.
    """
    report.say(epoch_header())
    for row in state.history:
        report.say(epoch_line(row))
    while state.epoch < parts.epochs:
        if state.iteration == 0:
            _label(state, parts, report)
        _steps(state, parts, report)
        is_best = _evaluate(state, parts)
        state.scheduler.step()
        state.epoch += 1
        state.iteration = 0
        state.history.append(state.row)
        state.row = {}
        parts.save(state, True, is_best)
        report.say(epoch_line(state.history[-1]))
    warning = run_warning(state.history, parts.slots.num_target_instances, parts.eps)
    if warning is not None:
        report.warn(warning)
    return state


def _label(state: RunState, parts: TrainingParts, report: Reporter) -> None:
    """Start an epoch: pseudo labels from the memory's target rows, and the memory relabelled by them."""
    state.row = {"epoch": state.epoch + 1, "losses": {}, "seconds": {}}
    with _timed(state.row, "label"):
        rows = state.memory.rows()[parts.slots.num_source_classes :]
        if parts.suggest is not None and state.label_settings is None:
            state.label_settings = parts.suggest(rows)
        found = parts.label(rows, state.independence_threshold, state.label_settings)
        state.memory.relabel(torch.from_numpy(parts.slots.class_of_each(found.labels)))
    state.independence_threshold = found.independence_threshold
    sizes = found.cluster_sizes
    state.row |= {
        "num_clusters": found.num_clusters,
        "num_unclustered": found.num_unclustered,
        "cluster_size_quartiles": [float(q) for q in np.percentile(sizes, (25, 50, 75))] if len(sizes) else [],
        "largest_cluster": int(sizes.max(initial=0)),
        "independence_threshold": found.independence_threshold,
    }
    settings = state.label_settings or {}
    state.row |= settings
    eps = settings.get("eps", parts.eps)
    warning = cluster_warning(found.num_clusters, int(sizes.max(initial=0)), len(found.labels), eps)
    if warning is not None:
        report.warn(f"epoch {state.epoch + 1}: {warning}")


def _steps(state: RunState, parts: TrainingParts, report: Reporter) -> None:
    """The steps of an epoch that are left."""
    target_labels = _target_labels(state, parts.slots)
    # Sums stay on the device until they are told, a few times a minute: no step waits for the host.
    means = list(state.row["losses"].values()) or [0.0] * len(parts.domains)
    totals = torch.tensor(means, device=state.runtime.device) * state.iteration
    state.encoder.train()

    def mean_loss() -> str:
        return f"mean loss {float(totals.sum()) / max(1, state.iteration):.3f}"

    with (
        _timed(state.row, "train"),
        report.progress(f"epoch {state.epoch + 1} of {parts.epochs}: training", mean_loss) as advance,
    ):
        for batch in parts.batches(state.epoch, target_labels, state.iteration):
            totals += step(state, batch, parts.temperature, parts.accumulate)
            state.iteration += 1
            advance(state.iteration, parts.iters)
            if parts.checkpoint_iters and state.iteration % parts.checkpoint_iters == 0:
                _gather(state, parts.domains, totals)
                _require_numbers(state)
                parts.save(state, False, False)
    _gather(state, parts.domains, totals)
    _require_numbers(state)


def _require_numbers(state: RunState) -> None:
    """Stop before something is saved that nothing can be made of.

    Raises:
        InputError: In every process, if the loss or a weight is not finite.
    """
    # Statistics of batch norm as well: they are what the encoder uses after the training.
    values = [value for value in state.encoder.state_dict().values() if value.is_floating_point()]
    finite = torch.stack([value.isfinite().all() for value in values])
    if np.isfinite(state.row["loss"]) and bool(finite.all()):
        return
    error = InputError(
        f"in epoch {state.epoch + 1} the loss or the weights (statistics of batch norm among them) are no longer "
        "finite; what was saved before is kept. Start again with --precision fp32 or a smaller --lr, in another "
        "--logs-dir (--from-checkpoint takes the last good weights)"
    )
    error.is_shared = True
    raise error


def step(state: RunState, batch: Batch, temperature: float, accumulate: int = 1) -> Tensor:
    """One step: encode, the loss of each domain's part, Adam, then the memory moves.

    Args:
        state: The run.
        batch: This process's share of a batch.
        temperature: Of the loss.
        accumulate: Parts that the share is encoded in, one after the other; the result is that of one.

    Returns:
        ``[number of domains]`` float32 on the device, the mean loss of each domain's images here.
    """
    runtime = state.runtime
    parts = batch.split(accumulate)
    features: list[Tensor] = []
    totals = torch.zeros(len(batch.domain_sizes), device=runtime.device)

    def losses() -> Iterator[Tensor]:
        for number, part in enumerate(parts, start=1):
            with runtime.without_sync(state.network, when=number < len(parts)):
                with runtime.autocast():
                    encoded = state.network(part.images, part.domain_sizes, (number, len(parts)))
                each = state.loss(encoded, part.slots, state.memory, temperature=temperature)
                # The official objective is the sum of the domains' means: each weighs the same, whatever its size.
                by_domain = torch.stack([mine.mean() for mine in torch.split(each, list(part.domain_sizes))])
                features.append(encoded.detach().float())
                totals.add_(by_domain.detach() / len(parts))
                yield by_domain.sum() / len(parts)

    runtime.step(losses(), state.optimizer)
    state.memory.update(_of_whole_batch(features, parts, runtime), batch.all_slots)
    return totals


def _of_whole_batch(features: Sequence[Tensor], parts: Sequence[Batch], runtime: Runtime) -> Tensor:
    """The features of all processes, one domain after the other, in the order of ``Batch.all_slots``."""
    if len(parts) == 1 and runtime.num_processes == 1:
        return features[0]
    by_domain = zip(
        *(torch.split(encoded, list(part.domain_sizes)) for encoded, part in zip(features, parts, strict=True)),
        strict=True,
    )
    return torch.cat([runtime.gather_equal(torch.cat(mine)).flatten(0, 1) for mine in by_domain])


def _evaluate(state: RunState, parts: TrainingParts) -> bool:
    due = (state.epoch + 1) % parts.eval_step == 0 or state.epoch + 1 == parts.epochs
    if not due or parts.evaluate is None:
        return False
    with _timed(state.row, "evaluate"):
        state.row |= parts.evaluate()
    is_best = state.best_mean_ap is None or state.row["mAP"] > state.best_mean_ap
    if is_best:
        state.best_mean_ap = state.row["mAP"]
        state.best_epoch = state.epoch + 1
    return is_best


def _target_labels(state: RunState, slots: Slots) -> NDArray[np.int64]:
    labels = state.memory.labels[slots.num_source_classes :].cpu().numpy()
    return np.asarray(labels - slots.num_source_classes, dtype=np.int64)


def _gather(state: RunState, domains: Sequence[str], totals: Tensor) -> None:
    """Bring together what the processes have of their own: losses, and the statistics of batch norm.

    Running statistics move linearly, so that their mean over the processes is what one process would have.
    """
    state.runtime.average(running_statistics(state.encoder))
    means = totals / max(1, state.iteration)
    state.runtime.average([means])
    state.row["losses"] = dict(zip(domains, means.tolist(), strict=True))
    state.row["loss"] = sum(means.tolist())


@contextmanager
def _timed(row: dict[str, Any], stage: str) -> Iterator[None]:
    """Add the seconds of a stage to the row; a stage that was resumed counts what it took before, too."""
    started = time.monotonic()
    try:
        yield
    finally:
        row["seconds"][stage] = row["seconds"].get(stage, 0.0) + time.monotonic() - started
