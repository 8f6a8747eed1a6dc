"""Soft labels carried over epochs: by hand, against dense matrices, and what the loss becomes without them."""

from __future__ import annotations

from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from spcl.pairs.constraints import PairConstraints
from spcl.selfpaced.contrastive_loss import contrastive_loss
from spcl.selfpaced.hybrid_memory import HybridMemory
from spcl.selfpaced.slots import Slots
from spcl.training.cluster_consensus import (
    ClusterConsensus,
    ClusterConsensusSettings,
    carried_over,
    consensus,
    soft_labels,
    without_denied,
)
from tests.shared import input_error


def dense_consensus(before, now):
    """The overlap as the paper writes it: sets, one pair after the other."""
    table = np.zeros((before.max() + 1, now.max() + 1))
    for i, row in enumerate(table):
        for j in range(len(row)):
            a, b = set(np.flatnonzero(before == i)), set(np.flatnonzero(now == j))
            row[j] = len(a & b) / len(a | b)
    return table / table.sum(axis=1, keepdims=True)


def labels_of(rng, num, classes):
    return np.unique(rng.integers(0, classes, num), return_inverse=True)[1].astype(np.int64)


def dense(classes, shares, num_classes):
    table = np.zeros((len(classes), num_classes))
    np.add.at(table, (np.arange(len(classes))[:, None], classes), shares)
    return table


def test_soft_labels_by_hand():
    # One cluster of four images is split in two; image 4 stays alone.
    before, now = np.array([0, 0, 0, 0, 1]), np.array([0, 0, 0, 1, 2])
    classes, shares = soft_labels(before, None, 0.9, 3)
    assert classes[:, 0].tolist() == before.tolist() and shares[:, 0].tolist() == [1] * 5
    # IoU 3/4 and 1/4.
    carried = carried_over(classes, shares, before, now)
    np.testing.assert_allclose(carried.toarray()[0], [0.75, 0.25, 0])
    classes, shares = soft_labels(now, carried, 0.8, 3)
    np.testing.assert_allclose(dense(classes, shares, 3)[0], [0.95, 0.05, 0])
    np.testing.assert_allclose(dense(classes, shares, 3)[3], [0.15, 0.85, 0])
    assert classes[3].tolist() == [1, 0, 1] and shares[4].tolist() == [1, 0, 0]


@pytest.mark.parametrize("seed", range(3))
def test_many_epochs_equal_dense_matrices(seed):
    rng = np.random.default_rng(seed)
    epochs = [labels_of(rng, 60, classes) for classes in (7, 12, 5, 9)]
    kept = [each.copy() for each in epochs]
    expected = np.eye(epochs[0].max() + 1)[epochs[0]]
    classes, shares = soft_labels(epochs[0], None, 0.7, 60)
    for before, now in pairwise(epochs):
        carried = carried_over(classes, shares, before, now)
        np.testing.assert_allclose(consensus(before, now).toarray(), dense_consensus(before, now))
        expected = 0.7 * np.eye(now.max() + 1)[now] + 0.3 * expected @ dense_consensus(before, now)
        classes, shares = soft_labels(now, carried, 0.7, 60)
        np.testing.assert_allclose(dense(classes, shares, now.max() + 1), expected, atol=1e-12)
    assert all(np.array_equal(ours, theirs) for ours, theirs in zip(epochs, kept, strict=True))
    # The largest shares are kept, the own class first.
    few, theirs = soft_labels(epochs[-1], carried, 0.1, 3)
    assert (few[:, 0] == epochs[-1]).all() and (np.diff(theirs[:, 1:]) <= 0).all()
    np.testing.assert_allclose(theirs.sum(axis=1), 1)
    with pytest.raises(ValueError, match="none of the 5 classes"):
        carried_over(np.full((60, 1), 5), np.ones((60, 1)), epochs[-2], epochs[-1])


