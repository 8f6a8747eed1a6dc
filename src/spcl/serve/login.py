"""The page that asks a browser for the token."""

from __future__ import annotations

import asyncio
from urllib.parse import parse_qs

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from spcl.serve.failures import RequestError
from spcl.serve.page_files import page
from spcl.serve.sessions import COOKIE, Sessions

router = APIRouter(include_in_schema=False)

_PAUSE = 0.5
"""Seconds before a wrong token is answered."""

_MOST_BYTES = 10_000


@router.get("/login")
async def ask() -> Response:
    """Show the page."""
    return page("login.html", refused=False)


@router.post("/login")
async def log_in(request: Request) -> Response:
    """Take the token, and give the browser a cookie in its place."""
    sessions: Sessions | None = request.app.state.sessions
    body = await request.body()
    if len(body) > _MOST_BYTES:
        raise RequestError(413, "body-too-large", "the body is larger than a token")
    given = parse_qs(body.decode("utf-8", "replace"), max_num_fields=5).get("token", [""])[0].strip()
    if sessions is None:
        return RedirectResponse("/", status_code=303)
    if not sessions.token.is_equal(given):
        await asyncio.sleep(_PAUSE)
        return page("login.html", status=401, refused=True)
    answer = RedirectResponse("/", status_code=303)
    is_safe = request.url.scheme == "https"
    answer.set_cookie(COOKIE, sessions.cookie, httponly=True, samesite="strict", secure=is_safe, path="/")
    return answer
