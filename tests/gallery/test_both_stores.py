"""What a gallery does is the same in a folder (LanceDB) and in Qdrant: by its local mode, and by a stand-in server."""

from __future__ import annotations

from datetime import datetime

import numpy as np
import pytest

from spcl.gallery.gallery import Gallery
from spcl.gallery.qdrant.connection import close_clients
from spcl.retrieval.rerank import rerank
from tests.gallery.features import names, unit_rows
from tests.gallery.qdrant_places import local_folder
from tests.gallery.qdrant_server import stand_in
from tests.input_errors import input_error


@pytest.fixture(params=["lancedb", "qdrant-local", "qdrant"])
def place(request, tmp_path):
    if request.param == "lancedb":
        yield tmp_path / "g"
    elif request.param == "qdrant-local":
        with local_folder() as folder:
            yield f"qdrant-local:{folder}/crops"
    else:
        with stand_in() as (host, _):
            yield f"qdrant://{host}/crops"


@pytest.fixture
def gallery(place):
    return Gallery.create(place, fingerprint="x", dim=8)


def all_rows(gallery):
    return {hit.path: hit for hit in gallery.search(unit_rows(1), k=500)[0]}


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


def test_columns_come_back_as_they_were_added(gallery):
    vector = np.eye(8, dtype=np.float32)[0]
    gallery.add_features(
        vector,
        ["gate/a.jpg"],
        identities=[7],
        cameras=["north gate"],
        times=["2026-01-01 08:00:00.000001"],
        columns={"speed": [3.0], "lane": [2**60 + 1], "night": [False], "seen": [datetime(1999, 5, 1)], "note": [""]},
    )
    (hit,) = gallery.search(np.float32([0.6, 0.8, 0, 0, 0, 0, 0, 0]))[0]
    assert (hit.path, hit.identity, hit.camera) == ("gate/a.jpg", "7", "north gate")
    assert hit.time == datetime(2026, 1, 1, 8, 0, 0, 1)
    assert hit.similarity == pytest.approx(0.6)
    expected = {"speed": 3.0, "lane": 2**60 + 1, "night": False, "seen": datetime(1999, 5, 1), "note": ""}
    assert hit.columns == expected and list(hit.columns) == list(expected)
    assert {name: type(value) for name, value in hit.columns.items()} == {n: type(v) for n, v in expected.items()}
    assert list(gallery.columns) == ["path", "identity", "camera", "time", *expected]
    (part,) = gallery.read(["lane"])
    assert np.array_equal(part.features, vector[None]) and part.columns == {"lane": [2**60 + 1]}


def test_it_is_there_after_the_client_is_closed(place, gallery):
    gallery.add_features(unit_rows(20), names(20), columns={"lane": list(range(20))})
    close_clients()
    again = Gallery.open(place)
    assert (len(again), again.dim, again.fingerprint, again.flip, again.key) == (20, 8, "x", False, "path")
    assert again.columns["lane"] == "whole number"
    assert again.search(unit_rows(20)[3], k=1)[0][0].path == names(20)[3]


def test_an_image_added_again_is_replaced_and_keeps_what_is_not_given(gallery):
    gallery.add_features(unit_rows(20), names(20), cameras=[1] * 20, identities=["ann"] * 20)
    done = gallery.add_features(unit_rows(10, seed=1), names(10, first=15), cameras=[2, *[None] * 9])
    assert (done.num_added, done.num_replaced, dict(done.kept)) == (5, 5, {"camera": 4, "identity": 5})
    assert len(gallery) == 25
    rows = all_rows(gallery)
    assert [rows[name].camera for name in names(4, first=14)] == ["1", "2", "1", "1"]
    assert (rows[names(20)[15]].identity, rows[names(25)[24]].identity) == ("ann", None)
    # Twice in one call: the last counts.
    assert gallery.add_features(unit_rows(2, seed=2), ["new", "new"]).num_added == 1
    assert gallery.search(unit_rows(2, seed=2)[1], k=1)[0][0].path == "new"


def test_removing_and_clearing(gallery):
    gallery.add_features(unit_rows(20), names(20), cameras=[1, 2] * 10, columns={"lane": list(range(20))})
    assert gallery.remove(paths=[*names(2), "it's unknown"]) == 2
    assert gallery.remove(where="camera = 2 and lane > 10") == 5
    assert gallery.clear(["camera", "lane"], where="lane = 3") == 1
    assert gallery.clear("camera", paths=names(1, first=4)) == 1
    assert gallery.count("camera is null") == 2 and gallery.count("lane is null") == 1
    assert len(gallery) == 13
    assert gallery.remove(where="lane = 999") == 0
    with input_error("no-such-column", "'size'"):
        gallery.clear(["size"], "lane = 1")