def test_no_images_have_no_soft_labels():
    nothing = np.empty(0, dtype=np.int64)
    classes, shares = soft_labels(nothing, None, 0.9, 3)
    carried = carried_over(classes, shares, nothing, nothing)
    assert carried.shape == (0, 0) and soft_labels(nothing, carried, 0.9, 3)[1].shape == (0, 3)


def term_and_memory(settings, num_source=2, num_target=6, dim=8):
    torch.manual_seed(1)
    memory = HybridMemory(num_source + num_target, dim)
    memory.put(0, F.normalize(torch.randn(num_source + num_target, dim), dim=1))
    term = ClusterConsensus(settings, num_source, torch.device("cpu"))
    features = F.normalize(torch.randn(5, dim), dim=1).requires_grad_()
    step = SimpleNamespace(features=features, slots=torch.tensor([0, 1, 2, 5, 7]), memory=memory)

    def labelled(labels):
        slots = Slots(num_source, num_target)
        memory.relabel(torch.from_numpy(slots.class_of_each(np.array(labels))))
        term.follow_labels(np.array(labels))

    return term, step, labelled


def test_without_an_epoch_before_or_with_certainty_one_it_is_the_papers_loss():
    settings = ClusterConsensusSettings(certainty=1.0, normalised=False)
    term, step, labelled = term_and_memory(settings)
    for labels in ([0, 0, 1, 1, 2, 3], [0, 1, 1, 2, 2, 3]):
        labelled(labels)
        expected = contrastive_loss(step.features, step.slots, step.memory, temperature=0.05)
        torch.testing.assert_close(term(step), expected)


def test_a_soft_label_draws_to_both_clusters():
    term, step, labelled = term_and_memory(ClusterConsensusSettings(certainty=0.6, most_classes=4))
    labelled([0, 0, 0, 0, 1, 2])
    labelled([0, 0, 0, 1, 1, 2])
    means = F.normalize(step.memory.class_means, dim=1)
    likelihoods = F.log_softmax(step.features @ means.T / 0.05, dim=1)
    # Row 2 + 3 was in the first cluster: IoU 3/4 with what is left of it, 1/5 with where it is now.
    old, new = 0.4 * 0.75 / 0.95, 0.6 + 0.4 * 0.2 / 0.95
    torch.testing.assert_close(term(step)[3], -(old * likelihoods[3, 2] + new * likelihoods[3, 3]))
    torch.testing.assert_close(term(step)[:2], -likelihoods[[0, 1], [0, 1]])
    (gradient,) = torch.autograd.grad(term(step).sum(), step.features)
    assert gradient.isfinite().all()
    again, _, _ = term_and_memory(ClusterConsensusSettings(certainty=0.6, most_classes=4))
    again.load_state_dict(term.state_dict())
    assert torch.equal(again(step), term(step)) and np.array_equal(again.labels, term.labels)


@pytest.mark.parametrize(("name", "value"), [("certainty", 0), ("temperature", 0), ("most_classes", 0), ("weight", -1)])
def test_settings_out_of_range(name, value):
    with input_error("setting-out-of-range", name):
        ClusterConsensusSettings(**{name: value})


def test_a_soft_label_has_no_class_of_an_image_under_a_cannot_link():
    """Image 0 was drawn to class 1, in which image 2 is now known to be another object than images 0 and 1."""
    labels = np.array([0, 0, 1, 2])
    classes = np.array([[0, 1, 2], [0, 1, 0], [1, 0, 2], [2, 1, 2]])
    shares = np.array([[0.5, 0.3, 0.2], [0.6, 0.4, 0.0], [0.5, 0.25, 0.25], [0.9, 0.1, 0.0]])
    constraints = PairConstraints.of(4, must_link=[[0, 1]], cannot_link=[[1, 2]])
    found, kept = without_denied(classes, shares, labels, constraints)
    assert found.tolist() == [[0, 0, 2], [0, 0, 0], [1, 1, 2], [2, 1, 2]]
    np.testing.assert_allclose(kept, [[5 / 7, 0, 2 / 7], [1, 0, 0], [2 / 3, 0, 1 / 3], [0.9, 0.1, 0]])
