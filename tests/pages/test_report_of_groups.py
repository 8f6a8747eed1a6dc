"""The page of the groups of ``spcl cluster``: every group, hostile names, missing files, no features."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest

import spcl
from spcl.cli.main import main
from spcl.inference.embedding import EmbeddedImages
from spcl.pages.write_report import ReportRequest, write_report
from spcl.records import Record
from spcl.reporting.quiet_reporters import SilentReporter
from tests.fakes import draw
from tests.input_errors import input_error
from tests.pages.pages_read import read

HOSTILE = [
    "<script>alert(1)</script>.jpg",
    '"onload="x.jpg',
    "a&amp;b'c.jpg",
    "two\nlines.jpg",
    "</style><b>.jpg",
    "$x{{7*7}}.jpg",
]


def write_grouping(folder: Path, paths: list[Path], groups: list[int], confidence: list[float] | None = None, **facts):
    """A folder as ``spcl cluster`` leaves it."""
    folder.mkdir(parents=True, exist_ok=True)
    sure = confidence or [0.5] * len(paths)
    with (folder / "groups.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("path", "group", "confidence"))
        writer.writerows(zip(paths, groups, sure, strict=True))
    (folder / "summary.json").write_text(json.dumps({"made_by": "spcl cluster", "eps": 0.5, "k1": 20} | facts))
    return folder


@pytest.fixture(scope="module")
def crops(tmp_path_factory):
    """Five objects of six images by two cameras, some with hostile names."""
    folder = tmp_path_factory.mktemp("crops")
    paths = []
    for number in range(30):
        name = (
            f"{number:02d}_c{number % 2 + 1}.jpg"
            if number % 5
            else f"{number:02d}_c{number % 2 + 1} {HOSTILE[number // 5]}"
        )
        paths.append(draw(folder / name.replace("/", "∕"), number // 6, number))
    return paths


def features_of(paths: list[Path], groups: list[int]) -> EmbeddedImages:
    """Features that agree with groups: one direction for each, and some noise."""
    rng = np.random.default_rng(0)
    rows = np.eye(16, dtype=np.float32)[np.array(groups) % 16] + 0.15 * rng.normal(size=(len(paths), 16))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return EmbeddedImages(tuple(map(Record, paths)), rows.astype(np.float32))


def page_of(folder: Path, **options):
    out = folder.parent / "page.html"
    known = options.pop("known", None)
    result = write_report(ReportRequest((folder,), out, **options), report=SilentReporter(), known=known)
    html = out.read_text(encoding="utf-8")
    assert len(out.read_bytes()) == result.size
    return read(html), result


def test_every_group_with_its_surest_middle_and_least_sure_image(crops, tmp_path):
    groups = [number // 6 if number % 6 else -1 for number in range(30)]
    confidence = [0.05 * (number % 6) for number in range(30)]
    folder = write_grouping(tmp_path / "out", crops, groups, confidence)
    page, result = page_of(folder, known=(features_of(crops, [number // 6 for number in range(30)]), None))
    assert page.titles == ["groups", "merges", "ungrouped", "ranked", "similarities", "map", "data", "settings"]
    cards = [given for given in page.of("li") if "data-number" in given]
    assert [(card["data-number"], card["data-size"]) for card in cards] == [(str(number), "5") for number in range(5)]
    assert {card["data-unsure"] for card in cards} == {"1"}
    text = page.text
    for name in (crops[1].name, crops[3].name, crops[5].name):
        assert " ".join(name.split()) in text
    assert re.search(r"surest 0\.25 .{0,60}camera 2 middle 0\.15 .{0,60}least sure 0\.05", text)
    assert "25 of 30 images are in 5 groups" in result.summary[0]
    assert "0 of the 5 groups are sure; 5 are unsure" in result.summary[1]
    assert text.count("nearest: group") == 5
    # Each un-clustered image has the group of its object.
    order = re.findall(r"(\d\d)_c[12][^ ]* .{0,60}?camera [12] nearest: group (\d)", text)
    assert {(int(number) // 6, int(group)) for number, group in order} == {(number, number) for number in range(5)}


def test_hostile_names_are_text(crops, tmp_path):
    folder = write_grouping(tmp_path / "<b>out", crops, [number // 6 for number in range(30)])
    page, _ = page_of(folder, known=(features_of(crops, [number // 6 for number in range(30)]), None))
    assert "Groups in <b>out" in page.text
    assert not page.of("b") or all(not given for given in page.of("b"))
    for name in HOSTILE:
        assert " ".join(name.replace("/", "∕").split()) in page.text
    assert "49.jpg" not in page.html
    data = json.loads(next(text for given, text in page.scripts if given.get("type") == "application/json"))
    assert data["names"] == [path.name for path in crops]
    assert len(data["x"]) == len(data["y"]) == len(data["pictures"]) == 30
    assert all(data["pictures"])


def test_names_by_hand_and_numbers_with_gaps(crops, tmp_path):
    folder = write_grouping(tmp_path / "out", crops, [7] * 10 + [3] * 20)
    rows = list(csv.DictReader((folder / "groups.csv").open(newline="", encoding="utf-8")))
    with (folder / "groups.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["path", "group", "confidence", "identity"])
        writer.writeheader()
        writer.writerows(row | {"identity": "Anna <3" if row["group"] == "7" else ""} for row in rows)
    page, _ = page_of(folder, quick=True)
    assert "Group 3 20 images" in page.text
    assert "Anna <3 (group 7) 10 images" in page.text


def test_missing_images_and_no_features(crops, tmp_path):
    gone = [tmp_path / f"gone{number}.jpg" for number in range(4)]
    folder = write_grouping(tmp_path / "out", [*crops[:8], *gone], [0] * 8 + [1] * 4)
    page, _ = page_of(folder, quick=True)
    assert page.titles == ["groups", "data", "settings"]
    assert page.text.count("no picture") == 3
    encoding = spcl.EncodeOptions(encoder=spcl.EncoderChoice(checkpoint=str(tmp_path / "none.pth")), device="cpu")
    page, result = page_of(folder, encoding=encoding)
    assert page.titles == ["groups", "data", "settings"]
    assert "could not be encoded" in result.warnings[0]
    assert "none.pth" in page.text


def test_no_groups_and_one_image(crops, tmp_path):
    page, result = page_of(write_grouping(tmp_path / "out", crops[:1], [-1]), quick=True)
    assert "No group was found" in page.text
    assert "1 images" in result.summary[0] or "1 image" in result.summary[0]


@pytest.mark.parametrize(
    ("table", "code"),
    [
        ("", "empty-table"),
        ("path,group\n", "empty-table"),
        ("group\n1\n", "no-such-column"),
        ("path\na.jpg\n", "no-such-column"),
    ],
)
def test_a_table_that_cannot_be_understood(table, code, tmp_path):
    folder = write_grouping(tmp_path / "out", [], [])
    (folder / "groups.csv").write_text(table)
    with input_error(code, "groups.csv"):
        write_report(ReportRequest((folder,), tmp_path / "page.html"))
    assert not (tmp_path / "page.html").exists()


def test_the_command_and_the_report_of_cluster(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for number in range(24):
        draw(tmp_path / "crops" / f"{number:02d}_c{number % 2 + 1}.jpg", number // 6, number)
    (tmp_path / "crops" / "broken.jpg").write_bytes(b"no image")
    words = ["--arch", "timm/test_resnet", "--pretrained", "none", "--device", "cpu", "--workers", "2", "--json"]
    main(["cluster", "crops", "-o", "groups", "--report", "first.html", *words])
    capsys.readouterr()
    main(["report", "groups", "-o", "second.html", "--json"])
    made = json.loads(capsys.readouterr().out)
    assert made["warnings"] == []
    assert {"groups", "map", "data"} <= {title.lower() for title in made["sections"]}
    first, second = (read((tmp_path / name).read_text(encoding="utf-8")) for name in ("first.html", "second.html"))
    assert first.titles == second.titles
    assert first.text == second.text
    assert "broken.jpg" in first.text
    # The encoder is remembered: the second report computes the same features.
    assert "another encoder" not in second.text
    assert spcl.ReportRequest is ReportRequest


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["report"], "missing-argument"),
        (["report", "nowhere"], "no-such-source"),
        (["report", "a", "b", "c"], "no-such-file"),
        (["report", "groups", "-o", "page.pdf"], "wrong-file-kind"),
        (["report", "groups", "--compare"], "missing-argument"),
        (["report", "groups", "groups", "--compare", "--quick"], "option-contradiction"),
        (["report", "groups", "--false-match-rate", "2"], "setting-out-of-range"),
        (["cluster", "crops", "-o", "g", "--report", "page.pdf"], "wrong-file-kind"),
        (["train", "crops", "--report", "page.pdf"], "wrong-file-kind"),
        (["adapt", "c.pth", "crops", "--report", "page.pdf"], "wrong-file-kind"),
    ],
)
def test_wrong_requests_are_refused_at_once(words, code, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2
    assert f"[{code}]" in capsys.readouterr().err


def test_data_is_for_runs(tmp_path):
    folder = write_grouping(tmp_path / "out", [], [])
    with input_error("option-does-not-apply", "crops"):
        write_report(ReportRequest((folder,), tmp_path / "page.html", data="crops"))
