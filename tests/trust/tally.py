"""How often each check of trust was tried, and how often it held: ``make trust`` prints the tallies.

A test of this folder asks :func:`tries` for its number of tries: many with ``make trust``, a few with ``make test``.
Tests that are too long for a few tries are marked ``trust``, and run with ``make trust`` alone.
"""

from __future__ import annotations

import os

FULL = os.environ.get("SPCL_TRUST") == "1"

Row = tuple[str, str, int, int, str]
"""Heading in docs/reliability.md, what was done and must hold, how often it was tried, how often it held, a note."""

rows: list[Row] = []
"""The lines of the test that runs now; ``conftest.py`` hands them on to the process that prints."""


def tries(full: int, few: int) -> int:
    """The number of tries: ``full`` with ``make trust``, ``few`` with ``make test``."""
    return full if FULL else few


def record(section: str, check: str, tried: int, held: int, note: str = "") -> None:
    """Put a line into the tallies; call it before the assertion, so that a failure is counted."""
    rows.append((section, check, int(tried), int(held), note))


def table(lines: list[Row]) -> str:
    """The tallies as a Markdown table."""
    head = ["| part | check | tried | held | note |", "|---|---|---|---|---|"]
    return "\n".join(
        head + [f"| {part} | {check} | {tried:,} | {held:,} | {note} |" for part, check, tried, held, note in lines]
    )
