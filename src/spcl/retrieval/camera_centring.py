"""Features without what is common to all images of their camera.

Light, colours and viewpoint of a camera shift the features of its images in one direction, so that images of one camera
are near each other whatever they show. The mean of the camera is subtracted, ``O(N D)``::

    f' = normalise(f - m_c),    m_c = (n_c * mean of camera c + shrinkage * mean of all) / (n_c + shrinkage)

with ``n_c`` the number of images of camera c. The shrinkage keeps the mean of a camera with few images from being the
objects that they show. The mean similarity of two cameras a and b becomes ``(mean_a - m_a) . (mean_b - m_b)``, about 0,
before the normalisation.

It helps where the cameras see the same objects, and harms where each sees other objects: the mean of a camera is then
the mean of its objects.

Reference: Zhuang et al., *Rethinking the Distribution Gap of Person Re-identification with Camera-based Batch
Normalization*, ECCV 2020 (statistics of each camera, there in the network); Gu et al., *1st Place Solution to
VisDA-2020*, 2020 (similarity of cameras subtracted from that of images).
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spcl.arrays import Features, unit_rows

SHRINKAGE = 8.0
"""Number of images with the mean of all that count beside the images of a camera."""
_LEAST_LENGTH = 1e-4


def camera_centred(features: Features, cameras: NDArray[np.int64], *, shrinkage: float = SHRINKAGE) -> Tensor:
    """Subtract from each row the mean of its camera's rows, and normalise.

    Args:
        features: ``[N, D]`` rows; normalised here where they are not of unit length.
        cameras: ``[N]`` int64, the camera of each row; rows of unknown camera (-1) form one camera of their own.
        shrinkage: Number of images with the mean of all that count beside those of a camera, above 0.

    Returns:
        ``[N, D]`` float32 unit rows. A row that equals its camera's mean has no direction left and stays as it was.

    Raises:
        ValueError: If lengths differ, the shrinkage is not positive, or rows are zero, NaN or infinite.

    Examples:
        >>> rows = np.array([[0.8, 0.6], [0.6, 0.8], [0.8, -0.6], [0.6, -0.8]], dtype=np.float32)
        >>> camera_centred(rows, np.array([0, 0, 1, 1]), shrinkage=1e-6).sign().int().tolist()
        [[1, -1], [-1, 1], [1, 1], [-1, -1]]
    """
    rows = unit_rows(features)
    if cameras.shape != (len(rows),):
        raise ValueError(f"cameras have shape {cameras.shape}; expected one for each of {len(rows)} rows")
    if not 0 < shrinkage < float("inf"):
        raise ValueError(f"shrinkage is {shrinkage}; it must be a positive number")
    found, numbers = np.unique(cameras, return_inverse=True)
    if not len(rows):
        return rows
    camera = torch.from_numpy(numbers.reshape(-1)).to(rows.device)
    sizes = torch.bincount(camera, minlength=len(found)).unsqueeze(1)
    # In double precision: the means are the same whatever the order in which a device adds the rows.
    sums = torch.zeros(len(found), rows.shape[1], dtype=torch.float64, device=rows.device)
    for number in range(len(found)):
        sums[number] = rows[camera == number].sum(dim=0, dtype=torch.float64)
    means = ((sums + shrinkage * sums.sum(dim=0) / len(rows)) / (sizes + shrinkage)).float()
    centred = rows - means[camera]
    lengths = centred.norm(dim=1, keepdim=True)
    return torch.where(lengths > _LEAST_LENGTH, centred / lengths.clamp(min=_LEAST_LENGTH), rows)
