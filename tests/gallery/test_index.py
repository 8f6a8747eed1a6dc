"""The index of a large gallery: built when it is worth it, measured against the truth, complete for new images."""

from __future__ import annotations

import json
from contextlib import contextmanager

import numpy as np
import pytest
from mixture import mixture

from spcl.gallery import index, readable_gallery
from spcl.gallery.gallery import Gallery
from spcl.gallery.snapshot import Snapshot
from spcl.reporting.console import SilentReporter
from tests.gallery.features import names

NUM, DIM = 3000, 16


@pytest.fixture(scope="module")
def small_limit():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(index, "EXACT_UP_TO_VALUES", 1000 * DIM)
        yield


@pytest.fixture(scope="module")
def features(small_limit):
    return mixture(NUM, DIM)


@pytest.fixture(scope="module")
def gallery(tmp_path_factory, features):
    gallery = Gallery.create(tmp_path_factory.mktemp("index") / "g", fingerprint="x", dim=DIM)
    gallery.add_features(features[:900], names(900))
    gallery.tidy()
    assert gallery.index is None
    gallery.add_features(features[900:], names(NUM)[900:], cameras=[n % 10 for n in range(900, NUM)])
    gallery.tidy()
    return gallery


def paths(result):
    return [[hit.path for hit in hits] for hits in result]


def test_its_recall_is_what_it_says(gallery, features):
    facts = gallery.index
    assert (facts.rows, facts.sample) == (NUM, 100)
    assert facts.recall >= 0.9
    queries = features[::30]
    found, truth = gallery.search(queries, k=10), gallery.search(queries, k=10, exact=True)
    assert (found.engine, found.recall) == ("index", facts.recall)
    assert (truth.engine, truth.recall) == ("exact", 1.0)
    recall = np.mean([len({*a} & {*b}) / 10 for a, b in zip(paths(found), paths(truth), strict=True)])
    assert recall == pytest.approx(facts.recall, abs=0.05)
    # What it finds is compared by the full vectors.
    for one, other in zip(found, truth, strict=True):
        known = {hit.path: hit.similarity for hit in other}
        assert all(hit.similarity == pytest.approx(known[hit.path], abs=1e-5) for hit in one if hit.path in known)


def test_it_looks_through_the_regions_it_measured_and_no_more(gallery, features, monkeypatch):
    facts = gallery.index
    assert facts.regions == 16
    asked = []
    original = Snapshot.search_index

    def counted(self, query, k, **options):
        asked.append(options["regions"])
        return original(self, query, k, **options)

    monkeypatch.setattr(Snapshot, "search_index", counted)
    gallery.search(features[:2], k=5)
    assert asked == [16, 16]
    # One region of some fifty rows has not 300 of them, all of them have.
    snapshot = gallery._store.snapshot()
    assert len(original(snapshot, features[0], 300, regions=1, refine=4)[0]) < 300
    assert len(original(snapshot, features[0], 300, regions=None, refine=4)[0]) == 300
    # Where those it looks through have too few, it goes on to the others.
    assert len(gallery.search(features[:1], k=NUM - 100)[0]) == NUM - 100


def test_a_filter_that_few_pass_is_searched_exactly_and_one_that_many_pass_by_the_index(gallery, features):
    few = gallery.search(features[:3], k=400, where="camera = 3 and path < 'gate/1500.jpg'")
    assert few.engine == "exact"
    assert [len(hits) for hits in few] == [60] * 3
    for where in ("camera is null or camera != 3", "camera = 3", "camera > 8", "time is null and camera in (1, 2)"):
        many, truth = (gallery.search(features[::60], k=10, where=where, exact=exact) for exact in (None, True))
        assert (many.engine, truth.engine) == ("index", "exact")
        assert all(len(hits) == 10 for hits in many)
        pairs = zip(paths(many), paths(truth), strict=True)
        assert np.mean([len({*a} & {*b}) / 10 for a, b in pairs]) >= gallery.index.recall - 0.03
    # By the index, too, a filter leaves nothing out that passes it.
    assert [len(hits) for hits in gallery.search(features[:1], k=400, where="camera = 3", exact=False)] == [210]


def test_columns_are_indexed_with_it(gallery):
    indexes = {index.columns[0]: index.index_type for index in gallery._store._table().list_indices()}
    assert indexes == {"vector": "IvfSq", "camera": "Bitmap", "identity": "BTree", "time": "BTree"}
    plan = gallery._store._table().search().where("camera != '3'").explain_plan()
    assert "ScalarIndexQuery" in plan


def test_images_added_and_removed_after_it_was_built(gallery, features):
    new = mixture(40, DIM, seed=1)
    gallery.add_features(new, names(40, first=9000))
    assert paths(gallery.search(new, k=1)) == [[name] for name in names(40, first=9000)]
    gallery.tidy()
    assert paths(gallery.search(new, k=1)) == [[name] for name in names(40, first=9000)]
    gallery.remove(paths=names(40, first=9000))
    assert not {*names(40, first=9000)} & {path for row in paths(gallery.search(new, k=5)) for path in row}
    assert len(gallery) == NUM
    assert gallery.index.rows == NUM


