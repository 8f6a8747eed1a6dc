"""From a recipe to a run: the only reader of the whole recipe.

``prepare`` checks everything before the first step and builds the run; ``fill_memory`` is the run's first pass over the
images; ``run_training`` trains.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import torch
from numpy.typing import NDArray

from spcl import randomness
from spcl.config import Recipe, in_new_places, to_toml, to_values
from spcl.data.augment import TrainAugmentation
from spcl.data.batches import Share
from spcl.data.image_store import ImageStore
from spcl.errors import InputError
from spcl.inference.evaluation import EvaluationResult, evaluate_encoder
from spcl.inference.extraction import broken_images, extract_features, extract_in_parts
from spcl.inference.query_checks import can_evaluate
from spcl.nn.encoder_network import EncoderNetwork, EncoderSettings
from spcl.records import ReIDDataset, cameras_of, identities_of
from spcl.reporting.console import MetricsFile, Reporter, ReporterListener
from spcl.reporting.events import Emitter, Evaluated, RunEnded, RunStarted
from spcl.runtime import Runtime
from spcl.selfpaced.slots import Slots
from spcl.training.epoch_batches import EpochBatches
from spcl.training.loop import LoopCalls, LoopSettings, train
from spcl.training.parts import TargetView
from spcl.training.state import RunState
from spcl.training.step import TrainingParts
from spcl.training_run import checks, run_files
from spcl.training_run.build import RunShape, build_parts, check_labelling, first_state
from spcl.training_run.starting_point import find_start
from spcl.training_run.training_sets import load_sets, make_store, training_records


@dataclass
class Run:
    """A run that has passed every check.

    Attributes:
        config: Settings of the run.
        source: The labelled domain; None in unsupervised learning.
        target: The unlabelled domain, its training identities removed.
        parts: Parts that the loop runs on.
        state: State that is saved and restored.
        slots: Layout of the memory.
        stores: The training images of each domain, in the order of a batch.
        folder: Folder that the run writes to.
        resumed: Whether it continues a saved state.
    """

    config: Recipe
    source: ReIDDataset | None
    target: ReIDDataset
    parts: TrainingParts
    state: RunState
    slots: Slots
    stores: dict[str, ImageStore]
    folder: Path
    resumed: bool

    @property
    def encoder(self) -> EncoderNetwork:
        """The run's result so far: the encoder in training, or the teacher's network where there is a teacher."""
        return self.parts.evaluated

    @property
    def runtime(self) -> Runtime:
        """Device, precision and processes."""
        return self.parts.runtime


def prepare(
    config: Recipe,
    report: Reporter,
    *,
    resume: bool = False,
    target: ReIDDataset | None = None,
    runtime: Runtime | None = None,
) -> Run:
    """Check everything and build a run.

    Args:
        config: Settings of the run.
        report: Receives progress and warnings.
        resume: Continue the state in the log folder.
        target: The unlabelled domain where it is no data set on disk; None: the one that the settings name.
        runtime: Device and processes; None: as in the settings.

    Raises:
        InputError: For whatever would stop the run later; says what to do.
    """
    if not config.data.target:
        raise InputError("which images? Give a data set: spcl train DATA, or --source DATA --target DATA")
    folder = Path(config.run.logs_dir)
    runtime = runtime or Runtime(config.run.device, config.run.precision)
    runtime.together(
        lambda: checks.check_batches(
            config.schedule.batch_size,
            config.network.batch_norm_group,
            num_processes=runtime.num_processes,
            accumulate=config.schedule.accumulate,
        )
    )
    runtime.together(lambda: run_files.check_log_folder(folder, resume=resume))
    # Before weights, which may have to be downloaded.
    source, target = load_sets(config, runtime, report, target)
    start = find_start(
        runtime,
        arch=config.network.arch,
        size=(config.data.height, config.data.width),
        pretrained=config.network.pretrained,
        checkpoint=config.network.from_checkpoint,
        domain=config.network.from_domain,
    )
    domains = tuple(training_records(source, target))
    torch.manual_seed(randomness.number(config.run.seed, "network"))
    encoder = runtime.together(lambda: start.encoder(_encoder_settings(config, domains)))
    num_classes = len({record.identity for record in source.train}) if source is not None else 0
    slots = Slots(num_classes, len(target.train))
    runtime.together(lambda: check_labelling(config, slots, encoder, runtime, report))
    stores = _stores(config, source, target)

    def extract(network: EncoderNetwork) -> torch.Tensor:
        """Features of the target's training images."""
        if "target" not in stores:
            return torch.zeros(0, network.feature_dim)
        with report.progress("labels: features of the target") as advance:
            return extract_features(network, stores["target"], runtime, domain="target", progress=advance)

    shape = RunShape(slots, TargetView(len(target.train), cameras_of(target.train)), domains, extract)
    parts = build_parts(config, encoder, shape, runtime, report)
    has_state = runtime.on_main(lambda: run_files.prepare_log_folder(folder, resume=resume))
    run = Run(config, source, target, parts, first_state(parts), slots, stores, folder, has_state)
    # Weights are the same everywhere by now; what dropout leaves out is not.
    runtime.draw_apart(randomness.number(config.run.seed, "network"))
    if has_state:
        runtime.together(lambda: _folder(run).restore(run.state))
    runtime.on_main(lambda: run_files.write_settings(folder, to_toml(config)))
    _describe(run, start.source, report)
    return run


