"""A small gallery that is served: an encoder of random weights, images of a few identities and cameras."""

from __future__ import annotations

import io
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from PIL import Image
from starlette.testclient import TestClient

from spcl.gallery.gallery import Gallery
from spcl.inference.embedding import load_encoder
from spcl.inference.encode_options import EncodeOptions, EncoderChoice
from spcl.serve.app import make_app
from spcl.serve.opening import open_served
from spcl.serve.settings import ServeLimits, ServeRequest, Token
from tests.fakes import draw
from tests.verification.test_calibrate import write_checkpoint

IDENTITIES = 24
TOKEN = "a-token-of-more-than-16-characters"


def write_gallery(folder: Path, *, identities: int = IDENTITIES, shots: int = 3) -> Path:
    """A gallery ``g`` with the checkpoint ``c.pth.tar`` and images in ``crops``, all in one folder."""
    write_checkpoint(folder / "c.pth.tar")
    encoder = load_encoder(folder / "c.pth.tar")
    paths = [
        draw(folder / "crops" / f"{identity:02d}_{shot}.png", identity, shot)
        for identity in range(identities)
        for shot in range(shots)
    ]
    numbers = np.arange(len(paths))
    gallery = Gallery.create(folder / "g", encoder)
    gallery.add_features(
        encoder.embed(paths),
        paths,
        identities=[str(number // shots) for number in numbers],
        cameras=[str(number % shots) for number in numbers],
        times=[f"2026-03-{1 + number % 28:02d} 12:00" for number in numbers],
    )
    gallery.tidy()
    return folder / "g"


def request_for(gallery: Path, **options) -> ServeRequest:
    encoding = EncodeOptions(encoder=EncoderChoice(str(gallery.parent / "c.pth.tar")), device="cpu")
    return ServeRequest(gallery, encoding=encoding, **options)


def client_of(
    stack: ExitStack, gallery: Path, *, limits: ServeLimits | None = None, token: str | None = None, **options
) -> TestClient:
    """A client of an application that serves a gallery, for as long as the stack is open."""
    served = open_served(request_for(gallery, engine="torch", **options))
    app = make_app(served, limits=limits, token=None if token is None else Token(token))
    return stack.enter_context(TestClient(app, base_url="http://localhost:8000", raise_server_exceptions=False))


def image_bytes(identity: int = 1, shot: int = 7, kind: str = "PNG", size: tuple[int, int] = (16, 32)) -> bytes:
    rng = np.random.default_rng(identity)
    colours = rng.integers(20, 235, (4, 3))
    noise = np.random.default_rng([identity, shot]).normal(0, 12, (size[1], size[0], 3))
    stripes = colours[(np.arange(size[1]) * 4 // size[1])][:, None, :]
    written = io.BytesIO()
    Image.fromarray(np.clip(stripes + noise, 0, 255).astype(np.uint8)).save(written, format=kind)
    return written.getvalue()


def files(*images: bytes, name: str = "a.png") -> list[tuple[str, tuple[str, bytes, str]]]:
    return [("images", (name, image, "image/png")) for image in images]


def code_of(answer) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]
