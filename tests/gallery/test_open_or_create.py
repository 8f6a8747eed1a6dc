"""A gallery that is made for a run which fails before anything is in it is gone again; any other stays."""

from __future__ import annotations

import pytest

from spcl.errors import InputError
from spcl.gallery import folder as folder_of_gallery
from spcl.gallery import open_or_create
from spcl.gallery.gallery import Gallery
from spcl.gallery.open_or_create import gallery_to_fill
from tests.gallery.features import unit_rows
from tests.input_errors import input_error


class FakeEncoder:
    fingerprint, feature_dim, origin = "x", 8, None


def run(folder, error=None, rows=0, **given):
    with gallery_to_fill(folder, FakeEncoder(), flip=False, **given) as gallery:
        if rows:
            gallery.add_features(unit_rows(rows), [f"{row}" for row in range(rows)])
        if error is not None:
            raise error


@pytest.mark.parametrize("error", [InputError("none can be read"), KeyboardInterrupt(), OSError(28, "No space left")])
def test_a_run_that_fails(tmp_path, error):
    for place in ("g", "new/folder/g"):
        with pytest.raises(type(error)):
            run(tmp_path / place, error)
        assert not list(tmp_path.iterdir())
    # An empty folder of the user's own stays empty; other files stay.
    (tmp_path / "mine").mkdir()
    with pytest.raises(type(error)):
        run(tmp_path / "mine" / "g", error)
    assert not list((tmp_path / "mine").iterdir())
    # With rows in it, it stays, and so does one that was there.
    with pytest.raises(type(error)):
        run(tmp_path / "g", error, rows=3)
    assert len(Gallery.open(tmp_path / "g")) == 3
    Gallery.create(tmp_path / "empty", fingerprint="x", dim=8)
    with pytest.raises(type(error)):
        run(tmp_path / "empty", error)
    assert len(Gallery.open(tmp_path / "empty")) == 0


def test_one_that_another_program_has_filled_meanwhile_stays(tmp_path):
    def theirs_and_stop():
        Gallery.open(tmp_path / "g").add_features(unit_rows(1), ["theirs"])
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), gallery_to_fill(tmp_path / "g", FakeEncoder(), flip=False):
        theirs_and_stop()
    assert len(Gallery.open(tmp_path / "g")) == 1


def test_one_that_another_program_makes_at_the_same_time_is_opened(tmp_path, monkeypatch):
    original = open_or_create.Gallery.create

    def overtaken(*given, **named):
        original(*given, **named)
        return original(*given, **named)

    monkeypatch.setattr(open_or_create.Gallery, "create", overtaken)
    run(tmp_path / "g", rows=2)
    assert len(Gallery.open(tmp_path / "g")) == 2


@pytest.mark.parametrize("folder_is_there", [False, True])
@pytest.mark.parametrize("at", ["before", "after"])
def test_one_that_is_made_between_the_check_and_the_rename_is_opened(tmp_path, monkeypatch, folder_is_there, at):
    original, others_turn = folder_of_gallery.connected, [True]
    if folder_is_there:
        (tmp_path / "g").mkdir()

    def theirs():
        others_turn.clear()
        run(tmp_path / "g", rows=1)

    class Database:
        def __init__(self, folder):
            self._database = original(folder)

        def create_table(self, *given, **named):
            if others_turn and at == "before":
                theirs()
            self._database.create_table(*given, **named)
            if others_turn:
                theirs()

    monkeypatch.setattr(folder_of_gallery, "connected", Database)
    run(tmp_path / "g", rows=2)
    assert [entry.name for entry in tmp_path.iterdir()] == ["g"]
    assert len(Gallery.open(tmp_path / "g")) == 2
    with input_error("already-exists", tmp_path / "g", "open it"):
        Gallery.create(tmp_path / "g", fingerprint="x", dim=8)


def test_what_it_is_made_with(tmp_path):
    run(tmp_path / "g", rows=1, key="content")
    run(tmp_path / "g")
    run(tmp_path / "g", key="content")
    assert Gallery.open(tmp_path / "g").key == "content"
    with input_error("key-mismatch", "content"):
        run(tmp_path / "g", key="path")
    with input_error("flip-mismatch"), gallery_to_fill(tmp_path / "f", FakeEncoder(), flip=True):
        run(tmp_path / "f")
    (tmp_path / "file").touch()
    with input_error("cannot-write", tmp_path / "file" / "g"):
        run(tmp_path / "file" / "g")