def fill_memory(run: Run, report: Reporter) -> None:
    """Source rows become class means, target rows instance features: one pass in evaluation mode."""
    memory, runtime, encoder = run.parts.memory, run.runtime, run.parts.encoder
    num_classes = run.slots.num_source_classes
    identities = torch.from_numpy(_source_identities(run))
    sums = torch.zeros(num_classes, encoder.feature_dim)
    for domain, store in run.stores.items():
        with report.progress(f"features of the {domain}") as advance:
            for rows, features in extract_in_parts(encoder, store, runtime, domain=domain, progress=advance):
                if domain == "source":
                    sums.index_add_(0, identities[rows.start : rows.stop], features)
                else:
                    memory.put(num_classes + rows.start, features)
        if store.num_stretched:
            report.say(f"{domain}: {store.pixel_range.words(store.num_stretched)}")
        broken = broken_images(store, runtime)
        if broken:
            report.warn(
                f"{len(broken)} image(s) of the {domain} could be read at first and cannot be now: they are "
                "grey. Is the disk still there?"
            )
    memory.put(0, sums / torch.bincount(identities, minlength=num_classes).unsqueeze(1))


def run_training(run: Run, report: Reporter) -> RunState:
    """Fill the memory where the run is new, and train the epochs that are left.

    Args:
        run: A prepared run.
        report: Shows what happens; the listeners of an ``Emitter`` hear it as events.
    """
    listeners = report.listeners if isinstance(report, Emitter) else (ReporterListener(report),)
    metrics = [MetricsFile(run.folder / run_files.METRICS_FILE)] if run.runtime.is_main else []
    events = Emitter([*metrics, *listeners])
    if not run.resumed:
        fill_memory(run, events)
    schedule, state = run.config.schedule, run.state
    events.emit(RunStarted(run.folder, to_values(run.config), schedule.epochs, tuple(state.history), run.target))
    settings = LoopSettings(
        epochs=schedule.epochs,
        iters=schedule.iters,
        eval_step=schedule.eval_step,
        checkpoint_iters=run.config.run.checkpoint_iters,
        accumulate=schedule.accumulate,
    )
    try:
        state = train(state, run.parts, loop_calls(run, events), settings, events)
    except BaseException:
        events.emit(RunEnded(finished=False))
        raise
    events.emit(RunEnded(finished=True))
    return state


def loop_calls(run: Run, report: Reporter) -> LoopCalls:
    """What the loop calls: batches, evaluation, saving."""
    folder = _folder(run)
    return LoopCalls(
        batches=_batches(run),
        evaluate=_evaluation(run, report) if can_evaluate(run.target) else None,
        save=lambda state, epoch_ended, is_best: folder.save(
            state, run.encoder, epoch_ended=epoch_ended, is_best=is_best
        ),
    )


