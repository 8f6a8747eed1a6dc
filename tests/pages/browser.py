"""Chromium through Playwright, for tests that look at a page; skipped with the reason where one of both is absent."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

_QUIET = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
)
PHONE, SCREEN = {"width": 390, "height": 844}, {"width": 1200, "height": 900}


@contextmanager
def opened(page: Path) -> Iterator[Any]:
    """Give a browser's page that shows a file; an error of its script, or a request to load anything, fails."""
    playwright = pytest.importorskip("playwright.sync_api")
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("Chromium is not installed")
    faults: list[str] = []
    with playwright.sync_playwright() as started, TemporaryDirectory() as profile:
        browser = started.chromium.launch_persistent_context(
            profile, executable_path=program, args=_QUIET, viewport=SCREEN, color_scheme="light"
        )
        try:
            shown = browser.pages[0]
            shown.on("pageerror", lambda error: faults.append(str(error)))
            shown.on("console", lambda line: faults.append(line.text) if line.type in ("error", "warning") else None)
            shown.on("request", lambda made: None if _is_inside(made.url, page) else faults.append(made.url))
            shown.goto(page.absolute().as_uri())
            yield shown
        finally:
            browser.close()
    assert not faults


def _is_inside(url: str, page: Path) -> bool:
    return url.startswith("data:") or url.partition("#")[0] == page.absolute().as_uri()
