"""Pages of the server: templates in which every text is escaped, and the scripts and styles that they load."""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import Any

from fastapi import APIRouter
from fastapi.responses import HTMLResponse, Response
from jinja2 import Environment, PackageLoader, StrictUndefined

from spcl.serve.failures import RequestError

_STATIC = {
    "report.css": ("spcl.pages", "text/css; charset=utf-8"),
    "serve.css": ("spcl.serve", "text/css; charset=utf-8"),
    "search.js": ("spcl.serve", "text/javascript; charset=utf-8"),
    "live.js": ("spcl.serve", "text/javascript; charset=utf-8"),
}
"""Files that pages load, each with the package that holds it and its type; no other file is served."""

router = APIRouter(include_in_schema=False)


def page(template: str, status: int = 200, **values: Any) -> HTMLResponse:
    """A page made of a template of this folder."""
    return HTMLResponse(_environment().get_template(template).render(values), status_code=status)


@router.get("/static/{name}")
def static(name: str) -> Response:
    """Give a script or a style sheet of the pages."""
    if name not in _STATIC:
        raise RequestError(404, "no-such-page", f"there is no file {name[:80]!r}")
    package, kind = _STATIC[name]
    return Response(_text(package, name), media_type=kind, headers={"Cache-Control": "no-cache"})


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("spcl.serve"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


@cache
def _text(package: str, name: str) -> str:
    return resources.files(package).joinpath("templates", name).read_text(encoding="utf-8")
