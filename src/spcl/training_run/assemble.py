"""From a recipe to a run that has passed every check.

``first_pass.py`` fills the memory of a new run, ``run_epochs.py`` trains.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from zlib import crc32

import numpy as np
import torch
from numpy.typing import NDArray

from spcl import randomness
from spcl.config import Recipe, in_new_places, to_toml, to_values
from spcl.data.image_store import ImageStore, ReadsImages
from spcl.errors import InputError
from spcl.inference.extraction import extract_features
from spcl.inference.query_checks import can_evaluate
from spcl.nn.backbones import check_patches
from spcl.nn.encoder_network import EncoderNetwork, EncoderSettings
from spcl.pairs.pair_sources import PairSources
from spcl.records import ReIDDataset, identities_of
from spcl.reporting.events import Reporter
from spcl.runtime import Runtime
from spcl.selfpaced.slots import Slots
from spcl.training.parts import RatesLabels
from spcl.training.selection import Criterion, criterion_of
from spcl.training.state import RunState
from spcl.training.step import TrainingParts
from spcl.training_run.build import RunShape, build_parts, check_labelling, first_state
from spcl.training_run.checks import check_batches, check_selection
from spcl.training_run.run_files import (
    BEST_FILE,
    RunFolder,
    check_log_folder,
    prepare_log_folder,
    write_settings,
)
from spcl.training_run.run_identity import RunIdentity
from spcl.training_run.session import Session
from spcl.training_run.starting_point import start_of
from spcl.training_run.target_pairs import target_view
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
        session: The runtime, and the reporter that receives what happens.
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
    session: Session

    @property
    def encoder(self) -> EncoderNetwork:
        """The run's result so far: the encoder in training, or the network of the teacher if there is one."""
        return self.parts.evaluated

    @property
    def runtime(self) -> Runtime:
        """Device, precision and processes."""
        return self.session.runtime

    @property
    def criterion(self) -> Criterion:
        """What the epochs of the run are compared by."""
        return criterion_of(self.config.schedule.select, can_evaluate=can_evaluate(self.target))

    @property
    def source_identities(self) -> NDArray[np.int64]:
        """``[source images]`` int64, from 0 without gaps; empty without a source."""
        return identities_of(() if self.source is None else self.source.train)

    @property
    def files(self) -> RunFolder:
        """The files of the run: where its state is saved and restored from."""
        sets = training_records(self.source, self.target).values()
        identity = RunIdentity(
            settings=to_values(self.config),
            # The names and the order of the images count; their folder may be moved.
            images=[crc32("\n".join(record.path.name for record in records).encode()) for records in sets],
            defaults=to_values(Recipe()),
            pairs=self.parts.target.checksum(),
            read=in_new_places,
        )
        return RunFolder(self.folder, identity, self.runtime, self.slots)


def prepare(
    config: Recipe,
    session: Session,
    *,
    resume: bool = False,
    target: ReIDDataset | None = None,
    pairs: PairSources | None = None,
) -> Run:
    """Check everything and build a run.

    Args:
        config: Settings of the run.
        session: Device and processes of the run, and the receiver of its messages.
        resume: Whether to continue the state in the log folder.
        target: The unlabelled domain if it is no data set on disk; None: the one that the settings name.
        pairs: Sources of known pairs of the target's images; None: those that the settings name.

    Raises:
        InputError: For whatever would stop the run later; names the next step.
    """
    runtime, folder = session.runtime, Path(config.run.logs_dir)
    _check_settings(config, session, resume=resume)
    # Before weights, which may have to be downloaded.
    source, target = load_sets(config, session, target)
    view = runtime.together(lambda: target_view(config, target, session.report, pairs))
    start = start_of(config, runtime)
    domains = tuple(training_records(source, target))
    torch.manual_seed(randomness.number(config.run.seed, "network"))
    encoder = runtime.together(lambda: start.encoder(_encoder_settings(config, domains)))
    if not resume and not config.network.from_checkpoint:
        # Not for a checkpoint, which was trained on images of its size.
        size = config.data.height, config.data.width
        runtime.together(lambda: check_patches(config.network.arch, encoder.trunk, size))
    num_classes = len({record.identity for record in source.train}) if source is not None else 0
    slots = Slots(num_classes, len(target.train))
    runtime.together(lambda: check_labelling(config, slots, encoder, session))
    stores = {domain: make_store(config, records) for domain, records in training_records(source, target).items()}
    shape = RunShape(slots, view, domains, _extraction(stores, session))
    parts = build_parts(config, encoder, shape, session)
    rates_labels = bool(target.train) and isinstance(parts.labeller, RatesLabels)
    runtime.together(lambda: check_selection(config.schedule, target, rates_labels=rates_labels))
    has_state = runtime.on_main(lambda: prepare_log_folder(folder, resume=resume))
    run = Run(config, source, target, parts, first_state(parts), slots, stores, folder, has_state, session)
    # Weights are equal in all processes by now; the random draws of dropout must differ.
    runtime.draw_apart(randomness.number(config.run.seed, "network"))
    if has_state:
        runtime.together(lambda: run.files.restore(run.state))
    runtime.on_main(lambda: write_settings(folder, to_toml(config)))
    _describe(run, start.source)
    return run


