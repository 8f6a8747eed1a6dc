"""A prepared run is trained: the loop of ``training/loop.py`` with this run's batches, evaluation and files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spcl.config import to_values
from spcl.data.batches import Augmentation, Share
from spcl.grouping.first_compilation import compile_label_stage
from spcl.inference.evaluation import EvaluationResult, RankingSettings, evaluate_encoder
from spcl.inference.query_checks import can_evaluate
from spcl.records import ReIDDataset, cameras_of
from spcl.reporting.console import MetricsFile, ReporterListener
from spcl.reporting.events import Emitter, Evaluated, RunEnded, RunStarted
from spcl.training.augmentation import AugmentationContext
from spcl.training.epoch_batches import EpochBatches
from spcl.training.loop import LoopCalls, LoopSettings, run_loop
from spcl.training.state import RunState
from spcl.training_run.assemble import Run
from spcl.training_run.first_pass import fill_memory
from spcl.training_run.run_file_names import METRICS_FILE
from spcl.training_run.training_sets import make_store, training_records

_IMAGES_LOOKED_AT = 64
"""Number of training images by which an augmentation may choose its settings."""


def run_training(run: Run) -> RunState:
    """Fill the memory where the run is new, and train the epochs that are left.

    The reporter of the run's session receives the events; the main process writes ``metrics.jsonl`` as well.
    """
    report = run.session.report
    listeners = report.listeners if isinstance(report, Emitter) else (ReporterListener(report),)
    metrics = [MetricsFile(run.folder / METRICS_FILE)] if run.runtime.is_main else []
    events = Emitter([*metrics, *listeners])
    run = replace(run, session=replace(run.session, report=events))
    if not run.config.schedule.source_only:
        compile_label_stage(events)
    if not run.resumed:
        fill_memory(run)
    schedule, state = run.config.schedule, run.state
    # Before the table of epochs begins: what the parts chose is printed above it.
    calls = loop_calls(run)
    events.emit(RunStarted(run.folder, to_values(run.config), schedule.epochs, tuple(state.history), run.target))
    settings = LoopSettings(
        epochs=schedule.epochs,
        iters=schedule.iters,
        eval_step=schedule.eval_step,
        checkpoint_iters=run.config.run.checkpoint_iters,
        accumulate=schedule.accumulate,
        criterion=run.criterion,
        patience=schedule.patience,
    )
    try:
        state = run_loop(state, run.parts, calls, settings, events)
    except BaseException:
        events.emit(RunEnded(finished=False))
        raise
    events.emit(RunEnded(finished=True))
    return state


def loop_calls(run: Run) -> LoopCalls:
    """Give what the loop calls: batches, figures on the target, saving."""
    files = run.files
    return LoopCalls(
        batches=_batches(run),
        figures_on_target=_figures_on_target(run) if can_evaluate(run.target) else None,
        save=lambda state, epoch_ended, is_best: files.save(
            state, run.encoder, epoch_ended=epoch_ended, is_best=is_best
        ),
    )


def _figures_on_target(run: Run) -> Callable[[], dict[str, Any]]:
    """Give the loop's evaluation, with the first hits of each query where a listener asks for them."""
    report = run.session.report
    events = report if isinstance(report, Emitter) else Emitter()
    # Only the main process has listeners, and every process searches.
    num_hits = run.runtime.on_main(lambda: events.num_hits)

    def figures() -> dict[str, Any]:
        rows = {}
        for dataset in run.target.evaluated:
            result = evaluate_run(run, dataset, num_hits=num_hits)
            events.emit(Evaluated(result.plain, result.hits, dataset))
            rows[dataset.name] = result.to_row()
        return mean_row(rows) if run.target.parts else next(iter(rows.values()))

    return figures


def mean_row(rows: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Give the figures of several targets as one row: their means, and the row of each under ``targets``.

    Args:
        rows: The figures of each target by its name, as ``EvaluationResult.to_row`` gives them.
    """
    means = {name: float(np.mean([row[name] for row in rows.values()])) for name in ("mAP", "top1", "top5", "top10")}
    counts = {name: sum(row[name] for row in rows.values()) for name in ("valid_queries", "broken")}
    protocols = dict.fromkeys(str(row["protocol"]) for row in rows.values())
    return {
        **means,
        "protocol": "+".join(protocols),
        **counts,
        "targets": {name: dict(row) for name, row in rows.items()},
    }


def evaluate_run(run: Run, dataset: ReIDDataset | None = None, *, num_hits: int = 0) -> EvaluationResult:
    """Measure the accuracy of a run's encoder.

    Args:
        run: The run; training may be in progress.
        dataset: The data set with queries and gallery; None: the target.
        num_hits: Number of most similar gallery images that are kept for each query; 0: none.
    """
    return evaluate_encoder(
        run.encoder,
        dataset or run.target,
        lambda records: make_store(run.config, records),
        run.runtime,
        run.session.report,
        RankingSettings(num_hits=num_hits),
    )


def _augmentation(run: Run) -> Augmentation:
    """Build the augmentation of the run's training images; it may look at some of them."""
    config, encoder = run.config, run.parts.encoder

    def sample() -> NDArray[np.uint8]:
        # The last domain: the target where there is one.
        store = list(run.stores.values())[-1]
        return store.read(np.unique(np.linspace(0, len(store) - 1, _IMAGES_LOOKED_AT).astype(np.int64)))

    return config.augmentation.build(
        AugmentationContext(
            config.data.height, config.data.width, encoder.mean, encoder.std, sample, run.session.report
        )
    )


def _batches(run: Run) -> EpochBatches:
    """Give the batches of the run's epochs, this process's share of each."""
    config = run.config
    return EpochBatches(
        stores=run.stores,
        cameras={domain: cameras_of(records) for domain, records in training_records(run.source, run.target).items()},
        source_identities=run.source_identities,
        slots=run.slots,
        sampler=config.sampler,
        augmentation=_augmentation(run),
        batch_size=config.schedule.batch_size,
        iters=config.schedule.iters,
        seed=config.run.seed,
        device=run.runtime.device,
        share=Share(run.runtime.rank, run.runtime.num_processes),
        target_tracks=run.parts.target.tracks,
    )
