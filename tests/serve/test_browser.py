"""The pages in Chromium: what a person does with them. ``SPCL_SCREENSHOTS`` makes the pictures of the docs:

SPCL_SCREENSHOTS=docs/images python -m pytest -m slow tests/serve/test_browser.py
"""

from __future__ import annotations

import os
import shutil
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from PIL import Image

pytest.importorskip("fastapi")
pytest.importorskip("prometheus_client")
pytest.importorskip("playwright.sync_api")

from playwright.sync_api import sync_playwright

from spcl.data.synthetic import SyntheticSpec, render_image
from spcl.gallery.gallery import Gallery
from spcl.inference.encoder import imagenet_encoder
from spcl.serve.app import make_app
from spcl.serve.live import make_live_app
from spcl.serve.opening import open_served
from spcl.serve.server import listening, run_until_stopped, url_of
from spcl.serve.settings import ServeLimits, ServeRequest
from tests.serve.test_pages import write_run
from tests.shared import PROJECT_ROOT

pytestmark = pytest.mark.slow

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
SPEC = SyntheticSpec(cameras=3, height=128, width=64)
PEOPLE = 24


@pytest.fixture(scope="module")
def gallery(tmp_path_factory):
    """Rendered pedestrians of three cameras, the first shot of each by two of them."""
    folder = tmp_path_factory.mktemp("browser")
    encoder = imagenet_encoder("timm/test_resnet", pretrained="none", size=(128, 64))
    paths, names, cameras = [], [], []
    for person in range(PEOPLE):
        for camera in range(3):
            path = folder / f"{person:02d}_c{camera}.jpg"
            render_image(SPEC, person, camera, 0).save(path, quality=92)
            paths.append(path)
            names.append(f"person {person}")
            cameras.append(str(camera + 1))
    gallery = Gallery.create(folder / "street", encoder)
    times = [f"2026-03-{1 + number % 28:02d} 12:00" for number in range(len(paths))]
    gallery.add_features(encoder.embed(paths), paths, identities=names, cameras=cameras, times=times)
    gallery.tidy()
    scene = Image.new("RGB", (420, 260), (150, 160, 150))
    for place, person in enumerate((3, 7, 11)):
        scene.paste(render_image(SPEC, person, 1, 0), (40 + 130 * place, 80))
    scene.save(folder / "scene.png")
    return folder / "street"


@contextmanager
def running(app):
    """The URL of a server in a thread; it ends with the process."""
    started = threading.Event()
    with listening("127.0.0.1", 0) as listener:
        threading.Thread(
            target=run_until_stopped, args=(app, listener, ServeLimits(), started.set), daemon=True
        ).start()
        assert started.wait(60)
        yield url_of(listener)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    if CHROMIUM is None:
        pytest.skip("there is no Chromium")
    flags = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=flags)
        yield browser
        browser.close()


@pytest.fixture
def page(browser):
    page = browser.new_page(viewport={"width": 1180, "height": 900})
    problems: list[str] = []
    page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("request", lambda request: problems.append(request.url) if "127.0.0.1" not in request.url else None)
    yield page
    # No request to another host, no error of a script, nothing that the policy refused.
    # Chromium prints each answer that is an error; the page shows what it says.
    expected = ("data:", "blob:", "Failed to load resource: the server responded with a status of 422")
    assert [problem for problem in problems if not problem.startswith(expected)] == []
    page.close()


def until(page, condition: str) -> None:
    """Wait for a condition; Playwright's own wait evaluates text in the page, which the page's policy refuses."""
    end = time.monotonic() + 20
    while not page.evaluate(condition):
        assert time.monotonic() < end, condition
        time.sleep(0.1)


def check_access(page) -> None:
    """Contrast, labels and keyboard, by axe."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    found = axe.Axe().run(page)
    assert found.violations_count == 0, found.generate_report()


def shoot(page, name: str, tmp_path: Path) -> None:
    wanted = os.environ.get("SPCL_SCREENSHOTS")
    folder = PROJECT_ROOT / wanted if wanted else tmp_path
    page.screenshot(path=folder / name)
    assert (folder / name).stat().st_size > 5000


def test_a_box_is_drawn_and_searched_for(gallery, page, tmp_path):
    served = open_served(ServeRequest(gallery, engine="torch"))
    with running(make_app(served)) as url:
        page.goto(url)
        page.set_input_files("#image", gallery.parent / "scene.png")
        page.wait_for_selector("#picture:not([hidden])")
        area = page.locator("#picture").bounding_box()
        page.mouse.move(area["x"] + 170, area["y"] + 80)
        page.mouse.down()
        page.mouse.move(area["x"] + 234, area["y"] + 208, steps=4)
        page.mouse.up()
        # With the keyboard, too: the exact corners of the second person.
        for name, value in zip(("left", "top", "width", "height"), (170, 80, 64, 128), strict=True):
            assert abs(int(page.input_value(f"#box-{name}")) - value) <= 3
            page.fill(f"#box-{name}", str(value))
        page.fill("#top", "12")
        page.check("input[name=camera_not][value='3']")
        page.click("#search")
        page.wait_for_selector("#hits li")
        first = page.locator("#hits li").first.inner_text()
        assert "person 7" in first and "camera 2" in first
        assert "camera 3" not in page.locator("#hits").inner_text()
        until(page, "[...document.querySelectorAll('#hits img')].slice(0, 6).every((each) => each.naturalWidth)")
        check_access(page)
        shoot(page, "serve-search.png", tmp_path)
        page.evaluate("at('threshold').value = 0.9999; at('threshold').dispatchEvent(new Event('input'))")
        assert page.locator("#hits li:visible").count() < 12
        assert "of 12 images" in page.inner_text("#state")
        page.click("#name")
        page.wait_for_selector("#state.answer")
        assert "names are given from" in page.inner_text("#state")
        page.fill("#where", "nonsense(1)")
        page.click("#search")
        page.wait_for_selector("#state.wrong")
        assert "no functions" in page.inner_text("#state")


def test_the_live_page_reads_the_run_again(page, tmp_path):
    run = write_run(tmp_path / "mine", 4)
    with running(make_live_app([run])) as url:
        page.goto(url)
        assert "4 of 5 epochs" in page.inner_text("#curves")
        shoot(page, "live.png", tmp_path)
        with (run / "metrics.jsonl").open("a") as file:
            file.write('{"epoch": 5, "loss": 0.5, "num_clusters": 14, "mAP": 0.5, "seconds": {"train": 60.0}}\n')
        until(page, "document.querySelector('#curves').innerText.includes('finished')")
        check_access(page)
