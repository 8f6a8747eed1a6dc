"""The training and test images of a run: read and checked, without target identities and unreadable images."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from spcl.config import Recipe
from spcl.data.catalogue import load_dataset
from spcl.data.combined_sources import combined_sources
from spcl.data.combined_targets import combined_targets
from spcl.data.image_cache import default_cache_dir
from spcl.data.image_store import ImageStore
from spcl.data.source_options import SourceOptions
from spcl.errors import InputError
from spcl.inference.query_checks import check_queries
from spcl.records import Record, ReIDDataset
from spcl.reporting.console import Reporter
from spcl.training_run.checks import check_readable, check_training_sets, without_unknown_identities
from spcl.training_run.session import Session


def load_sets(
    config: Recipe, session: Session, target: ReIDDataset | None = None
) -> tuple[ReIDDataset | None, ReIDDataset]:
    """Read and check the source, if there is one, and the target.

    Args:
        config: Settings of the run: the data sets, and how images that cannot be read are handled.
        session: Processes of the run, one of which opens the images and sends the result to the others; and the
            receiver of progress and warnings.
        target: The target if it is no data set on disk; None: the one that the settings name.

    Returns:
        Source and target. The target has lost its training identities. Training images that cannot be read are left
        out where that was asked for; test images stay, so that figures are over the queries that everybody has.

    Raises:
        InputError: If the data cannot be trained on; names the next step.
    """
    source_only, runtime = config.schedule.source_only, session.runtime
    sets = runtime.together(lambda: _found_sets(config, target))
    broken = set(runtime.on_main(lambda: _check_images(config, *sets, session.report)))
    source, target = sets
    source = None if source is None else without_unknown_identities(source, session.report)
    if broken:
        source, target = (None if source is None else _without(source, broken)), _without(target, broken)
        left = source, target
        runtime.together(lambda: check_training_sets(*left, source_only=source_only))
    # From here on the target's identities are removed.
    target = target.without_training_identities()
    return source, _not_trained_on(target) if source_only else target


def _not_trained_on(target: ReIDDataset) -> ReIDDataset:
    """Give a target without its training images, for a run on the source alone."""
    return replace(target, train=(), parts=tuple(_not_trained_on(part) for part in target.parts))


def _found_sets(config: Recipe, target: ReIDDataset | None) -> tuple[ReIDDataset | None, ReIDDataset]:
    skip = config.data.on_broken == "skip"
    options = _source_options(config)
    if not config.data.source and options.identity_from != "auto":
        raise InputError(
            f"--identity-from {options.identity_from} is for the identities of a labelled source, and there is none: "
            "add --source DATA, or leave it out (the target's training images need no identities)",
            code="option-does-not-apply",
        )

    def load_source(name: str) -> ReIDDataset:
        return load_dataset(name, keep_missing=skip, labelled=True, options=options)

    source = combined_sources(config.data.source, load_source) if config.data.source else None
    # The setting is about the identities of the source: those of the target are not read.
    of_target = replace(options, identity_from="auto")
    target = target or combined_targets(
        config.data.target, lambda name: load_dataset(name, keep_missing=skip, options=of_target)
    )
    check_training_sets(source, target, source_only=config.schedule.source_only)
    for part in target.evaluated:
        check_queries(part, part.protocol)
    return source, target


def _source_options(config: Recipe) -> SourceOptions:
    data = config.data
    return SourceOptions(
        data_dir=data.data_dir,
        columns=data.columns,
        time_format=data.time_format,
        identity_from=data.identity_from,
        duplicates=data.duplicates,
        layout=data.layout,
    )


def training_records(source: ReIDDataset | None, target: ReIDDataset) -> dict[str, tuple[Record, ...]]:
    """Give the training images of each domain that has some, in the order of a batch."""
    records = {"source": () if source is None else source.train, "target": target.train}
    return {domain: part for domain, part in records.items() if part}


def make_store(config: Recipe, records: tuple[Record, ...]) -> ImageStore:
    """Give the images of records, read as the settings say."""
    data = config.data
    return ImageStore(
        records,
        size=(data.height, data.width),
        on_broken=data.on_broken,
        memory=int(data.image_memory * 2**30),
        cache_dir=None if data.cache_dir == "none" else Path(data.cache_dir) if data.cache_dir else default_cache_dir(),
        num_threads=data.workers,
        pixel_range=data.range,
    )


def _check_images(config: Recipe, source: ReIDDataset | None, target: ReIDDataset, report: Reporter) -> list[Path]:
    """Give the training images that cannot be read and are left out."""
    skip = config.data.on_broken == "skip"
    sets = [(f"the source {source.name}", source.train)] if source is not None else []
    sets += [(f"{target.name} (training)", target.train)]
    test = [(f"{part.name} (test)", part.query + part.gallery) for part in target.parts or (target,)]
    broken: list[Path] = []
    for parts, is_test in ((sets, False), (test, True)):
        found = check_readable(
            parts,
            # The images that are left out must be known before the memory is built.
            everything=config.data.check == "all" or (skip and not is_test),
            skipped_as=("They are rated as grey images" if is_test else "They are left out") if skip else None,
            seed=config.run.seed,
            num_threads=config.data.workers,
            report=report,
        )
        broken += [] if is_test else found
    return broken


def _without(dataset: ReIDDataset, broken: Collection[Path]) -> ReIDDataset:
    """Give a data set without some training images; identities run from 0 without gaps again."""
    kept = [record for record in dataset.train if record.path not in broken]
    left = sorted({record.identity for record in kept if record.identity is not None})
    numbers: dict[int | None, int | None] = {identity: number for number, identity in enumerate(left)}
    train = tuple(replace(record, identity=numbers.get(record.identity)) for record in kept)
    return replace(dataset, train=train, parts=tuple(_without(part, broken) for part in dataset.parts))
