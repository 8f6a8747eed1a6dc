"""Several unlabelled targets combined to one: cameras of different targets are different, each has its own queries."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from spcl.data.combined_sources import sources_of
from spcl.data.image_key import image_keys
from spcl.data.track_columns import of_table, repeated_tracks
from spcl.errors import InputError
from spcl.records import Record, ReIDDataset


def combined_targets(text: str, load: Callable[[str], ReIDDataset]) -> ReIDDataset:
    """Load one target, or several as one unlabelled data set.

    Args:
        text: Names of one or several targets, as for ``sources_of``.
        load: Function that loads one target.

    Returns:
        ReIDDataset: for several targets, the training images of all, target after target, without identities; numbers
        of cameras continue from one target to the next, and an image of unknown camera stays so; tracks of different
        targets are different. An image that is in
        two targets counts once. Queries and galleries are those of ``parts``, one data set for each target, whose
        ``train`` are the images that were taken from it; ``parts[i].name`` is the name that was given.

    Raises:
        InputError: If a target has no training images, or cannot be loaded.
    """
    targets = sources_of(text)
    loaded = [load(target) for target in targets]
    if len(loaded) == 1:
        return loaded[0]
    seen: set[str] = set()
    parts: list[ReIDDataset] = []
    num_cameras = 0
    repeated = repeated_tracks([dataset.train for dataset in loaded])
    for number, (target, dataset) in enumerate(zip(targets, loaded, strict=True), start=1):
        if not dataset.train:
            raise InputError(f"the target {target} has no training images", code="no-images")
        keys = image_keys([record.path for record in dataset.train])
        new = [record for record, key in zip(dataset.train, keys, strict=True) if key not in seen]
        seen.update(keys)
        notes = dataset.notes
        if len(new) < len(dataset.train):
            notes += (f"{len(dataset.train) - len(new)} of its training images are in an earlier target: used once",)
        train = tuple(_of_target(of_table(record, number, repeated), num_cameras) for record in new)
        num_cameras += max((record.camera for record in dataset.train if record.camera is not None), default=-1) + 1
        parts.append(replace(dataset, name=target, train=train, notes=notes))
    return ReIDDataset(
        " + ".join(dataset.name for dataset in loaded),
        tuple(record for part in parts for record in part.train),
        protocol=parts[0].protocol,
        parts=tuple(parts),
    )


def _of_target(record: Record, num_cameras: int) -> Record:
    """Give a record without its identity, whose camera is behind those of the targets before."""
    return replace(record, identity=None, camera=None if record.camera is None else record.camera + num_cameras)
