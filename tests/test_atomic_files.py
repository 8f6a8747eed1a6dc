"""Whatever a run, a search or a demo writes is on the disk before it takes the old file's place."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from spcl import atomic_files as whole_files
from spcl.leftovers import aside_of
from spcl.report.ranked import Ranking, ShownImage, ranked_picture
from spcl.reporting.console import write_metrics
from spcl.training_run.run_files import write_settings
from tests.input_errors import input_error

IMAGE = np.zeros((8, 4, 3), dtype=np.uint8)

WRITERS = {
    "metrics.jsonl": lambda folder: write_metrics(folder / "metrics.jsonl", [{"epoch": 1}]),
    "config.toml": lambda folder: write_settings(folder, "seed = 1\n"),
    "ranked.png": lambda folder: ranked_picture(
        folder / "ranked.png", [ShownImage(IMAGE)], [Ranking("a", [[ShownImage(IMAGE)]])]
    ),
}


@pytest.mark.parametrize("name", WRITERS)
def test_written_aside_flushed_and_renamed(tmp_path, monkeypatch, name):
    (tmp_path / name).write_text("old")
    WRITERS[name](tmp_path)
    assert [entry.name for entry in tmp_path.iterdir()] == [name]
    new = (tmp_path / name).read_bytes()
    assert new != b"old"

    def full(file):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(whole_files.os, "fsync", full)
    (tmp_path / name).write_text("old")
    with input_error("cannot-write", name, "No space left on device", "free some space"):
        WRITERS[name](tmp_path)
    assert (tmp_path / name).read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == [name]


def test_a_stop_leaves_no_empty_folder(tmp_path):
    place = tmp_path / "a" / "b" / "c.txt"

    def stop(other: str) -> None:
        with whole_files.written_aside(place) as aside:
            aside.write_text("x")
            if other:
                (tmp_path / "a" / other).touch()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stop("")
    assert not list(tmp_path.iterdir())
    # A folder that has something else in it stays, and one that was there before.
    with pytest.raises(KeyboardInterrupt):
        stop("other")
    assert [entry.name for entry in (tmp_path / "a").iterdir()] == ["other"]
    place.parent.mkdir()
    with pytest.raises(KeyboardInterrupt):
        stop("")
    assert place.parent.is_dir()


def dead_process() -> int:
    process = subprocess.Popen([sys.executable, "-S", "-c", ""])
    process.wait()
    return process.pid


def test_temporary_files_of_dead_processes_are_removed(tmp_path):
    """Those of living ones, of other machines and of other programs stay."""
    place, other = tmp_path / "a.txt", tmp_path / "b.txt"
    living = [aside_of(place), aside_of(other)]
    machine, process, start, number = living[0].name.removeprefix(".a.txt.").removesuffix(".tmp").split("-")
    number_of_a_dead_one = dead_process()
    dead = [f".{name}.{machine}-{number_of_a_dead_one}-{start}-{number}.tmp" for name in ("a.txt", "b.txt", "x" * 200)]
    # The number of this process, which began at another time; and the names of spcl 0.1.0.
    dead += [f".b.txt.{machine}-{process}-{int(start, 16) - 9000:x}-0.tmp", f".a.txt.{number_of_a_dead_one}.tmp"]
    foreign = f"{int(machine, 16) ^ 1:08x}-{number_of_a_dead_one}"
    kept = [f".a.txt.{foreign}-{start}-{number}.tmp", f".b.txt.{number_of_a_dead_one}.tmp", ".a.txt.tmp", "a.tmp"]
    for name in (*dead, *kept):
        (tmp_path / name).write_text("x")
    for path in living:
        path.touch()
    (tmp_path / dead[1]).unlink()
    (tmp_path / dead[1] / "inside").mkdir(parents=True)
    with whole_files.written_aside(place) as aside:
        aside.write_text("new")
    assert {entry.name for entry in tmp_path.iterdir()} == {"a.txt", *kept, *(path.name for path in living)}


def test_a_name_as_long_as_the_disk_can_hold(tmp_path):
    for name in ("x" * 255, "\u00e9" * 127):
        with whole_files.written_aside(tmp_path / name) as aside:
            aside.write_text("new")
        assert [entry.name for entry in tmp_path.iterdir()] == [name]
        (tmp_path / name).unlink()
    for place in (tmp_path / ("x" * 256), tmp_path / ("x" * 256) / "a.txt"):
        with input_error("cannot-write", "too long", "give a shorter name"), whole_files.written_aside(place):
            pass
        with input_error("cannot-write", "too long", "give a shorter name"):
            whole_files.check_place(place)
    (tmp_path / "circle").symlink_to("circle")
    with input_error("cannot-write", "symbolic links", "give another place"):
        whole_files.check_place(tmp_path / "circle/a.txt")
    assert [entry.name for entry in tmp_path.iterdir()] == ["circle"]
