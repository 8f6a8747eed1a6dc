"""A gallery on disk: what is added is found, replaced, removed; strangers are refused; readers see whole versions."""

from __future__ import annotations

import sys
from datetime import datetime, timezone

import lancedb
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch

from spcl.gallery import folder as gallery_folder
from spcl.gallery import store
from spcl.gallery.columns import described, with_vectors
from spcl.gallery.enrolment import enrol
from spcl.gallery.gallery import Gallery
from spcl.gallery.result import Hit
from spcl.retrieval.rerank import rerank
from tests.gallery.features import names, unit_rows
from tests.input_errors import input_error


@pytest.fixture
def gallery(tmp_path):
    return Gallery.create(tmp_path / "g", fingerprint="x", dim=8)


def test_exact_search_equals_sorting_all_similarities(gallery):
    features, queries = unit_rows(300), unit_rows(5, seed=1)
    for at in range(0, 300, 70):
        gallery.add_features(features[at : at + 70], names(300)[at : at + 70])
    result = gallery.search(queries, k=7)
    assert (result.engine, result.recall, len(result)) == ("exact", 1.0, 5)
    similarities = queries @ features.T
    expected = np.argsort(-similarities, axis=1)[:, :7]
    for hits, rows, values in zip(result, expected, np.take_along_axis(similarities, expected, 1), strict=True):
        assert [hit.path for hit in hits] == [names(300)[row] for row in rows]
        assert [hit.similarity for hit in hits] == pytest.approx(values.tolist(), abs=1e-6)


def test_one_row_by_hand(gallery):
    vector = np.eye(8, dtype=np.float32)[0]
    done = gallery.add_features(
        vector,
        ["a.jpg"],
        identities=[7],
        cameras=["north gate"],
        times=["2026-01-01 08:00"],
        columns={"speed": [3.5]},
    )
    assert (done.num_added, done.num_replaced) == (1, 0)
    (hit,) = gallery.search(torch.from_numpy(np.float32([0.6, 0.8, 0, 0, 0, 0, 0, 0])))[0]
    assert (hit.path, hit.identity, hit.camera, hit.time) == ("a.jpg", "7", "north gate", datetime(2026, 1, 1, 8))
    assert hit.similarity == pytest.approx(0.6)
    assert hit.columns == {"speed": 3.5}
    assert hit.to_row()["time"] == "2026-01-01 08:00:00"
    assert gallery.columns == {
        "path": "text", "identity": "text", "camera": "text", "time": "time", "speed": "number"
    }  # fmt: skip


def test_it_is_there_after_a_reopening(gallery):
    gallery.add_features(unit_rows(20), names(20))
    again = Gallery.open(gallery.path)
    assert (len(again), again.dim, again.fingerprint) == (20, 8, "x")
    assert again.search(unit_rows(20)[3], k=1)[0][0].path == names(20)[3]
    assert not list(gallery.path.parent.glob(".*.tmp"))


def test_a_path_given_again_is_replaced(gallery):
    gallery.add_features(unit_rows(20), names(20), cameras=[1] * 20)
    done = gallery.add_features(unit_rows(10, seed=1), names(10, first=15), cameras=[2] * 10)
    assert (done.num_added, done.num_replaced) == (5, 5)
    assert len(gallery) == 25
    (hit,) = gallery.search(unit_rows(10, seed=1)[0], k=1)[0]
    assert (hit.path, hit.camera) == (names(20)[15], "2")
    assert hit.similarity == pytest.approx(1, abs=1e-6)
    # Twice in one call: the last counts.
    assert gallery.add_features(unit_rows(2, seed=2), ["new", "new"]).num_added == 1
    assert gallery.search(unit_rows(2, seed=2)[1], k=1)[0][0].path == "new"


def test_one_path_and_one_column_may_be_given_without_a_list(gallery):
    gallery.add_features(unit_rows(3), names(3), identities=["a", "b", "c"])
    assert gallery.clear("identity", paths=names(3)[0]) == 1
    assert gallery.count("identity is null") == 1
    assert gallery.remove(paths=names(3)[0]) == 1
    with input_error("invalid-selection", "paths=[...]"):
        gallery.remove(names(3))  # type: ignore[arg-type]
    assert len(gallery) == 2


