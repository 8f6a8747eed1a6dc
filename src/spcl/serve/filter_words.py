"""The filter of a search over HTTP: what the gallery understands, without functions, and the parts that have a name."""

from __future__ import annotations

import re
from collections.abc import Sequence

from spcl.data.time_parsing import as_time
from spcl.gallery.filters import both, not_cameras, quoted
from spcl.serve.failures import RequestError

_LONGEST = 1000
_BEFORE_BRACKETS = ("in", "and", "or", "not", "where")
_CALL = re.compile(r"([^\W\d]\w*)\s*\(")
_TEXT = re.compile(r"'(?:[^']|'')*'")


def search_filter(where: str | None, camera_not: Sequence[str], since: str | None, until: str | None) -> str | None:
    """Join the filters of a request; None: there are none.

    Args:
        where: A filter as ``Gallery.search`` takes it, without functions: a function could take long.
        camera_not: Cameras whose images are left out.
        since: Earliest time of an image, as text.
        until: Latest time of an image, as text.

    Raises:
        RequestError: If a time is none, or the filter is too long or calls a function.
    """
    found = not_cameras(camera_not)
    for name, sign, text in (("since", ">=", since), ("until", "<=", until)):
        if text:
            found = both(found, f"time {sign} {_moment(name, text)}")
    if where:
        if len(where) > _LONGEST:
            raise RequestError(422, "invalid-filter", f"the filter has {len(where)} characters; at most {_LONGEST}")
        called = [name for name in _CALL.findall(_TEXT.sub("''", where)) if name.lower() not in _BEFORE_BRACKETS]
        if called:
            raise RequestError(
                422, "invalid-filter", f"the filter calls {called[0][:80]!r}; filters of this server have no functions"
            )
        found = both(found, where)
    return found


def _moment(name: str, text: str) -> str:
    try:
        moment = as_time(text)
    except (ValueError, OverflowError):
        moment = None
    if moment is None:
        raise RequestError(
            422, "invalid-time", f"{name} is {text[:80]!r}; expected a time such as 2026-03-01 12:00 (ISO 8601)"
        )
    return quoted(moment.isoformat(sep=" "))
