"""A gallery with a missing, cut or overwritten file: one error that names it, whatever is asked of it."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from spcl.errors import InputError
from spcl.gallery.gallery import Gallery
from tests.gallery.features import names, unit_rows

QUESTIONS = {
    "search": lambda gallery: gallery.search(unit_rows(1), k=3),
    "filter": lambda gallery: gallery.search(unit_rows(1), k=3, where="camera = 3"),
    "identify": lambda gallery: gallery.enrolled(),
    "read": lambda gallery: list(gallery.read()),
    "add": lambda gallery: gallery.add_features(unit_rows(2), names(2, first=500)),
    "remove": lambda gallery: gallery.remove(paths=names(1, first=7)),
    "tidy": lambda gallery: gallery.tidy(),
}
DAMAGE = {
    "missing": lambda path: path.unlink(),
    "empty": lambda path: path.write_bytes(b""),
    "cut": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "noise": lambda path: path.write_bytes(np.random.default_rng(0).bytes(path.stat().st_size)),
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    gallery = Gallery.create(tmp_path_factory.mktemp("damaged") / "g", fingerprint="x", dim=8)
    for first in (0, 40):
        columns = {"camera": [number % 5 for number in range(40)], "identity": [number // 4 for number in range(40)]}
        gallery.add_features(unit_rows(40, seed=first), names(40, first=first), columns=columns)
    gallery.remove(paths=names(1, first=3))
    for copy in ("rows.arrow", "enrolled.npz"):  # they would be read in place of the table
        (gallery.path / copy).unlink(missing_ok=True)
    return gallery.path


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("folder", ["data", "_deletions", "_versions"])
def test_a_damaged_file_is_an_error_that_names_the_gallery(whole, tmp_path, folder, damage):
    shutil.copytree(whole, tmp_path / "g")
    files = sorted((tmp_path / "g/images.lance" / folder).iterdir())
    # Of the versions, the newest: it has the smallest name.
    DAMAGE[damage](files[0])
    errors = {}
    for name, question in QUESTIONS.items():
        try:
            question(Gallery.open(tmp_path / "g"))
        except InputError as error:
            errors[name] = error
    if folder == "_versions" and damage == "missing":
        return  # the version before is the newest one now
    assert {"search", "filter", "identify", "read"} <= set(errors)
    for error in errors.values():
        assert error.code == "damaged-file"
        assert f"the gallery {tmp_path / 'g'} cannot be read" in str(error)
        assert "make the gallery again" in str(error)
        assert ".rs:" not in str(error)


def test_a_filter_that_is_wrong_stays_the_users_error(whole):
    with pytest.raises(InputError) as error:
        Gallery.open(whole).search(unit_rows(1), where="colour = 'red'")
    assert error.value.code == "invalid-filter"
    assert "there is no column colour" in str(error.value)


def test_a_panic_of_the_library_while_counting_is_an_error(whole, monkeypatch):
    """Found by random bytes in a data file: the panic is no error of Python's own types."""
    gallery = Gallery.open(whole)
    snapshot = gallery._store.snapshot()

    class RustPanic(BaseException):
        pass

    def panics(where=None):
        raise RustPanic("rust future panicked: unknown error")

    monkeypatch.setattr(snapshot, "_table", type("Table", (), {"count_rows": staticmethod(panics)}))
    for where in (None, "camera = 3"):
        with pytest.raises(InputError) as error:
            snapshot.count(where)
        assert error.value.code == "damaged-file"
