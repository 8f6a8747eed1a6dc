"""The estimated number of individuals after corrections: outdated by them, made again by ``spcl correct OUT apply``."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import numpy as np
import pytest

import spcl
from spcl.cli.main import main
from spcl.corrections.corrected_groups import read_groups
from spcl.grouping.individuals_again import individuals_after, stored_individuals
from spcl.inference.embedding import EmbeddedImages
from spcl.pages.write_report import ReportRequest, write_report
from spcl.records import Record
from spcl.reporting.quiet_reporters import SilentReporter
from tests.fakes import draw

SMALL = "--arch timm/test_resnet --pretrained none --device cpu --workers 0 --eps 0.4 --k1 6"


@pytest.fixture(scope="module")
def grouped(tmp_path_factory) -> Path:
    """Groups of eight objects of six images, by ``spcl cluster``."""
    folder = tmp_path_factory.mktemp("herd")
    for number in range(48):
        draw(folder / "crops" / f"{number:02d}.jpg", number // 6, number)
    main(shlex.split(f"cluster {folder}/crops -o {folder}/out {SMALL}"))
    return folder / "out"


def summary_of(folder: Path) -> dict:
    return json.loads((folder / "summary.json").read_text())


def page_of(folder: Path) -> str:
    made = write_report(ReportRequest((folder,), folder.parent / "page.html"), report=SilentReporter())
    return " ".join(made.summary)


@pytest.mark.slow
def test_a_correction_outdates_the_estimate_and_apply_renews_it(grouped, capsys):
    found = stored_individuals(summary_of(grouped))
    assert found is not None
    assert found.sentence() in page_of(grouped)
    groups = read_groups(grouped)
    numbers = sorted(groups.references.sizes)
    assert len(numbers) > 6
    main(["correct", str(grouped), "merge", *map(str, numbers[:3])])
    assert "apply estimates it again" in capsys.readouterr().out
    assert summary_of(grouped)["individuals"] is None
    assert stored_individuals(summary_of(grouped)) is None
    shown = page_of(grouped)
    main(["correct", str(grouped), "apply"])
    again = stored_individuals(summary_of(grouped))
    assert again is not None
    assert again.words() in capsys.readouterr().out
    assert again.sentence() in shown
    assert again.sentence() in page_of(grouped)
    # Three groups that a person called one object are one in every draw.
    assert again.high <= found.high
    assert again != found


@pytest.fixture
def table(tmp_path) -> tuple[Path, EmbeddedImages]:
    """Groups of twelve objects of eight images, one of them torn into two, and features that fit them."""
    rng = np.random.default_rng(0)
    of = np.repeat(np.arange(12), 8)
    rows = rng.standard_normal((12, 16))[of] + 0.5 * rng.standard_normal((96, 16))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    group = of.copy()
    group[:4] = 12
    paths = [draw(tmp_path / "crops" / f"{number:02d}.jpg", number // 8, number) for number in range(96)]
    lines = [f"{path},{number},0.5" for path, number in zip(paths, group, strict=True)]
    (tmp_path / "out").mkdir()
    (tmp_path / "out/groups.csv").write_text("\n".join(["path,group,confidence", *lines]) + "\n")
    stored = {"estimate": 12, "low": 11, "high": 1300, "level": 0.9, "method": "parts of groups"}
    (tmp_path / "out/summary.json").write_text(json.dumps({"made_by": "spcl cluster", "individuals": stored}))
    return tmp_path / "out", EmbeddedImages(tuple(map(Record, paths)), rows.astype(np.float32))


def test_what_a_person_called_one_object_stays_whole(table):
    out, images = table
    before = individuals_after(read_groups(out), images.records, images.features)
    for number in range(12):
        spcl.correct(out, "name", [str(number), f"Bella {number}"])
    spcl.correct(out, "merge", ["0", "12"])
    groups = read_groups(out)
    found = individuals_after(groups, images.records, images.features)
    assert before is not None
    assert found is None  # twelve groups that cannot be divided say nothing about parts
    spcl.correct(out, "undo")
    some = individuals_after(read_groups(out), images.records[1:], images.features[1:])
    assert some is None


def shown(out: Path, known: EmbeddedImages | None = None) -> str:
    """The summary of the page of some groups, with the features of their images or without any."""
    request = ReportRequest((out,), out.parent / "page.html", quick=known is None)
    given = None if known is None else (known, None)
    return " ".join(write_report(request, report=SilentReporter(), known=given).summary)


def test_a_page_shows_the_estimate_until_the_groups_change(table):
    out, _ = table
    assert "about 12 individuals: 11 to 1,300 with a probability of 90%" in shown(out)
    spcl.correct(out, "confirm", ["3"])
    assert "11 to 1,300" in shown(out)
    spcl.correct(out, "merge", ["0", "12"])
    assert "individuals" not in shown(out)


@pytest.mark.slow
def test_a_page_with_features_estimates_again(table):
    out, images = table
    spcl.correct(out, "merge", ["0", "12"])
    again = individuals_after(read_groups(out), images.records, images.features)
    assert again is not None
    assert again.sentence() in shown(out, images)
