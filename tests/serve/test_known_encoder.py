"""Starts of a server that load neither torch nor the checkpoint, and when they must load both again."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("fastapi")
pytest.importorskip("prometheus_client")

from spcl.gallery.gallery import Gallery
from spcl.inference.embedding import load_encoder
from spcl.serve import known_encoder, opening
from spcl.serve.engines import KEPT_FILE, ChosenEngine, OnnxEngine
from spcl.serve.known_encoder import KnownEncoder, keep, read_known
from spcl.serve.opening import open_served
from spcl.serve.settings import ServeRequest
from spcl.verification.calibrate import calibrate, store_calibration
from tests.serve.served import request_for, write_gallery
from tests.shared import IMPORT_PATH, PROJECT_ROOT


class FakeOnnx(OnnxEngine):
    """An exported file that fits, without onnxruntime."""

    def __init__(self, file: Path, *, flip: bool, device: str = "cpu") -> None:
        pass

    def why_not(self, encoder):
        return None


@pytest.fixture
def kept(tmp_path, monkeypatch):
    """A gallery beside which the facts of its encoder are kept, and how to read them."""
    gallery = write_gallery(tmp_path, identities=6)
    (gallery / KEPT_FILE).write_bytes(b"exported")
    monkeypatch.setattr(known_encoder, "OnnxEngine", FakeOnnx)
    request = request_for(gallery, engine="onnx")
    encoder = load_encoder(gallery.parent / "c.pth.tar")
    keep(gallery, request, KnownEncoder.of(encoder), ChosenEngine(FakeOnnx(gallery, flip=False), "", (2.0, 5.0)))
    facts = Gallery.open(gallery)._store.facts

    def read(**options):
        return read_known(gallery, request_for(gallery, **{"engine": "onnx", **options}), facts)

    return gallery, encoder, read


def test_what_is_kept_describes_the_encoder(kept):
    _, encoder, read = kept
    known, chosen = read()
    assert (known.fingerprint, known.size, known.pixel_range) == (encoder.fingerprint, encoder.size, "auto")
    assert (known.facts, known.origin) == ({}, encoder.origin)
    assert chosen.reason == "as asked for"
    assert "2.0 ms in onnxruntime, 5.0 ms in torch, measured at an earlier start" in read(engine="auto")[1].reason
    assert read(engine="torch") is None


def test_a_file_that_has_changed_is_loaded_again(kept):
    gallery, encoder, read = kept
    state = (gallery / "encoder.json").read_text()
    store_calibration(gallery.parent / "c.pth.tar", calibrate_on(gallery, encoder))
    assert read() is None
    (gallery / "encoder.json").write_text(state.replace('"layout": 1', '"layout": 0'))
    assert read() is None
    (gallery / "encoder.json").write_text("{")
    assert read() is None


def test_another_exported_file_machine_or_gallery_is_loaded_again(kept, monkeypatch):
    gallery, _, read = kept
    monkeypatch.setattr(known_encoder.platform, "node", lambda: "another machine")
    assert read(engine="auto") is None
    assert read() is not None
    (gallery / KEPT_FILE).write_bytes(b"another")
    assert read() is None
    state = json.loads((gallery / "encoder.json").read_text())
    stamp = known_encoder._stamp(gallery / KEPT_FILE)
    (gallery / "encoder.json").write_text(json.dumps(state | {"exported": stamp, "fingerprint": "0" * 16}))
    assert read() is None


def calibrate_on(gallery: Path, encoder):
    from spcl.records import Record

    paths = sorted((gallery.parent / "crops").glob("*.png"))
    records = [Record(path, number // 3, number % 3) for number, path in enumerate(paths)]
    return calibrate(encoder, records, labelled=True)


def test_the_server_is_loaded_without_torch():
    program = (
        "import sys, spcl.serve.app, spcl.serve.opening; print([n for n in ('torch', 'timm') if n in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        cwd=PROJECT_ROOT,
        env=os.environ | {"PYTHONPATH": IMPORT_PATH},
        check=True,
    )
    assert done.stdout.strip() == "[]"


REQUESTS = """
import sys
from pathlib import Path
from starlette.testclient import TestClient
from spcl.serve.app import make_app
from spcl.serve.opening import open_served
from spcl.serve.settings import ServeRequest
from spcl.serve.settings import ServeRequest

gallery = Path(sys.argv[1])
crops = sorted((gallery.parent / "crops").iterdir())
served = open_served(ServeRequest(gallery, engine="onnx"))
with TestClient(make_app(served), base_url="http://localhost:8000") as client:
    for path, images in (("/embed", 1), ("/same", 2), ("/search", 1), ("/identify", 1), ("/enrol", 1)):
        body = [("images", ("a.png", crop.read_bytes(), "image/png")) for crop in crops[:images]]
        answer = client.post(path, files=body, data={"identity": "0"} if path == "/enrol" else {})
        assert answer.status_code == 200, answer.text
    assert client.get("/metrics").status_code == client.get("/").status_code == 200
print(sorted({"torch", "timm", "scipy"} & sys.modules.keys()))
"""


@pytest.mark.slow
def test_an_exported_file_answers_without_torch(tmp_path, monkeypatch):
    pytest.importorskip("onnxruntime")
    gallery = write_gallery(tmp_path)
    encoder = load_encoder(tmp_path / "c.pth.tar")
    first = open_served(ServeRequest(gallery, engine="onnx"))
    assert (first.engine.engine.name, first.encoder.fingerprint) == ("onnxruntime", encoder.fingerprint)
    monkeypatch.setattr(opening, "_loaded", lambda *_: pytest.fail("the checkpoint was loaded"))
    second = open_served(ServeRequest(gallery, engine="onnx"))
    pixels = np.random.default_rng(0).integers(0, 256, (5, *encoder.size, 3), dtype=np.uint8)
    expected = encoder.embed(list(pixels))
    for served in (first, second):
        np.testing.assert_allclose(served.engine.engine.encode(pixels), expected, atol=1e-4)
    done = subprocess.run(
        [sys.executable, "-c", REQUESTS, str(gallery)],
        capture_output=True,
        text=True,
        cwd=PROJECT_ROOT,
        env=os.environ | {"PYTHONPATH": IMPORT_PATH},
    )
    assert done.stdout.strip() == "[]", done.stderr
