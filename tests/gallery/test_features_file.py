"""Features files: what is written is read back; never half a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from spcl.gallery import features_file
from spcl.gallery.columns import described
from spcl.gallery.features_file import (
    FeaturesFile,
    existing_file,
    features_writer,
    is_features_file,
    paths_file,
)
from tests.gallery.features import names, unit_rows
from tests.input_errors import input_error

FACTS = {"fingerprint": "x"}


def write(path, num=30, rows=12):
    cameras = [None if number % 3 == 0 else number for number in range(num)]
    table = described(names(num), cameras=cameras, columns={"lane": list(range(num))})
    with features_writer(path, 8, FACTS) as writer:
        for at in range(0, num, rows):
            writer.write(table.slice(at, rows), unit_rows(num)[at : at + rows])


def test_parquet_there_and_back(tmp_path):
    path = tmp_path / "new" / "f.parquet"
    write(path)
    file = FeaturesFile(path)
    assert (file.facts, file.dim, len(file)) == ({"fingerprint": "x", "dim": 8}, 8, 30)
    parts = list(file.parts(rows=7))
    assert np.array_equal(np.concatenate([features for _, features in parts]), unit_rows(30))
    assert [name for table, _ in parts for name in table.column("path").to_pylist()] == names(30)
    assert parts[0][0].column("camera").to_pylist() == [None, "1", "2", None, "4", "5", None]
    # Any reader of Parquet reads it.
    frame = pd.read_parquet(path)
    assert list(frame.columns) == ["path", "identity", "camera", "time", "lane", "vector"]
    assert np.array_equal(np.stack(frame["vector"]), unit_rows(30))
    assert [entry.name for entry in path.parent.iterdir()] == ["f.parquet"]


def test_a_matrix_and_its_paths(tmp_path):
    path = tmp_path / "f.npy"
    write(path, num=1200, rows=7)
    assert np.array_equal(np.load(path), unit_rows(1200))
    assert paths_file(path).read_text().splitlines() == names(1200)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["f.npy", "f.paths.txt"]


@pytest.mark.parametrize("name", ["f.parquet", "f.npy"])
def test_a_stop_leaves_what_was_there(tmp_path, name):
    path = tmp_path / name
    write(path)
    before = {entry.name: entry.read_bytes() for entry in tmp_path.iterdir()}

    def stopped():
        with features_writer(path, 8, FACTS) as writer:
            writer.write(described(["a"]), unit_rows(1))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    assert {entry.name: entry.read_bytes() for entry in tmp_path.iterdir()} == before


def visible_files(folder: Path) -> dict[str, bytes]:
    return {entry.name: entry.read_bytes() for entry in folder.iterdir() if not entry.name.startswith(".")}


@pytest.mark.parametrize("replaces", [False, True])
@pytest.mark.parametrize("number", range(4))
def test_a_stop_between_the_renames_leaves_the_former_pair_or_none(tmp_path, monkeypatch, number, replaces):
    path = tmp_path / "new" / "f.npy"
    if replaces:
        write(path)
    before = visible_files(path.parent) if replaces else None
    rename, states = Path.replace, []

    def stopped(self, target):
        states.append(visible_files(path.parent))
        if len(states) == number + 1:
            raise KeyboardInterrupt
        return rename(self, target)

    def write_again():
        with features_writer(path, 8, FACTS) as writer:
            writer.write(described(["a"]), unit_rows(1))

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", stopped)
        if not replaces and number >= 2:
            write_again()
            assert sorted(entry.name for entry in path.parent.iterdir()) == ["f.npy", "f.paths.txt"]
            return
        with pytest.raises(KeyboardInterrupt):
            write_again()
    # A killed process leaves the files that a rename finds: never a matrix with the paths of another.
    assert all(state == before for state in states if "f.npy" in state)
    if replaces:
        assert {entry.name: entry.read_bytes() for entry in path.parent.iterdir()} == before
        write_again()
        assert paths_file(path).read_text() == "a\n"
        assert len(list(path.parent.iterdir())) == 2
    else:
        assert not path.parent.exists()


def test_both_files_are_flushed_and_paths_alone_are_not_replaced_unasked(tmp_path, monkeypatch):
    path, flushed = tmp_path / "f.npy", []
    monkeypatch.setattr(features_file.os, "fsync", flushed.append)
    write(path)
    assert len(flushed) == 2
    path.unlink()
    assert existing_file(path) == paths_file(path)
    assert existing_file(tmp_path / "f.parquet") is None


def test_what_is_no_features_file(tmp_path):
    pd.DataFrame({"path": ["a.jpg"]}).to_parquet(tmp_path / "manifest.parquet")
    (tmp_path / "text.parquet").write_text("x")
    assert not any(is_features_file(tmp_path / name) for name in ("manifest.parquet", "text.parquet", "none.parquet"))
    for name, code in (
        ("manifest.parquet", "not-a-features-file"),
        ("text.parquet", "damaged-file"),
        ("none.parquet", "no-such-file"),
    ):
        with input_error(code, tmp_path / name):
            FeaturesFile(tmp_path / name)
    with input_error("wrong-file-kind", tmp_path / "f.txt"):
        features_writer(tmp_path / "f.txt", 8, FACTS)
    (tmp_path / "file").touch()
    with input_error("cannot-write"), features_writer(tmp_path / "file" / "f.npy", 8, FACTS):
        pass


def test_a_name_of_two_lines_has_one_in_the_list_of_paths(tmp_path):
    with features_writer(tmp_path / "f.npy", 8, FACTS) as writer:
        writer.write(described(["a\nb.jpg", "c\r.jpg", "d.jpg"]), unit_rows(3))
    assert paths_file(tmp_path / "f.npy").read_text().splitlines() == [r"a\nb.jpg", r"c\r.jpg", "d.jpg"]
