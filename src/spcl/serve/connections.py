"""Connections of slow clients: one that does not send the head of a request in time is closed.

uvicorn limits the pause between two requests of a connection, but not how long the head of a request may take, so that
a client could hold many connections open with a byte now and then. The body is limited in ``guard.py``.
"""

from __future__ import annotations

import asyncio
from importlib.util import find_spec


class _Timed:
    """Added in front of uvicorn's protocol: the clock of the head of a request."""

    seconds: float
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Start the clock of the first request."""
        super().connection_made(transport)  # type: ignore[misc]
        self._start()

    def data_received(self, data: bytes) -> None:
        """Take in bytes; the clock runs while they are the head of a request."""
        super().data_received(data)  # type: ignore[misc]
        if self._is_answering:
            self._stop()
        elif self._timer is None:
            self._start()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clock."""
        self._stop()
        super().connection_lost(exc)  # type: ignore[misc]

    def on_response_complete(self) -> None:
        """Stop the clock: the pause until the next request has a limit of its own."""
        self._stop()
        super().on_response_complete()  # type: ignore[misc]

    @property
    def _is_answering(self) -> bool:
        cycle = self.cycle  # type: ignore[attr-defined]
        return cycle is not None and not cycle.response_complete

    def _start(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self.seconds, self._end)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _end(self) -> None:
        self._timer = None
        transport: asyncio.Transport = self.transport  # type: ignore[attr-defined]
        if not self._is_answering and not transport.is_closing():
            transport.close()


def timed_protocol(seconds: float) -> type[asyncio.Protocol]:
    """Make uvicorn's protocol class, httptools where it is installed, with a limit for the head of a request.

    Args:
        seconds: Seconds from the connection, or from the first byte of a later request, to the end of the head.
    """
    if find_spec("httptools") is not None:
        from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

        return type("TimedProtocol", (_Timed, HttpToolsProtocol), {"seconds": seconds})
    from uvicorn.protocols.http.h11_impl import H11Protocol

    return type("TimedProtocol", (_Timed, H11Protocol), {"seconds": seconds})