def test_removing(gallery):
    gallery.add_features(unit_rows(20), names(20), cameras=[1, 2] * 10)
    assert gallery.remove(paths=[*names(2), "it's unknown"]) == 2
    assert gallery.remove(where="camera = 2") == 9
    assert len(gallery) == 9
    assert {hit.camera for hit in gallery.search(unit_rows(1), k=50)[0]} == {"1"}
    assert gallery.remove(paths=[]) == 0
    for both in ({}, {"where": "camera = 1", "paths": ["a"]}):
        with input_error("invalid-selection"):
            gallery.remove(**both)


def test_an_empty_gallery_answers(gallery):
    assert len(gallery) == 0
    assert gallery.search(unit_rows(2)).hits == ((), ())
    assert gallery.search(unit_rows(1), rerank=True).hits == ((),)
    assert list(gallery.read()) == []
    assert gallery.index is None
    assert gallery.add_features(np.empty((0, 8), np.float32), []).num_added == 0


def test_new_columns_and_columns_left_out(gallery):
    gallery.add_features(unit_rows(2), ["a", "b"])
    gallery.add_features(unit_rows(2, seed=1), ["c", "d"], columns={"weather": ["rain", None], "lane": [1, 2]})
    gallery.add_features(unit_rows(1, seed=2), ["e"])
    rows = {hit.path: dict(hit.columns) for hit in gallery.search(unit_rows(1), k=9)[0]}
    assert rows["a"] == rows["e"] == {"weather": None, "lane": None}
    assert (rows["c"], rows["d"]) == ({"weather": "rain", "lane": 1}, {"weather": None, "lane": 2})
    gallery.add_features(unit_rows(1, seed=3), ["f"], columns={"weather": [None], "age": [None]})
    # A column without values has no kind yet.
    assert "age" not in gallery.columns
    gallery.add_features(unit_rows(1, seed=3), ["f"], columns={"age": [pd.NA]})
    gallery.add_features(unit_rows(1, seed=3), ["f"], columns={"age": [5], "note": ["caf\udce9"]})
    assert gallery.search(unit_rows(1, seed=3), k=1)[0][0].columns["note"] == r"caf\udce9"
    with input_error("column-type-mismatch", "'lane'", "whole number", "text"):
        gallery.add_features(unit_rows(1, seed=3), ["g"], columns={"lane": ["left"]})
    with input_error("ambiguous-column-name", "'lane' and 'LANE'"):
        gallery.add_features(unit_rows(1, seed=3), ["g"], columns={"LANE": [1]})
    assert len(gallery) == 6 and "LANE" not in gallery.columns


def test_identities_and_times_of_every_kind(gallery):
    gallery.add_features(
        unit_rows(6),
        names(6),
        identities=["0042", 42, 42.0, None, float("nan"), np.int64(7)],
        times=[
            pd.Timestamp("2026-01-01 08:00"),
            np.datetime64("2026-01-01T08:00"),
            datetime(2026, 1, 1, 10, tzinfo=timezone.utc),
            "2026-01-01T10:00:00+02:00",
            None,
            "2026-01-01",
        ],
    )
    rows = {hit.path: hit for hit in gallery.search(unit_rows(1), k=9)[0]}
    assert [rows[name].identity for name in names(6)] == ["0042", "42", "42", None, None, "7"]
    hours = [rows[name].time and rows[name].time.hour for name in names(6)]
    assert hours == [8, 8, 10, 8, None, 0]


def test_words_for_not_known_are_no_identity_and_no_camera(gallery):
    words = ["unknown", "N/A", "-1", -1, "anna"]
    gallery.add_features(unit_rows(5), names(5), identities=words, cameras=words)
    rows = {hit.path: (hit.identity, hit.camera) for hit in gallery.search(unit_rows(1), k=9)[0]}
    assert [rows[name] for name in names(5)] == [(None, None)] * 4 + [("anna", "anna")]


