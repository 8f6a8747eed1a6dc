"""Galleries on a real S3 server on the loopback interface."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import boto3
import numpy as np
import pytest

from spcl import Gallery
from spcl.gallery import index
from spcl.gallery.cloud import connection
from tests.gallery.features import names, unit_rows
from tests.input_errors import input_error
from tests.s3_server import BUCKET, objects_in, s3_server


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with s3_server() as address:
        yield address


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def made(name: str, **options: object) -> Gallery:
    return Gallery.create(f"s3://{BUCKET}/{name}", fingerprint="f", dim=8, **options)  # type: ignore[arg-type]


@pytest.mark.slow
def test_every_method_answers_as_in_a_folder(server: str, tmp_path: Path) -> None:
    features, paths = unit_rows(60), names(60)
    columns = {"weight": [float(row) for row in range(60)]}
    both = [made("every/one"), Gallery.create(tmp_path / "g", fingerprint="f", dim=8)]
    found = []
    for gallery in both:
        added = gallery.add_features(
            features,
            paths,
            identities=[f"cow{row % 6}" for row in range(60)],
            cameras=[row % 3 for row in range(60)],
            columns=columns,
        )
        again = gallery.add_features(-features[:4], paths[:4])
        gallery.clear(["camera"], "weight >= 57")
        removed = gallery.remove(paths=[paths[5]]) + gallery.remove("weight = 7.0")
        gallery.tidy()
        hits = gallery.search(features[10:13], k=5, where="camera != 2")
        named = gallery.identify(features[20:24])
        enrolled = gallery.enrolled()
        rows = sorted(path for part in gallery.paths() for path in part)
        found.append(
            (
                (added.num_added, again.num_replaced, dict(again.kept), removed, len(gallery), gallery.cameras()),
                [[(hit.path, round(hit.similarity, 5), hit.identity, hit.camera) for hit in each] for each in hits],
                [(each.identity, round(each.similarity, 5)) for each in named],
                (sorted(enrolled.identities), rows, gallery.columns, gallery.count("camera is null")),
            )
        )
    assert found[0] == found[1]
    opened = Gallery.open("s3:/herd/every/one")
    assert opened.place == "s3://herd/every/one" and len(opened) == 58
    assert {key.split("/")[2] for key in objects_in(server, "every/one/")} == {"images.lance"}
    assert list((tmp_path / "cache" / "spcl" / "galleries").iterdir())


def test_an_index_is_built_measured_and_known_to_other_programs(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index, "EXACT_UP_TO_VALUES", 1000)
    gallery = made("indexed")
    gallery.add_features(unit_rows(400), names(400))
    gallery.tidy()
    other = Gallery.open(f"s3://{BUCKET}/indexed")
    assert other.index is not None and other.index.rows == 400 and other.index.recall > 0.9
    found = other.search(unit_rows(400)[:3], k=3, exact=False)
    assert [hits[0].path for hits in found] == names(3) and found.engine != "exact"


def test_kept_identities_are_out_of_date_after_a_write_and_after_the_gallery_was_made_again(server: str) -> None:
    gallery = made("enrolled")
    gallery.add_features(unit_rows(4), names(4), identities=list("aabb"))
    assert gallery.enrolled().identities == ("a", "b")
    assert Gallery.open(gallery.place).enrolled().identities == ("a", "b")
    gallery.add_features(unit_rows(1, seed=1), ["x"], identities=["c"])
    assert gallery.enrolled().identities == ("a", "b", "c")
    bucket = boto3.resource("s3", endpoint_url=server).Bucket(BUCKET)
    bucket.objects.filter(Prefix="enrolled/").delete()
    again = made("enrolled")
    again.add_features(unit_rows(4), names(4), identities=list("ddee"))
    again.add_features(unit_rows(1, seed=1), ["x"], identities=["f"])
    assert again.enrolled().identities == ("d", "e", "f")


def test_values_that_another_program_writes_during_a_merge_are_kept(
    server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = made("merge"), Gallery.open(f"s3://{BUCKET}/merge")
    first.add_features(unit_rows(6), names(6), identities=["old"] * 6)
    store = second._store
    merge = store._merge  # type: ignore[attr-defined]
    calls = []

    def interrupted(table: object, rows: object) -> object:
        calls.append(len(calls))
        if len(calls) == 1:
            first.add_features(unit_rows(1), names(1), identities=["new"])
            first.add_features(unit_rows(1, seed=5), ["another"])
        return merge(table, rows)

    monkeypatch.setattr(store, "_merge", interrupted)
    second.add_features(unit_rows(3, seed=3), names(3), cameras=[1, 2, 3])
    rows = {path: identity for part in first.read() for path, identity in zip(*part.columns.values(), strict=True)}
    assert rows == {"another": None, **dict.fromkeys(names(6), "old"), names(1)[0]: "new"}
    assert len(calls) == 2 and len(first) == 7 and first.count("camera is not null") == 3


WRITER = """
import sys
import numpy as np
from spcl import Gallery
first, address = int(sys.argv[1]), sys.argv[2]
rows = np.eye(8, dtype="float32")
for part in range(6):
    paths = [f"{first + part * 8 + row}" for row in range(7)] + ["common"]
    Gallery.open(address).add_features(rows, paths, cameras=[first] * 8, columns={f"c{first}": [1] * 8})
    print(part, flush=True)
