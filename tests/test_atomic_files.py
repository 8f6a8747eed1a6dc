"""Whatever a run, a search or a demo writes is on the disk before it takes the old file's place."""

from __future__ import annotations

import numpy as np
import pytest

from spcl import atomic_files as whole_files
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
