"""Kills and several writers: a gallery holds whole writes, and every one that was reported done."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from threading import Thread

import numpy as np
import pytest

from spcl.errors import InputError
from spcl.gallery.columns import described
from spcl.gallery.gallery import Gallery
from spcl.gallery.store import Store
from tests.gallery.features import names, unit_rows
from tests.shared import IMPORT_PATH, PROJECT_ROOT

ROWS = 500
WRITER = textwrap.dedent(
    """
    import sys
    from spcl.gallery.gallery import Gallery
    from tests.gallery.features import names, unit_rows

    gallery = Gallery.open(sys.argv[1])
    for number in range(10_000):
        gallery.add_features(unit_rows(500, 64, seed=number), names(500, first=500 * number))
        print(number, flush=True)
    """
)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system knows no SIGKILL")
def test_a_kill_in_the_middle_of_adding(tmp_path):
    gallery = Gallery.create(tmp_path / "g", fingerprint="x", dim=64)
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(gallery.path)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=PROJECT_ROOT,
        env=os.environ | {"PYTHONPATH": IMPORT_PATH},
    )
    reported = -1
    while reported < 3:
        reported = int(writer.stdout.readline())
    writer.kill()
    reported = max([reported, *map(int, writer.stdout.read().split())])
    writer.wait()
    again = Gallery.open(gallery.path)
    held = len(again) // ROWS
    assert len(again) == held * ROWS
    # The one that was being written may have been done and not reported.
    assert reported + 1 <= held <= reported + 2
    vectors = _vectors_by_path(again)
    for number in range(held):
        rows = [vectors[name] for name in names(ROWS, first=ROWS * number)]
        assert np.array_equal(np.stack(rows), unit_rows(ROWS, 64, seed=number))
    # And it can be written to.
    assert again.add_features(unit_rows(ROWS, 64), names(ROWS)).num_replaced == ROWS
    assert again.search(unit_rows(1, 64), k=1)[0][0].similarity == pytest.approx(1, abs=1e-6)


def _vectors_by_path(gallery):
    return {name: row for part in gallery.read() for name, row in zip(part.columns["path"], part.features, strict=True)}


def test_several_writers_and_a_reader_at_once(tmp_path):
    gallery = Gallery.create(tmp_path / "g", fingerprint="x", dim=8)
    gallery.add_features(unit_rows(200), names(200))
    failed: list[BaseException] = []

    def write(first):
        try:
            own = Gallery.open(gallery.path)
            for number in range(4):
                at = first + 100 * number
                own.add_features(unit_rows(100, seed=at), names(100, first=at))
                own.remove(paths=names(50, first=at))
        except BaseException as error:
            failed.append(error)

    def write_the_same():
        try:
            own = Gallery.open(gallery.path)
            for number in range(6):
                own.add_features(unit_rows(100, seed=1000 + number), names(100, first=5000))
        except BaseException as error:
            failed.append(error)

    writers = [Thread(target=write, args=(first,)) for first in (1000, 2000)]
    writers += [Thread(target=write_the_same), Thread(target=write_the_same)]
    for writer in writers:
        writer.start()
    lengths = []
    while any(writer.is_alive() for writer in writers):
        lengths.append(sum(len(part.features) for part in gallery.read()))
        gallery.tidy()
        assert gallery.search(unit_rows(200)[7], k=1)[0][0].path == names(200)[7]
    for writer in writers:
        writer.join()
    assert not failed
    assert all(length % 50 == 0 for length in lengths)
    # A path that two add at the same time is there once.
    assert len(gallery) == 200 + 2 * 4 * 50 + 100


@pytest.mark.parametrize("theirs", [[7], ["seven"]])
def test_two_writers_add_one_new_column_at_the_same_time(tmp_path, monkeypatch, theirs):
    gallery = Gallery.create(tmp_path / "g", fingerprint="x", dim=8)
    gallery.add_features(unit_rows(1), ["first.jpg"])
    other = Gallery.open(gallery.path)
    newest, others_turn = Store._table, [True]

    def overtaken(store):
        table = newest(store)
        if store is gallery._store and others_turn:
            others_turn.clear()
            other.add_features(unit_rows(1), ["theirs.jpg"], columns={"lane": theirs, "other": [0.5]})
        return table

    with monkeypatch.context() as patch:
        patch.setattr(Store, "_table", overtaken)
        gallery.add_columns(described(["mine.jpg"], columns={"lane": [3], "speed": [1.5]}))
    kind = "whole number" if theirs == [7] else "text"
    assert {"lane": kind, "other": "number", "speed": "number"}.items() <= gallery.columns.items()
    if kind == "text":
        with pytest.raises(InputError, match="'lane' holds text"):
            gallery.add_features(unit_rows(1), ["mine.jpg"], columns={"lane": [3]})
    else:
        gallery.add_features(unit_rows(1), ["mine.jpg"], columns={"lane": [3]})
        assert {hit.path: hit.columns["lane"] for hit in gallery.search(unit_rows(1))[0]} == {
            "first.jpg": None, "theirs.jpg": 7, "mine.jpg": 3,
        }  # fmt: skip