def test_an_empty_gallery_answers(gallery):
    assert len(gallery) == 0 and gallery.cameras() == [] and gallery.index is None
    assert gallery.search(unit_rows(2)).hits == ((), ())
    assert gallery.search(unit_rows(1), rerank=True).hits == ((),)
    assert list(gallery.read()) == []
    assert gallery.add_features(np.empty((0, 8), np.float32), []).num_added == 0
    gallery.tidy()
    with input_error("no-index"):
        gallery.search(unit_rows(1), exact=False)


def test_new_columns(gallery):
    gallery.add_features(unit_rows(2), ["a", "b"])
    gallery.add_features(unit_rows(2, seed=1), ["c", "d"], columns={"weather": ["rain", None], "lane": [1, 2]})
    rows = all_rows(gallery)
    assert rows["a"].columns == {"weather": None, "lane": None}
    assert rows["c"].columns == {"weather": "rain", "lane": 1}
    with input_error("column-type-mismatch", "'lane'", "whole number", "text"):
        gallery.add_features(unit_rows(1, seed=3), ["g"], columns={"lane": ["left"]})
    with input_error("ambiguous-column-name", "'lane' and 'LANE'"):
        gallery.add_features(unit_rows(1, seed=3), ["g"], columns={"LANE": [1]})
    assert len(gallery) == 4


def test_reranking_and_the_own_image_left_out(gallery):
    rows = np.repeat(unit_rows(12), 25, axis=0) + 0.25 * unit_rows(300, seed=1)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    gallery.add_features(rows, names(300))
    query = unit_rows(12)[4:5]
    plain = gallery.search(query, k=100)[0]
    candidates = [names(300).index(hit.path) for hit in plain]
    distance = rerank(query, rows[candidates])[0]
    hits = gallery.search(query, k=10, rerank=True)[0]
    assert [hit.distance for hit in hits] == pytest.approx(np.sort(distance)[:10].tolist(), abs=1e-5)
    others = gallery.search(rows[:3], k=4, without=names(3))
    for number, found in enumerate(others):
        assert len(found) == 4 and names(300)[number] not in [hit.path for hit in found]


def test_identities_are_enrolled_and_named(gallery):
    centres = unit_rows(30, dim=8)
    rows = np.repeat(centres, 4, axis=0) + 0.1 * unit_rows(120, seed=1)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    gallery.add_features(rows, names(120), identities=[f"cow {n // 4}" for n in range(120)], cameras=[1, 2] * 60)
    enrolled = gallery.enrolled()
    assert len(enrolled.identities) == 30
    answers = gallery.identify(centres[:3])
    assert [answer.nearest for answer in answers] == ["cow 0", "cow 1", "cow 2"]
    assert len(gallery.enrolled("camera = 1").identities) == 30
    nearest = gallery.nearest_of(rows[:2], ["cow 0", "cow 7"], without=names(2), where="camera = 1")
    similarities = rows[:2] @ rows.T
    assert nearest[0].path == names(120)[2] and nearest[0].similarity == pytest.approx(similarities[0, 2], abs=1e-5)
    of_seven = [28, 30]
    assert nearest[1].path == names(120)[of_seven[int(similarities[1, of_seven].argmax())]]
    assert gallery.nearest_of(rows[:1], ["cow 99"]) == [None]


def test_features_of_another_encoder_are_refused(place, gallery):
    with input_error("encoder-mismatch", str(gallery.place), "y"):
        gallery.add_features(unit_rows(1), ["a"], fingerprint="y")
    with input_error("feature-length-mismatch"):
        gallery.add_features(unit_rows(1, dim=9), ["a"])
    with input_error("flip-mismatch"):
        gallery.check_flip(True)
    with input_error("already-exists"):
        Gallery.create(place, fingerprint="x", dim=8)
    assert len(gallery) == 0


def test_keys_by_content(place, tmp_path):
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / name).write_bytes(b"the same")
    gallery = Gallery.create(place, fingerprint="x", dim=8, key="content", flip=True)
    done = gallery.add_features(unit_rows(2), [tmp_path / "a.jpg", tmp_path / "b.jpg"])
    assert (done.num_added, len(gallery)) == (1, 1)
    again = Gallery.open(place)
    assert (again.key, again.flip) == ("content", True)
    assert again.remove(paths=[tmp_path / "a.jpg"]) == 1


def test_cameras_and_unknown_ones(gallery):
    gallery.add_features(unit_rows(5), names(5), cameras=[10, 9, None, 9, 2])
    assert gallery.cameras() == ["2", "9", "10"]
    assert gallery.unknown_cameras(["9", "7"]) == ["7"]


def test_reading_with_a_filter(gallery):
    features = unit_rows(50)
    gallery.add_features(features, names(50), identities=[None if n % 5 == 0 else n // 10 for n in range(50)])
    parts = list(gallery.read(where="identity is not null", rows=8))
    assert max(len(part.features) for part in parts) <= 8
    found = [name for part in parts for name in part.columns["path"]]
    assert sorted(found) == [name for n, name in enumerate(names(50)) if n % 5]
    vectors = np.concatenate([part.features for part in parts])
    assert np.array_equal(vectors, features[[names(50).index(name) for name in found]])