def test_filters_see_what_was_written_after_their_columns_were_indexed(tmp_path, small_limit, features):
    gallery = Gallery.create(tmp_path / "g", fingerprint="x", dim=DIM)
    speeds = [0.5 * (n % 7) for n in range(NUM)]
    gallery.add_features(features, names(NUM), cameras=[n % 10 for n in range(NUM)], columns={"speed": speeds})
    gallery.tidy()
    camera_of = {name: str(n % 10) for n, name in enumerate(names(NUM))}
    known = dict(camera_of)

    def found(where):
        hits = gallery.search(features[:1], k=NUM + 200, where=where, exact=False)[0]
        return sorted(hit.path for hit in hits)

    def check():
        for where, passes in (
            ("camera = 3", lambda camera: camera == "3"),
            ("camera != 3", lambda camera: camera not in (None, "3")),
            ("camera is null", lambda camera: camera is None),
            ("not (camera in (1, 2))", lambda camera: camera not in (None, "1", "2")),
        ):
            assert found(where) == sorted(name for name, camera in known.items() if passes(camera)), where

    check()
    # Replaced, with another camera or none; new ones; removed ones.
    gallery.add_features(features[:40], names(40), cameras=[3] * 20 + [None] * 20)
    check_kept = {name: "3" if number < 20 else known[name] for number, name in enumerate(names(40))}
    known |= check_kept
    check()
    assert gallery.clear(["camera"], paths=names(20, first=20)) == 20
    known |= {name: "3" if number < 20 else None for number, name in enumerate(names(40))}
    gallery.add_features(mixture(60, DIM, seed=2), names(60, first=9000), cameras=[3, 4, None] * 20)
    known |= {name: ("3", "4", None)[number % 3] for number, name in enumerate(names(60, first=9000))}
    gallery.remove(where="camera = 3 and path < 'gate/0100.jpg'")
    gallery.remove(paths=names(10, first=200))
    gone = {name for name, camera in known.items() if camera == "3" and name < "gate/0100.jpg"}
    known = {name: camera for name, camera in known.items() if name not in gone | {*names(10, first=200)}}
    check()
    gallery.add_features(mixture(5, DIM, seed=3), names(5, first=9500), columns={"lane": [1, 2, 2, 3, None]})
    known |= dict.fromkeys(names(5, first=9500))
    assert found("lane = 2") == names(2, first=9501)
    gallery.tidy()
    check()
    indexed = {index.columns[0] for index in gallery._store._table().list_indices()}
    assert {"speed", "lane"} <= indexed
    assert found("lane >= 2") == names(3, first=9501)
    assert found("speed > 2.5") == sorted(n for n in known if n in camera_of and int(n[5:9]) % 7 == 6)


def test_rows_that_pass_are_counted_once_in_a_version(gallery, features, monkeypatch):
    counted = []
    original = Snapshot.count
    monkeypatch.setattr(Snapshot, "count", lambda self, where=None: counted.append(where) or original(self, where))
    where = "path < 'gate/0030.jpg'"
    first = gallery.search(features[:1], k=100, where=where, exact=False)
    assert paths(gallery.search(features[:1], k=100, where=where, exact=False)) == paths(first)
    assert counted == [where]
    gallery.add_features(features[:1], ["gate/0000x.jpg"])
    assert len(gallery.search(features[:1], k=100, where=where, exact=False)[0]) == 31
    gallery.remove(paths=["gate/0000x.jpg"])
    assert len(gallery.search(features[:1], k=100, where=where, exact=False)[0]) == 30
    assert counted.count(where) == 3


def test_it_is_built_again_when_the_gallery_has_doubled(gallery, features, monkeypatch):
    built = []
    monkeypatch.setattr("spcl.gallery.gallery.build_index", lambda *given: built.append(given))
    gallery.tidy()
    assert not built
    facts = json.loads((gallery.path / "index.json").read_text())
    for rows, times in ((NUM // 2 + 1, 0), (NUM // 2 - 1, 1)):
        (gallery.path / "index.json").write_text(json.dumps(facts | {"rows": rows}))
        gallery.tidy()
        assert len(built) == times
    (gallery.path / "index.json").write_text(json.dumps(facts))


def test_without_its_measurement_every_vector_is_compared(gallery, features):
    path = gallery.path / "index.json"
    facts = path.read_text()
    for broken in ("{", "{}"):
        path.write_text(broken)
        assert gallery.index is None
        assert gallery.search(features[:1]).engine == "exact"
    path.write_text(facts)
    assert gallery.search(features[:1]).engine == "index"


def test_the_limit_is_that_of_the_search(small_limit):
    assert index.is_worth_it(1001, DIM)
    assert not index.is_worth_it(1000, DIM)
    assert readable_gallery.is_worth_it is index.is_worth_it


def test_progress_of_every_way_to_search_reaches_its_total(gallery, features):
    class Recorder(SilentReporter):
        def __init__(self) -> None:
            super().__init__()
            self.seen: dict[str, list[tuple[int, int]]] = {}

        @contextmanager
        def progress(self, name, note=None):
            yield lambda done, total: self.seen.setdefault(name, []).append((done, total))

    for exact, total in ((False, 7), (True, NUM)):
        report = Recorder()
        gallery.search(features[:7], exact=exact, rerank=True, report=report)
        assert report.seen["searching"][-1] == (total, total)
        assert report.seen["re-ranking"][-1] == (7, 7)
