"""The benchmarks: the figures are there, consistent, and in JSON; the features are what they claim to be."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys

import label_stage
import label_stage_in_parts
import numpy as np
import pytest
import ranking
import report as report_benchmark
import training_step
from measuring import shortest
from mixture import mixture

from tests.shared import PROJECT_ROOT

BENCHMARKS = PROJECT_ROOT / "benchmarks"
STARTED_BY_NAME = ("ask", "gallery", "identify", "individuals", "official_style", "qdrant_gallery")
"""Those that no test below imports."""


def figures(benchmark, capsys, *words: str) -> dict:
    benchmark.main([*words, "--json"])
    return json.loads(capsys.readouterr().out)


def refused(benchmark, capsys, *words: str) -> str:
    with pytest.raises(SystemExit) as stopped:
        benchmark.main(list(words))
    assert stopped.value.code == 2
    return capsys.readouterr().err


@pytest.mark.parametrize("name", STARTED_BY_NAME)
def test_each_prints_its_help(name, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [f"{name}.py", "--help"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(BENCHMARKS / f"{name}.py"), run_name="__main__")
    assert ended.value.code == 0
    assert "usage" in capsys.readouterr().out


def test_label_stage(capsys):
    found = figures(label_stage, capsys, "--n", "1500", "--dim", "32", "--repeat", "1")
    seconds = found["seconds"]
    assert set(seconds) == {"search", "encoding", "jaccard", "dbscan x 3", "reliability", "full product with top-k"}
    after = sum(seconds[name] for name in ("encoding", "jaccard", "dbscan x 3", "reliability"))
    assert found["after_the_search_seconds"] == pytest.approx(after)
    assert found["after_the_search_by_search"] == pytest.approx(after / seconds["search"])
    assert (found["engine"], found["recall"]) == ("torch", 1.0)
    assert found["clusters"] > 10
    assert found["peak_memory_gb"] is None or found["peak_memory_gb"] > found["features_gb"]


@pytest.mark.slow
def test_label_stage_with_the_approximate_engine(capsys):
    found = figures(label_stage, capsys, "--n", "6000", "--dim", "32", "--repeat", "1", "--engine", "approximate")
    assert found["engine"] == "approximate"
    assert found["recall"] >= 0.94
    assert "search_gflops" not in found


@pytest.mark.slow
def test_label_stage_in_parts(capsys):
    found = figures(label_stage_in_parts, capsys, "--n", "1500", "--dim", "16")
    stages = ["features", "regions", "search", "encoding", "expansion", "pairs", "clusters"]
    assert list(found["seconds"]) == list(found["processor_seconds"]) == stages
    assert found["clusters"] > 10
    assert 0 < found["peak_disk_gb"] < found["estimated_disk_gb"] * 1.5


def test_ranking(capsys):
    found = figures(ranking, capsys, "--queries", "100", "--gallery", "900", "--dim", "32")
    assert set(found["seconds"]) == {"ranking", "re-ranking"}
    assert 0 < found["mAP"]["ranking"] < 1
    assert "re-ranking" not in figures(ranking, capsys, "--queries", "9", "--gallery", "300", "--no-rerank")["seconds"]


def test_training_step(capsys):
    words = ["--slots", "240", "--iters", "2", "--repeat", "1", "--batch-size", "8", "--height", "32", "--width", "32"]
    found = figures(training_step, capsys, *words, "--batch-norm-group", "4", "--features", "16", "--device", "cpu")
    assert set(found["milliseconds"]) == {"step", "pure", "data alone", "loss and memory alone"}
    assert found["step_by_pure"] == pytest.approx(found["milliseconds"]["step"] / found["milliseconds"]["pure"])
    assert set(found["share_of_the_step"]) == {"data", "forward", "backward", "loss and memory", "optimiser"}
    assert all(share > 0 for share in found["share_of_the_step"].values())
    assert found["images_per_second"]["step"] == pytest.approx(16_000 / found["milliseconds"]["step"])


def test_as_a_table(capsys):
    label_stage.main(["--n", "700", "--dim", "16", "--repeat", "1", "--no-full-product"])
    shown = capsys.readouterr().out
    assert "seconds: search" in shown
    assert "full product" not in shown


@pytest.mark.parametrize(
    ("benchmark", "words", "named"),
    [
        (label_stage, ["--n", "0"], "--n is 0"),
        (training_step, ["--batch-size", "0"], "--batch-size is 0"),
        (training_step, ["--features", "-1"], "--features is -1"),
    ],
)
def test_numbers_that_are_too_small_are_named(benchmark, words, named, capsys):
    printed = refused(benchmark, capsys, *words)
    assert named in printed
    assert "[setting-out-of-range]" in printed


@pytest.mark.parametrize(
    ("benchmark", "words"),
    [(label_stage, ["--n", "40", "--dim", "8"]), (ranking, ["--queries", "5", "--gallery", "20"])],
)
def test_a_device_is_found_or_refused(benchmark, words, capsys):
    assert figures(benchmark, capsys, *words, "--repeat", "1", "--device", "auto")
    assert "'cuda:77'" in refused(benchmark, capsys, *words, "--device", "cuda:77")


def test_the_mixture():
    rows = mixture(5000, 24, seed=1)
    assert rows.dtype == np.float32
    assert np.allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
    assert np.array_equal(rows, mixture(5000, 24, seed=1))
    assert not np.array_equal(rows, mixture(5000, 24, seed=2))


def test_measuring():
    calls = []
    seconds, result = shortest(lambda: calls.append(1) or len(calls), 3)
    assert (result, len(calls)) == (3, 3)
    assert seconds >= 0


@pytest.mark.slow
def test_peak_memory():
    # In a process of its own: one that has let much memory go takes from that first.
    code = """
import numpy as np
from measuring import PeakMemory
memory = PeakMemory()
before = memory.read()
block = np.ones(2**24)
print("unknown" if before is None else (memory.read() - before) / block.nbytes)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=BENCHMARKS, capture_output=True, text=True, check=True)
    ratio = done.stdout.strip()
    if ratio == "unknown":
        pytest.skip("this system does not report a process's peak memory")
    assert 0.9 < float(ratio) < 1.2


@pytest.mark.slow
def test_report(capsys):
    found = figures(report_benchmark, capsys, "--images", "120", "--groups", "12", "--dim", "16")
    assert found["fits"]
    assert (found["images"], found["groups"]) == (120, 12)
    assert {"Groups", "Ranked results", "Pairs of cameras", "Similarities", "Map"} <= set(found["sections"])
