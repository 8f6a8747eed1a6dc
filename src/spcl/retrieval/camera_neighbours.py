"""Neighbours balanced over cameras: a distance that needs the same evidence from an image's own camera and from others.

Images of one camera look alike, so that the nearest neighbours of an image are mostly its camera's. Here a row of
neighbours has a fixed number from the image's own camera and takes the rest from the other cameras; the k-reciprocal
encoding and the Jaccard distance are then as in the paper.

Reference: Chen et al., *CA-Jaccard: Camera-aware Jaccard Distance for Person Re-identification*, CVPR 2024. There
reciprocity is tested for the two kinds of neighbours apart; here in the joint row.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spcl.settings_checks import check_count

UNKNOWN_CAMERA = -1


def balanced_neighbours(
    neighbours: NDArray[np.integer], cameras: NDArray[np.int64], *, k: int, num_same: int
) -> NDArray[np.int64]:
    """Choose k neighbours of each row: the nearest ones of the row's camera, and the nearest ones of the others.

    Args:
        neighbours: ``[N, W]`` int, nearest first, the row itself among them; W at least k. The wider, the better the
            balance.
        cameras: ``[N]`` int64, the camera of each row, -1 unknown, which is another camera than every other.
        k: Number of neighbours that are chosen.
        num_same: Number of them from the row's own camera, the row itself included, at least 1.

    Returns:
        ``[N, k]`` int64, nearest first. Where there are too few of one kind among the W, the nearest of the other kind
        take their places.

    Examples:
        >>> near = np.array([[0, 1, 2, 3], [1, 0, 2, 3], [2, 3, 0, 1], [3, 2, 0, 1]])
        >>> balanced_neighbours(near, np.array([0, 0, 1, 1]), k=2, num_same=1).tolist()
        [[0, 2], [1, 2], [2, 0], [3, 0]]
    """
    k, num_same = check_count(k, "k"), check_count(num_same, "num_same")
    rows = np.arange(len(neighbours))[:, None]
    same = (cameras[neighbours] == cameras[:, None]) & (cameras[:, None] != UNKNOWN_CAMERA)
    same |= neighbours == rows
    wanted = (same & (np.cumsum(same, axis=1) <= num_same)) | (~same & (np.cumsum(~same, axis=1) <= k - num_same))
    # -1: an approximate search found fewer.
    wanted &= neighbours >= 0
    # Wanted ones first, each kind in the order of distance; of k, sorted by distance again.
    places = np.sort(np.argsort(~wanted, axis=1, kind="stable")[:, :k], axis=1)
    return np.asarray(np.take_along_axis(neighbours, places, axis=1), dtype=np.int64)
