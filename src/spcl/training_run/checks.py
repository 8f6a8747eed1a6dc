"""Checks before the first step of training.

They cover counts and readable images. (``inference/query_checks.py`` checks that queries can match,
``nn/trunk_weights.py`` weights, ``data/`` the data sets' layouts, ``run_files.py`` the log folder.)
Each error names the next step; no state is changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from spcl.data.image_decoding import check_images
from spcl.data.image_key import shown_path
from spcl.errors import InputError
from spcl.inference.query_checks import can_evaluate
from spcl.records import UNKNOWN, Record, ReIDDataset, identities_of
from spcl.reporting.console import Reporter
from spcl.sections import ScheduleConfig
from spcl.threads import NumThreads
from spcl.training.selection import criterion_of

_SAMPLE = 64


def check_training_sets(source: ReIDDataset | None, target: ReIDDataset, *, source_only: bool = False) -> None:
    """Check that there are training images.

    Raises:
        InputError: If a training split is empty or no source image has an identity.
    """
    if source_only and source is None:
        raise InputError("--source-only needs a labelled source: give --source DATA", code="no-source")
    if not source_only and not target.train:
        raise InputError(
            f"{target.name} has no training images; give a data set with a training split, or a folder",
            code="no-images",
        )
    if not source_only and len(target.train) < 2:
        raise InputError(
            f"{target.name} has {len(target.train)} training image; at least 2 are needed", code="too-few-images"
        )
    if source is None:
        return
    if not source.train:
        raise InputError(f"the source {source.name} has no training images", code="no-images")
    if (identities_of(source.train) == UNKNOWN).all():
        why = [note for note in source.notes if "identit" in note]
        raise InputError(
            f"none of the {len(source.train)} images of the source {source.name} has an identity, first "
            f"{shown_path(source.train[0].path)}; a source must be labelled. "
            f"Label them, or leave out --source (docs/data.md){''.join(f'. {note}' for note in why)}",
            code="no-identities",
        )


def without_unknown_identities(source: ReIDDataset, report: Reporter) -> ReIDDataset:
    """Leave out the source's training images of unknown identity, and report how many there are.

    Identities stay numbers from 0 without gaps: those images have none.
    """
    known = tuple(record for record in source.train if record.identity is not None)
    left_out = len(source.train) - len(known)
    if left_out:
        first = next(record.path for record in source.train if record.identity is None)
        report.warn(
            f"{left_out} of {len(source.train)} images of the source {source.name} have no identity, first "
            f"{shown_path(first)}: they are not trained on"
        )
    return replace(source, train=known)


def check_readable(
    sets: Sequence[tuple[str, Sequence[Record]]],
    *,
    everything: bool,
    skipped_as: str | None,
    seed: int,
    num_threads: NumThreads,
    report: Reporter,
) -> list[Path]:
    """Open images (a sample of each set, or all).

    Args:
        sets: Name and images of each set.
        everything: Whether to open all images instead of a sample.
        skipped_as: Sentence about the handling of images that cannot be read; None: they are an error.
        seed: Seed of the random sample.
        num_threads: Number of threads that decode; ``auto``: as many as compute; 0: the calling thread decodes.
        report: Receives a warning that lists unreadable images.

    Returns:
        The images that cannot be read.

    Raises:
        InputError: If one cannot be read and broken images are not to be skipped.
    """
    all_broken: list[Path] = []
    for name, records in sets:
        sample = None if everything else _SAMPLE
        with report.progress(f"checking images of {name}") as advance:
            broken = check_images(records, sample=sample, seed=seed, num_threads=num_threads, progress=advance)
        if not broken:
            continue
        listed = "; ".join(f"{shown_path(path)}: {reason}" for path, reason in broken[:5])
        message = f"{len(broken)} image(s) of {name} cannot be read: {listed}{' ...' if len(broken) > 5 else ''}"
        if skipped_as is None:
            raise InputError(
                f"{message}. Repair or remove them, or leave them out with --on-broken skip",
                code="unreadable-image",
            )
        report.warn(f"{message}. {skipped_as}")
        all_broken += [path for path, _ in broken]
    return all_broken


def check_batches(batch_size: int, group_size: int, *, num_processes: int, accumulate: int) -> None:
    """Check that the batch can be cut into equal shares without cutting a batch-norm group.

    Args:
        batch_size: Number of images of a domain in a batch, over all processes.
        group_size: Number of images in a batch-norm group; 0: all of the batch.
        num_processes: Number of processes that share the batch.
        accumulate: Number of parts in which each process encodes its share.

    Raises:
        InputError: If it cannot; the message names the nearest sizes that work.
    """
    parts = num_processes * accumulate
    if parts == 1 or _is_cut_evenly(batch_size, group_size, parts):
        return
    over = f"{num_processes} process(es)" + (f" x {accumulate} parts" if accumulate > 1 else "")
    if not group_size:
        groups = [group for group in range(2, batch_size + 1) if _is_cut_evenly(batch_size, group, parts)]
        # If no group size fits the batch, suggest one group for each part, and a batch of whole groups.
        length = groups[-1] if groups else max(2, round(batch_size / parts))
        advice = f"--batch-norm-group {length}" + ("" if groups else f" with --batch-size {length * parts}")
        raise InputError(
            f"batch norm over the whole batch (--batch-norm-group 0) cannot be shared by {over}; "
            f"give groups, such as {advice}",
            code="batch-not-divisible",
        )
    sizes = [
        size for size in range(2, 4 * batch_size + 2 * parts * group_size) if _is_cut_evenly(size, group_size, parts)
    ]
    nearest = sorted(sorted(sizes, key=lambda size: abs(size - batch_size))[:3])
    raise InputError(
        f"a batch of {batch_size} images in batch-norm groups of {group_size} cannot be shared evenly by {over}; "
        f"--batch-size {', '.join(map(str, nearest))} can, or another --batch-norm-group",
        code="batch-not-divisible",
    )


def check_selection(schedule: ScheduleConfig, target: ReIDDataset, *, rates_labels: bool) -> None:
    """Check that epochs can be compared where the settings ask for it.

    Args:
        schedule: The settings.
        target: The unlabelled domain.
        rates_labels: Whether the run labels images, with a labeller that rates its labels.

    Raises:
        InputError: If a patience is given, or the label-free score is asked for by name, and epochs have no score.
    """
    criterion = criterion_of(schedule.select, can_evaluate=can_evaluate(target))
    if criterion == "label-free" and not rates_labels and (schedule.select == "label-free" or schedule.patience):
        raise InputError(
            f"select is {schedule.select!r}, and this run's labeller gives no label-free score (label_score()); give "
            "--select last and no --patience",
            code="setting-does-not-apply",
        )
    if criterion == "evaluation" and schedule.patience and not can_evaluate(target):
        raise InputError(
            f"patience is {schedule.patience}, select is 'evaluation', and {target.name} has no queries and gallery to "
            "evaluate on; give --select auto",
            code="setting-does-not-apply",
        )


def _is_cut_evenly(batch_size: int, group_size: int, parts: int) -> bool:
    """Whether the groups of the batch are equal, and each part contains whole groups."""
    if not group_size:
        return parts == 1
    num_groups = max(1, batch_size // group_size)
    return batch_size % num_groups == 0 and num_groups % parts == 0
