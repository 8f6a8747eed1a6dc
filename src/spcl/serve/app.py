"""The application: routes, errors, the guard in front of them, what runs from start to stop."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

from spcl._version import __version__
from spcl.errors import InputError
from spcl.serve.api import router
from spcl.serve.failures import RequestError, answered_error
from spcl.serve.guard import Guard
from spcl.serve.login import router as login
from spcl.serve.metrics import Metrics
from spcl.serve.opening import Served
from spcl.serve.page_files import router as files
from spcl.serve.search_page import router as pages
from spcl.serve.service import GalleryService
from spcl.serve.sessions import Sessions
from spcl.serve.settings import ServeLimits, Token

_CODES = {404: "no-such-page", 405: "method-not-allowed"}


def make_app(served: Served, *, limits: ServeLimits | None = None, token: Token | None = None) -> Guard:
    """Make the application of a server.

    Args:
        served: What the answers come from.
        limits: Limits of requests; None: the defaults.
        token: The token that clients must send; None: none.

    Returns:
        An ASGI application.
    """
    limits = limits or ServeLimits()
    metrics = Metrics()
    service = GalleryService(served, limits, metrics)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await service.start()
        yield
        await service.stop()

    # The pages of FastAPI load scripts from other sites.
    app = FastAPI(
        title="spcl",
        version=__version__,
        description="Embed, compare, search, identify and enrol images of one gallery (docs/serve.md).",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
    )
    app.state.service = service
    app.state.sessions = sessions = None if token is None else Sessions(token)
    for part in (router, pages, files, login):
        app.include_router(part)
    add_error_answers(app)
    return Guard(app, limits, sessions, metrics.observe_answer)


def add_error_answers(app: FastAPI) -> None:
    """Answer every error in one form."""

    async def refused(_: Request, error: Exception) -> Response:
        found = _as_request_error(error)
        return JSONResponse(found.to_dict(), found.status, headers=found.headers)

    for kind in (RequestError, InputError, RequestValidationError, HTTPException):
        app.add_exception_handler(kind, refused)


def _as_request_error(error: Exception) -> RequestError:
    if isinstance(error, RequestError):
        return error
    if isinstance(error, InputError):
        return answered_error(error)
    if isinstance(error, RequestValidationError):
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"][1:])
        return RequestError(422, "invalid-parameter", f"{place} cannot be used: {first['msg']}")
    if isinstance(error, HTTPException):
        return RequestError(error.status_code, _CODES.get(error.status_code, "http-error"), str(error.detail))
    raise error
