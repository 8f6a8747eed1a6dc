"""The index of a large gallery: built when it is worth it, measured against the truth, complete for new images."""

from __future__ import annotations

import json

import numpy as np
import pytest

from spcl.bench.features import mixture
from spcl.gallery import index, reading
from spcl.gallery.gallery import Gallery
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


def test_a_filter_that_few_pass_is_searched_exactly_and_one_that_many_pass_by_the_index(gallery, features):
    few = gallery.search(features[:3], k=400, where="camera = 3")
    assert few.engine == "exact"
    assert [len(hits) for hits in few] == [210] * 3
    many = gallery.search(features[:3], k=20, where="camera is null or camera != 3")
    assert many.engine == "index"
    assert all(len(hits) == 20 and all(hit.camera != "3" for hit in hits) for hits in many)
    # By the index, too, a filter leaves nothing out that passes it.
    assert [len(hits) for hits in gallery.search(features[:1], k=400, where="camera = 3", exact=False)] == [210]


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
    assert reading.is_worth_it is index.is_worth_it
