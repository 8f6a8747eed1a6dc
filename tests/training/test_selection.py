"""Which epoch is the best, and when a run stops: by hand."""

from __future__ import annotations

import pytest

from spcl.reporting.epoch_report import EpochReport
from spcl.sections import ScheduleConfig
from spcl.training.selection import best_of, criterion_of, no_longer_improves, score_of, stop_message
from tests.shared import input_error


def test_criterion():
    assert criterion_of("auto", can_evaluate=True) == "evaluation"
    assert criterion_of("auto", can_evaluate=False) == "label-free"
    for given in ("evaluation", "label-free", "last"):
        assert criterion_of(given, can_evaluate=False) == given


def test_score():
    report = EpochReport(1, label_score=0.5, evaluation={"mAP": 0.25})
    assert [score_of(report, by) for by in ("evaluation", "label-free", "last")] == [0.25, 0.5, None]
    assert score_of(EpochReport(1), "evaluation") is None


def test_best_is_the_first_of_the_highest():
    assert best_of([0.1, 0.3, 0.3, 0.2]) == 1
    assert best_of([None, -0.2, None, -0.1]) == 3
    assert best_of([-0.1, 0.0]) == 1
    assert best_of([None, None]) is None and best_of([]) is None


@pytest.mark.parametrize(
    ("scores", "patience", "over"),
    [
        ([0.1, 0.2, 0.1, 0.1], 2, True),
        ([0.1, 0.2, 0.1], 2, False),
        ([0.1, 0.2, 0.1, 0.1], 0, False),
        ([0.2, 0.2, 0.2], 2, True),
        ([0.2, None, None, None], 2, False),
        ([0.2, None, None, 0.1], 2, True),
        ([None, None], 1, False),
        ([], 1, False),
    ],
)
def test_when_a_run_stops(scores, patience, over):
    assert no_longer_improves(scores, patience) is over


def test_message_names_the_epochs_and_the_score():
    history = [EpochReport(at, label_score=score) for at, score in enumerate((0.1, 0.4, 0.3), start=1)]
    said = stop_message(history, "label-free", 9)
    assert "epoch 3 of 9" in said and "epoch 2" in said and "0.400" in said


def test_settings_out_of_range():
    with input_error("setting-out-of-range", "-1"):
        ScheduleConfig(patience=-1)
    with input_error("option-contradiction", "3"):
        ScheduleConfig(patience=3, select="last")
