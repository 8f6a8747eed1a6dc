"""The folder of a gallery: its files, how it is made, and the connection of LanceDB to it."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from spcl.data.image_files import what_is_there
from spcl.errors import InputError
from spcl.format_versions import GALLERY
from spcl.gallery.argument_checks import required_count
from spcl.gallery.columns import KEY, OWN_COLUMNS, VECTOR, vector_type
from spcl.gallery.snapshot import FACTS
from spcl.leftovers import aside_of, remove_leftovers

TABLE = "images"
FORMAT = GALLERY
KEY_FIELD = pa.field(
    KEY,
    pa.string(),
    nullable=False,
    # With a primary key, LanceDB detects two writers that add the same new image at once; otherwise both rows stay.
    metadata={"lance-schema:unenforced-primary-key": "true", "lance-schema:unenforced-primary-key:position": "1"},
)

_INDEX_CACHE = 768 * 2**20
_METADATA_CACHE = 128 * 2**20
_READ_AHEAD = 128 * 2**20


def is_gallery(folder: Path) -> bool:
    """Whether a folder holds a gallery."""
    return (folder / f"{TABLE}.lance").is_dir()


def make_folder(folder: Path, dim: int, facts: Mapping[str, Any]) -> None:
    """Make an empty gallery under a temporary name, then rename it.

    Raises:
        InputError: If the folder is not empty, another program makes the gallery at the same time, or the disk is
            full.
    """
    dim = required_count(dim, "dim")
    if is_gallery(folder):
        raise InputError(
            f"there is already a gallery at {folder}: open it, or give another folder", code="already-exists"
        )
    if not _is_free(folder):
        raise InputError(f"a gallery needs a folder of its own, and {what_is_there(folder)}", code="folder-not-empty")
    if not folder.name:
        raise InputError(
            f"{folder} cannot be a gallery's folder; give a folder with a name, such as {folder / 'NAME'}",
            code="invalid-folder-name",
        )
    schema = new_schema(dim, facts)
    # The temporary name is unique: two programs may make the same gallery at the same time.
    aside = aside_of(folder)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(folder)
        connected(aside).create_table(TABLE, schema=schema)
        if os.name == "nt" and folder.exists():
            folder.rmdir()
        # An empty folder is replaced in one step; one in which another program has made its gallery is not.
        aside.rename(folder)
    except (OSError, RuntimeError) as error:
        if is_gallery(folder):
            raise InputError(
                f"another program has made the gallery {folder} at the same time: open it", code="already-exists"
            ) from error
        raise InputError(
            f"cannot make the gallery {folder}: {getattr(error, 'strerror', None) or error}", code="cannot-write"
        ) from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _is_free(folder: Path) -> bool:
    """Whether a gallery can be made at a path: nothing is there, or an empty folder."""
    try:
        return not any(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return not os.path.lexists(folder)
    except OSError:
        return False


def connected(folder: Path) -> Any:
    """Connect LanceDB to the folder of a gallery.

    Raises:
        InputError: If LanceDB is not installed.
    """
    session = lance_session()
    import lancedb

    return lancedb.connect(str(folder), session=session)


def lance_session() -> Any:
    """The caches of a connection of LanceDB.

    Raises:
        InputError: If LanceDB is not installed.
    """
    # Writes that lose a race are repeated; LanceDB would log each of them to the terminal.
    os.environ.setdefault("LANCEDB_LOG", "error")
    # Bytes that a scan reads ahead; the default is 2 GiB.
    os.environ.setdefault("LANCE_DEFAULT_IO_BUFFER_SIZE", str(_READ_AHEAD))
    try:
        import lancedb
    except ModuleNotFoundError as error:
        raise InputError(
            'a gallery needs LanceDB, which is not installed: pip install "spcl[gallery]"', code="package-not-installed"
        ) from error
    return lancedb.Session(index_cache_size_bytes=_INDEX_CACHE, metadata_cache_size_bytes=_METADATA_CACHE)


def new_schema(dim: int, facts: Mapping[str, Any]) -> pa.Schema:
    """The schema of the table of a new gallery."""
    columns = [pa.field(name, kind, nullable=name != "path") for name, kind in OWN_COLUMNS.items()]
    vectors = pa.field(VECTOR, vector_type(dim), nullable=False)
    return pa.schema([KEY_FIELD, *columns, vectors], metadata=table_metadata(facts))


def table_metadata(facts: Mapping[str, Any]) -> dict[bytes, bytes]:
    """The metadata of a table that this version of spcl writes."""
    return {FACTS: json.dumps({**facts, "format": FORMAT}).encode()}
