"""The enrolled identities of a gallery as they were computed last, in a file beside its table.

The file holds for one state of the table, which it names: the files of its versions with their sizes and times. Any
write adds a version, so that a file that another write has overtaken, whoever wrote, is not used. Neither is one that
is damaged. It can be read without the store, whose import takes longer than naming an image.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from spcl.atomic_files import written_aside
from spcl.errors import InputError
from spcl.gallery.folder import FORMAT, TABLE
from spcl.verification.identification import Enrolled

_FILE = "enrolled.npz"
# A higher one where the same table gives other identities or scores than before.
_LAYOUT = 1
_VERSIONS = "_versions"
_SUFFIX = ".manifest"
_ARRAYS = tuple(field.name for field in fields(Enrolled) if field.name not in ("identities", "pairs"))


class GalleryFacts(NamedTuple):
    """What opening a gallery reads of its table.

    Attributes:
        facts: Facts that were stored when the gallery was made.
        dim: Length of a vector.
    """

    facts: dict[str, Any]
    dim: int


def state_of(folder: Path) -> str | None:
    """A name for the state of a gallery's table, another after every write; None where the files cannot be listed.

    To be asked for before the table is read: what is written meanwhile then makes the name an old one.
    """
    try:
        with os.scandir(folder / f"{TABLE}.lance" / _VERSIONS) as entries:
            files = [(entry.name, entry.stat()) for entry in entries if entry.name.endswith(_SUFFIX)]
    except OSError:
        return None
    if not files:
        return None
    listed = sorted((name, stat.st_size, stat.st_mtime_ns) for name, stat in files)
    return hashlib.sha256(json.dumps(listed).encode()).hexdigest()


def known_facts(folder: Path) -> GalleryFacts | None:
    """What the table says of itself, where the file is of its state; None: ask the table."""
    # Whatever is wrong with a damaged file: what it holds can be computed again.
    with suppress(Exception), _opened(folder) as arrays:
        about = _about(arrays, folder)
        if about is not None:
            return GalleryFacts(dict(about["facts"]), int(about["dim"]))
    return None


def read_enrolled(folder: Path) -> Enrolled | None:
    """The enrolled identities, without a calibration; None where the file is not of the table's state, or damaged."""
    with suppress(Exception), _opened(folder) as arrays:
        about = _about(arrays, folder)
        if about is None:
            return None
        values = {name: arrays[name] for name in _ARRAYS}
        identities = tuple(json.loads(arrays["identities"].tobytes()))
        is_whole = values["means"].shape == (len(identities), about["dim"]) and all(
            len(values[name]) == len(identities) for name in ("counts", "lengths")
        )
        if is_whole and len(identities) and len(values["impostor"]) == len(values["impostor_rows"]):
            return Enrolled(identities=identities, pairs=None, **values)
    return None


def write_enrolled(folder: Path, state: str | None, facts: Mapping[str, Any], enrolled: Enrolled) -> None:
    """Keep what was computed for the next time; where nothing can be written, it is computed again then.

    Args:
        folder: Folder of the gallery.
        state: Of the table, as ``state_of`` gave it before the table was read.
        facts: Facts that were stored when the gallery was made.
        enrolled: All identities of the table, whatever its calibration.
    """
    if state is None:
        return
    about = {"layout": _LAYOUT, "state": state, "facts": dict(facts), "dim": enrolled.means.shape[1]}
    arrays = {name: getattr(enrolled, name) for name in _ARRAYS}
    with suppress(InputError), written_aside(folder / _FILE) as aside, aside.open("wb") as file:
        np.savez(file, about=_bytes(about), identities=_bytes(enrolled.identities), **arrays)


def _opened(folder: Path) -> Any:
    return np.load(folder / _FILE, allow_pickle=False)


def _about(arrays: Any, folder: Path) -> dict[str, Any] | None:
    """What the file says of itself, where it holds for the table as it is now."""
    about: dict[str, Any] = json.loads(arrays["about"].tobytes())
    if about["layout"] != _LAYOUT or about["facts"].get("format") != FORMAT or about["state"] != state_of(folder):
        return None
    return about


def _bytes(value: object) -> Any:
    return np.frombuffer(json.dumps(value).encode(), dtype=np.uint8)
