"""Data files that a failed write left in the table of a gallery."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys

import pytest

from spcl.gallery import left_files
from spcl.gallery.gallery import Gallery
from tests.gallery.features import names, unit_rows
from tests.input_errors import input_error


@pytest.fixture
def gallery(tmp_path):
    made = Gallery.create(tmp_path / "g", fingerprint="x", dim=64)
    made.add_features(unit_rows(200, dim=64), names(200))
    return made


def data_of(gallery):
    return {entry.name: entry.read_bytes() for entry in (gallery.path / "images.lance/data").iterdir()}


def test_a_write_to_a_full_disk_leaves_nothing(gallery):
    before = data_of(gallery)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
    try:
        with input_error("cannot-write", "free some space"):
            gallery.add_features(unit_rows(5000, dim=64, seed=2), names(5000, first=1000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
        signal.signal(signal.SIGXFSZ, handler)
    assert data_of(gallery) == before
    gallery.add_features(unit_rows(5000, dim=64, seed=2), names(5000, first=1000))
    assert len(Gallery.open(gallery.path)) == 5200


def test_what_killed_writes_left_is_removed_when_it_is_old_and_no_one_writes(gallery):
    data, used = gallery.path / "images.lance/data", data_of(gallery)
    for name in ("old", "new"):
        (data / f"{name}.lance").write_bytes(b"half")
    for name in ("old.lance", *used):
        os.utime(data / name, (1, 1))
    program = (
        "import fcntl, sys; file = open(sys.argv[1], 'a'); fcntl.flock(file, fcntl.LOCK_SH); print(flush=True); input()"
    )
    other = subprocess.Popen(
        [sys.executable, "-S", "-c", program, str(gallery.path / ".writing")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    other.stdout.readline()
    assert left_files.remove_left(gallery.path) == []
    other.communicate(b"\n")
    assert left_files.remove_left(gallery.path) == ["old.lance"]
    assert data_of(gallery) == used | {"new.lance": b"half"}
    assert len(gallery.search(unit_rows(1, dim=64), exact=True)[0]) == 10
