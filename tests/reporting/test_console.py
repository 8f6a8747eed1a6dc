"""What is said: progress that is readable in a file, rows, durations, warnings in plain words."""

from __future__ import annotations

import io
import json

import pytest
from rich.console import Console

from spcl.reporting import console as journal
from spcl.reporting.console import (
    ConsoleReporter,
    duration,
    epoch_header,
    epoch_line,
    write_metrics,
)
from spcl.reporting.epoch_report import EpochReport
from spcl.training.self_paced_labels import cluster_warning, run_warning

ROW = {
    "epoch": 3,
    "num_clusters": 12,
    "num_unclustered": 34,
    "cluster_size_quartiles": [4.0, 6.5, 11.0],
    "loss": 2.5,
    "losses": {"source": 1.25, "target": 1.25},
    "mAP": 0.4321,
    "top1": 0.6,
    "seconds": {"label": 1.0, "train": 2.0, "evaluate": 3.0},
}


def test_a_row_lines_up_with_the_header():
    assert len(epoch_line(ROW)) == len(epoch_header())
    assert "43.2" in epoch_line(ROW)
    bare = epoch_line(
        {
            **{k: v for k, v in ROW.items() if k not in ("mAP", "top1", "loss")},
            "losses": {},
            "cluster_size_quartiles": [],
        }
    )
    assert len(bare) == len(epoch_header())


@pytest.mark.parametrize(("seconds", "text"), [(0.4, "0 s"), (59, "59 s"), (200, "3 min 20 s"), (7500, "2 h 5 min")])
def test_durations(seconds, text):
    assert duration(seconds) == text


def test_progress_in_a_file_is_a_line_now_and_then(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(journal.time, "monotonic", lambda: now[0])
    written = io.StringIO()
    reporter = ConsoleReporter(Console(file=written, width=200))
    with reporter.progress("work") as advance:
        for done in range(1, 101):
            now[0] += 1
            advance(done, 100)
    lines = written.getvalue().splitlines()
    assert lines[0] == "  work: 15 of 100, 1 min 25 s left"
    assert 5 <= len(lines) <= 7


def test_progress_on_a_terminal_is_a_bar_after_two_seconds(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(journal.time, "monotonic", lambda: now[0])
    written = io.StringIO()
    reporter = ConsoleReporter(Console(file=written, force_terminal=True, width=100))
    with reporter.progress("work") as advance:
        advance(0, 4)
        advance(1, 4)
        now[0] += 1.9
        advance(2, 4)
        assert written.getvalue() == ""
        now[0] += 0.2
        advance(3, 4)
        advance(4, 4)
    assert "work" in written.getvalue()
    assert "eta" in written.getvalue()


def test_a_single_step_shows_no_bar():
    written = io.StringIO()
    with ConsoleReporter(Console(file=written, force_terminal=True, width=100)).progress("work") as advance:
        advance(1, 1)
    assert written.getvalue() == ""


def test_a_note_is_asked_for_only_when_it_is_shown(monkeypatch):
    """It may wait for a device: never at each step."""
    now, asked = [100.0], []
    monkeypatch.setattr(journal.time, "monotonic", lambda: now[0])

    def note():
        asked.append(now[0])
        return f"loss {len(asked)}"

    for is_terminal, most in ((False, 6), (True, 20)):
        written = io.StringIO()
        asked.clear()
        reporter = ConsoleReporter(Console(file=written, force_terminal=is_terminal, width=200))
        with reporter.progress("work", note) as advance:
            for done in range(1, 101):
                now[0] += 1
                advance(done, 100)
        assert 1 < len(asked) <= most
        if not is_terminal:
            assert written.getvalue().splitlines()[0] == "  work: 15 of 100, 1 min 25 s left, loss 1"


def test_text_of_the_user_is_no_markup():
    written = io.StringIO()
    reporter = ConsoleReporter(Console(file=written, width=200))
    reporter.say("[red]folder[/red]")
    reporter.warn("[b]")
    assert written.getvalue() == "[red]folder[/red]\nwarning: [b]\n"


def test_metrics_are_rewritten_whole(tmp_path):
    path = tmp_path / "metrics.jsonl"
    write_metrics(path, [ROW, ROW])
    write_metrics(path, [ROW])
    assert [json.loads(line) for line in path.read_text().splitlines()] == [ROW]
    assert [entry.name for entry in tmp_path.iterdir()] == ["metrics.jsonl"]


@pytest.mark.parametrize(
    ("numbers", "word"),
    [
        ((0, 0, 100), "no clusters"),
        ((1, 100, 100), "one cluster has 100 of 100 images"),
        ((3, 80, 100), "clusters are merging"),
        ((12, 20, 100), None),
        ((1, 8, 10), "one cluster has 8 of 10 images"),
        ((1, 4, 10), None),
        ((2, 6, 10), None),
        ((0, 0, 0), None),
    ],
)
def test_warnings_in_words(numbers, word):
    warning = cluster_warning(*numbers, eps=0.6)
    assert warning is None if word is None else word in warning and "--eps (now 0.6)" in warning


@pytest.mark.parametrize(
    ("epochs", "words"),
    [
        ([(1, 10)], "of 1 epochs 1 with a single cluster; last: one cluster has 10 of 10 images"),
        ([(0, 0), (1, 9), (3, 4)], "of 3 epochs 1 without a cluster and 1 with a single cluster"),
        ([(0, 0), (0, 0)], "of 2 epochs 2 without a cluster; last: no clusters"),
        ([(0, 0), (3, 4), (3, 4)], None),
        ([(1, 4)], None),
        ([], None),
    ],
)
def test_a_run_that_learnt_nothing_says_so_at_its_end(epochs, words):
    history = [EpochReport(1, num_clusters=num, largest_cluster=largest) for num, largest in epochs]
    warning = run_warning(history, 10, 0.5)
    assert warning is None if words is None else words in warning and "--eps (now 0.5)" in warning
    assert run_warning(history, 0, 0.5) is None
