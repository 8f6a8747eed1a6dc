"""Pages of training runs: curves, unfinished runs, several runs, an adaptation; a trained run with its images."""

from __future__ import annotations

import json
from contextlib import redirect_stdout
from io import StringIO

import numpy as np
import pytest

import spcl
from spcl.cli.main import main
from spcl.pages.charts import Line, line_chart, ticks
from spcl.pages.write_report import ReportRequest, write_report
from spcl.reporting.quiet_reporters import SilentReporter
from tests.experiments.written_runs import write_run
from tests.fakes import write_fake
from tests.input_errors import input_error
from tests.pages.pages_read import read
from tests.training_run.small_runs import small_config, trained

CPU = spcl.EncodeOptions(device="cpu", workers=2)


def rows(count, *, rated=True, start=0.3):
    found = []
    for epoch in range(count):
        row = {"loss": 3.0 - epoch, "num_clusters": 10 + epoch, "num_unclustered": 40 - epoch}
        row |= {"seconds": {"label": 1.0, "train": 2.5}, "losses": {"target": 2.0, "source": 1.0}}
        row |= {"label_agreement": 0.5 + 0.1 * epoch} if epoch else {}
        found.append(row | ({"mAP": start + 0.1 * epoch, "top1": 0.6} if rated else {}))
    return found


def page_of(out, *subjects, **options):
    result = write_report(ReportRequest(tuple(subjects), out, **options), report=SilentReporter())
    return read(out.read_text(encoding="utf-8")), result


def test_the_curves_of_a_run_without_its_images(tmp_path):
    folder = write_run(tmp_path / "<i>run", rows(3), data={"target": str(tmp_path / "gone")})
    page, result = page_of(tmp_path / "page.html", folder)
    assert page.titles == ["curves", "settings"]
    assert "Run <i>run" in page.text
    assert "50.0 %" in result.summary[0] and "30.0 %" in result.summary[0]
    assert "the images of the run are missing from this page" in result.warnings[0]
    for title in (
        "mAP on the target",
        "Loss",
        "Clusters",
        "Un-clustered images",
        "Agreement",
        "Losses by domain",
        "Seconds",
    ):
        assert title in page.text, title
    charts = [given["aria-label"] for given in page.of("svg") if given.get("role") == "img"]
    assert "mAP on the target over epochs. <i>run: last 50.0 %" in charts


def test_an_unfinished_run_without_evaluation(tmp_path):
    folder = write_run(tmp_path / "run", rows(1, rated=False), epochs=5, data={"target": str(tmp_path / "gone")})
    page, result = page_of(tmp_path / "page.html", folder)
    assert "mAP on the target" not in page.text
    assert result.warnings[0] == "1 of 5 epochs are finished"
    (folder / "metrics.jsonl").unlink()
    page, result = page_of(tmp_path / "page.html", folder)
    assert page.titles == ["settings"]
    assert "has not finished an epoch yet" in result.summary[0]


def test_several_runs_are_laid_over_each_other(tmp_path):
    one = write_run(tmp_path / "a" / "run", rows(3), run={"seed": 1})
    two = write_run(tmp_path / "b" / "run", rows(2, start=0.5), epochs=4, run={"seed": 2})
    page, result = page_of(tmp_path / "page.html", one, two)
    assert page.titles == ["curves", "settings"]
    assert "b/run ends best, with a mean average precision of 60.0 %" in result.summary[0]
    assert "run.seed 1 2" in page.text
    assert "2 of 4" in page.text
    lines = [
        given for given in page.of("path") if given.get("class", "").startswith("line c") and given["d"] != "M0 4H26"
    ]
    assert {given["class"] for given in lines} == {"line c0 l0", "line c1 l1"}


def test_damaged_figures(tmp_path):
    folder = write_run(tmp_path / "run", rows(1))
    (folder / "metrics.jsonl").write_text('{"epoch": 1')
    with input_error("damaged-file", str(folder)):
        page_of(tmp_path / "page.html", folder)
    with input_error("too-many-arguments", "other"):
        (tmp_path / "other").mkdir()
        page_of(tmp_path / "page.html", folder, folder, tmp_path / "other")


