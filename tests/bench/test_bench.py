"""``spcl bench``: the figures are there, consistent, and in JSON; the features are what they claim to be."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

from spcl.bench.features import mixture
from spcl.bench.measuring import shortest
from spcl.cli.main import main


def figures(capsys, *words: str) -> dict:
    main(["bench", *words, "--json"])
    return json.loads(capsys.readouterr().out)


def test_cluster(capsys):
    found = figures(capsys, "cluster", "--n", "1500", "--dim", "32", "--repeat", "1")
    seconds = found["seconds"]
    assert set(seconds) == {"search", "encoding", "jaccard", "dbscan x 3", "reliability", "full product with top-k"}
    after = sum(seconds[name] for name in ("encoding", "jaccard", "dbscan x 3", "reliability"))
    assert found["after_the_search_seconds"] == pytest.approx(after)
    assert found["after_the_search_by_search"] == pytest.approx(after / seconds["search"])
    assert (found["engine"], found["recall"]) == ("torch", 1.0)
    assert found["clusters"] > 10
    assert found["peak_memory_gb"] is None or found["peak_memory_gb"] > found["features_gb"]


def test_cluster_with_the_approximate_engine(capsys):
    found = figures(capsys, "cluster", "--n", "6000", "--dim", "32", "--repeat", "1", "--engine", "approximate")
    assert found["engine"] == "approximate"
    assert found["recall"] >= 0.94
    assert "search_gflops" not in found


def test_rank(capsys):
    found = figures(capsys, "rank", "--queries", "100", "--gallery", "900", "--dim", "32")
    assert set(found["seconds"]) == {"ranking", "re-ranking"}
    assert 0 < found["mAP"]["ranking"] < 1
    assert "re-ranking" not in figures(capsys, "rank", "--queries", "9", "--gallery", "300", "--no-rerank")["seconds"]


def test_train(capsys):
    words = ["--slots", "240", "--iters", "2", "--repeat", "1", "--batch-size", "8", "--height", "32", "--width", "32"]
    found = figures(capsys, "train", *words, "--batch-norm-group", "4", "--features", "16", "--device", "cpu")
    assert set(found["milliseconds"]) == {"step", "pure", "data alone", "loss and memory alone"}
    assert found["step_by_pure"] == pytest.approx(found["milliseconds"]["step"] / found["milliseconds"]["pure"])
    assert set(found["share_of_the_step"]) == {"data", "forward", "backward", "loss and memory", "optimiser"}
    assert all(share > 0 for share in found["share_of_the_step"].values())
    assert found["images_per_second"]["step"] == pytest.approx(16_000 / found["milliseconds"]["step"])


def test_as_a_table(capsys):
    main(["bench", "cluster", "--n", "700", "--dim", "16", "--repeat", "1", "--no-full-product"])
    shown = capsys.readouterr().out
    assert "seconds: search" in shown
    assert "full product" not in shown


def test_bad_sizes_are_named(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["bench", "cluster", "--n", "0"])
    assert stopped.value.code == 2
    assert "--n is 0; expected at least 1" in capsys.readouterr().err


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


def test_peak_memory():
    # In a process of its own: one that has let much memory go takes from that first.
    code = """
import numpy as np
from spcl.bench.measuring import PeakMemory
memory = PeakMemory()
before = memory.read()
block = np.ones(2**24)
print("unknown" if before is None else (memory.read() - before) / block.nbytes)
"""
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    if told == "unknown":
        pytest.skip("this system does not tell a process's peak memory")
    assert 0.9 < float(told) < 1.2
