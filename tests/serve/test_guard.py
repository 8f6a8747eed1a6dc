"""Who may ask: the token, the host, the origin; and what a server does that has too much to do."""

from __future__ import annotations

import threading
from contextlib import ExitStack

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("prometheus_client")

from spcl.serve.settings import ServeLimits, ServeRequest, Token, is_own_address, read_token
from tests.input_errors import input_error
from tests.serve.served import TOKEN, client_of, code_of, files, image_bytes, write_gallery


@pytest.fixture(scope="module")
def gallery(tmp_path_factory):
    return write_gallery(tmp_path_factory.mktemp("served"), identities=2)


@pytest.fixture(scope="module")
def client(gallery):
    with ExitStack() as stack:
        yield client_of(stack, gallery)


@pytest.fixture(scope="module")
def locked(gallery):
    with ExitStack() as stack:
        yield client_of(stack, gallery, token=TOKEN)


@pytest.mark.parametrize("path", ["/metrics", "/images/0000000000000000", "/openapi.json", "/nothing", "/"])
def test_a_token_is_asked_for_everywhere(locked, path):
    assert code_of(locked.get(path)) == (401, "token-required")
    for given in ("Bearer wrong", f"Bearer {TOKEN}x", f"Basic {TOKEN}", TOKEN, "Bearer", b"Bearer \xff"):
        assert locked.get(path, headers={"authorization": given}).status_code == 401, given
    assert locked.get(path, headers={"authorization": f"Bearer {TOKEN}"}).status_code != 401
    answer = locked.get(path)
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert TOKEN not in answer.text


def test_a_token_is_asked_for_before_the_body_is_read(locked):
    assert code_of(locked.post("/enrol", files=files(image_bytes()))) == (401, "token-required")
    headers = {"authorization": f"bearer {TOKEN}"}
    assert locked.post("/embed", files=files(image_bytes()), headers=headers).status_code == 200
    assert locked.get("/healthz").status_code == 200


@pytest.mark.parametrize("host", ["example.org", "127.0.0.1.example.org", "10.0.0.1:8000", "", "localhost.example.org"])
def test_without_a_token_only_this_machines_names_are_answered(client, host):
    assert code_of(client.get("/healthz", headers={"host": host})) == (421, "host-not-served")


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:8000", "[::1]:8000", "127.8.8.8"])
def test_this_machines_names(client, host):
    assert client.get("/healthz", headers={"host": host}).status_code == 200


def test_pages_of_other_sites_cannot_write(client):
    for origin in ("https://example.org", "null", "http://localhost:9000"):
        answer = client.post("/enrol", files=files(image_bytes()), headers={"origin": origin})
        assert code_of(answer) == (403, "other-origin"), origin
    own = client.post("/embed", files=files(image_bytes()), headers={"origin": "http://localhost:8000"})
    assert own.status_code == 200


def test_errors_have_one_form(client):
    for answer, code in (
        (client.get("/nothing"), (404, "no-such-page")),
        (client.get("/embed"), (405, "method-not-allowed")),
        (client.get("/healthz", params={"x": 1}), (422, "invalid-parameter")),
    ):
        assert code_of(answer) == code
        assert answer.headers["content-type"] == "application/json"


def test_what_goes_wrong_inside_is_not_shown(client, gallery, monkeypatch):
    def broken(*_, **__):
        raise RuntimeError("a secret path")

    monkeypatch.setattr("spcl.gallery.gallery.Gallery.search", broken)
    answer = client.post("/search", files=files(image_bytes()))
    assert answer.status_code == 500
    assert "secret" not in answer.text


def test_too_many_requests_are_refused_with_the_time_to_wait(gallery, monkeypatch):
    limits = ServeLimits(waiting_images=2, batch=1)
    begun, go_on = threading.Event(), threading.Event()
    with ExitStack() as stack:
        client = client_of(stack, gallery, limits=limits)
        encode = client.app._app.state.service.served.engine.engine.encode

        def slow(pixels):
            begun.set()
            go_on.wait(20)
            return encode(pixels)

        monkeypatch.setattr(client.app._app.state.service.served.engine.engine, "encode", slow)
        answers = []
        waiting = [
            threading.Thread(target=lambda: answers.append(client.post("/embed", files=files(image_bytes()))))
            for _ in range(3)
        ]
        waiting[0].start()
        assert begun.wait(20)
        for thread in waiting[1:]:
            thread.start()
        service = client.app._app.state.service
        while service._network.num_waiting < 2:
            pass
        refused = client.post("/embed", files=files(image_bytes()))
        assert code_of(refused) == (503, "server-busy")
        assert int(refused.headers["retry-after"]) >= 1
        assert client.get("/healthz").status_code == 200
        go_on.set()
        for thread in waiting:
            thread.join()
        assert [answer.status_code for answer in answers] == [200] * 3
        assert client.post("/embed", files=files(image_bytes())).status_code == 200


def test_too_many_requests_or_bytes_at_once(gallery):
    with ExitStack() as stack:
        client = client_of(stack, gallery, limits=ServeLimits(all_body_bytes=100))
        assert code_of(client.post("/embed", files=files(image_bytes()))) == (503, "server-busy")
        client.app._num_requests = 256
        assert code_of(client.get("/metrics")) == (503, "server-busy")


@pytest.mark.parametrize(
    ("host", "is_own"),
    [("127.0.0.1", True), ("localhost", True), ("::1", True), ("0.0.0.0", False), ("::", False), ("10.1.2.3", False)],
)
def test_other_machines_need_a_token(host, is_own, tmp_path, monkeypatch):
    monkeypatch.delenv("SPCL_TOKEN", raising=False)
    assert is_own_address(host) == is_own
    if is_own:
        assert read_token(host, "") is None
    else:
        with input_error("token-required", host):
            read_token(host, "")
    (tmp_path / "token").write_text(f" {TOKEN}\n")
    assert read_token(host, tmp_path / "token") == Token(TOKEN)
    monkeypatch.setenv("SPCL_TOKEN", TOKEN)
    assert read_token(host, "").is_equal(TOKEN)
    assert TOKEN not in repr(read_token(host, ""))


def test_tokens_that_cannot_be_used(tmp_path, monkeypatch):
    with input_error("no-such-file", "missing"):
        read_token("127.0.0.1", tmp_path / "missing")
    for text in ("short", "", "with blanks in the middle", "ünsuitable-but-long-enough"):
        (tmp_path / "token").write_text(text)
        with input_error("invalid-token"):
            read_token("127.0.0.1", tmp_path / "token")
    monkeypatch.setenv("SPCL_TOKEN", "short")
    with input_error("invalid-token", "SPCL_TOKEN"):
        read_token("127.0.0.1", "")


def test_requests_that_cannot_be_served():
    with input_error("setting-out-of-range", "port"):
        ServeRequest("g", port=70_000)
    with input_error("option-contradiction", "torch"):
        ServeRequest("g", engine="torch", onnx_file="x.onnx")
    with input_error("setting-out-of-range", "batch"):
        ServeLimits(batch=0)
