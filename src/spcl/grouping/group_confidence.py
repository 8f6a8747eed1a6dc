"""The confidence that an image is in the right group, from 0 to 1. It orders images, and is not a probability."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spcl.grouping.silhouette import silhouettes
from spcl.selfpaced.clustering import NOISE
from spcl.selfpaced.pseudo_labels import PseudoLabels


def group_confidence(
    features: NDArray[np.float32], group: NDArray[np.int64], found: PseudoLabels
) -> NDArray[np.float64]:
    """Multiply independence, compactness and silhouette of each image.

    Args:
        features: ``[N, D]`` unit rows.
        group: ``[N]`` int64, the group of each image, -1 none.
        found: Independence and compactness of the images, from the clustering at three scales.

    Returns:
        ``[N]`` float64 from 0 to 1; 0 for an image without a group. A negative silhouette counts as 0.

    Cost: ``N G D`` for G groups.
    """
    confidence = np.zeros(len(group))
    grouped = np.flatnonzero(group != NOISE)
    if len(grouped):
        nearer = np.clip(silhouettes(features, grouped, group[grouped]), 0, 1)
        confidence[grouped] = found.independence[grouped] * found.compactness[grouped] * nearer
    return confidence
