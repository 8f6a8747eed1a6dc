"""``corrections.csv``: whole lines whatever happens, and files that other programs have saved."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spcl.corrections.correction import in_lines, subjects_of, subjects_text
from spcl.corrections.corrections_file import (
    CORRECTIONS,
    CUT,
    CorrectionLog,
    alone,
    append_corrections,
    read_corrections,
)
from tests.input_errors import input_error
from tests.shared import IMPORT_PATH


@settings(max_examples=200, deadline=None)
@given(st.lists(st.text(alphabet="a\\|;,", min_size=1, max_size=5), min_size=1, max_size=4))
def test_paths_survive_the_cell(paths):
    assert subjects_of(subjects_text(paths)) == paths


def test_long_corrections_are_several_lines_that_say_the_same():
    paths = [Path(f"/images/{number:05d}.jpg") for number in range(5000)]
    lines = in_lines("confirm", paths, "x")
    assert len(lines) > 1
    assert all(len(subjects_text(subjects)) <= 30_000 and subjects[0] == paths[0] for _, subjects, _ in lines)
    assert [path for _, subjects, _ in lines for path in subjects[1:]] == paths[1:]
    assert {(action, argument) for action, _, argument in lines} == {("confirm", "x")}


def add(folder: Path, *lines: tuple[str, tuple[str, ...], str], who: str = "Anna") -> CorrectionLog:
    path = folder / CORRECTIONS
    with alone(folder):
        absolute = [(action, tuple(folder / name for name in names), argument) for action, names, argument in lines]
        append_corrections(path, read_corrections(path), absolute, who)
    return read_corrections(path)


def test_what_is_appended_is_read_again(tmp_path):
    assert read_corrections(tmp_path / CORRECTIONS) == CorrectionLog()
    add(tmp_path, ("merge", ("a.jpg", "b|c.jpg"), ""))
    log = add(tmp_path, ("move", ("a.jpg",), str(tmp_path / "d.jpg")), ("deny", ("a.jpg", "e.jpg"), ""))
    assert [(each.number, each.action, each.who, each.line) for each in log.corrections] == [
        (1, "merge", "Anna", 2),
        (2, "move", "Anna", 3),
        (2, "deny", "Anna", 4),
    ]
    assert log.corrections[0].subjects == (tmp_path / "a.jpg", tmp_path / "b|c.jpg")
    assert all(each.time.endswith("+00:00") for each in log.corrections)
    assert (log.notes, log.cut, log.next_number) == ((), "", 3)


def test_an_undo_can_be_taken_back(tmp_path):
    add(tmp_path, ("merge", ("a", "b"), ""))
    add(tmp_path, ("confirm", ("a", "b"), ""))
    log = add(tmp_path, ("undo", (), "1"))
    assert (log.undone, [each.number for each in log.active]) == ({1}, [2])
    log = add(tmp_path, ("undo", (), "3"))
    assert (log.undone, [each.number for each in log.active]) == ({3}, [1, 2])


@pytest.mark.parametrize(("encoding", "separator", "end"), [("utf-8-sig", ";", "\r\n"), ("utf-16", "\t", "\n")])
def test_a_file_that_a_spreadsheet_has_saved(tmp_path, encoding, separator, end):
    rows = [
        ["Number", "Time", "Who", "Action", "Subjects", "Argument", "my remark"],
        ["1", "27.11.2026 06:40", "Änna", "merge", "a.jpg|b.jpg", "", "x"],
        ["", "", "", "Name", "a.jpg|sub\\b.jpg", "Bella; the cow", ""],
    ]
    text = end.join(separator.join(f'"{cell}"' if ";" in cell else cell for cell in row) for row in rows) + end
    (tmp_path / CORRECTIONS).write_bytes(text.encode(encoding))
    log = read_corrections(tmp_path / CORRECTIONS)
    assert [(each.number, each.action, each.argument) for each in log.corrections] == [
        (1, "merge", ""),
        (2, "name", "Bella; the cow"),
    ]
    assert log.corrections[0].subjects == (tmp_path / "a.jpg", tmp_path / "b.jpg")
    log = add(tmp_path, ("undo", (), "2"))
    assert [each.number for each in log.corrections] == [1, 2, 3]
    written = (tmp_path / CORRECTIONS).read_bytes().decode("utf-8")
    assert written.splitlines()[0] == "number,time,who,action,subjects,argument"
    assert "Änna" in written
    assert len(written.splitlines()) == 4


def test_a_cut_line_is_reported_and_kept(tmp_path):
    add(tmp_path, ("merge", ("a.jpg", "b.jpg"), ""))
    with (tmp_path / CORRECTIONS).open("a") as file:
        file.write("2,now,Anna,name,a.jpg,Bel")
    log = read_corrections(tmp_path / CORRECTIONS)
    assert (len(log.corrections), log.cut) == (1, "2,now,Anna,name,a.jpg,Bel")
    assert "has no end and is not used: '2,now,Anna,name,a.jpg,Bel'" in log.notes[0]
    log = add(tmp_path, ("confirm", ("a.jpg",), ""))
    assert [(each.number, each.action) for each in log.corrections] == [(1, "merge"), (2, "confirm")]
    assert log.notes == ()
    assert (tmp_path / CUT).read_text() == "2,now,Anna,name,a.jpg,Bel\n"


@pytest.mark.parametrize(
    ("row", "named"),
    [
        ("1,,,marry,a|b,", "'marry'"),
        ("1,,,merge,a,", "merge and one image"),
        ("1,,,name,a,", "no name"),
        ("1,,,split,,", "no image"),
        ("1,,,undo,,last", "'last'"),
        ("one,,,merge,a|b,", "'one'"),
    ],
)
def test_a_line_that_says_nothing_is_an_error(tmp_path, row, named):
    (tmp_path / CORRECTIONS).write_text(f"number,time,who,action,subjects,argument\n{row}\n")
    with input_error("malformed-table", named, "line 2"):
        read_corrections(tmp_path / CORRECTIONS)


def test_another_table_is_no_file_of_corrections(tmp_path):
    (tmp_path / CORRECTIONS).write_text("path,group\na.jpg,3\n")
    with input_error("no-such-column", "'action'"):
        read_corrections(tmp_path / CORRECTIONS)


def test_a_full_disk_leaves_the_file_as_it_was(tmp_path, monkeypatch):
    add(tmp_path, ("merge", ("a.jpg", "b.jpg"), ""))
    before = (tmp_path / CORRECTIONS).read_bytes()
    real = os.write
    monkeypatch.setattr(os, "write", lambda file, content: real(file, content[:7]))
    with input_error("cannot-write", "nothing was added"):
        add(tmp_path, ("merge", ("a.jpg", "c.jpg"), ""))
    monkeypatch.undo()
    assert (tmp_path / CORRECTIONS).read_bytes() == before


def _many(folder: Path, who: str, count: int) -> None:
    for number in range(count):
        add(folder, ("merge", (f"{who}{number}", "z"), ""), who=who)


def test_writers_at_the_same_time_lose_nothing(tmp_path):
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=_many, args=(tmp_path, who, 8)) for who in "abc"]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
        assert writer.exitcode == 0
    log = read_corrections(tmp_path / CORRECTIONS)
    assert [each.number for each in log.corrections] == list(range(1, 25))
    for who in "abc":
        assert [each.subjects[0].name for each in log.corrections if each.who == who] == [f"{who}{n}" for n in range(8)]


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_a_kill_leaves_whole_lines_and_no_lock(tmp_path):
    program = (
        "import sys; from pathlib import Path; from tests.corrections.test_corrections_file import _many; "
        "_many(Path(sys.argv[1]), 'a', 100000)"
    )
    writer = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], env=os.environ | {"PYTHONPATH": IMPORT_PATH}
    )
    ends = time.monotonic() + 60
    while time.monotonic() < ends and len(read_corrections(tmp_path / CORRECTIONS).corrections) < 3:
        time.sleep(0.02)
    writer.kill()
    writer.wait()
    before = read_corrections(tmp_path / CORRECTIONS)
    assert (len(before.corrections) >= 3, before.cut) == (True, "")
    after = add(tmp_path, ("undo", (), "1"))
    assert after.corrections[: len(before.corrections)] == before.corrections
