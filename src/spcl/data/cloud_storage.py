"""Objects in cloud storage: their addresses, listed, opened and written.

``s3://`` and ``gs://`` are read by pyarrow, others by fsspec where it is installed. Keys and servers come from the
environment, as the tools of the providers read them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

from spcl.errors import InputError, first_line

_ADDRESS = re.compile(r"(s3|s3a|gs|gcs|gcsfs|abfs|abfss|az|adl|hdfs|memory):/+(?=[^/])")


def address_of(path: str | Path) -> str | None:
    """The address of an object in cloud storage, ``s3://bucket/key``; None for a path on this machine."""
    text = os.fspath(path)
    found = _ADDRESS.match(text)
    return f"{found[1]}://{text[found.end() :]}" if found else None


def objects_below(address: str) -> Iterator[str]:
    """The addresses of the files at an address and below it."""
    import pyarrow.fs

    system, inner = _system(address)
    scheme = address.partition("://")[0]
    try:
        info = system.get_file_info(inner)
        if info.type == pyarrow.fs.FileType.File:
            found = [info]
        else:
            found = system.get_file_info(pyarrow.fs.FileSelector(inner, recursive=True))
    except (OSError, ValueError) as error:
        raise InputError(
            f"{address} cannot be listed: {first_line(error)}. Check the address, and the keys in the environment "
            "(AWS_ACCESS_KEY_ID, AWS_ENDPOINT_URL, GOOGLE_APPLICATION_CREDENTIALS)",
            code="unreachable-storage",
        ) from error
    for entry in found:
        if entry.type == pyarrow.fs.FileType.File and not entry.base_name.startswith("."):
            yield f"{scheme}://{entry.path.lstrip('/')}"


@lru_cache(maxsize=64)
def _system_of(scheme: str) -> Any:
    """The file system of a scheme, with what the environment says of keys and servers."""
    import pyarrow.fs

    if scheme in ("s3", "s3a"):
        server = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
        if not server:
            return pyarrow.fs.S3FileSystem()
        kind, _, place = server.rpartition("://")
        return pyarrow.fs.S3FileSystem(endpoint_override=place, scheme=kind or "https")
    if scheme in ("gs", "gcs"):
        return pyarrow.fs.GcsFileSystem()
    try:
        import fsspec
    except ImportError as error:
        raise InputError(
            f"addresses {scheme}:// are read by fsspec: pip install fsspec and the package of that storage",
            code="package-not-installed",
        ) from error
    try:
        return pyarrow.fs.PyFileSystem(pyarrow.fs.FSSpecHandler(fsspec.filesystem(scheme)))
    except ImportError as error:
        raise InputError(
            f"addresses {scheme}:// need another package: {first_line(error)}", code="package-not-installed"
        ) from error


def _system(address: str) -> tuple[Any, str]:
    scheme, _, inner = address.partition("://")
    return _system_of(scheme), inner.rstrip("/")


def opened_object(address: str) -> BinaryIO:
    """Open an object for reading at any place.

    Raises:
        OSError: If there is none, or it cannot be read.
    """
    system, inner = _system(address)
    return system.open_input_file(inner)  # type: ignore[no-any-return]


def write_object(address: str, content: bytes) -> None:
    """Write an object, whole or not at all; one that is there is replaced.

    Raises:
        InputError: If it cannot be written.
    """
    system, inner = _system(address)
    try:
        with system.open_output_stream(inner) as stream:
            stream.write(content)
    except (OSError, ValueError) as error:
        raise InputError(
            f"{address} cannot be written: {first_line(error)}. Check who may write there, and the keys in the "
            "environment (AWS_ACCESS_KEY_ID, GOOGLE_APPLICATION_CREDENTIALS)",
            code="unreachable-storage",
        ) from error
