"""Repeated images: several paths to one file are one image, which is used once; its values must agree."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from spcl.data.byte_identical import byte_identical
from spcl.data.image_key import image_keys, shown_path
from spcl.errors import InputError
from spcl.records import Record, ReIDDataset


def rows_of_each_image(paths: Sequence[Path], keys: Sequence[str] | None = None) -> tuple[list[int], dict[int, int]]:
    """Choose one row for each image.

    Args:
        paths: Paths of all rows.
        keys: Keys of the images; None: they are computed.

    Returns:
        The rows that are kept, in order (for several paths to one image the first that is not a link, else the first),
        and for each row that is dropped, the kept row of the same image.
    """
    keys = image_keys(paths) if keys is None else keys
    if len(set(keys)) == len(keys):
        return list(range(len(keys))), {}
    rows_of: dict[str, list[int]] = {}
    for row, key in enumerate(keys):
        rows_of.setdefault(key, []).append(row)
    instead: dict[int, int] = {}
    for rows in rows_of.values():
        if len(rows) > 1:
            kept = next((row for row in rows if not paths[row].is_symlink()), rows[0])
            instead.update({row: kept for row in rows if row != kept})
    return [row for row in range(len(paths)) if row not in instead], instead


def note_of_repeated(paths: Sequence[Path], instead: dict[int, int]) -> tuple[str, ...]:
    """A sentence on images that several paths lead to; empty where there are none."""
    if not instead:
        return ()
    gone, kept = min(instead.items())
    first = (
        f"{shown_path(paths[gone])} is given twice"
        if paths[gone] == paths[kept]
        else f"{shown_path(paths[gone])} is {shown_path(paths[kept])}"
    )
    return (f"{len(instead)} path(s) lead to images that are given already, and each image is used once: {first}",)


def check_agreement(
    paths: Sequence[Path],
    instead: dict[int, int],
    value_of: Callable[[int], object],
    column: str,
    where: str = "",
    *,
    shows_values: bool = True,
) -> None:
    """Raise an ``InputError`` where two rows of one image have different values.

    Args:
        paths: Paths of all rows.
        instead: Result of ``rows_of_each_image``.
        value_of: Gives the value of a row; None: it is not known.
        column: Name of the values in the error: ``identity``.
        where: Name of what the rows belong to, in the error.
        shows_values: Whether the error shows both values; not for numbers that the user has never seen.
    """
    for gone, kept in sorted(instead.items()):
        other, value = value_of(gone), value_of(kept)
        if other is not None and value is not None and other != value:
            shown = [f" has {text!r}" if shows_values else "" for text in (value, other)]
            raise contradiction(
                column,
                f"{where}one image has two values of {column}: {shown_path(paths[kept])} (image {kept + 1}){shown[0]} "
                f"and {shown_path(paths[gone])} (image {gone + 1}){shown[1]}. Correct one of them, or leave both out",
            )


def contradiction(column: str, message: str) -> InputError:
    """The error for one image with two values in a column, with the code for this column."""
    if column == "identity":
        return InputError(message, code="identity-contradiction")
    return InputError(message, code="value-contradiction")


def each_image_once(
    dataset: ReIDDataset, *, without_copies: bool = False, needs_identities: bool = True
) -> ReIDDataset:
    """Give a data set that holds each image once in each split.

    An image that is both query and gallery stays in both: the evaluation never counts a query's own image. Images that
    are in training and test stay in both, and a note gives their number.

    Args:
        dataset: Data set to reduce.
        without_copies: Whether to leave out training images that equal an earlier one byte for byte.
        needs_identities: Whether the training identities are needed. If not, a training image with two identities is
            kept without an identity, and a note gives the number of such images.

    Raises:
        InputError: If one image has two cameras, or two identities where these are needed.
    """
    notes: list[str] = []
    splits, keys = {}, {}
    for split in ("train", "query", "gallery"):
        strict = needs_identities or split != "train"
        splits[split], keys[split], found = _once(getattr(dataset, split), dataset.name, needs_identities=strict)
        notes += [f"{split}: {note}" for note in found]
    if without_copies:
        splits["train"], found = _first_of_copies(splits["train"], dataset.name, needs_identities=needs_identities)
        notes += found
    tested = splits["query"] + splits["gallery"]
    paths = [record.path for record in tested]
    tested_keys = keys["query"] + keys["gallery"]
    _, both = rows_of_each_image(paths, tested_keys)
    if both:
        _check(tested, both, dataset.name)
        tested = _with_shared_facts(tested, both)
        splits["query"], splits["gallery"] = tested[: len(splits["query"])], tested[len(splits["query"]) :]
        notes.append(
            f"{len(both)} image(s) are both query and gallery, first {shown_path(paths[min(both)])}: "
            "a query's own image never counts as a match"
        )
    trained = set(keys["train"])
    shared = [path for path, key in zip(paths, tested_keys, strict=True) if key in trained]
    if shared:
        notes.append(f"{len(shared)} image(s) are in the training and the test split, first {shown_path(shared[0])}")
    if not notes:
        return dataset
    return replace(
        dataset,
        train=splits["train"],
        query=splits["query"],
        gallery=splits["gallery"],
        notes=(*dataset.notes, *notes),
    )


def _once(
    records: tuple[Record, ...], name: str, *, needs_identities: bool
) -> tuple[tuple[Record, ...], list[str], tuple[str, ...]]:
    """The records that are kept, the keys of their images, and notes on the others."""
    paths = [record.path for record in records]
    keys = image_keys(paths)
    rows, instead = rows_of_each_image(paths, keys)
    if not instead:
        return records, keys, ()
    notes = note_of_repeated(paths, instead)
    if not needs_identities:
        records, found = _without_contradicted_identities(records, instead)
        notes += found
    _check(records, instead, name)
    return _merged(records, rows, instead), [keys[row] for row in rows], notes


def _without_contradicted_identities(
    records: tuple[Record, ...], instead: dict[int, int]
) -> tuple[tuple[Record, ...], tuple[str, ...]]:
    """The records, without the identity of images that have two, and a note on these images."""
    identities: dict[int, set[int | None]] = {}
    for gone, kept in instead.items():
        identities.setdefault(kept, {records[kept].identity}).add(records[gone].identity)
    wrong = {kept for kept, found in identities.items() if len(found - {None}) > 1}
    if not wrong:
        return records, ()
    first = min(wrong)
    other = next(gone for gone, kept in instead.items() if kept == first)
    note = (
        f"{len(wrong)} image(s) have two identities and count as unknown, first {shown_path(records[first].path)}, "
        f"which is {shown_path(records[other].path)}"
    )
    changed = (
        replace(record, identity=None) if instead.get(row, row) in wrong else record
        for row, record in enumerate(records)
    )
    return tuple(changed), (note,)


def _with_shared_facts(records: tuple[Record, ...], instead: dict[int, int]) -> tuple[Record, ...]:
    """The records, each with the identity and the camera that the other row of its image has, where it has none."""
    shared = list(records)
    for one, other in [*instead.items(), *((kept, gone) for gone, kept in instead.items())]:
        identity, camera = shared[one].identity, shared[one].camera
        shared[one] = replace(
            shared[one],
            identity=shared[other].identity if identity is None else identity,
            camera=shared[other].camera if camera is None else camera,
        )
    return tuple(shared)


def _merged(records: tuple[Record, ...], rows: Sequence[int], instead: dict[int, int]) -> tuple[Record, ...]:
    """The kept records, with identity and camera of the dropped ones where their own are unknown."""
    merged = {row: records[row] for row in rows}
    for gone, kept in instead.items():
        identity, camera = merged[kept].identity, merged[kept].camera
        merged[kept] = replace(
            merged[kept],
            identity=records[gone].identity if identity is None else identity,
            camera=records[gone].camera if camera is None else camera,
        )
    return tuple(merged[row] for row in rows)


def _first_of_copies(
    records: tuple[Record, ...], name: str, *, needs_identities: bool
) -> tuple[tuple[Record, ...], tuple[str, ...]]:
    paths = [record.path for record in records]
    copies = byte_identical(paths)
    notes = note_of_copies(paths, copies)
    if not needs_identities:
        records, found = _without_contradicted_identities(records, copies)
        notes += found
    # Their cameras may differ: a copy is often put into another camera's folder.
    _check_identities(records, copies, name)
    rows = [row for row in range(len(records)) if row not in copies]
    return _merged(records, rows, copies), notes


def note_of_copies(paths: Sequence[Path], copies: dict[int, int]) -> tuple[str, ...]:
    """A sentence on copies that are left out; empty where there are none."""
    if not copies:
        return ()
    gone, first = min(copies.items())
    return (
        f"{len(copies)} image(s) are copies of others, byte for byte, and are left out; first "
        f"{shown_path(paths[gone])}, of {shown_path(paths[first])}",
    )


def _check(records: Sequence[Record], instead: dict[int, int], name: str) -> None:
    _check_identities(records, instead, name)
    paths = [record.path for record in records]
    check_agreement(paths, instead, lambda row: records[row].camera, "camera", f"{name}: ", shows_values=False)


def _check_identities(records: Sequence[Record], instead: dict[int, int], name: str) -> None:
    paths = [record.path for record in records]
    check_agreement(paths, instead, lambda row: records[row].identity, "identity", f"{name}: ", shows_values=False)
