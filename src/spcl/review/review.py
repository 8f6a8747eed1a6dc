"""``spcl.review``: from a folder of groups to a page in the browser, until it is stopped."""

from __future__ import annotations

import webbrowser
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from spcl.errors import require
from spcl.inference.encode_options import EncodeOptions
from spcl.reporting.console import Reporter
from spcl.reporting.quiet_reporters import LoggingReporter
from spcl.review.session import ReviewSession
from spcl.serve.server import listening, require_packages, run_until_stopped, url_of
from spcl.serve.settings import ServeLimits

_HOST = "127.0.0.1"


@dataclass(frozen=True)
class ReviewRequest:
    """What is reviewed, and at which port.

    Attributes:
        folder: A folder of ``spcl cluster``.
        who: Who makes the corrections; empty: the user of the system.
        port: Port of this machine to listen at; 0: a free one.
        opens_browser: Whether the page is opened in a browser.
        encoding: Encoder of the questions worth asking; by default that of the groups.
    """

    folder: str | Path
    who: str = ""
    port: int = 0
    opens_browser: bool = True
    encoding: EncodeOptions = field(default_factory=EncodeOptions)

    def __post_init__(self) -> None:
        """Raise an ``InputError`` for a port out of range."""
        require(0 <= self.port < 65536, "port", self.port, "0 to 65535")


def review(
    request: ReviewRequest, *, report: Reporter | None = None, on_started: Callable[[str], None] | None = None
) -> None:
    """Show the page to the browsers of this machine until SIGINT or SIGTERM.

    Each correction is on the disk before it is answered.

    Args:
        request: What is reviewed.
        report: Receives the progress of embedding for the questions; None: Python's logging.
        on_started: Called with the address of the page when it can be opened; None: nothing is called.

    Raises:
        InputError: If the folder or the port cannot be used.
    """
    require_packages()
    session = ReviewSession(request.folder, request.who)
    with listening(_HOST, request.port) as listener:
        from spcl.review.app import make_review_app
        from spcl.review.asked import Asked

        app = make_review_app(session, Asked(session, request.encoding, report or LoggingReporter()))

        def announce() -> None:
            address = url_of(listener)
            if on_started is not None:
                on_started(address)
            if request.opens_browser:
                webbrowser.open(address)

        run_until_stopped(app, listener, ServeLimits(), announce)
