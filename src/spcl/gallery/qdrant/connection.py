"""Clients of Qdrant, and their errors as errors that name the server and the next step."""

from __future__ import annotations

import atexit
import json
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Lock
from typing import Any

from spcl.errors import InputError, first_line
from spcl.gallery.qdrant.address import QdrantPlace

KEY_VARIABLE = "QDRANT_API_KEY"
TIMEOUT_VARIABLE = "SPCL_QDRANT_TIMEOUT"

_TIMEOUT = 60
"""Seconds for an answer; an exact search of millions of vectors takes some."""

_clients: dict[str, Any] = {}
_lock = Lock()


def client_of(place: QdrantPlace) -> Any:
    """Give the client of a server or folder; there is one in a process for each.

    A folder in local mode is locked by its client until the process ends.

    Raises:
        InputError: If the package is not installed, the time limit is no number, or another program uses the folder.
    """
    if place.folder is None:
        name, key = place.url, os.environ.get(KEY_VARIABLE) or None
    else:
        name, key = str(Path(os.path.realpath(place.folder))), None
    known = f"{name} {key or ''}"
    with _lock:
        if known not in _clients:
            _clients[known] = _server_client(place, key) if place.folder is None else _local_client(place)
        return _clients[known]


def close_clients(part: str = "") -> None:
    """Close clients, so that other programs can use the folders of the local mode.

    Args:
        part: A part of the address of the servers and the folders; empty: all.
    """
    with _lock:
        for known in [known for known in _clients if part in known]:
            with suppress(Exception):
                _clients.pop(known).close()


atexit.register(close_clients)


def models() -> Any:
    """The module ``qdrant_client.models``.

    Raises:
        InputError: If the package is not installed.
    """
    try:
        from qdrant_client import models as found
    except ModuleNotFoundError as error:
        raise InputError(
            'a gallery in Qdrant needs its client, which is not installed: pip install "spcl[qdrant]"',
            code="package-not-installed",
        ) from error
    return found


def _server_client(place: QdrantPlace, key: str | None) -> Any:
    models()
    from qdrant_client import QdrantClient

    given = os.environ.get(TIMEOUT_VARIABLE, str(_TIMEOUT))
    if not given.isdigit() or not int(given):
        raise InputError(
            f"{TIMEOUT_VARIABLE} is {given!r}; expected a whole number of seconds from 1 on",
            code="setting-out-of-range",
        )
    # The key goes over a plain connection where the user gives http: on one's own machine that is usual.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return QdrantClient(url=place.url, api_key=key, timeout=int(given), check_compatibility=False)


def _local_client(place: QdrantPlace) -> Any:
    models()
    from qdrant_client import QdrantClient

    try:
        with warnings.catch_warnings():
            # Local mode warns of more than 20,000 rows; docs/search.md says what it is for.
            warnings.simplefilter("ignore")
            return QdrantClient(path=str(place.folder), force_disable_check_same_thread=True)
    except RuntimeError as error:
        raise InputError(
            f"the folder {place.folder} is in use by another program: local mode of Qdrant serves one at a time. Wait "
            "for it, or use a server (qdrant://HOST:6333/COLLECTION)",
            code="gallery-busy",
        ) from error
    except Exception as error:  # damaged files raise errors of many types
        raise InputError(
            f"the folder {place.folder} cannot be opened by Qdrant's local mode: {first_line(error)}. Bring it back "
            "from a copy, or give another folder",
            code="damaged-file",
        ) from error


@contextmanager
def asking(place: QdrantPlace) -> Iterator[None]:
    """A block that asks Qdrant; its errors become an ``InputError``.

    Raises:
        InputError: If the server cannot be reached, refuses the key or the request, or the folder cannot be read.
    """
    models()
    from qdrant_client.common.client_exceptions import QdrantException
    from qdrant_client.http.exceptions import ApiException, ResponseHandlingException, UnexpectedResponse

    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="qdrant_client")
            warnings.filterwarnings("ignore", message=".*(ocal mode|local Qdrant).*")
            yield
    except InputError:
        raise
    except UnexpectedResponse as error:
        raise _refused(place, error) from error
    except ResponseHandlingException as error:
        raise _unreachable(place, error.source) from error
    except (ApiException, QdrantException, OSError) as error:
        raise _unreachable(place, error) from error
    except json.JSONDecodeError as error:
        raise _unreachable(place, ValueError("its answer is no JSON")) from error


def _unreachable(place: QdrantPlace, error: BaseException) -> InputError:
    reason = first_line(error)
    if "timed out" in reason.lower() or "timeout" in type(error).__name__.lower():
        reason = f"no answer in time ({TIMEOUT_VARIABLE} sets the seconds)"
    return InputError(
        f"{place.holder} of the gallery {place.address} cannot be used: {reason}. Check the address, and whether the "
        "server runs and is a Qdrant server",
        code="unreachable-server",
    )


def _refused(place: QdrantPlace, error: Any) -> InputError:
    status, reason = error.status_code, error.reason_phrase or ""
    with suppress(Exception):
        reason = str(error.structured()["status"]["error"])
    if status in (401, 403):
        given = "the key in" if os.environ.get(KEY_VARIABLE) else "no key: set"
        return InputError(
            f"{place.holder} refuses {given} {KEY_VARIABLE} ({status}); give a key that may "
            f"read and write {place.collection}",
            code="server-refuses-key",
        )
    if status == 404:
        return InputError(
            f"{place.holder} has no collection {place.collection}, or is no Qdrant server ({reason}); make the gallery "
            f"with spcl embed CHECKPOINT IMAGES --gallery {place.address}",
            code="no-such-gallery",
        )
    return InputError(
        f"{place.holder} refuses a request for {place.address}: {status} {reason}", code="server-refuses-request"
    )
