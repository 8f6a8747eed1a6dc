"""Whatever images a user points at, as records: a file, a folder with all below it, a table, a data set's name.

For using an encoder, where splits do not matter; what training and evaluation read is in ``catalogue.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from spcl.data.catalogue import REGISTERED, load_dataset
from spcl.data.files import IMAGE_SUFFIXES, images_below, what_is_there
from spcl.data.from_folders import cameras_of_names
from spcl.data.from_manifest import SUFFIXES, names_splits
from spcl.data.written_columns import written_columns
from spcl.errors import InputError
from spcl.records import Record


def find_crops(
    images: str | Path | Sequence[str | Path], *, data_dir: str | Path | None = None, labelled: bool = False
) -> tuple[Record, ...]:
    """The images of a file, a folder and all folders below it, a manifest, a registered name, or a list of files.

    Args:
        images: Which. Of a data set with splits, all of them: training, query, gallery. A manifest may list some that
            are not there: reading will tell.
        data_dir: The folder that holds registered data sets; None: ``examples/data``.
        labelled: Read the folder as a data set (a folder per identity, Market-1501's layout), so that identities are
            known; distractors, which are different objects under one number, have none. Otherwise a folder is a heap of
            files, and no identity is read from it.

    Returns:
        Records in a fixed order, folders by path; cameras from 0 where all files name theirs (``_c3``).

    Raises:
        InputError: If there is nothing, or no image: says what was looked for and what is there.
    """
    if not isinstance(images, str | Path):
        return _of_files([Path(image) for image in images])
    path = Path(images)
    if path.is_file() and path.suffix.lower() in IMAGE_SUFFIXES:
        return (Record(path),)
    if path.is_dir() and not labelled and str(images) not in REGISTERED:
        files = images_below(path)
        if not files:
            raise InputError(
                f"no images in {path} or below it: {what_is_there(path)}. "
                f"Images end in {', '.join(sorted(IMAGE_SUFFIXES))}"
            )
        return _of_files(files)
    if not path.exists() and not names_splits(str(images)) and str(images).partition(":")[0] not in REGISTERED:
        raise InputError(f"there are no images at {path}: {what_is_there(path)}")
    if path.is_file() and path.suffix.lower() not in SUFFIXES:
        raise InputError(
            f"{path} is neither an image ({', '.join(sorted(IMAGE_SUFFIXES))}) nor a table "
            f"({', '.join(sorted(SUFFIXES))})"
        )
    # Who uses an encoder leaves out images that cannot be read: one that has gone ends no long job either.
    dataset = load_dataset(images if isinstance(images, str) else path, data_dir, keep_missing=True)
    tested = dataset.query + dataset.gallery
    if not labelled:
        return tuple(replace(record, identity=None) for record in dataset.train + tested)
    named = _names_of_identities(images, dataset.train + tested)
    if named is not None:
        known = [r.identity is not None for r in dataset.train]
        known += [r.identity not in (None, dataset.distractors) for r in tested]
        return _numbered_by_name(dataset.train + tested, named, known)
    # Training and test identities are numbered apart: number 3 of the one is not number 3 of the other.
    first = max((record.identity for record in dataset.train if record.identity is not None), default=-1) + 1
    nobody = (None, dataset.distractors)
    moved = (replace(r, identity=None if r.identity in nobody else r.identity + first) for r in tested)
    return dataset.train + tuple(moved)


def crops_outside(records: Sequence[Record], folder: Path) -> tuple[Record, ...]:
    """The images that do not lie in a folder or below it: results that are written there are no crops.

    Raises:
        InputError: If all of them do.
    """
    place = folder.resolve()
    # Of the folders, not of the images: a link in the folder lies there, wherever the image is.
    parents = {record.path.parent: record.path.parent.resolve() for record in records}
    inside = {parent: place == real or place in real.parents for parent, real in parents.items()}
    others = tuple(record for record in records if not inside[record.path.parent])
    if not others:
        raise InputError(f"all the images are in {folder}, where the results go; give another folder (-o)")
    return others


def _names_of_identities(images: str | Path, records: Sequence[Record]) -> list[str | None] | None:
    """What the user calls the identity of each image, one name for all splits; None where nothing but numbers is known.

    A table's words; the folders below ``train``, ``query``, ``gallery``; the numbers of Market-1501's layout.
    """
    path = Path(images)
    if isinstance(images, str) and images.partition(":")[0] in REGISTERED:
        # MSMT17 has training and test identities of one number, who are two persons.
        return None
    if path.is_file() or names_splits(str(images)):
        return written_columns(images, records).get("identity")
    if (path / "bounding_box_train").is_dir():
        return [record.path.name.partition("_")[0] for record in records]
    if (path / "train").is_dir():
        return [record.path.parent.name for record in records]
    return None


def _numbered_by_name(
    records: Sequence[Record], names: Sequence[str | None], known: Sequence[bool]
) -> tuple[Record, ...]:
    """Records with one number for each name, whatever splits it is in."""
    numbers: dict[str | None, int] = {}
    return tuple(
        replace(record, identity=numbers.setdefault(name, len(numbers)) if is_known and name is not None else None)
        for record, name, is_known in zip(records, names, known, strict=True)
    )


def _of_files(files: Sequence[Path]) -> tuple[Record, ...]:
    cameras = cameras_of_names(files)
    return tuple(Record(path, camera=cameras.get(path)) for path in files)