def test_an_adaptation(tmp_path):
    folder = write_run(tmp_path / "run", rows(2, rated=False), data={"target": "12 files"})
    verdict = {"keeps_new": False, "reasons": [], "words": "the new encoder is worse: <collapse>"}
    figures = {"found_again": 0.5, "silhouette": None, "num_clusters": 12}
    plain = {"verdict": verdict, "before": figures, "after": figures | {"found_again": 0.25}, "num_rated": 44}
    (folder / "adaptation.json").write_text(json.dumps(plain))
    page, _ = page_of(tmp_path / "page.html", folder)
    assert page.titles == ["adaptation", "curves", "settings"]
    assert "the new encoder is worse: <collapse>: the old encoder was kept." in page.text
    assert "near duplicate 50.0 % 25.0 %" in page.text
    assert "silhouette of the clusters (-1 to 1) - -" in page.text


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two runs of one epoch on a small copy of Market-1501."""
    root = tmp_path_factory.mktemp("runs")
    data = write_fake("market1501", root / "data", num_identities=8)
    small = "--arch timm/test_resnet --pretrained none --height 32 --width 16 --batch-size 8 --iters 1 --epochs 1"
    words = f"{small} --k1 6 --seed 1 --device cpu --workers 2 --json".split()
    with redirect_stdout(StringIO()):
        main(["train", str(data), "--logs-dir", str(root / "run1"), "--report", str(root / "run1.html"), *words])
    trained(small_config(data, root / "run2", run={"seed": 2, "device": "cpu"}, schedule={"epochs": 1, "iters": 1}))
    return root


@pytest.mark.slow
def test_a_run_with_the_images_that_its_encoder_sees(runs, tmp_path):
    page, result = page_of(tmp_path / "page.html", runs / "run1", encoding=CPU)
    assert result.warnings == ()
    assert {"curves", "ranked", "cameras", "groups", "map", "data", "settings"} <= set(page.titles)
    kept = json.loads((runs / "run1" / "metrics.jsonl").read_text().splitlines()[-1])
    # The last checkpoint is the encoder that the last epoch was evaluated with.
    assert f"mAP {100 * kept['mAP']:.1f} %" in page.text
    assert "protocol market1501" in page.text
    assert page.text.count("▶ query") >= 8
    assert "✓ right" in page.text
    assert "By split split images identities cameras train" in page.text
    # train --report has written the same page.
    assert read((runs / "run1.html").read_text(encoding="utf-8")).text == page.text


@pytest.mark.slow
def test_two_runs_query_by_query(runs, tmp_path):
    page, result = page_of(tmp_path / "page.html", runs / "run1", runs / "run2", compare=True, encoding=CPU)
    assert page.titles[0] == "comparison"
    figures = [
        json.loads((runs / f"run{seed}" / "metrics.jsonl").read_text().splitlines()[-1])["mAP"] for seed in (1, 2)
    ]
    assert f"mAP before {100 * figures[0]:.1f} % mAP after {100 * figures[1]:.1f} %" in page.text
    assert "Before: run1. After: run2." in page.text
    counts = [int(word) for word in page.text.split("mAP after")[1].split()[3:12] if word.isdecimal()]
    assert sum(counts) == 12
    assert len(result.summary) == 3
    with input_error("option-contradiction", "--compare"):
        choice = spcl.EncodeOptions(encoder=spcl.EncoderChoice(imagenet=True))
        page_of(tmp_path / "page.html", runs / "run1", runs / "run2", compare=True, encoding=choice)


@pytest.mark.slow
def test_a_checkpoint_on_images_with_and_without_labels(runs, tmp_path):
    checkpoint = runs / "run1" / "checkpoint.pth.tar"
    data = next((runs / "data").rglob("query")).parent
    page, _ = page_of(tmp_path / "page.html", checkpoint, data, encoding=CPU)
    evaluated = spcl.evaluate(checkpoint, data)
    assert f"mAP {100 * evaluated.plain.mean_ap:.1f} % top-1 {100 * evaluated.plain.top(1):.1f} %" in page.text
    page, _ = page_of(tmp_path / "page.html", runs / "run1", data / "query", encoding=CPU, quick=True)
    assert page.titles == ["data"]
    flat = tmp_path / "flat"
    flat.mkdir()
    for number, path in enumerate(sorted((data / "query").glob("*.jpg"))):
        (flat / f"{number}.jpg").write_bytes(path.read_bytes())
    page, _ = page_of(tmp_path / "page.html", checkpoint, flat, encoding=CPU)
    assert "ranked" in page.titles and "cameras" not in page.titles
    assert "Without an evaluation" in page.text
    assert not {"✗", "mAP"} & set(page.text.split())
    assert "✓ right" not in page.text


@pytest.mark.slow
def test_a_gallery_and_a_features_file(tmp_path):
    features = np.random.default_rng(0).normal(size=(40, 8)).astype(np.float32)
    features += 4 * np.eye(8, dtype=np.float32)[np.arange(40) % 8]
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    gallery = spcl.Gallery.create(tmp_path / "my.gallery", fingerprint="mine", dim=8)
    names = [f"/gone/{number}.jpg" for number in range(40)]
    times = [f"2026-01-01 08:{number:02d}" for number in range(40)]
    identities = [f"cow {number % 8}" for number in range(40)]
    gallery.add_features(features, names, identities=identities, cameras=[n % 3 for n in range(40)], times=times)
    page, _ = page_of(tmp_path / "page.html", tmp_path / "my.gallery")
    assert {"groups", "ranked", "cameras", "map", "data"} <= set(page.titles)
    assert "identity cow 3" in page.text
    assert "2026-01-01 08:00:00 to 2026-01-01 08:39:00" in page.text
    assert "no picture" in page.text
    empty = spcl.Gallery.create(tmp_path / "empty.gallery", fingerprint="mine", dim=8)
    with input_error("no-images", str(empty.path)):
        page_of(tmp_path / "page.html", empty.path)


def test_ticks_cover_both_ends():
    for low, high in ((0, 1), (0.3, 0.3), (-2.5, 7), (0, 12345), (1e-6, 3e-6)):
        found = ticks(low, high)
        assert found[0] <= low and found[-1] >= high and len(found) <= 8


def test_a_line_with_gaps_and_values_that_are_no_numbers():
    svg = line_chart([Line("a<b", [(1, 0.5), (2, None), (3, float("nan")), (4, 0.75)])], title="t", x_title="x")
    assert svg.count("<circle") == 2
    assert "a&lt;b, 1: 0.5" in svg
    assert line_chart([Line("a", [(1, None)])], title="t", x_title="x") == ""


def test_a_run_with_figures_that_are_none_is_refused(tmp_path):
    write_run(tmp_path / "run", rows(2))
    with (tmp_path / "run/metrics.jsonl").open("a") as file:
        file.write('{"epoch": "x", "seconds": [3]}')
    with input_error("damaged-file", "line 3", "epoch"):
        page_of(tmp_path / "p.html", tmp_path / "run")
