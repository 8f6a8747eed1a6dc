"""Similarity of tracks of several cameras: of their fused features, without what is common to each camera."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from spcl.data.image_table import ImageTable
from spcl.linking.link_table import Track
from spcl.records import cameras_of
from spcl.retrieval.camera_centring import camera_centred
from spcl.retrieval.track_features import track_features


def track_similarity(features: NDArray[np.float32], images: ImageTable, tracks: Sequence[Track]) -> NDArray[np.float64]:
    """Give the similarity of each pair of tracks, ``[T, T]`` float64.

    The mean of each camera is subtracted from the features of its images (``retrieval/camera_centring.py``): tracks of
    two objects have a similarity of about 0, whichever their cameras. It is left out where a camera is unknown.

    Args:
        features: ``[N, D]`` features of the images, unit rows.
        images: N images, each of them in a track.
        tracks: T tracks of the images.
    """
    cameras = cameras_of(images.records)
    rows = features if (cameras < 0).any() else camera_centred(features, cameras).numpy()
    numbers = np.empty(len(images), dtype=np.int64)
    for number, track in enumerate(tracks):
        numbers[list(track.rows)] = number
    quality = images.columns.get("quality")
    weights = None
    if quality is not None and all(isinstance(value, int | float) and value > 0 for value in quality):
        weights = np.array(quality, dtype=np.float64)
    fused = track_features(rows, numbers, weights).features.astype(np.float64)
    return np.asarray(fused @ fused.T)
