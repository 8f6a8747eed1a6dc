"""Random command lines and requests to the server."""

from __future__ import annotations

import io
import random
from contextlib import ExitStack, redirect_stderr, redirect_stdout
from pathlib import Path

from spcl.cli.main import COMMANDS, main
from tests.fakes import draw
from tests.trust.mutations import WORDS, damaged_bytes, damaged_text
from tests.trust.workers import EntryPoint, TryInput

FROZEN = Path(__file__).parents[1] / "cli/frozen_flags.txt"
_LONG_RUNNING = ("demo", "doctor", "live", "review", "serve", "sweep", "train", "adapt")
"""Commands whose work is long where the input is right: an argument that is no file is always among theirs."""

_GIVEN = (
    "crops",
    "crops/0.png",
    "table.csv",
    "nothing",
    "empty.csv",
    "note.txt",
    "out",
    "1",
    "0",
    "-1",
    "0.5",
    "auto",
    "resnet50",
    "cpu",
    "a=b",
    "path=file",
    "1 2",
    "camera = 1",
    "train=table.csv",
)


def _command_lines(folder: Path) -> TryInput:
    for number in range(3):
        draw(folder / f"crops/{number}.png", number)
    (folder / "table.csv").write_text("path,identity\ncrops/0.png,1\ncrops/1.png,2\n")
    (folder / "empty.csv").write_text("")
    (folder / "note.txt").write_text("hello")
    flags = {}
    for line in FROZEN.read_text(encoding="utf-8").splitlines():
        name, _, words = line.partition(": ")
        flags[name.removeprefix("spcl ")] = [word for word in words.split() if word.startswith("-")]

    def try_input(rng: random.Random) -> None:
        command = rng.choice(list(COMMANDS))
        words = []
        for _ in range(rng.randrange(5)):
            words += _word(rng, flags[command])
        if command in _LONG_RUNNING:
            words.insert(
                rng.randrange(len(words) + 1), "--no-such-flag" if command in ("demo", "doctor") else "nothing/at/all"
            )
        if rng.random() < 0.05:
            command = rng.choice(WORDS)
        _run([command, *words])

    return try_input


def _word(rng: random.Random, flags: list[str]) -> list[str]:
    kind = rng.randrange(6)
    if kind <= 1:
        return [rng.choice((*_GIVEN, *WORDS))]
    if kind == 2:
        return [rng.choice(flags)]
    if kind == 3:
        return [f"{rng.choice(flags)}={rng.choice((*_GIVEN, *WORDS))}"]
    if kind == 4:
        return [damaged_text(rng, flags)]
    return [rng.choice(flags), rng.choice((*_GIVEN, *WORDS))]


def _run(words: list[str]) -> None:
    """Run a command line; one that asks for help or ends with exit code 2 is as it should be."""
    shown = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors="backslashreplace")
    try:
        with redirect_stdout(shown), redirect_stderr(shown):
            main([word.replace("\0", "") for word in words])
    except SystemExit as ended:
        shown.flush()
        text = shown.buffer.getvalue().decode("utf-8", "replace")
        if ended.code not in (None, 0, 2) or "Traceback" in text:
            raise AssertionError(f"{words}: exit code {ended.code}\n{text}") from None
        if ended.code == 2 and "error: " not in text and "usage: " not in text:
            raise AssertionError(f"{words}: no message\n{text}") from None


_ROUTES = (
    "/embed",
    "/same",
    "/search",
    "/identify",
    "/enrol",
    "/images/0",
    "/healthz",
    "/metrics",
    "/",
    "/openapi.json",
    "/x",
)
_FIELDS = ("images", "image", "track", "camera", "identity", "time", "box", "x")
_PARAMETERS = (
    "top",
    "where",
    "camera_not",
    "since",
    "until",
    "exact",
    "rerank",
    "least_similarity",
    "false_match_rate",
    "size",
    "x",
)


def _requests(folder: Path) -> TryInput:
    """Requests to the application, without a network."""
    from tests.serve.served import client_of, image_bytes, write_gallery

    gallery = write_gallery(folder, identities=24, shots=2)
    stack = ExitStack()
    client = stack.enter_context(stack) and client_of(stack, gallery)
    images = [image_bytes(kind=kind) for kind in ("PNG", "JPEG", "BMP", "WEBP")]
    boundary = "b0undary"

    def value(rng: random.Random) -> str:
        return rng.choice((*WORDS, "1,2,3,4", "0,0,1e300,5", "nan,0,1,1", "camera = 1", "true", "0.01", "3"))

    def body(rng: random.Random) -> bytes:
        parts = []
        for _ in range(rng.randrange(5)):
            name = rng.choice(_FIELDS) if rng.random() < 0.9 else value(rng)
            is_file = rng.random() < (0.9 if name == "images" else 0.1)
            content = rng.choice(images) if is_file else value(rng).encode("utf-8", "surrogatepass")
            content = damaged_bytes(rng, [content]) if rng.random() < 0.2 else content
            head = f'Content-Disposition: form-data; name="{name}"' + ('; filename="a.png"' if is_file else "")
            parts.append(
                b"--"
                + boundary.encode()
                + b"\r\n"
                + head.encode("utf-8", "surrogatepass")
                + b"\r\n\r\n"
                + content
                + b"\r\n"
            )
        whole = b"".join(parts) + b"--" + boundary.encode() + b"--\r\n"
        return damaged_bytes(rng, [whole]) if rng.random() < 0.2 else whole

    def try_input(rng: random.Random) -> None:
        path = rng.choice(_ROUTES) if rng.random() < 0.95 else "/" + value(rng)
        parameters = {rng.choice(_PARAMETERS): value(rng) for _ in range(rng.randrange(3))}
        kinds = (f"multipart/form-data; boundary={boundary}",) * 6 + (
            "image/png",
            "multipart/form-data",
            "text/plain",
            value(rng),
        )
        headers = {"content-type": rng.choice(kinds)}
        if rng.random() < 0.1:
            headers[rng.choice(("host", "origin", "content-length", "authorization", "cookie"))] = value(rng)
        headers = {name: text.encode("utf-8", "surrogatepass") for name, text in headers.items()}
        method = rng.choice(("POST", "POST", "POST", "GET", "PUT"))
        content = rng.choice(images) if rng.random() < 0.1 else body(rng)
        asked = "&".join(f"{name}={_escaped(text)}" for name, text in parameters.items())
        answer = client.request(method, f"{_escaped(path)}?{asked}", content=content, headers=headers)
        if answer.status_code >= 500 and answer.status_code not in (503, 507):
            raise AssertionError(f"{answer.status_code}: {answer.text[:500]}")

    return try_input


def _escaped(text: str) -> str:
    from urllib.parse import quote

    return quote(text[:2000].encode("utf-8", "surrogatepass"), safe="/")


ENTRY_POINTS = (EntryPoint("command line", _command_lines), EntryPoint("request to the server", _requests))
