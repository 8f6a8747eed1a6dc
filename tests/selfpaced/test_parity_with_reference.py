"""Every clustering and memory array of the official implementation, within its stated tolerance."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from spcl.neighbours.nearest import nearest_neighbours
from spcl.retrieval.jaccard import jaccard_distance
from spcl.selfpaced.contrastive_loss import contrastive_loss
from spcl.selfpaced.hybrid_memory import HybridMemory
from spcl.selfpaced.pseudo_labels import pseudo_labels
from tests.shared import shared_path

CASES = [
    ("cluster_cattle.npz", 30, 6, 0.6, 0.02),
    ("cluster_cattle.npz", 20, 6, 0.5, 0.02),
    ("cluster_cattle.npz", 30, 1, 0.6, 0.02),
    ("cluster_mixture.npz", 30, 6, 0.6, 0.02),
    ("cluster_mixture.npz", 20, 6, 0.53, 0.05),
]


@pytest.fixture(params=CASES, ids=lambda case: f"{case[0][8:-4]}-k1={case[1]}-k2={case[2]}-eps={case[3]}")
def case(request):
    name, k1, k2, eps, eps_gap = request.param
    arrays = np.load(shared_path("reference", name))
    prefix = f"k1={k1},k2={k2},eps={eps}:"
    expected = {key[len(prefix) :]: arrays[key] for key in arrays.files if key.startswith(prefix)}
    settings = {"k1": k1, "k2": k2, "eps": eps, "eps_gap": eps_gap}
    return arrays["features"], expected, settings


def test_distances(case):
    features, expected, settings = case
    distance = jaccard_distance(
        features,
        k1=settings["k1"],
        k2=settings["k2"],
        cutoff=settings["eps"] + settings["eps_gap"],
        neighbours=expected["neighbours"],
    )
    pairs = np.stack([np.repeat(np.arange(len(features)), np.diff(distance.indptr)), distance.indices])
    order = np.lexsort((expected["col"], expected["row"]))
    assert np.array_equal(pairs, np.stack([expected["row"], expected["col"]])[:, order])
    assert np.abs(distance.data - expected["dist"][order]).max() <= 2e-6


def test_labels_and_reliability(case):
    features, expected, settings = case
    found = pseudo_labels(features, neighbours=expected["neighbours"], **settings)
    assert np.array_equal(np.stack(found.scales), expected["dbscan_tight_normal_loose"])
    np.testing.assert_allclose(found.compactness, 1 - expected["R_comp"], atol=1e-6)
    np.testing.assert_allclose(found.independence, 1 - expected["R_indep"], atol=1e-6)
    assert found.independence_threshold == pytest.approx(1 - float(expected["threshold"]), abs=1e-6)
    assert np.array_equal(found.labels, np.unique(expected["labels"], return_inverse=True)[1])


def test_next_epoch_keeps_the_first_threshold(case):
    _, expected, settings = case
    moved = pseudo_labels(
        expected["epoch1:features"],
        neighbours=expected["epoch1:neighbours"],
        independence_threshold=1 - float(expected["threshold"]),
        **settings,
    )
    assert np.array_equal(np.stack(moved.scales), expected["epoch1:dbscan_tight_normal_loose"])
    assert np.array_equal(moved.labels, np.unique(expected["epoch1:labels"], return_inverse=True)[1])


def test_own_search_gives_the_same_partition(case):
    """With our own neighbours: they differ from the reference's only in the order of equal similarities."""
    features, expected, settings = case
    found = nearest_neighbours(features, settings["k1"])
    similarity = (features.astype(np.float64) @ features.T.astype(np.float64))[
        np.arange(len(features))[:, None], expected["neighbours"]
    ]
    np.testing.assert_allclose(found.similarities, similarity, atol=1e-6)
    # A neighbour at the very border may be another one of the same similarity: partitions agree almost everywhere.
    labels = pseudo_labels(features, **settings).scales.normal
    assert np.mean(labels == expected["dbscan_tight_normal_loose"][1]) > 0.99


@pytest.mark.parametrize("name", ["memory.npz", "memory_repeated_slots.npz"])
def test_memory(name):
    arrays = {key: torch.from_numpy(value) for key, value in np.load(shared_path("reference", name)).items()}
    memory = HybridMemory.from_rows(arrays["features_before"], arrays["labels"], momentum=0.2)
    inputs = arrays["inputs"].clone().requires_grad_()
    slots = arrays["indexes"].long()
    loss = contrastive_loss(inputs, slots, memory, temperature=0.05).mean()
    loss.backward()
    # Relative: the 1e-6 that the reference adds twice is 1.4e-4 of these losses by itself.
    assert loss.item() == pytest.approx(float(arrays["loss"]), rel=1e-4)
    expected = arrays["grad_inputs"]
    assert (inputs.grad - expected).norm() <= 1e-3 * expected.norm()
    memory.update(inputs, slots)
    assert (memory.features - arrays["features_after"]).abs().max() <= 1e-6
