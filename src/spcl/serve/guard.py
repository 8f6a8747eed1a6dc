"""What every request passes before it is looked at: host, origin, token, the bytes and seconds of its body.

An ASGI middleware. It answers what it refuses itself, and adds the headers that keep pages of others out of these
pages and scripts of others out of every answer.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable, MutableMapping
from http.cookies import CookieError, SimpleCookie
from typing import Any, TypeVar
from urllib.parse import urlsplit

from spcl.serve.failures import RequestError, busy
from spcl.serve.sessions import COOKIE, Sessions
from spcl.serve.settings import ServeLimits, is_own_address

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Observe = Callable[[str, int, float], None]
T = TypeVar("T")

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS = [
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
]
_OPEN = ("/healthz", "/login")
"""Paths that need no token: neither says anything of the gallery."""

_OPEN_BELOW = "/static/"
_READING = ("GET", "HEAD", "OPTIONS")


class Guard:
    """The middleware.

    Args:
        app: What answers the requests that pass.
        limits: Limits of requests.
        sessions: Knows the token; None: no token is required, and only this machine's own names are answered.
        observe: Called with the route, the status and the seconds of each answer; the route of what is refused here,
            or is no page, is ``other``.
    """

    def __init__(self, app: App, limits: ServeLimits, sessions: Sessions | None, observe: Observe) -> None:
        self._app, self._limits, self._sessions, self._observe = app, limits, sessions, observe
        self._num_requests, self._num_bytes = 0, 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check a request, and pass it on or answer it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        answer = _Answer(send, self._limits.body_seconds)
        started = time.perf_counter()
        try:
            await self._answer(scope, receive, answer)
        finally:
            path = getattr(scope.get("route"), "path", "other")
            self._observe(path, answer.status, time.perf_counter() - started)

    async def _answer(self, scope: Scope, receive: Receive, answer: _Answer) -> None:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        body = answer.body = _Body(receive, self, self._limits, headers)
        try:
            self._check(scope, headers)
            if self._num_requests >= self._limits.requests and scope["path"] != "/healthz":
                raise busy(f"{self._num_requests} requests are being answered")
            body.check_announced()
        except RequestError as error:
            await answer.refuse(error, to_login=_wants_page(scope, headers))
            return
        self._num_requests += 1
        try:
            await self._app(scope, body.receive, answer.send)
        finally:
            self._num_requests -= 1
            self._num_bytes -= body.num_bytes

    def take_bytes(self, num: int) -> None:
        """Count bytes of a body that is kept.

        Raises:
            RequestError: If the bodies of all requests together have too many.
        """
        if self._num_bytes + num > self._limits.all_body_bytes:
            raise busy("the images of other requests take all the memory that they may take")
        self._num_bytes += num

    def _check(self, scope: Scope, headers: dict[str, str]) -> None:
        host = headers.get("host", "")
        if self._sessions is None and not is_own_address(_name_of(host)):
            # Otherwise a page of another site could reach this server by a name that leads to this machine.
            raise RequestError(
                421, "host-not-served", f"this server answers at localhost only, and the request is for {host[:80]!r}"
            )
        origin = headers.get("origin")
        if origin is not None and scope["method"] not in _READING and urlsplit(origin).netloc != host:
            raise RequestError(403, "other-origin", "the request was made by a page of another site")
        path = scope["path"]
        if self._sessions is None or path in _OPEN or path.startswith(_OPEN_BELOW):
            return
        kind, _, given = headers.get("authorization", "").partition(" ")
        by_token = kind.lower() == "bearer" and self._sessions.token.is_equal(given.strip())
        if not by_token and not self._sessions.is_open(_cookie(headers.get("cookie", ""))):
            raise RequestError(401, "token-required", "send the token as the header Authorization: Bearer TOKEN")


class _Body:
    """The body of one request: its bytes are counted, and the client must send them in time."""

    def __init__(self, receive: Receive, guard: Guard, limits: ServeLimits, headers: dict[str, str]) -> None:
        self._receive, self._guard, self._limits = receive, guard, limits
        self._deadline = asyncio.get_running_loop().time() + limits.body_seconds
        self._length = headers.get("content-length")
        self.is_whole = self._length in (None, "0") and "transfer-encoding" not in headers
        self.num_bytes = 0

    def check_announced(self) -> None:
        """Refuse a body whose header says that it is too large."""
        if self._length is not None and self._length.isdecimal() and int(self._length) > self._limits.body_bytes:
            raise self._too_large()

    async def receive(self) -> MutableMapping[str, Any]:
        """Give the next part of the body."""
        if self.is_whole:
            return await self._receive()
        left = self._deadline - asyncio.get_running_loop().time()
        try:
            message = await _within(max(0.0, left), self._receive())
        except (asyncio.TimeoutError, TimeoutError):
            raise RequestError(
                408, "body-too-slow", f"the body did not arrive within {self._limits.body_seconds:g} seconds"
            ) from None
        num = len(message.get("body", b""))
        if num + self.num_bytes > self._limits.body_bytes:
            raise self._too_large()
        self._guard.take_bytes(num)
        self.num_bytes += num
        self.is_whole = not message.get("more_body", False)
        return message

    def _too_large(self) -> RequestError:
        return RequestError(
            413, "body-too-large", f"the body is larger than {self._limits.body_bytes} bytes; send fewer images"
        )


class _Answer:
    """The answer to one request, with the headers of every answer; the client must receive it in time."""

    def __init__(self, send: Send, seconds: float) -> None:
        self._send, self._seconds = send, seconds
        self._is_begun = False
        self.status = 500
        self.body: _Body | None = None

    async def send(self, message: MutableMapping[str, Any]) -> None:
        """Send a part of the answer."""
        if message["type"] == "http.response.start":
            self._is_begun, self.status = True, message["status"]
            # A client must not go on with a body that is not read: the connection could not be used again.
            is_read = self.body is None or self.body.is_whole
            message["headers"] = [
                *message.get("headers", []),
                *_HEADERS,
                *([] if is_read else [(b"connection", b"close")]),
            ]
        await _within(self._seconds, self._send(message))

    async def refuse(self, error: RequestError, *, to_login: bool = False) -> None:
        """Answer with an error, or send a browser to the page that asks for the token."""
        if self._is_begun:
            return
        status, body = error.status, json.dumps(error.to_dict()).encode()
        headers = [(name.lower().encode(), value.encode()) for name, value in error.headers.items()]
        if to_login and status == 401:
            status, body, headers = 303, b"", [(b"location", b"/login")]
        else:
            headers.append((b"content-type", b"application/json"))
        headers.append((b"content-length", str(len(body)).encode()))
        await self.send({"type": "http.response.start", "status": status, "headers": headers})
        await self.send({"type": "http.response.body", "body": body})


async def _within(seconds: float, awaited: Awaitable[T]) -> T:
    """Wait for something, but no longer than some seconds; then ``TimeoutError``."""
    if sys.version_info < (3, 11):
        return await asyncio.wait_for(awaited, seconds)
    else:
        # It needs no task of its own, which ``wait_for`` did before Python 3.12.
        async with asyncio.timeout(seconds):
            return await awaited


def _name_of(host: str) -> str:
    """The name in a header ``Host``, without its port."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.rpartition(":")[0] if host.count(":") == 1 else host


def _cookie(text: str) -> str:
    try:
        found = SimpleCookie(text).get(COOKIE)
    except CookieError:
        return ""
    return "" if found is None else found.value


def _wants_page(scope: Scope, headers: dict[str, str]) -> bool:
    return scope["method"] == "GET" and "text/html" in headers.get("accept", "")
