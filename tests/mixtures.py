"""Features of known identities: noise around a direction of each, drawn with a seed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def mixture(
    *, num_identities: int, per_identity: int, seed: int, dim: int = 32, noise: float = 0.12
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Unit rows ``[N, D]`` and their identities ``[N]``. Some identities are much alike."""
    rng = np.random.default_rng(seed)
    scales = 1 / np.sqrt(1 + np.arange(dim))
    centres = rng.normal(size=(num_identities, dim)) * scales
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    identities = np.repeat(np.arange(num_identities), per_identity)
    features = centres[identities] + rng.normal(0, noise, (len(identities), dim))
    return (features / np.linalg.norm(features, axis=1, keepdims=True)).astype(np.float32), identities


def true_pairs(
    features: NDArray[np.float32], identities: NDArray[np.int64]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Similarities of all pairs of one identity and of all pairs of two."""
    first, second = np.triu_indices(len(features), 1)
    similarities = np.einsum("pd,pd->p", features[first], features[second])
    same = identities[first] == identities[second]
    return similarities[same], similarities[~same]
