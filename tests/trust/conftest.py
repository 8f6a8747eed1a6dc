"""Prints the tallies of the checks of trust at the end of the tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.trust import tally


@pytest.fixture(autouse=True)
def _tally(request: pytest.FixtureRequest) -> Iterator[None]:
    """Hand the lines of a test on with its report: tests may run in several processes."""
    tally.rows.clear()
    yield
    request.node.user_properties.extend(("tally", row) for row in tally.rows)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """With ``make trust``, the table of docs/reliability.md."""
    reports = [
        report for kind in terminalreporter.stats.values() for report in kind if hasattr(report, "user_properties")
    ]
    lines = {tuple(row) for report in reports for name, row in report.user_properties if name == "tally"}
    if tally.FULL and lines:
        terminalreporter.write_line("")
        terminalreporter.write_line(tally.table(sorted(lines)))
