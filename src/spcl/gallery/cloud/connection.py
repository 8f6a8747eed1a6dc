"""Connections of LanceDB to object storage, with keys and servers from the environment."""

from __future__ import annotations

import os
import re
from functools import lru_cache
from typing import Any

from spcl.errors import InputError
from spcl.gallery.cloud.errors import SERVERS, asking
from spcl.gallery.folder import TABLE, lance_session

# A server that accepts a connection and never answers: LanceDB repeats the first request six times.
_FIRST_ANSWER = {"connect_timeout": "5s", "timeout": "5s", "client_max_retries": "0"}
_CONNECTION = {"connect_timeout": "5s", "client_max_retries": "3", "client_retry_timeout": "30"}


def connected_to(address: str) -> Any:
    """Connect LanceDB to an address; a process has one connection to each.

    Raises:
        InputError: If LanceDB is not installed, or the storage cannot be reached.
    """
    return _connection(address, _server(), tuple(os.environ.get(name) for name in _variables()))


def _variables() -> list[str]:
    return sorted(name for name in os.environ if name.startswith(("AWS_", "GOOGLE_", "AZURE_")))


def _server() -> str:
    """The server that the environment names; empty: the provider's."""
    for name in SERVERS:
        if given := os.environ.get(name, ""):
            if not re.match(r"https?://[^/\s]+", given):
                raise InputError(
                    f"{name} is {given!r}; expected the address of a server, such as http://localhost:9000",
                    code="invalid-gallery-address",
                )
            return given
    return ""


@lru_cache(maxsize=8)
def _connection(address: str, server: str, _: tuple[str | None, ...]) -> Any:
    session = lance_session()
    import lancedb

    options = {"allow_http": "true"} if server.startswith("http://") else {}
    if server and address.startswith("s3:"):
        options["aws_endpoint"] = server
    with asking(address):
        lancedb.connect(address, storage_options=options | _FIRST_ANSWER).list_tables()
        return lancedb.connect(address, session=session, storage_options=options | _CONNECTION)


def is_there(address: str) -> bool:
    """Whether there is a gallery at an address, or another table of LanceDB of the same name.

    Raises:
        InputError: If the storage cannot be used.
    """
    database = connected_to(address)
    try:
        with asking(address):
            database.open_table(TABLE)
    except ValueError as error:
        if "not found" in str(error) and not isinstance(error, InputError):
            return False
        raise
    return True
