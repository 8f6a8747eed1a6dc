"""A gallery on an S3 server is served and watched, and is the subject of a page."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from spcl import Gallery, load_encoder
from spcl.inference.encode_options import EncodeOptions, EncoderChoice
from spcl.monitoring.monitor import MonitoringRequest, monitor
from spcl.pages.page_data import holds_features
from spcl.serve.app import make_app
from spcl.serve.opening import open_served
from spcl.serve.settings import ServeRequest
from tests.fakes import draw
from tests.s3_server import BUCKET, objects_in, s3_server
from tests.serve.served import files, image_bytes
from tests.verification.test_calibrate import write_checkpoint

pytestmark = pytest.mark.slow


def test_it_is_served_and_watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    write_checkpoint(tmp_path / "c.pth.tar")
    encoder = load_encoder(tmp_path / "c.pth.tar")
    paths = [draw(tmp_path / "crops" / f"{number:02d}.png", number // 3, number % 3) for number in range(72)]
    with s3_server() as server, ExitStack() as stack:
        gallery = Gallery.create(f"s3://{BUCKET}/gates", encoder)
        gallery.add_features(encoder.embed(paths), paths, identities=[str(number // 3) for number in range(72)])
        gallery.tidy()
        choice = EncodeOptions(encoder=EncoderChoice(str(tmp_path / "c.pth.tar")), device="cpu")
        served = open_served(ServeRequest(gallery.place, encoding=choice, engine="torch"))
        client = stack.enter_context(TestClient(make_app(served), base_url="http://localhost:8000"))
        found = client.post("/search", files=files(paths[7].read_bytes()), params={"top": 1}).json()["queries"][0]
        assert found["hits"][0]["path"] == paths[7].as_posix()
        new = image_bytes(identity=500)
        answer = client.post("/enrol", files=files(new), data={"identity": "ann"}).json()
        assert (answer["num_added"], answer["num_images"]) == (1, 73)
        found = client.post("/search", files=files(new), params={"top": 1}).json()["queries"][0]["hits"][0]
        assert found["identity"] == "ann" and found["path"].startswith(f"s3://{BUCKET}/gates/images/")
        assert found["path"].removeprefix(f"s3://{BUCKET}/") in objects_in(server, "gates/images/")
        assert client.get(f"/images/{found['image']}").status_code == 200
        assert client.post("/identify", files=files(new)).json()["queries"][0]["nearest"] == "ann"
        result = monitor(MonitoringRequest(gallery.place, tmp_path / "crops", encoding=choice))
        assert result.num_new == 72 and not result.has_drift
        assert holds_features(Path(gallery.place))
    assert not (Path.cwd() / "s3:").exists()
