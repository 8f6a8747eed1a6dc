"""``spcl live``: a page that follows running trainings, from the files in their folders. Torch is not loaded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from spcl.errors import InputError, require
from spcl.pages.run_curves import ShownRun, curves_section, holds_run, read_runs
from spcl.serve.server import listening, require_packages, run_until_stopped, url_of
from spcl.serve.settings import ServeLimits, Token, read_token
from spcl.training_run.run_file_names import METRICS_FILE

_LIMITS = ServeLimits(body_bytes=100_000, requests=64)


@dataclass(frozen=True)
class LiveRequest:
    """Which runs are shown, and at which address.

    Attributes:
        runs: Folders of runs, finished or not.
        host: Address to listen at; other programs of this machine alone reach ``127.0.0.1``.
        port: Port to listen at; 0: a free one.
        token_file: File that holds the token which browsers must give; empty: the environment variable ``SPCL_TOKEN``.
    """

    runs: tuple[str | Path, ...]
    host: str = "127.0.0.1"
    port: int = 8001
    token_file: str | Path = ""

    def __post_init__(self) -> None:
        """Raise an ``InputError`` for a port out of range, or a folder that holds no run."""
        require(0 <= self.port < 65536, "port", self.port, "0 to 65535")
        if not self.runs:
            raise InputError("no run is given; expected for example spcl live runs/mine", code="missing-argument")
        for run in self.runs:
            if not holds_run(Path(run)):
                raise InputError(
                    f"{run} holds no run; give a folder of spcl train --logs-dir, which has config.toml once the "
                    "training has begun",
                    code="no-such-run",
                )


def live(request: LiveRequest, *, on_started: Callable[[str], None] | None = None) -> None:
    """Serve the page until SIGINT or SIGTERM.

    Args:
        request: Which runs are shown, and at which address.
        on_started: Called with the URL when the server answers; None: nothing is called.

    Raises:
        InputError: If the address or the token cannot be used.
    """
    token = read_token(request.host, request.token_file)
    require_packages()
    with listening(request.host, request.port) as listener:
        app = make_live_app([Path(run) for run in request.runs], token=token)
        run_until_stopped(
            app, listener, _LIMITS, lambda: on_started(url_of(listener)) if on_started is not None else None
        )


def make_live_app(folders: Sequence[Path], *, token: Token | None = None) -> Any:
    """Make the application: the page, and the part of it that changes.

    Args:
        folders: Folders of the runs.
        token: The token that browsers must give; None: none.
    """
    from fastapi import FastAPI
    from fastapi.responses import Response

    from spcl.serve.app import add_error_answers
    from spcl.serve.guard import Guard
    from spcl.serve.login import router as login
    from spcl.serve.page_files import page
    from spcl.serve.page_files import router as files
    from spcl.serve.sessions import Sessions

    app = FastAPI(title="spcl live", docs_url=None, redoc_url=None, openapi_url=None)
    app.state.sessions = sessions = None if token is None else Sessions(token)
    kept: list[ShownRun] = []

    def shown() -> dict[str, Any]:
        try:
            kept[:] = read_runs(folders)
        except InputError:
            # A line that is being written; the next look reads it whole.
            if not kept:
                raise
        return {"runs": tuple(kept), "states": [state_of_run(run) for run in kept], "curves": curves_section(kept)}

    @app.get("/")
    def whole() -> Response:
        return page("live.html", **shown())

    @app.get("/curves")
    def part() -> Response:
        return page("curves_now.html", **shown())

    @app.get("/healthz")
    def healthz() -> dict[str, str]:
        return {"status": "ok"}

    for router in (files, login):
        app.include_router(router)
    add_error_answers(app)
    return Guard(app, _LIMITS, sessions, lambda path, status, seconds: None)


def state_of_run(run: ShownRun) -> dict[str, str]:
    """What the page says of a run: its epochs, when the last one ended, and how long the others will take."""
    done, planned = len(run.epochs), run.planned_epochs
    times = [sum((row.get("seconds") or {}).values()) for row in run.epochs[-5:]]
    seconds = sum(times) / len(times) if times else 0.0
    left = max(0, planned - done) * seconds
    try:
        ended = datetime.fromtimestamp((run.folder / METRICS_FILE).stat().st_mtime).isoformat(" ", "seconds")
    except OSError:
        ended = "-"
    is_done = bool(planned) and done >= planned
    return {
        "name": run.name,
        "progress": "finished" if is_done else f"{done} of {planned or '?'} epochs",
        "last": ended if done else "-",
        "epoch": _duration(seconds) if seconds else "-",
        "left": "-" if is_done or not seconds or not planned else _duration(left),
    }


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
