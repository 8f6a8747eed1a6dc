"""A server as a process: started from the command line, stopped, killed; and clients that are slow."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("prometheus_client")

from spcl.gallery.gallery import Gallery
from tests.serve.served import TOKEN, image_bytes, write_gallery
from tests.shared import IMPORT_PATH, PROJECT_ROOT

# The limits that are tested here are seconds long in a server of the command line.
PROGRAM = """
import sys
from spcl.cli import serve
from spcl.cli.main import run_guarded
from spcl.serve.settings import ServeLimits

serve.ServeLimits = lambda **given: ServeLimits(**{**given, "header_seconds": 0.5, "body_seconds": 1.0})
run_guarded(lambda: serve.main(sys.argv[1:]), ends_process=True)
"""


class Server:
    """A server in a process of its own."""

    def __init__(self, gallery: Path, *words: str) -> None:
        command = [sys.executable, "-c", PROGRAM, str(gallery), "--port", "0", "--json", "--threads", "1", *words]
        self.process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=PROJECT_ROOT,
            env=os.environ | {"PYTHONPATH": IMPORT_PATH, "SPCL_TOKEN": TOKEN},
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
        line = self.process.stdout.readline()
        assert line, self.process.stderr.read()
        self.started = json.loads(line)
        self.port = int(self.started["url"].rpartition(":")[2])

    def post(self, path: str, body: bytes, kind: str = "image/png", **headers: str) -> tuple[int, dict]:
        headers = {"Content-Type": kind, "Authorization": f"Bearer {TOKEN}", **headers}
        request = urllib.request.Request(self.started["url"] + path, body, headers)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read())

    def enrol(self, identity: str, image: bytes) -> tuple[int, dict]:
        parts = [
            b'--x\r\nContent-Disposition: form-data; name="identity"\r\n\r\n' + identity.encode(),
            b'\r\n--x\r\nContent-Disposition: form-data; name="images"; filename="a.png"\r\n\r\n' + image,
            b"\r\n--x--\r\n",
        ]
        return self.post("/enrol", b"".join(parts), "multipart/form-data; boundary=x")

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=20)

    def stop(self, number: int = signal.SIGTERM) -> tuple[int, str]:
        self.process.send_signal(number)
        _, error = self.process.communicate(timeout=60)
        return self.process.returncode, error


@pytest.fixture(scope="module")
def gallery(tmp_path_factory):
    return write_gallery(tmp_path_factory.mktemp("served"), identities=4)


@pytest.fixture(scope="module")
def server(gallery):
    server = Server(gallery)
    yield server
    if server.process.poll() is None:
        server.process.kill()


def test_it_says_what_was_started(server):
    assert server.started["engine"] == "torch"
    assert server.started["num_images"] == 12
    assert server.started["needs_token"]
    status, answer = server.post("/search?top=2", image_bytes())
    assert (status, len(answer["queries"][0]["hits"])) == (200, 2)


@pytest.mark.parametrize("begun", [b"", b"POST /embed HTTP/1.1\r\nHost: localhost\r\nX-Slow: "])
def test_a_client_that_does_not_send_the_head_is_sent_away(server, begun):
    with server.connect() as client:
        client.sendall(begun)
        started = time.monotonic()
        assert client.recv(100) == b""
        assert time.monotonic() - started < 15


def test_a_client_that_sends_the_head_byte_by_byte_on_a_used_connection_is_sent_away(server):
    with server.connect() as client:
        client.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert b"200 OK" in client.recv(4000)
        started = time.monotonic()
        head = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 1000
        with pytest.raises(OSError):  # noqa: PT012
            for byte in head:
                client.sendall(bytes([byte]))
                time.sleep(0.1)
        assert time.monotonic() - started < 15


def test_a_client_that_does_not_send_the_body_is_answered(server):
    with server.connect() as client:
        head = f"POST /embed HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: 90\r\n\r\n"
        client.sendall(head.encode() + b"half")
        answer = b""
        while part := client.recv(4000):
            answer += part
        assert b"408" in answer.partition(b"\r\n")[0]
        assert b"body-too-slow" in answer


@pytest.mark.parametrize(
    "request_text",
    [b"nonsense\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"\x16\x03\x01\x02\x00\x01", b"GET /" + b"a" * 200_000 + b"\r\n"],
)
def test_what_is_no_http_does_no_harm(server, request_text):
    with server.connect() as client:
        try:
            client.sendall(request_text)
            client.recv(4000)
        except OSError:
            pass
    assert server.post("/embed", image_bytes())[0] == 200


@pytest.mark.slow
def test_sigkill_loses_no_answered_write(tmp_path):
    gallery = write_gallery(tmp_path, identities=2)
    server = Server(gallery)
    answered: list[str] = []

    def write(writer: int) -> None:
        for number in range(1000):
            identity = f"{writer} {number}"
            try:
                status, _ = server.enrol(identity, image_bytes(identity=100 + writer, shot=number))
            except OSError:
                return
            assert status == 200
            answered.append(identity)

    writers = [threading.Thread(target=write, args=(number,)) for number in range(2)]
    for writer in writers:
        writer.start()
    while len(answered) < 12:
        time.sleep(0.01)
    server.process.kill()
    server.process.communicate()
    for writer in writers:
        writer.join()
    opened = Gallery.open(gallery)
    rows = {
        identity: path
        for part in opened.read(("path", "identity"))
        for path, identity in zip(part.columns["path"], part.columns["identity"], strict=True)
    }
    assert set(answered) <= set(rows)
    # At most those that were being written.
    assert len(opened) - 6 <= len(answered) + 2
    assert all(Path(rows[identity]).stat().st_size > 0 for identity in answered)
    # It starts again with what was written.
    again = Server(gallery)
    assert again.started["num_images"] == len(opened)
    assert again.stop() == (0, "")


def test_searches_go_on_while_images_are_enrolled(server):
    done = threading.Event()
    statuses = []

    def search() -> None:
        while not done.is_set():
            statuses.append(server.post("/search", image_bytes())[0])

    searcher = threading.Thread(target=search)
    searcher.start()
    for number in range(8):
        assert server.enrol("dora", image_bytes(identity=900, shot=number))[0] == 200
    done.set()
    searcher.join()
    assert statuses and set(statuses) == {200}


def test_the_token_is_not_among_the_words_of_the_process(server):
    assert server.post("/embed", image_bytes(), Authorization="Bearer wrong")[0] == 401
    assert TOKEN not in Path(f"/proc/{server.process.pid}/cmdline").read_text()


def test_what_cannot_be_served_is_said_before_the_network_is_loaded(gallery, tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        cases = {
            "port-taken": [str(gallery), "--port", port],
            "token-required": [str(gallery), "--host", "0.0.0.0"],
        }
        program = (
            "import sys, json\nfrom spcl.cli.main import main\n"
            "for words in json.loads(sys.argv[1]):\n"
            "    try:\n        main(['serve', *words])\n"
            "    except SystemExit as ended:\n        assert ended.code == 2\n"
            "assert 'torch' not in sys.modules and 'lancedb' not in sys.modules\n"
        )
        environment = {name: value for name, value in os.environ.items() if name != "SPCL_TOKEN"}
        done = subprocess.run(
            [sys.executable, "-c", program, json.dumps(list(cases.values()))],
            capture_output=True,
            text=True,
            env=environment | {"PYTHONPATH": IMPORT_PATH},
        )
    assert done.returncode == 0, done.stderr
    lines = done.stderr.splitlines()
    for line, code in zip(lines, cases, strict=True):
        assert line.endswith(f"[{code}]"), line


def test_sigterm_finishes_what_has_begun(server, gallery):
    before = Gallery.open(gallery).count("path like '%/images/%'")
    body = image_bytes(identity=77)
    head = f"POST /enrol HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\nContent-Type: image/png\r\n"
    head += f"Content-Length: {len(body)}\r\n\r\n"
    with server.connect() as client:
        client.sendall(head.encode() + body[:-10])
        time.sleep(0.3)
        server.process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        client.sendall(body[-10:])
        answer = b""
        while part := client.recv(4000):
            answer += part
    assert b"200 OK" in answer.partition(b"\r\n")[0]
    (name,) = json.loads(answer.partition(b"\r\n\r\n")[2])["images"]
    _, error = server.process.communicate(timeout=60)
    assert (server.process.returncode, error) == (0, "")
    assert Gallery.open(gallery).count("path like '%/images/%'") == before + 1
    assert name
    with pytest.raises(OSError):
        server.connect()
