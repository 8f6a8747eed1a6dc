"""Images that are not files of their own: members of tar archives (WebDataset shards), and objects in cloud storage.

A member is the path of its archive and the name in it: ``/data/shard-0001.tar/000017.jpg``. An object is its address:
``s3://bucket/crops/17.jpg``, which a ``Path`` writes with one slash; ``kept_path`` and ``address_of`` know both forms.
Addresses are read by ``cloud_storage.py``.
"""

from __future__ import annotations

import json
import os
import tarfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

from spcl.data.cloud_storage import address_of, objects_below, opened_object
from spcl.data.image_endings import is_image_name
from spcl.errors import InputError, first_line

_ARCHIVE = ".tar"
_MOST_BYTES = 2**28
"""Size of an object or member above which it is not read: crops of one object have far fewer bytes."""

_SAMPLE_COLUMNS = ("identity", "camera", "time", "track", "frame")
"""Keys of a sample's JSON that become columns."""


@dataclass(frozen=True)
class StoredImages:
    """The images of archives or of a place in cloud storage.

    Attributes:
        paths: Path of each image, in order.
        columns: Columns of the samples of archives, with a value for each image; empty where there are none.
        notes: Remarks, in sentences.
    """

    paths: list[Path]
    columns: dict[str, list[Any]]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Member:
    offset: int
    size: int


def is_stored(path: Path) -> bool:
    """Whether a path means a member of an archive or an object, and no file of its own."""
    text = os.fspath(path)
    return f"{_ARCHIVE}/" in text.lower() or address_of(text) is not None


def holds_images(path: Path) -> bool:
    """Whether a source is an archive, an address, or a folder of archives without other images."""
    if address_of(path) is not None:
        return True
    if path.suffix.lower() == _ARCHIVE:
        return path.is_file()
    return bool(_archives_in(path)) if path.is_dir() else False


def stored_images(source: Path) -> StoredImages:
    """List the images of an archive, of a folder of archives, or of an address and all below it.

    Raises:
        InputError: If it cannot be read, or holds no image.
    """
    address = address_of(source)
    archives = [source] if source.suffix.lower() == _ARCHIVE else _archives_in(source) if address is None else []
    if not archives and address is not None:
        listed = [Path(text) for text in objects_below(address)]
        archives = sorted(path for path in listed if path.suffix.lower() == _ARCHIVE)
        images = sorted(path for path in listed if is_image_name(path.name))
        if images or not archives:
            if not images:
                raise InputError(f"no images at {address} or below it", code="no-images")
            return StoredImages(images, {})
    return _of_archives(archives)


def stored_bytes(path: Path) -> bytes:
    """Read a member or an object.

    Raises:
        OSError: If there is none, or it cannot be read.
    """
    archive, _, name = _split(path)
    if archive is None:
        with _opened(path) as file:
            return _read(file, path)
    member = _members(archive).get(name)
    if member is None:
        raise FileNotFoundError(2, "there is no such file in the archive", str(path))
    if member.size > _MOST_BYTES:
        raise OSError(27, "it is larger than 256 MB", str(path))
    file = _kept_open(archive)
    file.seek(member.offset)
    return file.read(member.size)


def _split(path: Path) -> tuple[Path | None, str, str]:
    """The archive of a member, and the name in it; None: the path is in no archive."""
    text = os.fspath(path)
    at = text.lower().find(f"{_ARCHIVE}/")
    if at < 0:
        return None, "", ""
    end = at + len(_ARCHIVE)
    return Path(text[:end]), "/", text[end + 1 :]


def _archives_in(folder: Path) -> list[Path]:
    """The archives directly in a folder; none if it holds images or folders besides."""
    archives = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if is_image_name(entry.name) or entry.is_dir():
                return []
            if entry.name.lower().endswith(_ARCHIVE):
                archives.append(folder / entry.name)
    return sorted(archives)


