"""From settings to objects: the only reader of the whole configuration.

``prepare`` checks everything before the first step and builds the run; ``fill_memory`` is the run's first pass over the
images; ``run`` trains. The command line calls the three in this order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from zlib import crc32

import numpy as np
import torch
from numpy.typing import NDArray

from spcl import randomness
from spcl.config import Config, to_toml
from spcl.data.augment import TrainAugmentation
from spcl.data.batches import Batch, DomainStream, Share, joined_batches
from spcl.data.identity_sampler import IdentityBatches
from spcl.data.images import ImageStore
from spcl.engine import preflight, run_files
from spcl.engine.evaluate import EvaluationResult, evaluate_encoder
from spcl.engine.extract import broken_images, extract_in_parts
from spcl.engine.fresh_state import fresh_state, is_spread
from spcl.engine.journal import Reporter
from spcl.engine.label_stage import check_label_stage, make_labeller, make_suggester
from spcl.engine.starting_point import find_start
from spcl.engine.state import RunState
from spcl.engine.training import TrainingParts, train
from spcl.engine.training_sets import load_sets, make_store, training_records
from spcl.errors import InputError
from spcl.nn.encoder import Encoder, EncoderSettings
from spcl.records import ReIDDataset, cameras_of, identities_of
from spcl.runtime import Runtime
from spcl.selfpaced.slots import Slots
from spcl.selfpaced.suggestion import PAPER_EPS, searched

# Each domain has draws of its own; the target's are the same whether or not there is a source.
_DOMAIN_NUMBERS = {"source": 0, "target": 1}


@dataclass
class Run:
    """A run that has passed every check.

    Attributes:
        config: Its settings.
        source: The labelled domain; None in unsupervised learning.
        target: The unlabelled domain, its training identities removed.
        state: What survives a stop.
        slots: The layout of the memory.
        stores: The training images of each domain, in the order of a batch.
        folder: Where it writes.
        resumed: Whether it continues a saved state.
    """

    config: Config
    source: ReIDDataset | None
    target: ReIDDataset
    state: RunState
    slots: Slots
    stores: dict[str, ImageStore]
    folder: Path
    resumed: bool

    @property
    def encoder(self) -> Encoder:
        """The encoder in training."""
        encoder = self.state.encoder
        if not isinstance(encoder, Encoder):
            raise TypeError(f"a run trains an Encoder, not a {type(encoder).__name__}")
        return encoder


def prepare(
    config: Config,
    report: Reporter,
    *,
    resume: bool = False,
    target: ReIDDataset | None = None,
    runtime: Runtime | None = None,
) -> Run:
    """Check everything and build a run.

    Args:
        config: Its settings.
        report: Told what is found.
        resume: Continue the state in the log folder.
        target: The unlabelled domain where it is no data set on disk; None: the one that the settings name.
        runtime: Its device and processes; None: as the settings say.

    Raises:
        InputError: For whatever would stop the run later; says what to do.
    """
    if not config.data.target:
        raise InputError("which images? Give a data set: spcl train DATA, or --source DATA --target DATA")
    folder = Path(config.run.logs_dir)
    runtime = runtime or Runtime(config.run.device, config.run.precision)
    runtime.together(
        lambda: preflight.check_batches(
            config.schedule.batch_size,
            config.network.batch_norm_group,
            num_processes=runtime.num_processes,
            accumulate=config.schedule.accumulate,
        )
    )
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
    runtime.together(
        lambda: check_label_stage(
            slots.num_target_instances,
            encoder.feature_dim,
            k1=searched("auto") if config.labels.eps == "auto" else config.labels.k1,
            engine=config.labels.search,
            runtime=runtime,
            num_slots=len(slots),
            spread=is_spread(config.run.memory, len(slots), encoder.feature_dim, runtime),
            # The length of a checkpoint's features is its own.
            flags=("--k1",) if config.network.from_checkpoint else ("--features", "--k1"),
            report=report,
        )
    )
    schedule = config.schedule
    state = fresh_state(
        encoder,
        len(slots),
        runtime,
        lr=schedule.lr,
        weight_decay=schedule.weight_decay,
        step_size=schedule.step_size,
        momentum=config.memory.momentum,
        memory_kind=config.run.memory,
        compiled=config.run.compile,
    )
    has_state = runtime.on_main(lambda: run_files.prepare_log_folder(folder, resume=resume))
    run = Run(config, source, target, state, slots, _stores(config, source, target), folder, has_state)
    # Weights are the same everywhere by now; what dropout leaves out is not.
    runtime.draw_apart(randomness.number(config.run.seed, "network"))
    if has_state:
        runtime.together(lambda: run_files.restore(folder, state, _identity(run)))
    runtime.on_main(lambda: run_files.write_settings(folder, to_toml(config)))
    _describe(run, start.source, report)
    return run


def fill_memory(run: Run, report: Reporter) -> None:
    """Source rows become class means, target rows instance features: one pass in evaluation mode."""
    memory, runtime, num_classes = run.state.memory, run.state.runtime, run.slots.num_source_classes
    identities = torch.from_numpy(_source_identities(run))
    sums = torch.zeros(num_classes, run.encoder.feature_dim)
    for domain, store in run.stores.items():
        with report.progress(f"features of the {domain}") as advance:
            for rows, features in extract_in_parts(run.encoder, store, runtime, domain=domain, progress=advance):
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
    """Fill the memory where the run is new, and train the epochs that are left."""
    if not run.resumed:
        fill_memory(run, report)
    return train(run.state, training_parts(run, report), report)


def training_parts(run: Run, report: Reporter) -> TrainingParts:
    """What the loop runs on."""
    config, labels = run.config, run.config.labels
    is_auto = labels.eps == "auto" and run.slots.num_target_instances > 0
    eps = PAPER_EPS if labels.eps == "auto" else labels.eps
    return TrainingParts(
        slots=run.slots,
        label=make_labeller(**asdict(labels) | {"eps": eps}, runtime=run.state.runtime, report=report),
        suggest=make_suggester(
            min_samples=labels.min_samples, search=labels.search, runtime=run.state.runtime, report=report
        )
        if is_auto
        else None,
        batches=_batch_maker(run),
        evaluate=(lambda: evaluate_run(run, report).to_row()) if preflight.can_evaluate(run.target) else None,
        save=lambda state, epoch_ended, is_best: run_files.save(
            run.folder, state, _identity(run), epoch_ended=epoch_ended, is_best=is_best
        ),
        domains=tuple(run.stores),
        temperature=config.memory.temperature,
        epochs=config.schedule.epochs,
        iters=config.schedule.iters,
        eval_step=config.schedule.eval_step,
        checkpoint_iters=config.run.checkpoint_iters,
        accumulate=config.schedule.accumulate,
        eps=eps,
    )


def evaluate_run(run: Run, report: Reporter, *, with_rerank: bool = False) -> EvaluationResult:
    """The present accuracy on the target."""
    return evaluate_encoder(
        run.encoder,
        run.target,
        lambda records: make_store(run.config, records),
        run.state.runtime,
        report,
        with_rerank=with_rerank,
    )


def _encoder_settings(config: Config, domains: tuple[str, ...]) -> EncoderSettings:
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


def _stores(config: Config, source: ReIDDataset | None, target: ReIDDataset) -> dict[str, ImageStore]:
    return {domain: make_store(config, records) for domain, records in training_records(source, target).items()}


def _batch_maker(run: Run) -> Callable[[int, NDArray[np.int64], int], Iterator[Batch]]:
    config, runtime = run.config, run.state.runtime
    augmentation = TrainAugmentation(config.data.height, config.data.width, mean=run.encoder.mean, std=run.encoder.std)

    records = training_records(run.source, run.target)
    instances = run.slots.of_target(np.arange(run.slots.num_target_instances))

    def batches(epoch: int, target_labels: NDArray[np.int64], start_iteration: int) -> Iterator[Batch]:
        labels = {"source": _source_identities(run), "target": target_labels}
        slots = {"source": run.slots.of_source(labels["source"]), "target": instances}
        streams = [
            DomainStream(
                store,
                IdentityBatches(
                    labels[domain],
                    cameras_of(records[domain]),
                    batch_size=config.schedule.batch_size,
                    num_instances=config.schedule.num_instances,
                    seed=config.run.seed,
                    domain=_DOMAIN_NUMBERS[domain],
                ),
                slots[domain],
                augmentation,
                _DOMAIN_NUMBERS[domain],
                config.run.seed,
            )
            for domain, store in run.stores.items()
        ]
        return joined_batches(
            streams,
            epoch=epoch,
            start_iteration=start_iteration,
            num_iterations=config.schedule.iters,
            device=runtime.device,
            share=Share(runtime.rank, runtime.num_processes),
        )

    return batches


def _source_identities(run: Run) -> NDArray[np.int64]:
    return identities_of(() if run.source is None else run.source.train)


def _identity(run: Run) -> run_files.RunIdentity:
    sets = training_records(run.source, run.target).values()
    return run_files.RunIdentity(
        settings=asdict(run.config),
        defaults=asdict(Config()),
        # Which images in which order, by name; their folder may move.
        images=[crc32("\n".join(record.path.name for record in records).encode()) for records in sets],
    )


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
    used = f" ({run.encoder.used_weights})" if run.encoder.used_weights else ""
    report.say(f"network: {run.config.network.arch}, weights: {weights}{used}; device: {run.state.runtime.device}")
    if not preflight.can_evaluate(run.target):
        report.say("the target has no queries and gallery: it is trained on and not evaluated")
    if run.resumed:
        report.say(
            f"continuing after epoch {run.state.epoch}, step {run.state.iteration} of {run.config.schedule.iters}"
        )
