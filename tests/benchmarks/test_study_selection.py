"""Agreement of label-free scores with mAP on written rows: by hand."""

from __future__ import annotations

import json

import pytest
from study_selection import agreements, rank_correlation, runs_below, to_markdown

from tests.shared import input_error


def run_of(scores, figures):
    """Rows of a run: a label-free score in each epoch, and the mAP of each, None: not evaluated."""
    rows = []
    for epoch, (score, figure) in enumerate(zip(scores, figures, strict=True), start=1):
        row = {"epoch": epoch, "num_clusters": 4, "num_unclustered": 1, "losses": {"target": 1.0}, "label_score": score}
        rows.append(row | ({} if figure is None else {"mAP": figure}))
    return rows


def test_rank_correlation_by_hand():
    assert rank_correlation([(1, 0.1), (2, 0.2), (3, 0.9)]) == pytest.approx(1)
    assert rank_correlation([(1, 0.9), (2, 0.2), (3, 0.1)]) == pytest.approx(-1)
    # Ranks 1 2 3 4 against 2 1 4 3: 1 - 6 * 4 / (4 * 15).
    assert rank_correlation([(1, 0.2), (2, 0.1), (3, 0.4), (4, 0.3)]) == pytest.approx(0.6)
    assert rank_correlation([(1, 0.1), (2, 0.2)]) is None
    assert rank_correlation([(1, 0.1), (1, 0.2), (1, 0.3)]) is None


def test_agreements_over_epochs_and_runs():
    first = run_of([0.1, 0.2, 0.3, 0.25], [0.2, 0.3, 0.5, 0.6])
    second = run_of([0.1, 0.2, 0.3, 0.4], [None, 0.1, 0.2, 0.3])
    third = run_of([0.1], [0.1])
    found = {each.score: each for each in agreements({"set": [first, second, third]})}
    ours = found["label_score"]
    assert ours.num_runs == 2 and ours.epochs == pytest.approx((0.8 + 1) / 2)
    # The first run keeps its third epoch: 10 percent are lost; the second loses nothing.
    assert ours.lost == pytest.approx(5)
    # Last epochs: scores 0.25, 0.4, 0.1 and mAP 0.6, 0.3, 0.1.
    assert ours.num_sets == 1 and ours.runs == pytest.approx(0.5)
    later = found["label_score, next epoch"]
    # Of the first run: 0.2, 0.3, 0.25 with 0.2, 0.3, 0.5.
    assert later.num_runs == 1 and later.epochs == pytest.approx(0.5)
    assert "coherence" not in found and found["epoch (the last is the best)"].epochs == pytest.approx(1)


def test_runs_are_read_by_data_set(tmp_path):
    for where in ("omniglot/spcl/seed-1", "omniglot/stack/seed-1", "cattle/spcl/seed-1"):
        (tmp_path / where).mkdir(parents=True)
        rows = run_of([0.1, 0.2, 0.3], [0.1, 0.2, 0.3])
        (tmp_path / where / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    runs = runs_below(tmp_path)
    assert {name: len(of) for name, of in runs.items()} == {"omniglot": 2, "cattle": 1}
    assert "| label_score | 1.00 (3) | 0.0 | - |" in to_markdown(agreements(runs))
    (tmp_path / "empty").mkdir()
    with input_error("no-such-run", "empty"):
        runs_below(tmp_path / "empty")
