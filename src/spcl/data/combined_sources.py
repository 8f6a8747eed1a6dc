"""Several labelled sources combined to one: identities and cameras of different sources are different."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from spcl.data.catalogue import REGISTERED
from spcl.data.image_key import image_keys, shown_path
from spcl.data.table_dataset import names_splits, tables_of_prefix
from spcl.errors import InputError
from spcl.records import Record, ReIDDataset

_SEPARATORS = "+,"


def sources_of(text: str) -> tuple[str, ...]:
    """Split a text into data sets: ``a+b`` and ``a,b`` are two, unless a file or data set of that name exists.

    Raises:
        InputError: If a name is empty or given twice.
    """
    parts = _parts(text)
    if "" in parts:
        raise InputError(
            f"the data {text!r} has an empty part; give names or paths with + between them: a+b", code="empty-name"
        )
    _check_given_once(parts)
    return tuple(parts)


def joined_sources(sources: Sequence[str]) -> str:
    """Write several data sets as one text that ``sources_of`` splits into the same ones.

    Raises:
        InputError: If that is not possible: a name with ``+`` or ``,`` cannot be combined.
    """
    parts = [part for source in sources for part in sources_of(source)]
    if len(parts) == 1:
        return parts[0]
    _check_given_once(parts)
    text = "+".join(parts)
    if _parts(text) != parts:
        odd = next((part for part in parts if any(mark in part for mark in _SEPARATORS)), text)
        raise InputError(
            f"the data set {odd!r} cannot be combined with others, because of its name; give a link with another name",
            code="source-not-combinable",
        )
    return text


def combined_sources(text: str, load: Callable[[str], ReIDDataset]) -> ReIDDataset:
    """Load one source, or several as one data set.

    Args:
        text: Names of one or several sources, as for ``sources_of``.
        load: Function that loads one source with its labels.

    Returns:
        ReIDDataset: for several sources, only their training images, source after source; numbers of identities and
        cameras continue from one source to the next. The notes have the counts of each source.

    Raises:
        InputError: If one image is in two sources, or a source cannot be loaded.
    """
    sources = sources_of(text)
    datasets = [load(source) for source in sources]
    if len(datasets) == 1:
        return datasets[0]
    _check_apart(sources, datasets)
    train: list[Record] = []
    notes: list[str] = []
    know_cameras = all(record.camera is not None for dataset in datasets for record in dataset.train)
    identities = cameras = 0
    for source, dataset in zip(sources, datasets, strict=True):
        train += [
            replace(
                record,
                identity=None if record.identity is None else record.identity + identities,
                camera=record.camera + cameras if know_cameras and record.camera is not None else None,
            )
            for record in dataset.train
        ]
        found = {record.identity for record in dataset.train if record.identity is not None}
        seen = {record.camera for record in dataset.train if record.camera is not None}
        identities += max(found, default=-1) + 1
        cameras += max(seen, default=-1) + 1
        notes.append(
            f"{source}: {len(dataset.train)} images of {len(found)} identities"
            + (f", {len(seen)} camera(s)" if seen else ", cameras unknown")
        )
        notes += [f"{source}: {note}" for note in dataset.notes]
    if not know_cameras and cameras:
        notes.append("cameras are not used: not every image of every source has one")
    return ReIDDataset(
        " + ".join(dataset.name for dataset in datasets),
        tuple(train),
        protocol="market1501" if know_cameras else "no-camera",
        notes=tuple(notes),
    )


def _check_given_once(parts: Sequence[str]) -> None:
    repeated = next((part for at, part in enumerate(parts) if part in parts[:at]), None)
    if repeated is not None:
        raise InputError(f"the data set {repeated!r} is given twice; give it once", code="source-given-twice")


def _check_apart(sources: Sequence[str], datasets: Sequence[ReIDDataset]) -> None:
    owner: dict[str, tuple[int, Path]] = {}
    for number, dataset in enumerate(datasets):
        if not dataset.train:
            raise InputError(f"the source {sources[number]} has no training images", code="no-images")
        paths = [record.path for record in dataset.train]
        for path, key in zip(paths, image_keys(paths), strict=True):
            first, its_path = owner.setdefault(key, (number, path))
            if first != number:
                raise InputError(
                    f"one image is in two sources and would have two identities: {shown_path(its_path)} of "
                    f"{sources[first]} is {shown_path(path)} of {sources[number]}. Give one of the sources, or leave "
                    "the image out of one",
                    code="identity-contradiction",
                )


def _parts(text: str) -> list[str]:
    if _is_one(text):
        return [text]
    for mark in _SEPARATORS:
        if mark in text:
            # Among several sources, "train=a.csv,query=b.csv" is one.
            return [part for piece in text.split(mark) for part in _parts(piece.strip())]
    return [text]


def _is_one(text: str) -> bool:
    name, _, option = text.partition(":")
    if name in REGISTERED and option.isalnum() == bool(option):
        return True
    path = Path(text)
    if path.exists() or bool(path.name and tables_of_prefix(path)):
        return True
    return names_splits(text) and "+" not in text
