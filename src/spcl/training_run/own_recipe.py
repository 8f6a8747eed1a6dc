"""The recipe of a run that is continued, from the settings in its folder. Torch is not loaded."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from spcl.config import Recipe, in_new_places, overlay
from spcl.errors import InputError, first_line
from spcl.nested_text import toml_of
from spcl.training_run.run_file_names import CONFIG_FILE

_OF_THE_COMMAND = {
    "data": ("source", "target", "data_dir", "workers", "image_memory", "cache_dir", "check"),
    "run": ("logs_dir", "device", "compile"),
}
"""Settings that the command that continues a run gives again: which data, where, and the machine's."""


def recipe_of_run(folder: Path) -> Recipe | None:
    """Give the recipe that the run in a folder was started with; None: there are no settings in the folder.

    A part of the user's own kind is left out, because no code is imported for the name in a file that was written by a
    run: the settings file that names it is given again.

    Raises:
        InputError: If the file of settings cannot be read.
    """
    path = folder / CONFIG_FILE
    if not path.is_file():
        return None
    try:
        values = in_new_places(toml_of(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path}, the settings of the run that is to be continued, cannot be read ({first_line(error)}); give its "
            "recipe with --recipe",
            code="damaged-file",
        ) from error
    for section, names in _OF_THE_COMMAND.items():
        for name in names:
            if isinstance(part := values.get(section), dict):
                part.pop(name, None)
    packaged = {name: part for name, part in values.items() if not _names_code(part)}
    return overlay(Recipe(), packaged, str(path))


def _names_code(part: Any) -> bool:
    """Whether a section, or one of several, is of a kind of the user's own."""
    parts = part if isinstance(part, list) else [part]
    return any(isinstance(each, Mapping) and ":" in str(each.get("kind", "")) for each in parts)
