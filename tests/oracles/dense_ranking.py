"""Ranking and re-ranking with Q x G orderings and loops over queries."""

from __future__ import annotations

import numpy as np

from tests.oracles.dense_labels import expanded


def rank_by_sorting(distance, query_ids, gallery_ids, query_cameras, gallery_cameras, max_rank):
    """mAP, CMC and per-query AP under Market-1501's protocol, one query after the other."""
    precisions, cmc = [], np.zeros(max_rank)
    for row, (identity, camera) in enumerate(zip(query_ids, query_cameras, strict=True)):
        order = np.argsort(distance[row], kind="stable")
        order = [g for g in order if not (gallery_ids[g] == identity and gallery_cameras[g] == camera)]
        hits = [place for place, g in enumerate(order) if gallery_ids[g] == identity]
        if not hits:
            precisions.append(np.nan)
            continue
        precisions.append(np.mean([(number + 1) / (place + 1) for number, place in enumerate(hits)]))
        cmc[hits[0] :] += 1
    valid = ~np.isnan(precisions)
    if not valid.any():
        return np.nan, cmc, np.array(precisions)
    return np.nanmean(precisions), cmc / valid.sum(), np.array(precisions)


def dense_rerank(query, gallery, k1, k2, lambda_value):
    """The official re-ranking over one (Q + G) x (Q + G) array."""
    together = np.concatenate([query, gallery]).astype(np.float64)
    squared = np.power(2 - 2 * together @ together.T, 2)
    original = np.transpose(squared / squared.max(axis=0))
    num = len(together)
    np.fill_diagonal(original, -1)
    neighbours = np.argsort(original, axis=1, kind="stable")[:, : k1 + 1]
    np.fill_diagonal(original, 0)
    encoding = np.zeros((num, num))
    for row in range(num):
        members = expanded(neighbours, row, k1)
        weights = np.exp(-original[row, members])
        encoding[row, members] = weights / weights.sum()
    if k2 != 1:
        encoding = np.stack([encoding[neighbours[row, :k2]].mean(axis=0) for row in range(num)])
    jaccard = np.empty((len(query), num))
    for row in range(len(query)):
        common = np.minimum(encoding[row], encoding).sum(axis=1)
        jaccard[row] = 1 - common / (2 - common)
    final = (1 - lambda_value) * jaccard + lambda_value * original[: len(query)]
    return final[:, len(query) :]
