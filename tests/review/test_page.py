"""The review page in Chromium, by keyboard alone, and what a killed program has kept."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

import spcl
from spcl.corrections.group_table import GroupTable, write_group_table
from spcl.data.synthetic import SyntheticSpec, render_image
from spcl.review.session import ReviewSession
from tests.review.test_session import app_of, write_divided_groups, write_groups
from tests.serve.test_browser import running
from tests.shared import PROJECT_ROOT

sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
CHROMIUM = next((path for path in ("/usr/bin/chromium", "/usr/bin/chromium-browser") if Path(path).exists()), "")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(not CHROMIUM, reason="there is no Chromium")]
OPTIONS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync"]


@pytest.fixture
def browser():
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        yield browser
        browser.close()


@pytest.fixture
def program(tmp_path):
    write_groups(tmp_path, [0] * 10 + [1, 1, 1, 2, 2, -1])
    command = [sys.executable, "-m", "spcl", "review", str(tmp_path / "out"), "--no-browser"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        threading.Timer(120, process.kill).start()
        address = process.stdout.readline().split(" ")[0]
        assert address.startswith("http://127.0.0.1:")
        yield process, address, tmp_path / "out"
        process.kill()


def said(page, text: str) -> None:
    sync_api.expect(page.locator("#status")).to_contain_text(text, timeout=60_000)


def test_by_keyboard_alone(program, browser):
    process, address, out = program
    page = browser.new_page(viewport={"width": 1200, "height": 800})
    errors = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("dialog", lambda dialog: errors.append("a script of a file name ran"))
    page.goto(address)
    page.wait_for_selector(".card")

    def press(*keys: str, saved: int | None = None) -> None:
        for key in keys:
            page.keyboard.press(key)
        if saved is not None:
            said(page, f"correction {saved}:")

    press("ArrowRight", "ArrowRight", " ", "ArrowRight", " ", "m", saved=1)
    assert page.locator(".card").count() == 2
    press("Enter")
    page.wait_for_selector(".image")
    press(" ", "ArrowRight", " ", "s", saved=2)
    page.wait_for_selector(".image")
    press("n")
    page.wait_for_selector("dialog[open]")
    page.keyboard.type('<b>Bella</b> "1"')
    press("Enter", saved=3)
    press("Escape", "u")
    said(page, "Taken back")
    groups = spcl.read_groups(out)
    assert [each.action for each in groups.log.corrections] == ["merge", "split", "name", "undo"]
    assert sorted(groups.references.sizes.values()) == [2, 3, 10]
    assert page.locator(".card").count() == 3
    # What was answered is there, however the program ends.
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert len(spcl.read_groups(out).log.corrections) == 4
    press("c")
    said(page, "does not answer")
    assert errors == []


def test_questions_by_keyboard_alone(tmp_path, browser):
    out = write_divided_groups(tmp_path)
    with running(app_of(ReviewSession(out))) as address:
        page = browser.new_page(viewport={"width": 1200, "height": 800})
        page.goto(address)
        page.wait_for_selector(".card")
        page.get_by_role("button", name="Questions").click()
        page.wait_for_selector(".pair", timeout=60_000)
        page.keyboard.press("s")
        said(page, "1 answered.")
        page.keyboard.press("y")
        said(page, "2 answered.")
        page.keyboard.press("n")
        said(page, "3 answered.")
        axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed")
        assert [each["id"] for each in axe.Axe().run(page).response["violations"]] == []
    assert [each.action for each in spcl.read_groups(out).log.corrections] == ["merge", "deny"]


def test_likely_merges_by_keyboard_alone(tmp_path, browser):
    out = write_divided_groups(tmp_path)
    with running(app_of(ReviewSession(out))) as address:
        page = browser.new_page(viewport={"width": 1200, "height": 800})
        errors = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(address)
        page.wait_for_selector(".card")
        page.get_by_role("button", name="Likely merges").click()
        page.wait_for_selector(".merge", timeout=120_000)
        axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed")
        assert [each["id"] for each in axe.Axe().run(page).response["violations"]] == []
        count = page.locator(".merge").count()
        page.keyboard.press("s")
        assert page.locator(".merge").count() == count - 1
        page.keyboard.press("ArrowDown")
        page.keyboard.press("ArrowUp")
        page.keyboard.press("y")
        said(page, "correction 1:")
        page.keyboard.press("n")
        said(page, "correction 2:")
        page.keyboard.press("u")
        said(page, "Taken back")
        page.keyboard.press("n")
        said(page, "correction 4:")
        page.keyboard.press("Escape")
        assert page.locator(".card").count() == 7
        assert errors == []
    assert [each.action for each in spcl.read_groups(out).log.corrections] == ["merge", "deny", "undo", "deny"]


def test_a_drag_moves_and_merges(program, browser):
    _, address, out = program
    page = browser.new_page(viewport={"width": 1200, "height": 800})
    page.goto(address)
    page.wait_for_selector(".card")
    page.locator('.card[data-number="2"] img').first.drag_to(page.locator('.card[data-number="1"]'))
    said(page, "correction 1:")
    assert spcl.read_groups(out).references.sizes == {0: 10, 1: 4, 2: 1}
    page.locator('.card[data-number="2"] h2').drag_to(page.locator('.card[data-number="0"] h2'))
    said(page, "correction 2:")
    assert spcl.read_groups(out).references.sizes == {0: 11, 1: 4}


def test_the_picture_of_the_documentation(tmp_path, browser):
    """SPCL_SCREENSHOTS=docs/images writes it there."""
    spec = SyntheticSpec(kind="pedestrian", height=128, width=64, cameras=2, images_per_camera=3, seed=2)
    paths, group = [], []
    for identity in range(6):
        for camera in range(2):
            for number in range(3):
                paths.append(tmp_path / f"crops/{identity}_c{camera}_{number}.png")
                paths[-1].parent.mkdir(exist_ok=True)
                render_image(spec, identity, camera, number).save(paths[-1])
                # One object is in two groups, as happens with two cameras.
                group.append(6 if (identity, camera) == (1, 1) else identity)
    confidence = np.linspace(0.95, 0.4, len(paths)).round(2)
    table = GroupTable(tuple(paths), np.array(group), confidence, {0: "Ada", 3: "the red jacket"})
    write_group_table(tmp_path / "out/groups.csv", table)
    session = ReviewSession(tmp_path / "out")
    app = app_of(session)
    wanted = os.environ.get("SPCL_SCREENSHOTS")
    folder = PROJECT_ROOT / wanted if wanted else tmp_path
    with running(app) as address:
        page = browser.new_page(viewport={"width": 1180, "height": 720})
        page.goto(address)
        page.wait_for_selector(".card")
        for number in (1, 6):
            page.locator(f'.card[data-number="{number}"] .mark').click()
        page.wait_for_timeout(1500)
        page.screenshot(path=folder / "review.png")
        page.get_by_role("button", name="Likely merges").click()
        page.wait_for_selector(".merge", timeout=60_000)
        page.evaluate("scrollTo(0, 0)")
        page.wait_for_timeout(1500)
        page.screenshot(path=folder / "review-merges.png")
    assert min((folder / name).stat().st_size for name in ("review.png", "review-merges.png")) > 5000


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_contrast_and_names_by_axe(program, browser, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed")
    _, address, _ = program
    page = browser.new_page(viewport={"width": 390, "height": 800}, color_scheme=scheme)
    page.goto(address)
    page.wait_for_selector(".card")
    page.keyboard.press("?")
    found = axe.Axe().run(page)
    page.keyboard.press("Enter")
    page.locator(".card button").first.click()
    page.wait_for_selector(".image")
    page.locator(".image").first.click()
    for result in (found, axe.Axe().run(page)):
        assert [violation["id"] for violation in result.response["violations"]] == []
