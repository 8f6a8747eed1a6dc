"""Galleries in Qdrant that cannot be opened, made or asked: errors that name the server and the next step."""

from __future__ import annotations

import socket
import sys
import threading
import uuid
from pathlib import Path

import numpy as np
import pytest
from qdrant_client import QdrantClient, models

from spcl.gallery import index
from spcl.gallery.gallery import Gallery
from spcl.gallery.open_or_create import gallery_to_fill
from spcl.gallery.places import folder_of_gallery, gallery_exists, is_gallery
from spcl.gallery.qdrant.address import qdrant_place, shown_place
from spcl.gallery.qdrant.connection import close_clients
from tests.gallery.features import names, unit_rows
from tests.gallery.qdrant_places import local_folder
from tests.gallery.qdrant_server import stand_in
from tests.input_errors import input_error


@pytest.fixture
def server():
    with stand_in() as (host, served):
        yield host, served


@pytest.mark.parametrize(
    ("address", "url", "folder", "collection"),
    [
        ("qdrant://host/c", "http://host:6333", None, "c"),
        ("qdrant:/host:7000/c", "http://host:7000", None, "c"),
        ("qdrant+https://a.example.org:443/prefix/north_gate/", "https://a.example.org:443/prefix", None, "north_gate"),
        ("qdrant://[::1]:6333/c", "http://[::1]:6333", None, "c"),
        ("qdrant-local:runs/q/c", "", "runs/q", "c"),
        ("qdrant-local:/data/q/c", "", "/data/q", "c"),
    ],
)
def test_addresses(address, url, folder, collection):
    place = qdrant_place(address)
    assert (place.url, place.folder and place.folder.as_posix(), place.collection) == (url, folder, collection)
    assert is_gallery(address) and is_gallery(place.path)
    # A path has one slash where the address has two.
    assert qdrant_place(place.path) == place
    assert shown_place(place.path) == place.address


@pytest.mark.parametrize(
    "address",
    ["qdrant://host", "qdrant:///c", "qdrant://host:x/c", "qdrant://host:70000/c", "qdrant-local:c", "qdrant-local:/c",
     "qdrant://host/a:b", "qdrant-local:runs/..", "qdrant://host:0/c"],
)  # fmt: skip
def test_addresses_that_are_none(address):
    with input_error("invalid-gallery-address"):
        Gallery.open(address)


def test_folders_are_no_addresses():
    assert qdrant_place("runs/qdrant") is None and qdrant_place("qdrant.example.org/c") is None
    assert shown_place("runs/g") == "runs/g"
    with input_error("gallery-not-in-a-folder", "spcl serve", "qdrant://host/c"):
        folder_of_gallery("qdrant:/host/c", "spcl serve")


def test_no_server():
    with socket.socket() as taken:
        # Bound and not listening: a connection is refused.
        taken.bind(("127.0.0.1", 0))
        address = f"qdrant://127.0.0.1:{taken.getsockname()[1]}/c"
        for ask in (Gallery.open, gallery_exists, lambda place: Gallery.create(place, fingerprint="x", dim=8)):
            with input_error("unreachable-server", address, "Check the address"):
                ask(address)
    close_clients()


def test_a_server_that_does_not_answer(server, monkeypatch):
    host, served = server
    served.waits = threading.Event()
    monkeypatch.setenv("SPCL_QDRANT_TIMEOUT", "1")
    with input_error("unreachable-server", host, "no answer in time", "SPCL_QDRANT_TIMEOUT"):
        Gallery.open(f"qdrant://{host}/c")
    close_clients()
    monkeypatch.setenv("SPCL_QDRANT_TIMEOUT", "soon")
    with input_error("setting-out-of-range", "SPCL_QDRANT_TIMEOUT is 'soon'"):
        Gallery.open(f"qdrant://{host}/c")


def test_a_server_of_another_kind(server):
    host, served = server
    for status, code in (
        ((404, "not here"), "no-such-gallery"),
        ((200, "<html>"), "unreachable-server"),
        ((500, "broken"), "server-refuses-request"),
        ((200, '{"result": 5}'), "unreachable-server"),
    ):
        served.status = status
        with input_error(code, host):
            Gallery.open(f"qdrant://{host}/c")


def test_keys(server, monkeypatch):
    host, served = server
    served.key = "secret"
    monkeypatch.delenv("QDRANT_API_KEY", raising=False)
    with input_error("server-refuses-key", "no key: set QDRANT_API_KEY", "401"):
        Gallery.create(f"qdrant://{host}/c", fingerprint="x", dim=8)
    monkeypatch.setenv("QDRANT_API_KEY", "wrong")
    with input_error("server-refuses-key", "the key in QDRANT_API_KEY") as refused:
        Gallery.create(f"qdrant://{host}/c", fingerprint="x", dim=8)
    assert "wrong" not in str(refused.value)
    monkeypatch.setenv("QDRANT_API_KEY", "secret")
    assert len(Gallery.create(f"qdrant://{host}/c", fingerprint="x", dim=8)) == 0


def test_collections_that_are_no_galleries(server):
    host, served = server
    with input_error("no-such-gallery", f"qdrant://{host}/c", "has no collection c", "spcl embed"):
        Gallery.open(f"qdrant://{host}/c")
    served.client.create_collection("c", models.VectorParams(size=8, distance=models.Distance.COSINE))
    served.client.create_collection("named", {"a": models.VectorParams(size=8, distance=models.Distance.DOT)})
    for name in ("c", "named"):
        with input_error("not-a-gallery", "not made by spcl"):
            Gallery.open(f"qdrant://{host}/{name}")
        with input_error("already-exists"):
            Gallery.create(f"qdrant://{host}/{name}", fingerprint="x", dim=8)
    served.client.update_collection("c", metadata={"spcl": {"fingerprint": "x", "format": 99}})
    with input_error("version-not-supported", "format 99"):
        Gallery.open(f"qdrant://{host}/c")


