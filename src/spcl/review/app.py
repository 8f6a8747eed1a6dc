"""The application of ``spcl review``: the page, its data, its images, and corrections."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from fastapi import Body, FastAPI, Query
from fastapi.responses import FileResponse, JSONResponse, Response

from spcl.review.asked import Asked
from spcl.review.row_images import RowImages
from spcl.review.session import ReviewSession
from spcl.serve.app import add_error_answers
from spcl.serve.failures import RequestError
from spcl.serve.guard import Guard
from spcl.serve.settings import ServeLimits

_STATIC = Path(__file__).with_name("static")
_FILES = {
    "review.js": "text/javascript",
    "questions.js": "text/javascript",
    "merges.js": "text/javascript",
    "review.css": "text/css",
}
_MOST_WORDS = 100_000


def make_review_app(session: ReviewSession, asked: Asked, *, limits: ServeLimits | None = None) -> Guard:
    """Make the application; it answers this machine's own names only.

    Args:
        session: The groups.
        asked: Chooses the questions worth asking.
        limits: Limits of requests; None: the defaults.

    Returns:
        An ASGI application.
    """
    app = FastAPI(title="spcl review", docs_url=None, redoc_url=None, openapi_url=None)
    _add_page(app, session)
    _add_groups(app, session)
    _add_questions(app, asked)
    add_error_answers(app)
    return Guard(app, limits or ServeLimits(), None, lambda route, status, seconds: None)


def _add_page(app: FastAPI, session: ReviewSession) -> None:
    images = RowImages(session)

    @app.get("/")
    async def page() -> Response:
        await asyncio.to_thread(session.reload)
        return FileResponse(_STATIC / "review.html", media_type="text/html", headers={"Cache-Control": "no-cache"})

    @app.get("/static/{name}")
    async def static(name: str) -> Response:
        if name not in _FILES:
            raise RequestError(404, "no-such-page", "there is no such file")
        return FileResponse(_STATIC / name, media_type=_FILES[name], headers={"Cache-Control": "no-cache"})

    @app.get("/images/{row}")
    async def image(row: int, size: Annotated[int, Query(ge=16, le=1600)] = 160) -> Response:
        jpeg = await asyncio.to_thread(images.jpeg, row, size)
        return Response(jpeg, media_type="image/jpeg", headers={"Cache-Control": "private, max-age=3600"})


def _add_groups(app: FastAPI, session: ReviewSession) -> None:
    @app.get("/api/groups")
    async def groups() -> Response:
        return await _answered(session.overview)

    @app.get("/api/groups/{number}")
    async def group(number: int) -> Response:
        return await _answered(lambda: session.members(number))

    @app.post("/api/corrections")
    async def corrections(
        action: Annotated[str, Body(max_length=20)],
        words: Annotated[list[dict[str, int | str]], Body(max_length=_MOST_WORDS)],
    ) -> Response:
        # Answered only when it is on the disk.
        return await _answered(lambda: session.correct(action, words))


def _add_questions(app: FastAPI, asked: Asked) -> None:
    @app.get("/api/questions")
    async def questions(num: Annotated[int, Query(ge=1, le=200)] = 20) -> Response:
        return await _answered(lambda: asked.questions(num))

    @app.get("/api/merges")
    async def merges(num: Annotated[int, Query(ge=1, le=200)] = 20) -> Response:
        return await _answered(lambda: asked.merges(num))

    @app.post("/api/answers")
    async def answer(
        first: Annotated[int, Body()], second: Annotated[int, Body()], answer: Annotated[str, Body(max_length=10)]
    ) -> Response:
        return await _answered(lambda: asked.answer(first, second, answer))


async def _answered(work: Callable[[], Any]) -> Response:
    return JSONResponse(await asyncio.to_thread(work))
