"""Images on a real S3 server on the loopback interface."""

from __future__ import annotations

from pathlib import Path

import boto3
import numpy as np
import pytest
from moto.server import ThreadedMotoServer

from spcl import EmbeddingRequest, embed_images
from spcl.data import cloud_storage
from spcl.gallery.features_file import FeaturesFile
from spcl.inference.encode_options import EncodeOptions, EncoderChoice
from tests.data.test_stored_images import shard
from tests.fakes import draw
from tests.input_errors import input_error

pytestmark = pytest.mark.slow


def test_images_and_archives_on_a_server_have_the_features_of_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    try:
        host, port = server.get_host_and_port()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
        monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        cloud_storage._system_of.cache_clear()
        client = boto3.client("s3", endpoint_url=f"http://{host}:{port}", region_name="us-east-1")
        client.create_bucket(Bucket="herd")
        for at in range(6):
            file = draw(tmp_path / "images" / f"{at}.jpg", at, at)
            client.upload_file(str(file), "herd", f"crops/{at}.jpg")
        archive = shard(tmp_path / "s.tar", tmp_path / "images", 0, 6, identity=str)
        client.upload_file(str(archive), "herd", "shards/s.tar")
        choice = EncodeOptions(encoder=EncoderChoice(arch="timm/test_resnet", pretrained="none"), workers=2)
        found = {}
        for name, source in {"f": tmp_path / "images", "s": "s3://herd/crops", "t": "s3://herd/shards"}.items():
            embed_images(EmbeddingRequest(source, output=tmp_path / f"{name}.parquet", encoding=choice))
            found[name] = next(FeaturesFile(tmp_path / f"{name}.parquet").parts())
        assert np.allclose(found["s"][1], found["f"][1], atol=1e-6)
        assert np.allclose(found["t"][1], found["f"][1], atol=1e-6)
        assert found["s"][0].column("path").to_pylist() == [f"s3://herd/crops/{at}.jpg" for at in range(6)]
        assert found["t"][0].column("path").to_pylist()[0] == "s3://herd/shards/s.tar/000000.jpg"
        assert found["t"][0].column("identity").to_pylist() == list("012345")
        with input_error("unreachable-storage", "s3://herd/nothing"):
            embed_images(EmbeddingRequest("s3://herd/nothing", output=tmp_path / "n.parquet", encoding=choice))
    finally:
        server.stop()
        cloud_storage._system_of.cache_clear()
