"""Known pairs in training: every kind of labeller honours them, the loop refuses labels that do not."""

from __future__ import annotations

from importlib import import_module

import numpy as np
import pytest
import torch

from spcl.kinds import KINDS
from spcl.pairs.known_pairs import KnownPairs, PairOrigin
from spcl.reporting.console import SilentReporter
from spcl.runtime import Runtime
from spcl.training.known_pairs import broken_pairs, require_known_pairs
from spcl.training.parts import BuildContext, TargetView
from tests.input_errors import input_error
from tests.training.own_parts import NearestOfOtherCamera

HAND = PairOrigin("by hand", "line 2 of pairs.csv")
NUM = 90


def features(noise: float = 0.9) -> torch.Tensor:
    rng = np.random.default_rng(0)
    rows = np.repeat(rng.normal(size=(9, 16)), 10, axis=0) + noise * rng.normal(size=(NUM, 16))
    return torch.nn.functional.normalize(torch.from_numpy(rows.astype(np.float32)), dim=1)


def view(pairs: KnownPairs | None) -> TargetView:
    return TargetView(NUM, np.arange(NUM) % 3, pairs)


PAIRS = KnownPairs.of(
    [(row, row + 1, HAND) for row in range(0, NUM, 10)] + [(0, 50, HAND)],
    [(row + 2, row + 3, HAND) for row in range(0, NUM, 10)] + [(50, 60, HAND)],
)


def labeller(kind: str, **settings):
    module, _, name = KINDS["labels"][kind].partition(":")
    context = BuildContext(Runtime("cpu"), None, None, view(None), 0, None, SilentReporter())  # type: ignore[arg-type]
    return getattr(import_module(module), name)(**settings).build(context)


@pytest.mark.parametrize("kind", KINDS["labels"])
def test_every_kind_of_labels_honours_known_pairs(kind):
    settings = {} if kind == "average-linkage" else {"k1": 8, "k2": 3}
    plain = labeller(kind, **settings).label(features(), view(None)).labels
    target = view(PAIRS)
    assert sum(broken_pairs(plain, target)), "the pairs would hold without being known"
    part = labeller(kind, **settings)
    for _ in range(2):
        require_known_pairs(part.label(features(), target).labels, target)
    # No pairs: the same labels to the bit.
    np.testing.assert_array_equal(labeller(kind, **settings).label(features(), view(KnownPairs())).labels, plain)


@pytest.mark.parametrize("kind", [kind for kind in KINDS["labels"] if kind.startswith("self-paced")])
def test_a_suggested_eps_honours_known_pairs(kind):
    target = view(PAIRS)
    require_known_pairs(labeller(kind, eps="auto").label(features(), target).labels, target)


def test_labels_that_contradict_known_pairs_are_refused():
    target = view(PAIRS)
    labels = NearestOfOtherCamera().label(features(), target).labels
    with input_error("pairs-not-used", "TargetView.pairs"):
        require_known_pairs(labels, target)
    require_known_pairs(labels, view(None))
    assert broken_pairs(np.zeros(NUM, dtype=np.int64), target) == (0, len(PAIRS.cannot_link))
    assert broken_pairs(np.arange(NUM), target) == (len(PAIRS.must_link), 0)