def _check_settings(config: Recipe, session: Session, *, resume: bool) -> None:
    """Check what needs no images: the target's name, the sizes of batches, the log folder."""
    if not config.data.target:
        raise InputError(
            "no images are given; expected spcl train DATA, or spcl train --source DATA --target DATA",
            code="missing-argument",
        )
    runtime = session.runtime
    runtime.together(
        lambda: check_batches(
            config.schedule.batch_size,
            config.network.batch_norm_group,
            num_processes=runtime.num_processes,
            accumulate=config.schedule.accumulate,
        )
    )
    runtime.together(lambda: check_log_folder(Path(config.run.logs_dir), resume=resume))


def _extraction(stores: Mapping[str, ImageStore], session: Session) -> Callable[..., torch.Tensor]:
    """Give the function that encodes the target's training images, or a view of them, with a network."""

    def extract(network: EncoderNetwork, view: Callable[[ReadsImages], ReadsImages] | None = None) -> torch.Tensor:
        if "target" not in stores:
            return torch.zeros(0, network.feature_dim)
        store = stores["target"] if view is None else view(stores["target"])
        with session.report.progress("labels: features of the target") as advance:
            return extract_features(network, store, session.runtime, domain="target", progress=advance)

    return extract


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


def _note_of_unknown_cameras(dataset: ReIDDataset) -> list[str]:
    """A note on training images without a camera, which the sampler cannot draw by camera."""
    unknown = sum(record.camera is None for record in dataset.train)
    if not unknown:
        return []
    return [f"{unknown} of {len(dataset.train)} training images have no camera: batches are drawn without cameras"]


def _describe_part(part: ReIDDataset, report: Reporter) -> None:
    """Report how much of one of several targets is used."""
    cameras = {record.camera for record in part.train} - {None}
    test = f"{len(part.query)} queries, {len(part.gallery)} gallery images"
    report.say(
        f"  {part.name}: {len(part.train)} training images, "
        + (f"{len(cameras)} camera(s), " if cameras else "cameras unknown, ")
        + (test if part.evaluated else f"not evaluated ({test})")
    )
    for note in part.notes:
        report.say(f"    note: {note}")


def _describe(run: Run, weights: str) -> None:
    """Report the data, the network and the device."""
    report = run.session.report
    for title, dataset in (("source", run.source), ("target", run.target)):
        if dataset is None:
            continue
        test = f", {len(dataset.query)} queries, {len(dataset.gallery)} gallery images" if dataset.query else ""
        report.say(f"{title}: {dataset.name}, {len(dataset.train)} training images{test if title == 'target' else ''}")
        for part in dataset.parts:
            _describe_part(part, report)
        for note in (*dataset.notes, *_note_of_unknown_cameras(dataset)):
            report.say(f"  note: {note}")
    if run.slots.num_source_classes:
        report.say(f"source classes: {run.slots.num_source_classes}")
    used = f" ({run.parts.encoder.used_weights})" if run.parts.encoder.used_weights else ""
    report.say(f"network: {run.config.network.arch}, weights: {weights}{used}; device: {run.runtime.device}")
    if not can_evaluate(run.target):
        report.say("the target has no query and gallery images: this run is not evaluated")
    if run.criterion == "label-free" and isinstance(run.parts.labeller, RatesLabels):
        report.say(f"the epoch with the best label-free score of its pseudo labels is kept as {BEST_FILE}")
    if run.resumed:
        report.say(
            f"continuing after epoch {run.state.epoch}, step {run.state.iteration} of {run.config.schedule.iters}"
        )