def test_an_old_server_keeps_no_metadata(server):
    host, served = server
    served.keeps_metadata = False
    with input_error("version-not-supported", "Qdrant 1.16"):
        Gallery.create(f"qdrant://{host}/c", fingerprint="x", dim=8)
    assert not served.client.collection_exists("c")


def test_a_new_gallery_without_images_is_removed_after_an_error(server):
    host, served = server

    class Encoder:
        fingerprint, feature_dim, origin = "x", 8, None

    place = Path(f"qdrant://{host}/c")
    with pytest.raises(KeyboardInterrupt), gallery_to_fill(place, Encoder(), flip=False):
        raise KeyboardInterrupt
    assert not served.client.collection_exists("c")

    def stopped_after_the_first_image():
        with gallery_to_fill(place, Encoder(), flip=False) as gallery:
            gallery.add_features(unit_rows(1), ["a"])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped_after_the_first_image()
    assert len(Gallery.open(f"qdrant://{host}/c")) == 1
    wrong = gallery_to_fill(place, Encoder(), flip=False, key="content")
    with input_error("key-mismatch", f"qdrant://{host}/c"), wrong:
        pass


def test_columns_are_indexed_with_their_types(server):
    host, served = server
    gallery = Gallery.create(f"qdrant://{host}/c", fingerprint="x", dim=8)
    gallery.add_features(unit_rows(1), ["a"], columns={"lane": [1], "speed": [0.5], "night": [True], "note": ["x"]})
    assert served.indexed == {
        "_key": "keyword", "_folders": "keyword", "path": "keyword", "identity": "keyword", "camera": "keyword",
        "time": "datetime", "lane": "integer", "speed": "float", "night": "bool", "note": "keyword",
    }  # fmt: skip


def test_the_index_of_a_large_gallery_is_measured_and_used(server, monkeypatch):
    host, served = server
    monkeypatch.setattr(index, "EXACT_UP_TO_VALUES", 100)
    gallery = Gallery.create(f"qdrant://{host}/c", fingerprint="x", dim=8)
    gallery.add_features(unit_rows(50), names(50), cameras=[1, 2] * 25)
    gallery.tidy()
    assert gallery.index is None  # Qdrant has built none
    served.num_indexed = 50
    gallery.tidy()
    assert (gallery.index.rows, gallery.index.recall, gallery.index.regions) == (50, 1.0, 16)
    again = Gallery.open(f"qdrant://{host}/c")
    found = again.search(unit_rows(2), k=3, where="camera = 1")
    assert (found.engine, found.recall) == ("index", 1.0)
    assert found[0][0].path == names(50)[0] and found[0][0].similarity == pytest.approx(1, abs=1e-6)
    assert again.search(unit_rows(2), k=3, exact=True).engine == "exact"


def test_points_have_the_ids_and_the_payload_that_the_documentation_says(server):
    host, served = server
    gallery = Gallery.create(f"qdrant://{host}/c", fingerprint="x", dim=8)
    gallery.add_features(unit_rows(1), ["gate/north/a.jpg"], cameras=[3], times=["2026-01-01 08:00"])
    (point,), _ = served.client.scroll("c", with_vectors=True)
    assert uuid.UUID(point.id).version == 5
    assert point.payload == {
        "_key": "gate/north/a.jpg",
        "_folders": ["gate", "gate/north"],
        "path": "gate/north/a.jpg",
        "camera": "3",
        "time": "2026-01-01T08:00:00.000000Z",
    }
    assert np.array_equal(np.float32(point.vector), unit_rows(1)[0])


def test_infinite_numbers_are_refused(server):
    host, _ = server
    gallery = Gallery.create(f"qdrant://{host}/c", fingerprint="x", dim=8)
    with input_error("number-too-large", "'speed' holds inf"):
        gallery.add_features(unit_rows(1), ["a"], columns={"speed": [float("inf")]})
    assert len(gallery) == 0


def test_an_image_that_is_removed_while_it_is_read(server):
    host, _ = server
    gallery = Gallery.create(f"qdrant://{host}/c", fingerprint="x", dim=8)
    gallery.add_features(unit_rows(3), names(3))
    snapshot = gallery._store.snapshot()
    ((rows, _),) = snapshot.scan(["path"])
    gallery.remove(paths=names(1))
    with input_error("gallery-busy", "try again"):
        snapshot.vectors(rows)


def test_a_folder_in_use_by_another_program():
    with local_folder() as folder:
        other = QdrantClient(path=str(folder))
        with input_error("gallery-busy", folder, "in use by another program"):
            Gallery.create(f"qdrant-local:{folder}/c", fingerprint="x", dim=8)
        other.close()
        Gallery.create(f"qdrant-local:{folder}/c", fingerprint="x", dim=8)
        with input_error("no-such-gallery", "has no collection d"):
            Gallery.open(f"qdrant-local:{folder}/d")
        with input_error("no-such-gallery"):
            Gallery.open(f"qdrant-local:{folder}/none/c")
        assert not (folder / "none").exists()


def test_a_damaged_folder():
    with local_folder() as folder:
        (folder / "meta.json").write_text("{")
        with input_error("damaged-file", folder):
            Gallery.open(f"qdrant-local:{folder}/c")


def test_without_the_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "qdrant_client", None)
    with input_error("package-not-installed", 'pip install "spcl[qdrant]"'):
        Gallery.open("qdrant://127.0.0.1:1/c")
