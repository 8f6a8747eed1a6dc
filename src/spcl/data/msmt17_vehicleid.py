"""MSMT17 and VehicleID: data sets whose splits are lists of images in text files."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np

from spcl.data.filename_layouts import number_identities
from spcl.data.image_files import require_layout, what_is_there
from spcl.data.text_files import read_text
from spcl.errors import InputError
from spcl.randomness import generator
from spcl.records import UNKNOWN, Record, ReIDDataset, identities_of

MSMT17_FOLDER = "msmt17/MSMT17_V1"
VEHICLEID_FOLDER = "vehicleid/VehicleID"
VEHICLEID_SIZES = (800, 1600, 2400)

_IDENTITY, _CAMERA = re.compile(r"-?\d{1,18}"), re.compile(r"\d{1,18}")

_MSMT17_TREE = f"""  {MSMT17_FOLDER}/
    list_train.txt list_val.txt list_query.txt list_gallery.txt
    train/0000/0000_000_01_0303morning_0008_0.jpg ...
    test/0000/0000_000_01_0303morning_0006_0.jpg ..."""
_VEHICLEID_TREE = f"""  {VEHICLEID_FOLDER}/   (a link to VehicleID_V1.0)
    image/0000001.jpg ...
    train_test_split/train_list.txt test_list_800.txt"""


def load_msmt17(folder: Path) -> ReIDDataset:
    """Load MSMT17; its training and validation lists together are the training split.

    Args:
        folder: Folder that holds the registered data sets.

    Raises:
        InputError: If a list, a folder or a listed image is missing, or a line cannot be read.
    """
    root = folder / MSMT17_FOLDER
    lists = {name: root / f"list_{name}.txt" for name in ("train", "val", "query", "gallery")}
    require_layout([*lists.values(), root / "train", root / "test"], "msmt17", _MSMT17_TREE)
    rows = {
        name: [
            (
                root / ("train" if name in ("train", "val") else "test") / image,
                int(identity),
                _msmt17_camera(image, path),
            )
            for image, identity in _lines(path)
        ]
        for name, path in lists.items()
    }
    cameras = {written: at for at, written in enumerate(sorted({row[2] for part in rows.values() for row in part}))}
    # There are 15 cameras, numbered from 1 in file names; a subset keeps these numbers.
    if set(cameras) <= set(range(1, 16)):
        cameras = {written: written - 1 for written in cameras}
    splits = {name: tuple(Record(path, who, cameras[by]) for path, who, by in part) for name, part in rows.items()}
    _require_images([*splits["train"], *splits["val"], *splits["query"], *splits["gallery"]], "msmt17")
    train = tuple(sorted(splits["train"] + splits["val"], key=lambda record: record.path))
    return ReIDDataset("msmt17", number_identities(train), splits["query"], splits["gallery"])


def load_vehicleid(folder: Path, size: int = 800) -> ReIDDataset:
    """Load VehicleID with the test list of 800, 1600 or 2400 identities; its cameras are unknown.

    The gallery holds one random image of each identity, drawn with seed 0 (``vehicleid_draw``); the evaluation averages
    over further draws.

    Raises:
        InputError: If a list, a folder or a listed image is missing, or a line cannot be read.
    """
    root = folder / VEHICLEID_FOLDER
    train_list = root / "train_test_split/train_list.txt"
    test_list = root / f"train_test_split/test_list_{size}.txt"
    require_layout([root / "image", train_list, test_list], "vehicleid", _VEHICLEID_TREE)
    train, test = (
        tuple(Record(root / "image" / f"{image}.jpg", int(identity)) for image, identity in _lines(path))
        for path in (train_list, test_list)
    )
    _require_images([*train, *test], "vehicleid")
    query, gallery = vehicleid_draw(test, seed=0)
    train = tuple(sorted(train, key=lambda record: record.path))
    return ReIDDataset("vehicleid", number_identities(train), query, gallery, protocol="vehicleid")


def vehicleid_draw(records: tuple[Record, ...], seed: int) -> tuple[tuple[Record, ...], tuple[Record, ...]]:
    """Split test images: one image of each identity, drawn at random, is the gallery; the rest are queries.

    An image without an identity is always in the gallery, where it matches no query.

    Args:
        records: Test images.
        seed: Seed of the random draws.

    Returns:
        Queries and gallery, each in the order of ``records``.
    """
    rng = generator(seed, "vehicleid gallery")
    order = rng.permutation(len(records))
    identities = identities_of(records)
    drawn, first = np.unique(identities[order], return_index=True)
    chosen = set(order[first[drawn != UNKNOWN]].tolist()) | set(np.flatnonzero(identities == UNKNOWN).tolist())
    query = tuple(record for row, record in enumerate(records) if row not in chosen)
    return query, tuple(record for row, record in enumerate(records) if row in chosen)


def _lines(path: Path) -> Iterator[tuple[str, str]]:
    """Give image and identity of each line of a list."""
    for number, line in enumerate(read_text(path)[0].split("\n"), start=1):
        words = line.split()
        if not words:
            continue
        if len(words) != 2 or not _IDENTITY.fullmatch(words[1]):
            raise InputError(
                f'{path}, line {number} is {line!r}; expected an image and an identity: "name 12"',
                code="malformed-table",
            )
        yield words[0], words[1]


def _msmt17_camera(image: str, listed_in: Path) -> int:
    words = Path(image).name.split("_")
    if len(words) < 3 or not _CAMERA.fullmatch(words[2]):
        raise InputError(
            f"{listed_in}: the file name {image} does not contain a camera; expected identity_number_camera_...",
            code="file-name-not-understood",
        )
    return int(words[2])


def _require_images(records: list[Record], name: str) -> None:
    folders = {record.path.parent for record in records}
    there: set[Path] = set()
    for folder in folders:
        # It does not exist, is a file, or has a name that is too long.
        with suppress(OSError):
            there.update(folder.iterdir())
    missing = [record.path for record in records if record.path not in there]
    if missing:
        raise InputError(
            f"{name}: {len(missing)} of {len(records)} listed images are missing, first {missing[0]}; "
            f"{what_is_there(missing[0].parent)}",
            code="missing-images",
        )
