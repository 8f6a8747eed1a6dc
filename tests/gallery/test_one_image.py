"""An image is one row, by whatever spelling or link; adding it again keeps what is known; older galleries follow."""

from __future__ import annotations

import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor

import lancedb
import numpy as np
import pyarrow as pa
import pytest

from spcl.errors import InputError
from spcl.gallery.columns import OWN_COLUMNS, VECTOR, vector_type
from spcl.gallery.gallery import Gallery
from tests.gallery.features import names, unit_rows
from tests.input_errors import input_error


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Ten files in ``crops``, with a link to the folder and a copy of one file."""
    (tmp_path / "crops").mkdir()
    (tmp_path / "other").mkdir()
    for number in range(10):
        (tmp_path / "crops" / f"{number}.jpg").write_bytes(bytes([number]))
    (tmp_path / "mounted").symlink_to("crops")
    (tmp_path / "link.jpg").symlink_to("crops/0.jpg")
    shutil.copy(tmp_path / "crops/0.jpg", tmp_path / "copy.jpg")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def files(form="crops/{}.jpg", num=10):
    return [form.format(number) for number in range(num)]


def held(gallery, *columns):
    rows = [part.columns for part in gallery.read(("path", *columns))]
    return {row[0]: row[1:] for part in rows for row in zip(*part.values(), strict=True)}


def spellings(folder):
    return ["./crops/{}.jpg", str(folder / "crops/{}.jpg"), "mounted/{}.jpg", "other/../crops/{}.jpg", "crops//{}.jpg"]


def test_every_spelling_of_an_image_is_its_one_row(folder, monkeypatch):
    gallery = Gallery.create("g", fingerprint="x", dim=8)
    assert gallery.add_features(unit_rows(10), files()).num_added == 10
    for form in spellings(folder):
        done = gallery.add_features(unit_rows(10), files(form))
        assert (done.num_added, done.num_replaced, len(gallery)) == (0, 10, 10), form
    assert gallery.add_features(unit_rows(1), ["link.jpg"]).num_replaced == 1
    # As it was given last, absolute, links not resolved; the key is hidden.
    assert set(held(gallery)) == {str(folder / name) for name in ("link.jpg", *files()[1:])}
    assert list(gallery.columns) == ["path", "identity", "camera", "time"]
    assert all(not hit.columns for hit in gallery.search(unit_rows(1))[0])
    # From another folder, too; and a name that is no file is a row of its own.
    monkeypatch.chdir("other")
    assert gallery.add_features(unit_rows(10), files("../crops/{}.jpg")).num_replaced == 10
    assert gallery.add_features(unit_rows(2), ["crops/0.jpg", "a name"]).num_added == 2
    assert {"crops/0.jpg", "a name"} < set(held(gallery))
    assert gallery.remove(paths=["../mounted/3.jpg", "crops/0.jpg"]) == 2
    (folder / "crops/4.jpg").unlink()
    assert gallery.remove(paths=["../crops/4.jpg"]) == 1
    assert len(gallery) == 9


@pytest.mark.parametrize("key", ["path", "content"])
def test_the_query_is_never_among_what_is_found(folder, key, monkeypatch):
    features = unit_rows(10)
    gallery = Gallery.create("g", fingerprint="x", dim=8, key=key)
    gallery.add_features(features, files())
    assert Gallery.open("g").key == key
    for form in (*spellings(folder), "link.jpg"):
        query = form.format(0)
        for rerank in (False, True):
            (hits,) = gallery.search(features[0], k=5, without=[query], rerank=rerank)
            assert len(hits) == 5
            assert not any(hit.path.endswith("/0.jpg") for hit in hits), query
    assert len(gallery.search(features[0], k=20, without=["crops/0.jpg"])[0]) == 9
    assert gallery.search(features[0], k=1, without=["copy.jpg"])[0][0].path.endswith("/0.jpg") is (key == "path")
    # What is no image of the gallery leaves nothing out.
    assert gallery.search(features[:2], k=1, without=["a name", "crops/1.jpg"])[0][0].similarity > 0.99
    with input_error("length-mismatch"):
        gallery.search(features[:2], without=["a name"])


def test_equal_bytes_are_one_image_where_asked_for(folder):
    gallery = Gallery.create("g", fingerprint="x", dim=8, key="content")
    assert gallery.add_features(unit_rows(11), [*files(), "copy.jpg"]).num_added == 10
    shutil.move("crops", "moved")
    assert gallery.add_features(unit_rows(10), files("moved/{}.jpg")).num_replaced == 10
    (folder / "copy.jpg").write_bytes(b"new")
    assert gallery.add_features(unit_rows(2), ["copy.jpg", "a name"]).num_added == 2
    with input_error("setting-out-of-range", "'name'"):
        Gallery.create("h", fingerprint="x", dim=8, key="name")


def test_what_a_new_source_does_not_say_stays(folder):
    gallery = Gallery.create("g", fingerprint="x", dim=8)
    given = {"identities": ["ann", "ben"], "cameras": [1, None], "times": ["2026-01-01", None]}
    gallery.add_features(unit_rows(2), files(num=2), **given, columns={"lane": [1, 2]})
    done = gallery.add_features(unit_rows(2, seed=1), files("mounted/{}.jpg", 2), cameras=[None, 7])
    assert done.kept == {"identity": 2, "camera": 1, "time": 1, "lane": 2}
    rows = held(gallery, "identity", "camera", "lane")
    assert rows == {str(folder / "mounted/0.jpg"): ("ann", "1", 1), str(folder / "mounted/1.jpg"): ("ben", "7", 2)}
    # The vector is the new one, and what is said replaces.
    assert gallery.search(unit_rows(2, seed=1)[0], k=1)[0][0].similarity == pytest.approx(1, abs=1e-6)
    done = gallery.add_features(unit_rows(1), files(num=1), identities=["eva"], columns={"lane": [None], "new": [True]})
    assert done.kept == {"camera": 1, "time": 1, "lane": 1}
    assert held(gallery, "identity", "lane", "new")[str(folder / "crops/0.jpg")] == ("eva", 1, True)
    # Rows of one image in one call: the last vector, and of each column the last value.
    again = {"cameras": [3, 4, None], "identities": ["eva", None, "eva"]}
    gallery.add_features(unit_rows(3, seed=2), ["crops/0.jpg", "mounted/0.jpg", "link.jpg"], **again)
    assert held(gallery, "identity", "camera")[str(folder / "link.jpg")] == ("eva", "4")
    assert gallery.search(unit_rows(3, seed=2)[2], k=1)[0][0].similarity == pytest.approx(1, abs=1e-6)
    with input_error("identity-contradiction", "'ann'", "'ben'", "image 1", "image 3"):
        gallery.add_features(unit_rows(3), ["crops/0.jpg", "x", "link.jpg"], identities=["ann", "bob", "ben"])


def test_values_are_emptied_on_purpose(folder):
    gallery = Gallery.create("g", fingerprint="x", dim=8)
    gallery.add_features(unit_rows(4), files(num=4), identities=list("aabb"), times=["2026-01-01"] * 4)
    gallery.add_features(unit_rows(4), files(num=4), columns={"lane": [1, 2, 3, 4], "night": [True] * 4})
    assert gallery.clear(["identity", "lane"], "identity = 'a'") == 2
    assert gallery.clear(["time", "night"], paths=["mounted/3.jpg", "unknown"]) == 1
    assert [gallery.count(f"{name} is null") for name in ("identity", "lane", "time", "night")] == [2, 2, 1, 1]
    assert gallery.add_features(unit_rows(4), files(num=4)).kept == {"identity": 2, "lane": 2, "time": 3, "night": 3}
    for columns, given, code in (
        (["path"], {"where": "lane > 1"}, "no-such-column"),
        (["vector"], {"where": "lane > 1"}, "no-such-column"),
        ([], {"where": "lane > 1"}, "missing-argument"),
        (["lane"], {}, "invalid-selection"),
    ):
        with input_error(code):
            gallery.clear(columns, **given)


def test_writers_that_say_different_things_at_the_same_time_all_stay(tmp_path):
    gallery = Gallery.create(tmp_path / "g", fingerprint="x", dim=8)
    gallery.add_features(unit_rows(50), names(50))

    def say(column):
        own = Gallery.open(gallery.path)
        for value in range(4):
            own.add_features(unit_rows(50), names(50), columns={column: [value] * 50})

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(say, ("one", "two", "three")))
    assert len(gallery) == 50
    assert gallery.count("one = 3 and two = 3 and three = 3") == 50


def old_gallery(folder, paths, **columns):
    """A gallery as spcl 0.1.0 wrote it."""
    kinds = OWN_COLUMNS | {name: pa.array(values).type for name, values in columns.items() if name not in OWN_COLUMNS}
    fields = [pa.field(name, kind, nullable=name != "path") for name, kind in kinds.items()]
    schema = pa.schema(
        [*fields, pa.field(VECTOR, vector_type(8), nullable=False)],
        metadata={b"spcl": json.dumps({"format": 1, "fingerprint": "x", "flip": False}).encode()},
    )
    rows = {name: pa.array(columns.get(name, [None] * len(paths)), kind) for name, kind in kinds.items()}
    rows |= {
        "path": pa.array(paths),
        VECTOR: pa.FixedSizeListArray.from_arrays(pa.array(unit_rows(len(paths)).ravel()), 8),
    }
    table = lancedb.connect(folder).create_table("images", schema=schema)
    table.set_unenforced_primary_key("path")
    table.add(pa.table(rows, schema=schema))


def test_a_gallery_of_the_first_format_is_read_and_becomes_one_of_keys_at_its_first_write(folder, monkeypatch):
    (folder / "runs").mkdir()
    paths = ["crops/0.jpg", "crops/1.jpg", str(folder / "crops/1.jpg"), "./mounted/1.jpg", "a name"]
    old_gallery(folder / "runs/g", paths, identity=["ann", "ben", None, None, "eva"], lane=[1, 2, None, 3, 4])
    monkeypatch.chdir("other")
    gallery = Gallery.open("../runs/g")
    before = Gallery.open("../runs/g")._store.snapshot()
    assert (len(gallery), gallery.key) == (5, "path")
    assert "_key" not in gallery.columns
    # Its own rows are left out by whatever spelling, where they can be found.
    found = gallery.search(unit_rows(5)[2], k=2, without=[str(folder / "mounted/1.jpg")])[0]
    assert len(found) == 2 and str(folder / "crops/1.jpg") not in [hit.path for hit in found]
    done = gallery.add_features(unit_rows(2, seed=1), ["../crops/1.jpg", "new"])
    assert (done.num_added, done.num_replaced, done.kept) == (1, 1, {"identity": 1, "lane": 1})
    assert "format of spcl 0.1.0" in done.note and "2 rows" in done.note
    expected = {
        str(folder / "crops/0.jpg"): ("ann", 1), str(folder / "crops/1.jpg"): ("ben", 3), "a name": ("eva", 4),
        "new": (None, None),
    }  # fmt: skip
    assert held(Gallery.open(gallery.path), "identity", "lane") == held(gallery, "identity", "lane") == expected
    vectors = {path: part.features[row] for part in gallery.read() for row, path in enumerate(part.columns["path"])}
    assert np.array_equal(vectors["a name"], unit_rows(5)[4])
    # One version for the keys, one for the row; who reads an old version is not disturbed.
    assert gallery._store.snapshot().version == before.version + 2
    assert before.count() == 5
    assert gallery.add_features(unit_rows(1), ["new"]).note == ""
    gallery.tidy()
    assert len(gallery) == 4


def test_a_stop_while_keys_are_given_leaves_the_gallery_as_it_was(folder, monkeypatch):
    old_gallery(folder / "g", files())

    def stopped(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("spcl.gallery.migration._batches", lambda *_: (stopped() for _ in range(1)))
        with pytest.raises((KeyboardInterrupt, InputError, RuntimeError, ValueError)):
            Gallery.open("g").add_features(unit_rows(1), ["new"])
    assert not Gallery.open("g")._store.snapshot().has_keys
    assert len(Gallery.open("g")) == 10
    assert Gallery.open("g").add_features(unit_rows(10), files()).num_replaced == 10


def test_two_programs_give_keys_and_write_at_the_same_time(folder):
    old_gallery(folder / "g", files())

    def write(first):
        Gallery.open(folder / "g").add_features(unit_rows(20), names(20, first=first))

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(write, (0, 100, 200)))
    assert len(Gallery.open("g")) == 10 + 60


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root writes anywhere")
def test_a_gallery_without_permission_to_write_is_named(folder):
    gallery = Gallery.create("g", fingerprint="x", dim=8)
    (folder / "g").chmod(0o500)
    with input_error("cannot-write"):
        gallery.add_features(unit_rows(1), ["a"])


def test_two_programs_make_one_gallery(tmp_path):
    with ThreadPoolExecutor(4) as pool:
        made = [pool.submit(Gallery.create, tmp_path / "g", fingerprint="x", dim=8) for _ in range(4)]
    errors = [done.exception() for done in made]
    assert errors.count(None) == 1
    assert all(isinstance(e, InputError) and "gallery" in str(e) for e in errors if e is not None)
    assert [entry.name for entry in tmp_path.iterdir()] == ["g"]
