"""What is uploaded: types by their bytes, limits before decoding, no trust in names."""

from __future__ import annotations

import io
import struct
import zlib
from contextlib import ExitStack

import pytest
from PIL import Image

pytest.importorskip("fastapi")
pytest.importorskip("prometheus_client")

from spcl.serve.settings import ServeLimits
from spcl.serve.uploads import kind_of
from tests.serve.served import client_of, code_of, files, image_bytes, write_gallery


@pytest.fixture(scope="module")
def gallery(tmp_path_factory):
    return write_gallery(tmp_path_factory.mktemp("served"), identities=3)


@pytest.fixture(scope="module")
def client(gallery):
    limits = ServeLimits(image_bytes=300_000, image_pixels=1_000_000, images=4, body_bytes=900_000)
    with ExitStack() as stack:
        yield client_of(stack, gallery, limits=limits)


def png_of(width: int, height: int) -> bytes:
    """A PNG of a few kilobytes that says it has many pixels, all of one colour."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    packer = zlib.compressobj(9)
    rows = packer.compress(b"\0" * min(width * height, 2_000_000)) + packer.flush()
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "TIFF", "WEBP"])
def test_types_are_known_by_their_bytes(client, kind):
    data = image_bytes(kind=kind)
    assert kind_of(data) == kind
    assert client.post("/embed", files=files(data, name="a.txt")).status_code == 200


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0",
        b"not an image",
        b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>",
        b"GIF89a" + b"\0" * 40,
        b"%!PS-Adobe-3.0 EPSF-3.0\n",
        b"RIFF\0\0\0\0AVI ",
    ],
)
def test_other_types_are_not_decoded(client, data):
    answer = client.post("/embed", files=files(data, name="a.png"))
    assert code_of(answer) == (415, "image-type-not-accepted")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "TIFF", "WEBP"])
def test_damaged_images_are_named(client, kind):
    whole = image_bytes(kind=kind)
    for data in (whole[: len(whole) // 2], whole[:20], whole[:30] + b"\xff" * 200):
        answer = client.post("/embed", files=files(image_bytes(), data))
        # What a decoder makes of damaged pixels may be an image.
        assert answer.status_code in (200, 422), answer.text
        if answer.status_code == 422:
            assert "image 1" in answer.json()["error"]["message"]


@pytest.mark.parametrize(("width", "height"), [(60_000, 60_000), (2_000_000_000, 2), (1001, 1000)])
def test_a_small_file_of_many_pixels_is_not_decoded(client, width, height, monkeypatch):
    monkeypatch.setattr("spcl.serve.uploads.image_in_memory", lambda *_: pytest.fail("it was decoded"))
    answer = client.post("/embed", files=files(png_of(width, height)))
    assert code_of(answer) in [(413, "too-many-pixels"), (422, "unreadable-image")]
    assert len(answer.content) < 1000


def test_a_png_with_a_large_text_is_refused(client):
    packed = zlib.compress(b"a" * 60_000_000, 1)
    data = b"key\0\0" + packed
    chunk = struct.pack(">I", len(data)) + b"zTXt" + data + struct.pack(">I", zlib.crc32(b"zTXt" + data))
    whole = image_bytes()
    at = whole.index(b"IDAT") - 4
    assert client.post("/embed", files=files(whole[:at] + chunk + whole[at:])).status_code in (200, 422)


def test_limits_of_a_request(client):
    noise = io.BytesIO()
    Image.effect_noise((600, 600), 100).save(noise, format="BMP")
    assert code_of(client.post("/embed", files=files(noise.getvalue()))) == (413, "image-too-large")
    assert code_of(client.post("/embed", files=files(*[image_bytes()] * 5))) == (413, "too-many-images")
    assert client.post("/embed", files=files(*[image_bytes()] * 4)).status_code == 200
    assert code_of(client.post("/embed", files=files(*[b"\0" * 290_000] * 4))) == (413, "body-too-large")

    def parts():
        for _ in range(100):
            yield b"\0" * 10_000

    # Without a length that is known beforehand.
    answer = client.post("/embed", content=parts(), headers={"content-type": "image/png"})
    assert code_of(answer) == (413, "body-too-large")


@pytest.mark.parametrize(
    ("content", "kind", "code"),
    [
        (b"", "multipart/form-data; boundary=x", (422, "invalid-form")),
        (b"--x--\r\n", "multipart/form-data; boundary=x", (422, "no-images")),
        (b"--x\r\nContent-Disposition: form-data; name=images\r\n\r\n", "multipart/form-data; boundary=x", None),
        (b"nonsense", "multipart/form-data; boundary=x", (422, "invalid-form")),
        (b"nonsense", "multipart/form-data", (415, "body-not-accepted")),
        (b"nonsense", "multipart/form-data; boundary=" + "x" * 5000, None),
        (b'{"images": []}', "application/json", (415, "body-not-accepted")),
        (b"{", "application/json", (415, "body-not-accepted")),
        (b"a=1", "application/x-www-form-urlencoded", (415, "body-not-accepted")),
        (b"", "", (415, "body-not-accepted")),
        (b"", "image/png", (415, "image-type-not-accepted")),
    ],
)
def test_bodies_that_are_no_form(client, content, kind, code):
    answer = client.post("/embed", content=content, headers={"content-type": kind})
    assert answer.status_code in (413, 415, 422)
    assert code is None or code_of(answer) == code


def test_fields_of_a_form(client):
    image = image_bytes()
    cases = {
        "invalid-form": [{"nothing": "1"}, {"track": "x" * 501}, {"track": "a\x07"}],
        "length-mismatch": [{"track": ["a", "b"]}],
    }
    for code, forms in cases.items():
        for form in forms:
            assert code_of(client.post("/embed", files=files(image), data=form)) == (422, code), form
    assert code_of(client.post("/embed", data={"images": "text"}, files=[("track", ("a", b"x"))]))[0] == 422


@pytest.mark.parametrize("name", ["<script>alert(1)</script>.png", "../../etc/passwd", "a\0b.png", "'\" ; rm -rf /"])
def test_a_file_name_is_never_a_path_and_never_a_page(client, gallery, name):
    answer = client.post("/embed", files=[("images", (name, b"no image", "image/png"))])
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert client.post("/embed", files=[("images", (name, image_bytes(), "image/png"))]).status_code == 200
    assert not (gallery / "images").exists()


def test_what_is_enrolled_is_kept_under_a_name_of_the_servers_own(tmp_path):
    gallery = write_gallery(tmp_path, identities=2)
    form = {"identity": "<script>alert(1)</script>"}
    with ExitStack() as stack:
        client = client_of(stack, gallery)
        answer = client.post("/enrol", files=[("images", ("../../x.png", image_bytes(), "image/png"))], data=form)
        assert answer.status_code == 200
        kept = [path.relative_to(gallery / "images") for path in (gallery / "images").rglob("*") if path.is_file()]
        assert len(kept) == 1 and len(kept[0].stem) == 64
        found = client.post("/search", files=files(image_bytes()), params={"top": 1})
        assert found.headers["content-type"] == "application/json"
        assert found.json()["queries"][0]["hits"][0]["identity"] == "<script>alert(1)</script>"
