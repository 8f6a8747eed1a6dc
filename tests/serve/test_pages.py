"""The pages: what they show is escaped, nothing is loaded from elsewhere, the token is asked for."""

from __future__ import annotations

import json
import re
from contextlib import ExitStack

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("prometheus_client")

from starlette.testclient import TestClient

from spcl.gallery.gallery import Gallery
from spcl.serve.live import LiveRequest, make_live_app
from spcl.serve.settings import Token
from tests.input_errors import input_error
from tests.serve.served import TOKEN, client_of, code_of, write_gallery

SCRIPT = "<script>alert(1)</script>"
OUTSIDE = re.compile(r"""(?:src|href|action)=["']?(?:https?:)?//""")


@pytest.fixture(scope="module")
def gallery(tmp_path_factory):
    folder = write_gallery(tmp_path_factory.mktemp("served"), identities=3)
    gallery = Gallery.open(folder)
    features = next(iter(gallery.read())).features[:1]
    gallery.add_features(features, ["x.png"], identities=[SCRIPT], cameras=[SCRIPT])
    return folder


def is_own(answer) -> bool:
    policy = answer.headers["content-security-policy"]
    return (
        "default-src 'none'" in policy
        and "'unsafe" not in policy
        and not OUTSIDE.search(answer.text)
        and not re.search(r"<script>|<style|\son\w+=|\sstyle=", answer.text)
    )


def test_the_search_page_escapes_what_the_gallery_holds(gallery):
    with ExitStack() as stack:
        client = client_of(stack, gallery)
        answer = client.get("/")
        assert answer.status_code == 200
        assert is_own(answer)
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in answer.text
        assert "10 images" in answer.text
        for name in re.findall(r'(?:src|href)="(/static/[^"]+)"', answer.text):
            found = client.get(name)
            assert found.status_code == 200 and is_own(found), name
            assert found.headers["content-type"].startswith(("text/css", "text/javascript"))
        for name in ("report.html", "..%2fapp.py", "serve.css%00"):
            assert client.get(f"/static/{name}").status_code == 404, name


def test_a_browser_gives_the_token_once(gallery):
    with ExitStack() as stack:
        client = client_of(stack, gallery, token=TOKEN)
        page = {"accept": "text/html"}
        first = client.get("/", headers=page, follow_redirects=False)
        assert (first.status_code, first.headers["location"]) == (303, "/login")
        asked = client.get("/login")
        assert is_own(asked) and "password" in asked.text
        refused = client.post("/login", data={"token": "wrong"})
        assert refused.status_code == 401 and "not the token" in refused.text
        assert client.get("/", headers=page, follow_redirects=False).status_code == 303
        taken = client.post("/login", data={"token": TOKEN}, follow_redirects=False)
        assert taken.status_code == 303
        cookie = taken.headers["set-cookie"]
        assert "HttpOnly" in cookie and "SameSite=strict" in cookie and TOKEN not in cookie
        assert client.get("/", headers=page).status_code == 200
        client.cookies.clear()
        client.cookies.set("spcl_session", "0" * 64)
        assert client.get("/", headers=page, follow_redirects=False).status_code == 303


def write_run(folder, epochs: int = 3):
    folder.mkdir(parents=True)
    (folder / "config.toml").write_text("[schedule]\nepochs = 5\n")
    rows = [
        {"epoch": at, "loss": 3.0 / at, "num_clusters": 10 + at, "mAP": 0.1 * at, "seconds": {"train": 60.0}}
        for at in range(1, epochs + 1)
    ]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def test_the_live_page_follows_a_run(tmp_path):
    run = write_run(tmp_path / "mine<b>")
    with TestClient(make_live_app([run]), base_url="http://localhost") as client:
        answer = client.get("/")
        assert is_own(answer), answer.text
        assert "3 of 5 epochs" in answer.text and "mine&lt;b&gt;" in answer.text
        assert "mAP on the target" in answer.text
        with (run / "metrics.jsonl").open("a") as file:
            file.write('{"epoch": 4, "los')
        assert "3 of 5 epochs" in client.get("/curves").text
        with (run / "metrics.jsonl").open("a") as file:
            file.write('s": 0.5, "num_clusters": 14, "seconds": {"train": 60.0}}\n')
        assert "4 of 5 epochs" in client.get("/curves").text
        assert "<td>60 s</td><td>60 s</td>" in client.get("/curves").text
        assert client.get("/healthz").json() == {"status": "ok"}


def test_the_live_page_shows_several_runs_and_asks_for_its_token(tmp_path):
    runs = [write_run(tmp_path / "a"), write_run(tmp_path / "b", 5)]
    with TestClient(make_live_app(runs), base_url="http://localhost") as client:
        text = client.get("/").text
        assert "3 of 5 epochs" in text and "finished" in text
    with TestClient(make_live_app(runs, token=Token(TOKEN)), base_url="http://localhost") as client:
        assert code_of(client.get("/curves")) == (401, "token-required")


def test_runs_that_are_none(tmp_path):
    with input_error("no-such-run", str(tmp_path)):
        LiveRequest((tmp_path,))
    with input_error("missing-argument"):
        LiveRequest(())
