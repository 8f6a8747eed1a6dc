"""An S3 server on the loopback interface, for tests."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

import boto3
from moto.server import ThreadedMotoServer

from spcl.data import cloud_storage

BUCKET = "herd"


@contextmanager
def s3_server() -> Iterator[str]:
    """A server with one bucket, which the environment names; gives its address."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    named = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "x",
        "AWS_SECRET_ACCESS_KEY": "x",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    try:
        with patch.dict(os.environ, named):
            cloud_storage._system_of.cache_clear()
            boto3.client("s3", endpoint_url=named["AWS_ENDPOINT_URL"]).create_bucket(Bucket=BUCKET)
            yield named["AWS_ENDPOINT_URL"]
    finally:
        server.stop()
        cloud_storage._system_of.cache_clear()


def objects_in(server: str, prefix: str) -> list[str]:
    """The keys of the objects below a prefix of the bucket."""
    pages = boto3.client("s3", endpoint_url=server).get_paginator("list_objects_v2")
    return [entry["Key"] for page in pages.paginate(Bucket=BUCKET, Prefix=prefix) for entry in page.get("Contents", [])]
