"""Numbers: the same bits for any number of threads and size of blocks, and stated bounds against float64."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch

from spcl.neighbours.nearest import nearest_neighbours
from spcl.retrieval.jaccard import jaccard_distance
from spcl.retrieval.k_reciprocal import k_reciprocal_encoding
from spcl.retrieval.ranking import RankingLabels, rank_features, rank_metrics
from spcl.retrieval.rerank import rerank
from spcl.selfpaced.contrastive_loss import contrastive_loss
from spcl.selfpaced.hybrid_memory import HybridMemory
from tests.oracles.dense_labels import dense_encoding
from tests.oracles.dense_ranking import dense_rerank, rank_by_sorting
from tests.shared import IMPORT_PATH
from tests.trust.hard_features import KINDS, hard_features
from tests.trust.tally import record, tries

EPS = 2.0**-24
"""Half the distance from 1 to the next float32: the largest rounding error of a result near 1."""


def told_of_threads(first: int, end: int) -> list[list[str]]:
    environment = os.environ | {"PYTHONPATH": IMPORT_PATH}
    words = [sys.executable, "-m", "tests.trust.numbers_of_threads", str(first), str(end)]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=True)
    return [line.split() for line in done.stdout.splitlines()]


@pytest.mark.trust
def test_threads_and_blocks_give_the_same_labels():
    """Rows that are equally near but for rounding may change places among the neighbours; labels must not change."""
    told = told_of_threads(0, 64)
    assert len(told) == 64
    for at, what in ((2, "labels"), (3, "Jaccard distances"), (4, "order of neighbours")):
        equal = sum("," not in line[at] for line in told)
        note = f"inputs; {told[0][1]} runs each: 1, 2, 4 threads by 3 sizes of blocks"
        record("Numbers", f"{what}: the same bits with any threads and blocks", len(told), equal, note)
    assert all("," not in line[2] for line in told), [line for line in told if "," in line[2]]


def inputs(full: int, few: int):
    """Kinds and features, each kind as often as the others."""
    for number in range(tries(full, few)):
        kind = KINDS[number % len(KINDS)]
        yield kind, number, hard_features(kind, number, num=0 if tries(1, 0) else 60)


def unit64(rows: np.ndarray) -> np.ndarray:
    rows = rows.astype(np.float64)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def bounded(name: str, errors: list[float], bound: float, unit: str) -> None:
    """Record how many inputs keep the bound; all must."""
    held = sum(error <= bound for error in errors)
    record("Numbers", f"{name}: at most {bound:.1e} {unit}", len(errors), held, f"largest {max(errors):.1e}")
    assert held == len(errors), max(errors)


def test_similarities_of_neighbours():
    errors = []
    for _, _, rows in inputs(400, 8):
        unit = unit64(rows)
        found = nearest_neighbours(unit.astype(np.float32), 10)
        exact = unit @ unit.T
        picked = np.take_along_axis(exact, found.indices, axis=1)
        # The k-th chosen is as near as the k-th nearest, but for rounding.
        wanted = -np.sort(-np.where(np.eye(len(rows), dtype=bool), np.inf, exact), axis=1)[:, 1:10]
        errors.append(float(np.abs(np.sort(-picked[:, 1:], axis=1) + wanted).max()))
    bounded("similarity of the k-th neighbour against float64", errors, 64 * EPS, "of similarity")


def test_jaccard_distances():
    errors = []
    for _, _, rows in inputs(200, 8):
        unit = unit64(rows)
        near = nearest_neighbours(unit.astype(np.float32), 12).indices
        found = jaccard_distance(unit.astype(np.float32), k1=12, k2=4, cutoff=0.95, neighbours=near)
        encoding = dense_encoding(unit, near, 12, 4).astype(np.float64)
        row_of = np.repeat(np.arange(len(rows)), np.diff(found.indptr))
        common = np.minimum(encoding[row_of], encoding[found.indices]).sum(axis=1)
        errors.append(float(np.abs(found.data - np.maximum(0, 1 - common / (2 - common))).max(initial=0)))
    bounded("Jaccard distance against float64, neighbours given", errors, 2e-6, "of distance")


def test_encodings_sum_to_one():
    errors = []
    for _, _, rows in inputs(200, 8):
        unit = unit64(rows).astype(np.float32)
        near = nearest_neighbours(unit, 12).indices
        sums = k_reciprocal_encoding(unit, near, k1=12, k2=4).sum(axis=1)
        errors.append(float(np.abs(sums - 1).max()))
    bounded("sum of the weights of an encoding against 1", errors, 1e-5, "of weight")


@pytest.mark.parametrize("temperature", [0.05, 1.0])
def test_contrastive_loss(temperature):
    errors = []
    for _, seed, rows in inputs(400, 8):
        rng = np.random.default_rng(seed)
        labels = np.unique(rng.integers(0, max(2, len(rows) // 3), len(rows)), return_inverse=True)[1]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            memory = HybridMemory.from_rows(torch.from_numpy(rows), torch.from_numpy(labels))
        unit = unit64(rows)
        slots = rng.integers(0, len(rows), 16)
        inputs64 = unit64(rng.standard_normal((16, rows.shape[1])))
        inputs32 = torch.from_numpy(inputs64.astype(np.float32))
        found = contrastive_loss(inputs32, torch.from_numpy(slots), memory, temperature=temperature)
        means = np.stack([unit[labels == label].mean(axis=0) for label in range(labels.max() + 1)])
        logits = inputs64 @ means.T / temperature
        top = logits.max(axis=1, keepdims=True)
        exact = np.log(np.exp(logits - top).sum(axis=1)) + top[:, 0] - logits[np.arange(16), labels[slots]]
        errors.append(float(np.abs(found.numpy() - exact).max()))
    bounded(
        f"contrastive loss against float64, temperature {temperature:g}", errors, 1e-6 / temperature + 2e-6, "of loss"
    )


def test_ranking_of_given_distances_is_exact():
    """With the distances given, no rounding is left: the figures are those of sorting, equal distances included."""
    errors = []
    for kind, seed, rows in inputs(200, 8):
        rng = np.random.default_rng(seed)
        unit = unit64(rows)
        half = len(rows) // 3
        distance = np.round(1 - unit[:half] @ unit[half:].T, 2 if kind in ("duplicates", "near-ties") else 7)
        identities, cameras = rng.integers(0, 8, len(rows)), rng.integers(0, 3, len(rows))
        parts = identities[:half], identities[half:], cameras[:half], cameras[half:]
        found = rank_metrics(distance, *parts, max_rank=10)
        mean, cmc, _ = rank_by_sorting(distance, *parts, 10)
        errors.append(max(abs(found.mean_ap - mean), float(np.abs(found.cmc - cmc).max())))
    bounded("mAP and CMC of given distances against sorting", errors, 1e-12, "of mAP")


def test_ranking_of_features():
    """float32 features rank as float64 ones where similarities differ by more than rounding."""
    errors = []
    for kind, seed, rows in inputs(200, 8):
        if kind in ("near-ties", "duplicates", "few-values", "one-direction"):
            continue
        rng = np.random.default_rng(seed)
        unit = unit64(rows)
        half = len(rows) // 3
        identities, cameras = rng.integers(0, 8, len(rows)), rng.integers(0, 3, len(rows))
        parts = identities[:half], identities[half:], cameras[:half], cameras[half:]
        labels = RankingLabels(*parts, protocol="market1501")
        found = rank_features(unit[:half].astype(np.float32), unit[half:].astype(np.float32), labels, max_rank=10)
        mean, _, _ = rank_by_sorting(-(unit[:half] @ unit[half:].T), *parts, 10)
        errors.append(abs(found.mean_ap - mean))
    bounded("mAP of float32 features against float64 (kinds without ties)", errors, 2e-3, "of mAP")


def test_reranked_distances():
    """Where no two distances are nearly equal, the re-ranked distances are those of float64."""
    errors = []
    for kind, _, rows in inputs(100, 8):
        if kind in ("near-ties", "duplicates", "few-values", "one-direction"):
            continue
        unit = unit64(rows)[:90]
        found = rerank(unit[:20].astype(np.float32), unit[20:].astype(np.float32), k1=10, k2=3)
        errors.append(float(np.abs(found - dense_rerank(unit[:20], unit[20:], 10, 3, 0.3)).max()))
    close = sum(error <= 1e-5 for error in errors)
    record(
        "Numbers",
        "re-ranked distance against float64 (kinds without ties): at most 1e-05",
        len(errors),
        close,
        f"largest {max(errors):.1e}",
    )
    assert close == len(errors), sorted(errors)[-5:]
