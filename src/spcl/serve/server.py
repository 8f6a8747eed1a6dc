"""``spcl.serve``: from a gallery to a server that answers until it is stopped."""

from __future__ import annotations

import errno
import importlib
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from spcl.errors import InputError, first_line
from spcl.reporting.console import Reporter, SilentReporter
from spcl.serve.settings import ServeLimits, ServeRequest, read_token

_PACKAGES = ("fastapi", "uvicorn", "prometheus_client", "python_multipart")
_BACKLOG = 512


@dataclass(frozen=True)
class Started:
    """A server that answers.

    Attributes:
        url: Address of the server.
        engine: What runs the network: ``torch`` or ``onnxruntime``.
        reason: Why this engine is used.
        num_images: Number of images in the gallery.
        needs_token: Whether clients must send a token.
    """

    url: str
    engine: str
    reason: str
    num_images: int
    needs_token: bool


class OnStarted(Protocol):
    """Called once, when the server answers."""

    def __call__(self, started: Started) -> None:
        """Take in what was started."""


def serve(request: ServeRequest, *, report: Reporter | None = None, on_started: OnStarted | None = None) -> None:
    """Serve a gallery until SIGINT or SIGTERM; requests that have begun are then finished.

    Args:
        request: What is served, and at which address.
        report: Receives the encoder and the progress of the start; None: nothing is shown.
        on_started: Called when the server answers; None: nothing is called.

    Raises:
        InputError: If the address, the token, the gallery or the encoder cannot be used; before a request is answered.
    """
    token = read_token(request.host, request.token_file)
    require_packages()
    # Before the network is loaded: a port that is taken is reported at once.
    with listening(request.host, request.port) as listener:
        from spcl.serve.app import make_app
        from spcl.serve.opening import open_served

        served = open_served(request, report or SilentReporter())
        app = make_app(served, limits=request.limits, token=token)

        def announce() -> None:
            if on_started is not None:
                engine = served.engine
                on_started(
                    Started(url_of(listener), engine.engine.name, engine.reason, len(served.gallery), token is not None)
                )

        run_until_stopped(app, listener, request.limits, announce)


def require_packages() -> None:
    """Check that the packages of the server are installed.

    Raises:
        InputError: If one is missing.
    """
    for name in _PACKAGES:
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise InputError(
                f'a server needs the package {name}: pip install "spcl[serve]"', code="package-not-installed"
            ) from error


@contextmanager
def listening(host: str, port: int) -> Iterator[socket.socket]:
    """Give a socket that is bound to an address.

    Raises:
        InputError: If the address is taken, or this machine does not have it.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise InputError(
            f"the host {host} cannot be used: {error.strerror or first_line(error)}; expected an address of this "
            "machine, such as 127.0.0.1 or 0.0.0.0",
            code="address-not-available",
        ) from error
    with listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(address)
            listener.listen(_BACKLOG)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise InputError(
                    f"port {port} of {host} is taken by another program; give another --port, or 0 for a free one",
                    code="port-taken",
                ) from error
            raise InputError(
                f"cannot listen at {host}, port {port}: {error.strerror or first_line(error)}; give another --host or "
                "--port",
                code="address-not-available",
            ) from error
        yield listener


def url_of(listener: socket.socket) -> str:
    """The address of a server, for a browser."""
    host, port = listener.getsockname()[:2]
    shown = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{shown}]:{port}" if ":" in shown else f"http://{shown}:{port}"


def run_until_stopped(app: Any, listener: socket.socket, limits: ServeLimits, announce: Any) -> None:
    """Answer requests until SIGINT or SIGTERM; a second SIGINT does not wait for requests that have begun."""
    import uvicorn

    from spcl.serve.connections import timed_protocol

    class Server(uvicorn.Server):
        """Stops without raising the signal again: the program ends in order."""

        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets=sockets)
            if self.started:
                announce()

        @contextmanager
        def capture_signals(self) -> Iterator[None]:
            if threading.current_thread() is not threading.main_thread():
                yield
                return
            before = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)}
            try:
                yield
            finally:
                for number, handler in before.items():
                    signal.signal(number, handler)

    config = uvicorn.Config(
        app,
        http=timed_protocol(limits.header_seconds),
        ws="none",
        lifespan="on",
        access_log=False,
        log_level="error",
        server_header=False,
        limit_concurrency=4 * limits.requests,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=max(1, round(limits.stop_seconds)),
    )
    Server(config).run(sockets=[listener])