def test_words_for_not_known_in_an_older_gallery_are_not_enrolled():
    """Galleries were written before such words were recognised: the answer unknown is never a name."""

    class Older:
        dim = 8

        def __init__(self, words):
            self._words = words

        def scan(self, columns, condition):
            table = described(self._words).set_column(1, "identity", pa.array(self._words))
            for batch in with_vectors(table, unit_rows(len(self._words)), 8).to_batches(max_chunksize=2):
                yield None, batch

    enrolled = enrol(Older(["unknown", "ann", "-1", "ben", "N/A", "n/a"]), "", 6)
    assert enrolled.identities == ("ann", "ben") and enrolled.counts.tolist() == [1, 1]
    with input_error("no-identities"):
        enrol(Older(["unknown", "-1"]), "", 2)


def test_reading_everything_in_batches(gallery):
    features = unit_rows(50)
    gallery.add_features(features, names(50), identities=[None if n % 5 == 0 else n // 10 for n in range(50)])
    parts = list(gallery.read(rows=8))
    assert max(len(part.features) for part in parts) <= 8
    assert np.array_equal(np.concatenate([part.features for part in parts]), features)
    assert [name for part in parts for name in part.columns["path"]] == names(50)
    known = list(gallery.read(["identity"], where="identity is not null"))
    assert sum(len(part.features) for part in known) == 40
    with input_error("no-such-column", "'size'", "path, identity"):
        list(gallery.read(["size"]))


def test_reranking_orders_the_candidates_by_the_distance_of_rerank(gallery):
    centres = unit_rows(12)
    rows = np.repeat(centres, 25, axis=0) + 0.25 * unit_rows(300, seed=1)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    gallery.add_features(rows, names(300))
    query = unit_rows(12)[4:5]
    plain = gallery.search(query, k=100)[0]
    candidates = [names(300).index(hit.path) for hit in plain]
    distance = rerank(query, rows[candidates])[0]
    hits = gallery.search(query, k=10, rerank=True)[0]
    assert [hit.path for hit in hits] == [plain[place].path for place in np.argsort(distance, kind="stable")[:10]]
    assert [hit.distance for hit in hits] == pytest.approx(np.sort(distance)[:10].tolist())
    assert hits[0].to_row()["distance"] == pytest.approx(float(distance.min()), abs=1e-6)


def test_a_reader_sees_one_version_whatever_is_written(gallery):
    gallery.add_features(unit_rows(100), names(100))
    reading = gallery.read(rows=10)
    seen = next(reading).columns["path"]
    other = Gallery.open(gallery.path)
    other.remove(where="path >= 'gate/0050.jpg'")
    other.add_features(unit_rows(30, seed=1), names(30, first=200))
    other.tidy()
    for part in reading:
        seen += part.columns["path"]
    assert seen == names(100)
    assert len(gallery) == 80
    assert {hit.path for hit in gallery.search(unit_rows(1), k=200)[0]} == {*names(50), *names(30, first=200)}


@pytest.mark.parametrize(
    ("features", "code"),
    [
        (unit_rows(2, dim=9), "feature-length-mismatch"),
        (np.full((2, 8), np.nan, np.float32), "invalid-features"),
        (unit_rows(3), "length-mismatch"),
        (np.zeros((2, 8), np.float32), "invalid-features"),
    ],
)
def test_features_that_do_not_fit(gallery, features, code):
    with input_error(code):
        gallery.add_features(features, ["a", "b"])
    assert len(gallery) == 0


@pytest.mark.parametrize(
    ("given", "code", "named"),
    [
        ({"identities": [1]}, "length-mismatch", "'identity'"),
        ({"times": ["soon", None]}, "not-a-time", "'soon' in row 1"),
        ({"times": [5, None]}, "not-a-time", "5"),
        ({"times": ["2026-01-01", "01.03.2026"]}, "not-a-time", "'01.03.2026' in row 2"),
        ({"columns": {"two words": [1, 2]}}, "invalid-column-name", "'two words'"),
        ({"columns": {"2nd": [1, 2]}}, "invalid-column-name", "'2nd'"),
        ({"columns": {"vector": [1, 2]}}, "reserved-column-name", "'vector'"),
        ({"columns": {"similarity": [1, 2]}}, "reserved-column-name", "'similarity'"),
        ({"columns": {"null": [1, 2]}}, "reserved-column-name", "'null'"),
        ({"columns": {"Lane": [1, 2], "lane": [1, 2]}}, "ambiguous-column-name", "'Lane' and 'lane'"),
        ({"columns": {"hash": [1, 2**63]}}, "number-too-large", "'hash' holds 9223372036854775808"),
        ({"columns": {"size": [2**60 + 1, 1.5]}}, "number-too-large", "'size' holds 1152921504606846977"),
        ({"columns": {"size": [1, "x"]}}, "mixed-column", "(int, str)"),
        ({"identities": ["a", "b"], "columns": {"identity": ["c", "d"]}}, "column-given-twice", "'identity'"),
        ({"fingerprint": "y"}, "encoder-mismatch", "y"),
    ],
)
def test_descriptions_that_do_not_fit(gallery, given, code, named):
    with input_error(code, named):
        gallery.add_features(unit_rows(2), ["a", "b"], **given)
    assert len(gallery) == 0


def test_what_cannot_be_opened_or_made(tmp_path, gallery, monkeypatch):
    with input_error("no-such-gallery", tmp_path / "none"):
        Gallery.open(tmp_path / "none")
    (tmp_path / "crops").mkdir()
    (tmp_path / "crops" / "a.jpg").touch()
    with input_error("no-such-gallery", "crops holds a.jpg"):
        Gallery.open(tmp_path / "crops")
    with input_error("folder-not-empty", "crops holds a.jpg"):
        Gallery.create(tmp_path / "crops", fingerprint="x", dim=8)
    with input_error("already-exists", gallery.path):
        Gallery.create(gallery.path, fingerprint="x", dim=8)
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    with input_error("invalid-folder-name", "NAME"):
        Gallery.create(".", fingerprint="x", dim=8)
    with input_error("no-encoder"):
        Gallery.create(tmp_path / "new", fingerprint="x")
    with input_error("no-encoder"):
        gallery.search("a.jpg")
    with input_error("no-encoder"):
        gallery.add("a.jpg")
    with input_error("setting-out-of-range", "k is 0"):
        gallery.search(unit_rows(1), k=0)
    with input_error("no-index"):
        gallery.search(unit_rows(1), exact=False)


def test_without_lancedb(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "lancedb", None)
    with input_error("package-not-installed", 'pip install "spcl[gallery]"'):
        Gallery.create(tmp_path / "g", fingerprint="x", dim=8)
    assert not (tmp_path / "g").exists()


def test_tables_of_others_and_of_later_versions_are_refused(tmp_path, monkeypatch):
    lancedb.connect(tmp_path / "other").create_table("images", pa.table({"path": ["a"], "vector": [[1.0, 0.0]]}))
    with input_error("not-a-gallery"):
        Gallery.open(tmp_path / "other")
    with monkeypatch.context() as later:
        later.setattr(gallery_folder, "FORMAT", 3)
        later.setattr(store, "FORMAT", 3)
        Gallery.create(tmp_path / "later", fingerprint="x", dim=8)
    with input_error("version-not-supported", "format 3"):
        Gallery.open(tmp_path / "later")


def test_features_that_nearly_have_the_length_one_become_such(gallery):
    rows = unit_rows(3)
    gallery.add_features(rows * 1.005, ["a", "b", "c"])
    hits = gallery.search(rows[0] * 0.995, k=3)[0]
    assert hits[0].path == "a"
    assert hits[0].similarity == pytest.approx(1, abs=1e-6)
    assert [hit.similarity for hit in hits[1:]] == pytest.approx(sorted((rows[1:] @ rows[0]).tolist())[::-1], abs=1e-6)


def test_results_have_priority_over_columns_of_the_same_name():
    hit = Hit("a", 0.9, columns={"similarity": 5, "distance": 77, "lane": 2})
    assert hit.to_row() == {
        "path": "a",
        "similarity": 0.9,
        "identity": None,
        "camera": None,
        "time": None,
        "lane": 2,
    }


def test_few_images_with_an_identity_among_many_are_all_scored(gallery, monkeypatch):
    monkeypatch.setattr("spcl.gallery.enrolment.MOST_SCORED", 100)
    known = np.repeat(unit_rows(30, seed=1), 3, axis=0)
    gallery.add_features(known, names(90), identities=np.repeat(np.arange(30), 3).tolist())
    gallery.add_features(unit_rows(900, seed=2), names(900, first=90))
    assert gallery.count() == 990
    assert gallery.count("identity is not null") == 90
    assert len(gallery.enrolled().impostor) == 90