def _evaluation(run: Run, report: Reporter) -> Callable[[], dict[str, Any]]:
    """The loop's evaluation: with the first hits of each query where a listener asks for them."""
    events = report if isinstance(report, Emitter) else Emitter()
    # Listeners are the main process's, and all of them search.
    num_hits = run.runtime.on_main(lambda: events.num_hits)

    def evaluate() -> dict[str, Any]:
        result = evaluate_run(run, report, num_hits=num_hits)
        events.emit(Evaluated(result.plain, result.hits))
        return result.to_row()

    return evaluate


def evaluate_run(run: Run, report: Reporter, *, with_rerank: bool = False, num_hits: int = 0) -> EvaluationResult:
    """The present accuracy on the target."""
    return evaluate_encoder(
        run.encoder,
        run.target,
        lambda records: make_store(run.config, records),
        run.runtime,
        report,
        with_rerank=with_rerank,
        num_hits=num_hits,
    )


def _encoder_settings(config: Recipe, domains: tuple[str, ...]) -> EncoderSettings:
    network = config.network
    return EncoderSettings(
        arch=network.arch,
        height=config.data.height,
        width=config.data.width,
        features=network.features,
        dropout=network.dropout,
        pooling=network.pooling,
        last_stride=network.last_stride,
        domains=domains,
        group_size=network.batch_norm_group,
        pixel_range=config.data.range,
    )


def _stores(config: Recipe, source: ReIDDataset | None, target: ReIDDataset) -> dict[str, ImageStore]:
    return {domain: make_store(config, records) for domain, records in training_records(source, target).items()}


def _batches(run: Run) -> EpochBatches:
    config, encoder = run.config, run.parts.encoder
    return EpochBatches(
        stores=run.stores,
        cameras={domain: cameras_of(records) for domain, records in training_records(run.source, run.target).items()},
        source_identities=_source_identities(run),
        slots=run.slots,
        sampler=config.sampler,
        augmentation=TrainAugmentation(config.data.height, config.data.width, mean=encoder.mean, std=encoder.std),
        batch_size=config.schedule.batch_size,
        iters=config.schedule.iters,
        seed=config.run.seed,
        device=run.runtime.device,
        share=Share(run.runtime.rank, run.runtime.num_processes),
    )


def _source_identities(run: Run) -> NDArray[np.int64]:
    return identities_of(() if run.source is None else run.source.train)


def _folder(run: Run) -> run_files.RunFolder:
    sets = training_records(run.source, run.target).values()
    identity = run_files.RunIdentity(
        settings=to_values(run.config),
        # Which images in which order, by name; their folder may move.
        images=[crc32("\n".join(record.path.name for record in records).encode()) for records in sets],
        defaults=to_values(Recipe()),
        read=in_new_places,
    )
    return run_files.RunFolder(run.folder, identity, run.runtime, run.slots)


def _describe(run: Run, weights: str, report: Reporter) -> None:
    for title, dataset in (("source", run.source), ("target", run.target)):
        if dataset is None:
            continue
        test = f", {len(dataset.query)} queries, {len(dataset.gallery)} gallery images" if dataset.query else ""
        report.say(f"{title}: {dataset.name}, {len(dataset.train)} training images{test if title == 'target' else ''}")
        for note in dataset.notes:
            report.say(f"  note: {note}")
    if run.slots.num_source_classes:
        report.say(f"source classes: {run.slots.num_source_classes}")
    used = f" ({run.parts.encoder.used_weights})" if run.parts.encoder.used_weights else ""
    report.say(f"network: {run.config.network.arch}, weights: {weights}{used}; device: {run.runtime.device}")
    if not can_evaluate(run.target):
        report.say("the target has no queries and gallery: it is trained on and not evaluated")
    if run.resumed:
        report.say(
            f"continuing after epoch {run.state.epoch}, step {run.state.iteration} of {run.config.schedule.iters}"
        )
