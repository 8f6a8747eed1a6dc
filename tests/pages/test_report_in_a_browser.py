"""The report in Chromium: light, dark, a phone's width, print; sorting, filtering, the map; contrast and labels by axe.

With ``SPCL_PICTURES`` set to a folder, the pictures of the documentation are written there.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import pytest

from spcl.data.synthetic import SyntheticSpec, write_market1501
from spcl.inference.embedding import EmbeddedImages
from spcl.pages.write_report import ReportRequest, write_report
from spcl.records import Record
from spcl.reporting.quiet_reporters import SilentReporter
from tests.experiments.written_runs import write_run
from tests.pages.browser import PHONE, SCREEN, opened
from tests.pages.test_report_of_groups import write_grouping
from tests.pages.test_report_of_runs import rows

pytestmark = pytest.mark.slow

_NUM_IDENTITIES = 18


@pytest.fixture(scope="module")
def street(tmp_path_factory):
    """Rendered pedestrians, grouped by identity with a few faults, with features that agree."""
    folder = tmp_path_factory.mktemp("street")
    data = write_market1501(
        folder / "street",
        SyntheticSpec(train_identities=_NUM_IDENTITIES - 6, test_identities=6, images_per_camera=2, domain="studio"),
    )
    paths = sorted(data.rglob("*.jpg"))
    identity = np.array([int(re.match(r"\d+", path.name)[0]) for path in paths])
    rng = np.random.default_rng(0)
    # Similar clothes: neighbouring identities have something in common.
    middles = rng.normal(size=(200, 24))
    middles = middles + 0.8 * np.roll(middles, 1, axis=0)
    features = middles[identity] + 1.1 * rng.normal(size=(len(paths), 24))
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    group = np.unique(identity, return_inverse=True)[1]
    group[rng.choice(len(group), 12, replace=False)] = -1
    sure = np.clip(rng.normal(0.5, 0.18, len(paths)) - 0.3 * (group % 5 == 0), 0.02, 0.95)
    out = write_grouping(folder / "my_groups", paths, group.tolist(), sure.round(3).tolist(), source=[str(data)])
    known = EmbeddedImages(tuple(map(Record, paths)), features.astype(np.float32)), None
    page = folder / "groups.html"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        write_report(ReportRequest((out.name,), page), report=SilentReporter(), known=known)
    return page


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A page of two runs."""
    folder = tmp_path_factory.mktemp("run")
    one, two = (write_run(folder / name, rows(4, start=start)) for name, start in (("first", 0.3), ("second", 0.45)))
    page = folder / "runs.html"
    write_report(ReportRequest((one, two), page), report=SilentReporter())
    return page


def violations(shown) -> list[str]:
    """What axe finds: contrast, labels, roles, order of headings."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    found = axe.Axe().run(shown).response["violations"]
    return [
        f"{each['id']}: {node['html'][:200]} {node.get('failureSummary', '')}"
        for each in found
        for node in each["nodes"][:3]
    ]


@pytest.mark.parametrize("name", ["street", "run"])
def test_no_fault_of_contrast_or_label_in_light_and_dark(name, request):
    with opened(request.getfixturevalue(name)) as shown:
        for scheme in ("light", "dark"):
            shown.emulate_media(color_scheme=scheme)
            assert violations(shown) == []


def test_the_page_fits_a_phone_and_shows_its_pictures(street):
    with opened(street) as shown:
        for size in (PHONE, SCREEN):
            shown.set_viewport_size(size)
            assert shown.evaluate("document.documentElement.scrollWidth") <= size["width"]
        shapes = shown.evaluate(
            "[...document.querySelectorAll('#groups .p')].map(each => [each.offsetWidth, each.offsetHeight])"
        )
        assert len(shapes) == 3 * _NUM_IDENTITIES
        assert all(20 < width < 100 and 60 < height < 140 for width, height in shapes)
        assert shown.evaluate("getComputedStyle(document.querySelector('.p')).backgroundImage").startswith('url("data:')


def test_groups_are_found_sorted_and_filtered(street):
    with opened(street) as shown:
        visible = "[...document.querySelectorAll('#group-cards > li:not([hidden])')].map(each => +each.dataset.number)"
        assert shown.evaluate(visible) == list(range(_NUM_IDENTITIES))
        shown.select_option("#group-order", "unsure")
        numbers = shown.evaluate(visible)
        sure = "[...document.querySelectorAll('#group-cards > li:not([hidden])')].map(each => +each.dataset.sure)"
        assert numbers != sorted(numbers)
        assert shown.evaluate(sure) == sorted(shown.evaluate(sure))
        shown.select_option("#group-only", "unsure")
        assert 0 < len(shown.evaluate(visible)) < _NUM_IDENTITIES
        shown.select_option("#group-only", "")
        shown.fill("#group-words", "group 7")
        assert len(shown.evaluate(visible)) == 1
        assert shown.inner_text("#group-cards > li:not([hidden]) h3") == "Group 7"
        assert shown.inner_text("#group-count") == f"1 of {_NUM_IDENTITIES} groups"


def test_the_map_shows_the_image_under_the_pointer_and_changes_its_colours(street):
    with opened(street) as shown:
        shown.locator("#map").scroll_into_view_if_needed()
        box = shown.locator("#map-box svg").first.bounding_box()
        point = shown.evaluate(
            "(() => {const d = JSON.parse(document.getElementById('map-data').textContent);"
            " return [d.x[3] / d.side, d.y[3] / d.side, d.names[3]]})()"
        )
        shown.mouse.move(box["x"] + point[0] * box["width"], box["y"] + point[1] * box["height"])
        tip = shown.locator("#map-box .tip")
        assert tip.is_visible()
        assert "camera" in tip.inner_text() and "group" in tip.inner_text()
        assert tip.locator(".p").count() == 1
        shown.click("text=by camera")
        displays = "[...document.querySelectorAll('.layer')].map(each => getComputedStyle(each).display)"
        assert shown.evaluate(displays).index("block") == 1


def test_print_opens_everything_and_hides_what_needs_a_mouse(street, tmp_path):
    with opened(street) as shown:
        shown.pdf(path=tmp_path / "page.pdf", format="A4")
        shown.emulate_media(media="print", color_scheme="dark")
        assert shown.evaluate("getComputedStyle(document.querySelector('nav')).display") == "none"
        assert shown.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        assert not shown.locator("#group-words").is_visible()
        assert violations(shown) == []
    assert (tmp_path / "page.pdf").stat().st_size > 50_000


def test_without_its_script_the_page_is_complete(street, tmp_path):
    html = street.read_text(encoding="utf-8")
    page = tmp_path / "plain.html"
    page.write_text(re.sub(r"<script>.*</script>", "", html, flags=re.DOTALL), encoding="utf-8")
    with opened(page) as shown:
        assert not shown.locator("#group-words").is_visible()
        assert shown.locator("#group-cards > li").count() == _NUM_IDENTITIES
        shown.click("text=by camera")
        assert shown.locator(".layer1").is_visible()


def test_pictures_of_the_documentation(street, tmp_path):
    folder = Path(os.environ.get("SPCL_PICTURES") or tmp_path)
    with opened(street) as shown:
        shown.set_viewport_size({"width": 1100, "height": 900})
        shown.screenshot(path=folder / "report.png")
        shown.emulate_media(color_scheme="dark")
        shown.locator("#ranked").scroll_into_view_if_needed()
        shown.evaluate("document.getElementById('ranked').scrollIntoView()")
        shown.screenshot(path=folder / "report-ranked.png")
    assert all((folder / name).stat().st_size < 700_000 for name in ("report.png", "report-ranked.png"))
