"""Filters, writes and the HNSW graph of the storage engine of Qdrant, where ``qdrant-edge-py`` is installed.

The engine answers in place of a server; the stand-in server of the other tests has the client's local mode behind it.
"""

from __future__ import annotations

import random

import numpy as np
import pytest

from spcl.gallery import index
from spcl.gallery.gallery import Gallery
from spcl.gallery.qdrant import connection
from tests.gallery import test_filters_in_qdrant as filters
from tests.gallery.features import names, unit_rows
from tests.gallery.qdrant_places import local_folder

pytest.importorskip("qdrant_edge")
pytestmark = pytest.mark.slow


@pytest.fixture
def place(monkeypatch):
    from qdrant_engine import EngineClient

    monkeypatch.delenv("QDRANT_API_KEY", raising=False)
    with local_folder() as folder:
        client = EngineClient(folder / "engine", indexing_threshold=100)
        connection._clients["http://engine:6333 "] = client
        yield "qdrant://engine/crops", client


def test_random_filters_pass_the_same_images(place, tmp_path, monkeypatch):
    # The package makes 1 of true, which the engine distinguishes.
    monkeypatch.setattr(filters, "LEAVES", [leaf for leaf in filters.LEAVES if not leaf.startswith("night")])
    made = [Gallery.create(each, fingerprint="x", dim=8) for each in (tmp_path / "g", place[0])]
    for gallery in made:
        gallery.add_features(unit_rows(filters.NUM), filters.NAMES, columns=filters._columns())
    rng = random.Random(11)
    for _ in range(60):
        where = filters._filter(rng)
        assert filters._passing(made[1], where) == filters._passing(made[0], where), where


def test_writes_and_the_graph(place, monkeypatch):
    monkeypatch.setattr(index, "EXACT_UP_TO_VALUES", 1000)
    address, client = place
    gallery = Gallery.create(address, fingerprint="x", dim=32)
    rows = unit_rows(3000, dim=32)
    gallery.add_features(rows, names(3000), cameras=[number % 4 for number in range(3000)])
    assert gallery.remove("camera = 3") == 750 and gallery.clear(["camera"], "camera = 2") == 750
    again = gallery.add_features(rows[:4], names(4), cameras=[7, None, None, None])
    assert (again.num_added, again.num_replaced, dict(again.kept)) == (1, 3, {"camera": 1})
    assert (len(gallery), gallery.count("camera is null"), gallery.cameras()) == (2251, 751, ["0", "1", "7"])
    client.optimize()
    gallery.tidy()
    assert gallery.index is not None and gallery.index.recall > 0.95
    queries = unit_rows(40, dim=32, seed=1)
    by_graph, every = gallery.search(queries, k=10), gallery.search(queries, k=10, exact=True)
    assert (by_graph.engine, every.engine) == ("index", "exact")
    left = [row for row in range(3000) if row % 4 != 3 or row == 3]
    truth = np.argsort(-(queries @ rows[left].T), axis=1, kind="stable")[:, :10]
    for hits, near, expected in zip(every, by_graph, truth, strict=True):
        assert [hit.path for hit in hits] == [names(3000)[left[row]] for row in expected]
        assert len({hit.path for hit in near} & {hit.path for hit in hits}) >= 5
    assert gallery.search(rows[:1], k=1, where="camera = 7")[0][0].similarity == pytest.approx(1, abs=1e-6)
