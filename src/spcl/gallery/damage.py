"""Damaged galleries: errors of LanceDB become one that names the gallery and the next step.

LanceDB notices missing, cut and overwritten files, and some changed bytes. Its data files have no checksums: changed
bytes of a vector or a name are not noticed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Concatenate, ParamSpec, Protocol, TypeVar

from spcl.errors import InputError, first_line
from spcl.gallery.cloud.errors import cloud_address, is_of_storage, unreachable
from spcl.gallery.qdrant.address import shown_place

P = ParamSpec("P")
T = TypeVar("T")
R = TypeVar("R", bound="InFolder")

_OF_FILES = re.compile(
    r"LanceError\((IO|Arrow)\)|Not found:|not appear to be a Lance file|decode|panicked|corrupt|Parser error: Arrow",
    re.IGNORECASE,
)
_PLACE_IN_SOURCE = re.compile(r",?\s*/\S+\.rs:\d+(:\d+)?$")


class InFolder(Protocol):
    """An object that reads the gallery of a folder."""

    folder: Path


def reason_of(error: BaseException) -> str:
    """The first line of an error of LanceDB, without the place in its source code."""
    text = _PLACE_IN_SOURCE.sub("", first_line(error))
    return text.removeprefix("lance error: ").removeprefix("Invalid input, ").rstrip(" .")


def is_of_files(error: BaseException) -> bool:
    """Whether an error of LanceDB is about the files of a table, not about a filter or another writer."""
    return isinstance(error, OSError) or _OF_FILES.search(str(error)) is not None


def damaged_gallery(folder: Path, error: BaseException) -> InputError:
    """The error for a gallery whose files cannot be read."""
    if (address := cloud_address(folder)) is not None and is_of_storage(error):
        return unreachable(address, error)
    return InputError(
        f"the gallery {shown_place(folder)} cannot be read: {reason_of(error)}. A file of it is missing or damaged: "
        "bring the folder back from a copy, or make the gallery again (spcl embed CHECKPOINT IMAGES --gallery FOLDER)",
        code="damaged-file",
    )


@contextmanager
def reading_gallery(folder: Path) -> Iterator[None]:
    """A block that reads a gallery; errors of its files become an ``InputError``.

    Raises:
        InputError: If a file of the gallery cannot be read.
    """
    try:
        yield
    except InputError:
        raise
    # LanceDB raises errors of several types; a panic of its library is no Exception.
    except BaseException as error:
        is_panic = type(error).__name__ in ("RustPanic", "PanicException")
        if not (is_panic or (isinstance(error, Exception) and is_of_files(error))):
            raise
        raise damaged_gallery(folder, error) from error


def reads_gallery(
    method: Callable[Concatenate[R, P], T],
) -> Callable[Concatenate[R, P], T]:
    """Let a method of an object with a ``folder`` raise an ``InputError`` if files of the gallery cannot be read."""

    @wraps(method)
    def guarded(reader: R, /, *args: P.args, **kwargs: P.kwargs) -> T:
        with reading_gallery(reader.folder):
            return method(reader, *args, **kwargs)

    return guarded
