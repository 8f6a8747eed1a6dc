"""Features files: what is written is read back; never half a file."""

from __future__ import annotations

import resource
import signal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from spcl import atomic_files
from spcl.errors import InputError
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
from tests.trust.killing import each_kill

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
    assert (file.facts, file.dim, len(file)) == ({"fingerprint": "x", "format": 1, "dim": 8}, 8, 30)
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
def test_ctrl_c_between_the_renames_leaves_the_former_pair_or_the_new_one(tmp_path, monkeypatch, number, replaces):
    path = tmp_path / "new" / "f.npy"
    if replaces:
        write(path)
    before = visible_files(path.parent) if replaces else {}
    rename, stops = Path.replace, []

    def stopped(self, target):
        stops.append(target)
        if len(stops) == number + 1:
            raise KeyboardInterrupt
        return rename(self, target)

    def write_again():
        with features_writer(path, 8, FACTS) as writer:
            writer.write(described(["a"]), unit_rows(1))

    renames = 4 if replaces else 3
    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", stopped)
        if number < renames:
            with pytest.raises(KeyboardInterrupt):
                write_again()
        else:
            write_again()
    if number < renames - 1:
        assert (visible_files(path.parent) if path.parent.exists() else {}) == before
    else:
        assert paths_file(path).read_text() == "a\n"
        assert len(np.load(path)) == 1
    if path.parent.exists():
        assert len(list(path.parent.iterdir())) == 2


@pytest.mark.parametrize(
    ("replaces", "kills"), [(False, 4), (True, 6), pytest.param(True, None, marks=pytest.mark.slow)]
)
def test_a_kill_at_any_point_leaves_a_matrix_that_gets_its_own_paths_back(tmp_path, replaces, kills):
    path = tmp_path / "f.npy"

    def prepare():
        for entry in tmp_path.iterdir():
            entry.unlink()
        if replaces:
            write(path)

    def write_again():
        with features_writer(path, 8, FACTS) as writer:
            writer.write(described(["a"]), unit_rows(1))

    numbers = []
    for number in each_kill(write_again, prepare=prepare, most=kills):
        numbers.append(number)
        seen = visible_files(tmp_path)
        assert path.exists() or not replaces
        if len(seen) == 2:
            assert len(np.load(path)) == len(paths_file(path).read_text().splitlines())
        taken = existing_file(path)
        assert (taken == path) or (not replaces and taken is None)
        if taken is not None:
            assert len(np.load(path)) == len(paths_file(path).read_text().splitlines())
        write_again()
        assert len(np.load(path)) == 1
        # Nothing is left of the killed process.
        assert sorted(entry.name for entry in tmp_path.iterdir()) == ["f.npy", "f.paths.txt"]
    assert len(numbers) >= (kills or 6)


@pytest.mark.parametrize("name", ["f.parquet", "f.npy"])
def test_a_full_disk_leaves_nothing(tmp_path, name):
    """The error comes when the buffer is written, and again when the file is closed."""
    write(tmp_path / name)
    before = {entry.name: entry.read_bytes() for entry in tmp_path.iterdir()}
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, limit[1]))
    try:
        with input_error("cannot-write", name, "File too large", "give another place"):
            write(tmp_path / name, num=3000, rows=1000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, handler)
    assert {entry.name: entry.read_bytes() for entry in tmp_path.iterdir()} == before


def test_both_files_are_flushed_and_paths_alone_are_not_replaced_unasked(tmp_path, monkeypatch):
    path, flushed = tmp_path / "f.npy", []
    monkeypatch.setattr(atomic_files.os, "fsync", flushed.append)
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


def test_bytes_that_are_changed_in_the_middle_of_a_file_are_an_error(tmp_path):
    """Found by random bytes: a block that cannot be unpacked, values that are NaN, names that are no UTF-8."""
    path = tmp_path / "f.parquet"
    with features_writer(path, 8, {"fingerprint": "x"}) as writer:
        writer.write(described(names(300)), unit_rows(300))
    whole = path.read_bytes()
    codes = []
    for at in range(4, len(whole) - 1, 97):
        changed = bytearray(whole)
        changed[at : at + 6] = b"\xff" * 6
        path.write_bytes(changed)
        try:
            for _ in FeaturesFile(path).parts():
                pass
        except InputError as error:
            codes.append(error.code)
    assert len(codes) > 20 and set(codes) <= {"damaged-file", "not-a-features-file"}
