"""Clients of the servers that are killed or run for long: requests over HTTP on this machine."""

from __future__ import annotations

import http.client
import io
import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

TOKEN = "a-token-of-more-than-16-characters"
GONE = (OSError, http.client.HTTPException, urllib.error.URLError, json.JSONDecodeError)
"""What a client gets whose server is killed."""


def picture(number: int) -> bytes:
    """An image of 32 x 16 pixels that no other number gives."""
    pixels = np.random.default_rng(number).integers(0, 256, (32, 16, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="PNG")
    return file.getvalue()


def post(url: str, body: bytes, kind: str) -> dict[str, Any]:
    """Send a body; the answer. Raises one of ``GONE`` if there is none, and an AssertionError for an error."""
    headers = {"Content-Type": kind, "Authorization": f"Bearer {TOKEN}"}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=60) as answer:
            return dict(json.loads(answer.read()))
    except urllib.error.HTTPError as error:
        raise AssertionError(f"{url}: {error.code} {error.read()[:300]!r}") from None


def enrol(url: str, number: int) -> None:
    """Enrol image ``number`` under the name ``p`` and its number."""
    parts = [
        b'--x\r\nContent-Disposition: form-data; name="identity"\r\n\r\n' + f"p{number}".encode(),
        b'\r\n--x\r\nContent-Disposition: form-data; name="images"; filename="a.png"\r\n\r\n' + picture(number),
        b"\r\n--x--\r\n",
    ]
    post(f"{url}/enrol", b"".join(parts), "multipart/form-data; boundary=x")


def correct(url: str, number: int) -> None:
    """Give group 0 the name ``n`` and a number."""
    words = [{"group": 0}, {"text": f"n{number}"}]
    post(f"{url}/api/corrections", json.dumps({"action": "name", "words": words}).encode(), "application/json")


def address_in(file: Path, *, seconds: float = 120.0) -> str | None:
    """Wait for the line of JSON in which a server prints its address; None if it does not come."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for line in file.read_text().splitlines() if file.exists() else ():
            if line.startswith("{") and line.endswith("}"):
                started = json.loads(line)
                return str(started.get("url") or started.get("address"))
        time.sleep(0.02)
    return None


def send_until_gone(send: Callable[[int], None], most: int) -> tuple[int, int]:
    """Send numbered requests until the server is gone.

    Returns:
        How many were sent, and how many of them were answered.
    """
    for number in range(most):
        try:
            send(number)
        except GONE:
            return number + 1, number
    return most, most
