"""Each image once: several paths to one file are one image, and what they say of it must agree."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from spcl.data.byte_identical import byte_identical
from spcl.data.image_key import image_keys, shown_path
from spcl.errors import InputError
from spcl.records import Record, ReIDDataset


def rows_of_each_image(paths: Sequence[Path], keys: Sequence[str] | None = None) -> tuple[list[int], dict[int, int]]:
    """Which rows stay where each image is kept once.

    Args:
        paths: Paths of all rows.
        keys: Keys of the images, if they are known.

    Returns:
        The rows that stay, in order: of several paths to one image the first that is no link, else the first; and for
        each row that goes, the row that stays in its place.
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
    """A sentence on images that several paths lead to; nothing for none."""
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
    paths: Sequence[Path], instead: dict[int, int], said: Callable[[int], object], what: str, where: str = ""
) -> None:
    """Raise an ``InputError`` where two rows of one image say different things of it.

    Args:
        paths: Paths of all rows.
        instead: Result of ``rows_of_each_image``.
        said: Value of each row; None: empty.
        what: That is, for the error: ``identity``.
        where: What the rows belong to, for the error.
    """
    for gone, kept in sorted(instead.items()):
        here, there = said(gone), said(kept)
        if here is not None and there is not None and here != there:
            raise contradiction(
                what,
                f"{where}one image has two values of {what}: {shown_path(paths[kept])} (image {kept + 1}) has "
                f"{there!r} and {shown_path(paths[gone])} (image {gone + 1}) has {here!r}. Correct one of them, or "
                "leave both out",
            )


def contradiction(column: str, message: str) -> InputError:
    """The error for one image of which two sources say different things, with the code of the column's fault."""
    if column == "identity":
        return InputError(message, code="identity-contradiction")
    return InputError(message, code="value-contradiction")


def each_image_once(dataset: ReIDDataset, *, without_copies: bool = False) -> ReIDDataset:
    """A data set that holds each image once in each split.

    An image that is both query and gallery stays in both: the evaluation never counts a query's own image. Images in
    training and test stay, too, and stand in the notes.

    Args:
        dataset: Any.
        without_copies: Leave out the training images that equal an earlier one byte for byte, too.

    Raises:
        InputError: If one image has two identities or two cameras.
    """
    notes: list[str] = []
    splits, keys = {}, {}
    for split in ("train", "query", "gallery"):
        splits[split], keys[split], said = _once(getattr(dataset, split), dataset.name)
        notes += [f"{split}: {note}" for note in said]
    if without_copies:
        splits["train"], said = _first_of_copies(splits["train"], dataset.name)
        notes += said
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


def _once(records: tuple[Record, ...], name: str) -> tuple[tuple[Record, ...], list[str], tuple[str, ...]]:
    """The records that stay, the keys of their images, and a note on those that go."""
    paths = [record.path for record in records]
    keys = image_keys(paths)
    rows, instead = rows_of_each_image(paths, keys)
    if not instead:
        return records, keys, ()
    _check(records, instead, name)
    return _merged(records, rows, instead), [keys[row] for row in rows], note_of_repeated(paths, instead)


def _with_shared_facts(records: tuple[Record, ...], instead: dict[int, int]) -> tuple[Record, ...]:
    """What one row of an image knows, its other row knows, too."""
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
    """The records that stay, with what those that go know beyond them."""
    merged = {row: records[row] for row in rows}
    for gone, kept in instead.items():
        identity, camera = merged[kept].identity, merged[kept].camera
        merged[kept] = replace(
            merged[kept],
            identity=records[gone].identity if identity is None else identity,
            camera=records[gone].camera if camera is None else camera,
        )
    return tuple(merged[row] for row in rows)


def _first_of_copies(records: tuple[Record, ...], name: str) -> tuple[tuple[Record, ...], tuple[str, ...]]:
    copies = byte_identical([record.path for record in records])
    paths = [record.path for record in records]
    # Their cameras may differ: a copy says where it was put.
    check_agreement(paths, copies, lambda row: records[row].identity, "identity", f"{name}: ")
    rows = [row for row in range(len(records)) if row not in copies]
    return _merged(records, rows, copies), note_of_copies(paths, copies)


def note_of_copies(paths: Sequence[Path], copies: dict[int, int]) -> tuple[str, ...]:
    """A sentence on copies that are left out; nothing for none."""
    if not copies:
        return ()
    gone, first = min(copies.items())
    return (
        f"{len(copies)} image(s) are copies of others, byte for byte, and are left out; first "
        f"{shown_path(paths[gone])}, of {shown_path(paths[first])}",
    )


def _check(records: Sequence[Record], instead: dict[int, int], name: str) -> None:
    paths = [record.path for record in records]
    check_agreement(paths, instead, lambda row: records[row].identity, "identity", f"{name}: ")
    check_agreement(paths, instead, lambda row: records[row].camera, "camera", f"{name}: ")
