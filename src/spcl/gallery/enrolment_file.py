"""The enrolled identities of a gallery, kept in a file beside its table.

The file names the state of the table that it was computed from (``table_state.py``): after any write to the table, and
if it is damaged, it is not used. Reading it does not need LanceDB, whose import takes longer than naming an image.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from spcl.atomic_files import written_aside
from spcl.errors import InputError
from spcl.file_kinds import check_unfolded
from spcl.gallery.table_state import GalleryFacts, holds_for, state_of
from spcl.nested_text import json_of
from spcl.verification.identification import Enrolled

_FILE = "enrolled.npz"
# Increase it when the same table gives other identities or scores than before.
_LAYOUT = 1
_ARRAYS = tuple(field.name for field in fields(Enrolled) if field.name not in ("identities", "pairs"))


def known_facts(folder: Path) -> GalleryFacts | None:
    """Read the gallery's facts from the file; None if it is missing, damaged or out of date."""
    # A damaged file raises errors of many types, and its content can be computed again.
    with suppress(Exception), _opened(folder) as arrays:
        about = _about(arrays, state_of(folder))
        if about is not None:
            return GalleryFacts(dict(about["facts"]), int(about["dim"]))
    return None


def read_enrolled(folder: Path, state: str | None) -> Enrolled | None:
    """Read the enrolled identities, without a calibration; None if the file is missing, damaged or out of date.

    Args:
        folder: Folder of the file.
        state: State of the table that they must be of.
    """
    with suppress(Exception), _opened(folder) as arrays:
        about = _about(arrays, state)
        if about is None:
            return None
        values = {name: arrays[name] for name in _ARRAYS}
        identities = tuple(json_of(arrays["identities"].tobytes()))
        is_whole = values["means"].shape == (len(identities), about["dim"]) and all(
            len(values[name]) == len(identities) for name in ("counts", "lengths")
        )
        if is_whole and len(identities) and len(values["impostor"]) == len(values["impostor_rows"]):
            return Enrolled(identities=identities, pairs=None, **values)
    return None


def write_enrolled(folder: Path, state: str | None, facts: Mapping[str, Any], enrolled: Enrolled) -> None:
    """Keep enrolled identities for later calls; if the file cannot be written, they are computed again.

    Args:
        folder: Folder of the file; it is made.
        state: State of the table, from ``state_of`` before the table was read.
        facts: Facts that were stored when the gallery was made.
        enrolled: All identities of the table; their calibration is not kept.
    """
    if state is None:
        return
    about = {"layout": _LAYOUT, "state": state, "facts": dict(facts), "dim": enrolled.means.shape[1]}
    arrays = {name: getattr(enrolled, name) for name in _ARRAYS}
    with suppress(InputError), written_aside(folder / _FILE) as aside, aside.open("wb") as file:
        np.savez(file, about=_bytes(about), identities=_bytes(enrolled.identities), **arrays)


def _opened(folder: Path) -> Any:
    check_unfolded(folder / _FILE)
    return np.load(folder / _FILE, allow_pickle=False)


def _about(arrays: Any, state: str | None) -> dict[str, Any] | None:
    """The facts of the file; None if it is out of date."""
    about: dict[str, Any] = json_of(arrays["about"].tobytes())
    return about if holds_for(about, _LAYOUT, state) else None


def _bytes(value: object) -> Any:
    return np.frombuffer(json.dumps(value).encode(), dtype=np.uint8)