def _of_archives(archives: Sequence[Path]) -> StoredImages:
    paths: list[Path] = []
    samples: list[dict[str, Any]] = []
    for archive in archives:
        try:
            members = _members(archive)
        except (OSError, tarfile.TarError) as error:
            raise InputError(
                f"the archive {archive} cannot be read: {first_line(error)}. Make it again; compressed archives have "
                "to be unpacked",
                code="damaged-file",
            ) from error
        facts = _facts_of_samples(archive, members)
        for name in members:
            if is_image_name(name):
                paths.append(archive / name)
                samples.append(facts.get(_sample(name), {}))
    if not paths:
        raise InputError(f"no images in {archives[0]}{_others(len(archives))}", code="no-images")
    columns = {
        name: [sample.get(name) for sample in samples]
        for name in _SAMPLE_COLUMNS
        if any(sample.get(name) is not None for sample in samples)
    }
    notes: tuple[str, ...] = (f"{len(paths)} images in {len(archives)} archive(s)",)
    if columns:
        notes += (f"read from the .json and .cls files of the samples: {', '.join(columns)}",)
    return StoredImages(paths, columns, notes)


def _others(number: int) -> str:
    return f" and {number - 1} more" if number > 1 else ""


def _sample(name: str) -> str:
    """The key of a sample in WebDataset: the name up to the first point behind its last slash."""
    folder, slash, last = name.rpartition("/")
    return folder + slash + last.partition(".")[0]


def _facts_of_samples(archive: Path, members: dict[str, _Member]) -> dict[str, dict[str, Any]]:
    """What the ``.json`` and ``.cls`` files of an archive say about their samples."""
    facts: dict[str, dict[str, Any]] = {}
    for name, member in members.items():
        ending = name.rpartition(".")[2].lower()
        if ending not in ("json", "cls") or member.size > 2**20:
            continue
        text = stored_bytes(archive / name).decode("utf-8", "replace")
        own = facts.setdefault(_sample(name), {})
        if ending == "cls":
            own.setdefault("identity", text.strip() or None)
            continue
        try:
            given = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise InputError(
                f"{archive / name} is no JSON: {first_line(error)}; make the archive again", code="damaged-file"
            ) from error
        if isinstance(given, dict):
            plain = {key: given.get(key) for key in _SAMPLE_COLUMNS}
            own.update({key: value for key, value in plain.items() if isinstance(value, str | int | float)})
    return facts


def _members(archive: Path) -> dict[str, _Member]:
    """The regular files of an archive: their places, in order. Links and devices are left out."""
    return _members_of(archive, _state_of(archive))


def _state_of(archive: Path) -> tuple[int, int]:
    """Size and time of an archive on this machine, which change when it is replaced."""
    if address_of(archive) is not None:
        return (0, 0)
    state = archive.stat()
    return (state.st_size, state.st_mtime_ns)


@lru_cache(maxsize=4096)
def _members_of(archive: Path, state: tuple[int, int]) -> dict[str, _Member]:
    with _opened(archive) as file, tarfile.open(fileobj=file, mode="r:") as tar:
        return {
            entry.name.removeprefix("./"): _Member(entry.offset_data, entry.size)
            for entry in tar
            if entry.isreg() and not entry.issparse()
        }


_own = threading.local()


def _kept_open(archive: Path) -> BinaryIO:
    """An archive, kept open by this thread until it reads another one: opening an object again costs a request."""
    key = (archive, _state_of(archive))
    if getattr(_own, "key", None) != key:
        if (former := getattr(_own, "file", None)) is not None:
            former.close()
        _own.key, _own.file = None, None
        _own.file = _opened(archive)
        _own.key = key
    file: BinaryIO = _own.file
    return file


def _opened(path: Path) -> BinaryIO:
    address = address_of(path)
    return path.open("rb") if address is None else opened_object(address)


def _read(file: BinaryIO, path: Path) -> bytes:
    content = file.read(_MOST_BYTES + 1)
    if len(content) > _MOST_BYTES:
        raise OSError(27, "it is larger than 256 MB", str(path))
    return content
