"""docs/serve.md: its client runs, the files of deploy/ have known flags, and the description holds for any request."""

from __future__ import annotations

import json
import re
import threading
from contextlib import ExitStack, redirect_stdout
from io import StringIO

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("prometheus_client")

from hypothesis import HealthCheck, Phase, given, settings
from PIL import Image

from spcl.cli.command_line import options_of
from spcl.cli.serve import Serve
from spcl.serve.app import make_app
from spcl.serve.opening import open_served
from spcl.serve.server import listening, run_until_stopped, url_of
from spcl.serve.settings import ServeLimits, Token
from tests.journeys.pages import blocks_of
from tests.serve.served import TOKEN, client_of, request_for, write_gallery
from tests.shared import PROJECT_ROOT


def test_the_client_of_the_page_gets_an_answer(tmp_path, monkeypatch):
    gallery = write_gallery(tmp_path)
    Image.open(tmp_path / "crops/07_0.png").save(tmp_path / "query.jpg", quality=98)
    (code,) = (code for language, code in blocks_of("docs/serve.md") if language == "python")
    assert len([line for line in code.splitlines() if line.strip()]) <= 10
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SPCL_TOKEN", TOKEN)
    started = threading.Event()
    with listening("127.0.0.1", 0) as listener:
        app = make_app(open_served(request_for(gallery, engine="torch")), token=Token(TOKEN))
        words = (app, listener, ServeLimits(), started.set)
        threading.Thread(target=run_until_stopped, args=words, daemon=True).start()
        assert started.wait(60)
        monkeypatch.setenv("SPCL_URL", url_of(listener))
        shown = StringIO()
        with redirect_stdout(shown):
            exec(compile(code, "docs/serve.md", "exec"), {})
    assert shown.getvalue().strip() in {*map(str, range(24)), "unknown"}


def test_the_files_of_deploy_start_the_server():
    docker = (PROJECT_ROOT / "deploy/Dockerfile").read_text()
    entry = json.loads(re.search(r"^ENTRYPOINT (\[.*\])$", docker, re.MULTILINE)[1])
    words = json.loads(re.search(r"^CMD (\[.*\])$", docker, re.MULTILINE)[1])
    assert entry == ["spcl", "serve"]
    options = options_of(Serve, words, "spcl serve")
    assert (options.host, bool(options.token_file)) == ("0.0.0.0", True)
    unit = (PROJECT_ROOT / "deploy/spcl-serve.service").read_text()
    command = re.search(r"^ExecStart=(.*)$", unit, re.MULTILINE)[1].split()
    options = options_of(Serve, command[2:], "spcl serve")
    assert (command[1], options.host, bool(options.token_file)) == ("serve", "0.0.0.0", True)


@pytest.mark.slow
def test_the_description_holds_for_any_request(tmp_path):
    """Schemathesis makes requests from the OpenAPI description, right and wrong ones; the answers must fit it."""
    schemathesis = pytest.importorskip("schemathesis")
    gallery = write_gallery(tmp_path)
    with ExitStack() as stack:
        client = client_of(stack, gallery)
        schema = schemathesis.openapi.from_dict(client.get("/openapi.json").json())
        seen = [check_operation(client, schema, result.ok()) for result in schema.get_all_operations()]
    assert set(seen) == {"/embed", "/same", "/search", "/identify", "/enrol", "/images/{name}", "/healthz", "/metrics"}


def check_operation(client, schema, operation) -> str:
    """Make requests of one route, as Hypothesis draws them from its description."""
    declared = schema.raw_schema["paths"][operation.path][operation.method.lower()]["responses"]

    @given(case=operation.as_strategy())
    @settings(
        max_examples=25,
        deadline=None,
        derandomize=True,
        database=None,
        phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck),
    )
    def check(case) -> None:
        words = case.as_transport_kwargs(base_url="http://localhost:8000")
        words.pop("cookies", None)
        answer = client.request(**{name: value for name, value in words.items() if value is not None})
        assert answer.status_code < 500 or answer.status_code in (503, 507), answer.text
        assert str(answer.status_code) in declared or answer.status_code in (404, 405), answer.text
        if answer.status_code >= 400:
            assert set(answer.json()["error"]) == {"code", "message"}

    check()
    return operation.path
