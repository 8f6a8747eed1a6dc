"""The rule by which an adapted encoder is kept or not, case by case."""

from __future__ import annotations

from dataclasses import replace

import pytest

from spcl.adaptation.verdict import judge
from spcl.grouping.label_free_quality import LabelFreeQuality

BEFORE = LabelFreeQuality(
    num_images=400,
    found_again=0.5,
    num_clusters=20,
    share_clustered=0.7,
    scale_stability=0.8,
    silhouette=0.1,
    half_agreement=0.4,
    mutual_neighbours=0.5,
    across_cameras=0.6,
    effective_dimensions=200.0,
)


@pytest.mark.parametrize(
    "after",
    [
        {},
        {"found_again": 0.9, "across_cameras": 1.0},
        # The standard error is 3.5 points here: less is no evidence.
        {"found_again": 0.47},
        {"effective_dimensions": 101.0},
        {"across_cameras": 0.52},
        {"across_cameras": None},
        # What training changes by itself decides nothing.
        {"num_clusters": 0, "share_clustered": 0.0, "scale_stability": None, "silhouette": None, "half_agreement": 0.0},
    ],
)
def test_what_is_kept(after):
    verdict = judge(BEFORE, replace(BEFORE, **after))
    assert verdict.keeps_new
    assert verdict.reasons == ()


@pytest.mark.parametrize(
    ("after", "words"),
    [
        ({"found_again": 0.46}, "find their original or a near duplicate in 46% of cases, 50% before"),
        ({"effective_dimensions": 13.6}, "collapse into 14 directions, 200 before"),
        ({"across_cameras": 0.5}, "neighbours from other cameras are 50% of what chance would give, 60% before"),
    ],
)
def test_what_is_worse(after, words):
    verdict = judge(BEFORE, replace(BEFORE, **after))
    assert not verdict.keeps_new
    assert words in verdict.reasons[0]
    assert verdict.words == f"the new encoder is worse: {verdict.reasons[0]}"


def test_few_images_need_a_larger_fall():
    few = replace(BEFORE, num_images=20)
    assert judge(few, replace(few, found_again=0.4)).keeps_new
    assert not judge(few, replace(few, found_again=0.3)).keeps_new


def test_all_reasons_are_given():
    verdict = judge(BEFORE, replace(BEFORE, found_again=0.0, effective_dimensions=1.0, across_cameras=0.0))
    assert len(verdict.reasons) == 3
    assert verdict.to_dict() == {"keeps_new": False, "reasons": list(verdict.reasons), "words": verdict.words}