"""


def writer(first: int, address: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", WRITER, str(first), address], stdout=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_two_writers_and_a_reader_lose_no_row(server: str) -> None:
    gallery = made("writers")
    running = [writer(first, gallery.place) for first in (1000, 2000)]
    seen = []
    while any(process.poll() is None for process in running):
        seen.append(len(gallery))
        hits = gallery.search(np.eye(8, dtype=np.float32)[:2], k=2)
        assert all(len(found) == min(2, seen[-1]) for found in hits) or len(gallery) > seen[-1]
    assert [process.returncode for process in running] == [0, 0]
    for process in running:
        process.communicate()
    expected = {f"{first + part * 8 + row}" for first in (1000, 2000) for part in range(6) for row in range(7)}
    assert {path for part in gallery.paths() for path in part} == expected | {"common"}
    assert len(gallery) == 85 and seen == sorted(seen)
    assert gallery.count("c1000 = 1 and c2000 = 1") == 1


@pytest.mark.slow
def test_a_killed_writer_leaves_a_whole_version(server: str) -> None:
    gallery = made("killed")
    process = writer(1000, gallery.place)
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    process.communicate()
    kept = len(gallery)
    assert kept and kept % 7 == 1
    again = writer(1000, gallery.place)
    again.communicate()
    assert again.returncode == 0 and len(gallery) == 43
    gallery.tidy()
    assert len(gallery) == 43


def test_two_programs_that_make_a_gallery(server: str) -> None:
    made("twice")
    with input_error("already-exists", "s3://herd/twice"):
        made("twice")


@pytest.mark.slow
def test_wrong_addresses_and_buckets(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with input_error("no-such-gallery", "s3://herd/nothing", "spcl embed"):
        Gallery.open("s3://herd/nothing")
    with input_error("no-such-bucket", "no bucket other"):
        Gallery.create("s3://other/g", fingerprint="f", dim=8)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "localhost:9000")
    with input_error("invalid-gallery-address", "http://localhost:9000"):
        Gallery.open("s3://herd/nothing")


class Refuses(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        content = b"<?xml version='1.0'?><Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
        self.send_response(403)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def do_PUT(self) -> None:
        self.do_GET()

    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.slow
def test_no_rights_and_no_server(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    refusing = ThreadingHTTPServer(("127.0.0.1", 0), Refuses)
    threading.Thread(target=refusing.serve_forever, daemon=True).start()
    try:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{refusing.server_port}")
        with input_error("storage-refuses-keys", "s3://herd/g", "AWS_ACCESS_KEY_ID"):
            Gallery.open("s3://herd/g")
    finally:
        refusing.shutdown()
        refusing.server_close()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free.getsockname()[1]}")
        with input_error("unreachable-storage", "s3://herd/g", "refused"):
            Gallery.open("s3://herd/g")


def test_a_server_that_goes_away_and_a_lost_object_are_named(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    gallery = made("lost")
    gallery.add_features(unit_rows(4), names(4))
    data = next(key for key in objects_in(server, "lost/") if "/data/" in key)
    boto3.client("s3", endpoint_url=server).delete_object(Bucket=BUCKET, Key=data)
    connection._connection.cache_clear()
    with input_error("damaged-file", "s3://herd/lost"):
        Gallery.open("s3://herd/lost").search(unit_rows(1))
    assert os.environ["AWS_ENDPOINT_URL"] == server
