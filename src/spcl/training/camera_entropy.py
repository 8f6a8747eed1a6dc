"""The contrastive loss weighted by the cameras of a cluster, a term of the loss: kind ``camera-entropy``.

A cluster whose images come from several cameras is more often one object, and shows more of what the cameras change,
than a cluster of one camera. The loss of kind ``normalised-centroids`` is multiplied for each image by::

    w = floor + (1 - floor) * H / log(number of cameras),    H = - sum over cameras c of q(c) log q(c)

``q(c)`` is the share of the class's images that camera ``c`` took. ``H`` is 0 in a class of one camera, and largest
where all cameras took the same number. Images of unknown camera count as one camera. Source images have weight 1. With
one camera, every weight is 1.

Reference: Zheng et al., *3C: Confidence-guided Clustering and Contrastive Learning for Unsupervised Person
Re-Identification*, Neurocomputing 2025 (camera information entropy). The idea is taken from there, not the formula.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from spcl.errors import require
from spcl.training.camera_proxies import proxies_of, require_cameras
from spcl.training.normalised_centroids import NormalisedCentroids, NormalisedCentroidsSettings

if TYPE_CHECKING:
    from spcl.training.parts import BuildContext, LossTerm, StepInputs


@dataclass(frozen=True)
class CameraEntropySettings(NormalisedCentroidsSettings):
    """The contrastive loss against class means of unit length, weighted by the cameras of the class."""

    floor: float = field(default=0.5, kw_only=True)
    """Weight of an image whose class has one camera; classes of all cameras in equal shares have weight 1."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 <= self.floor <= 1, "floor", self.floor, "a weight from 0 to 1")

    def build(self, context: BuildContext) -> LossTerm:
        """Build the term.

        Raises:
            InputError: If no camera of the target is known.
        """
        cameras = torch.from_numpy(context.target.cameras)
        require_cameras(cameras, "camera-entropy")
        inner = NormalisedCentroids("camera-entropy", self.weight, self.temperature)
        return CameraEntropy(inner, self.floor, cameras.to(context.runtime.device), context.slots.num_source_classes)


class CameraEntropy:
    """The term for a memory with ``features``, ``labels``, ``class_means`` and ``class_sizes``, whole or sharded.

    Attributes:
        name: Name in reports.
        weight: Factor of the term in the sum.
    """

    def __init__(self, inner: NormalisedCentroids, floor: float, cameras: Tensor, num_source_classes: int) -> None:
        self.name, self.weight = inner.name, inner.weight
        self._inner, self._floor, self._cameras, self._first = inner, floor, cameras, num_source_classes
        # Labels change once an epoch: the weights are computed again only when they do.
        self._weighted: tuple[Tensor, int, Tensor] | None = None

    def __call__(self, step: StepInputs) -> Tensor:
        """Compute the loss of each image, ``[B]``."""
        weights = self._weights(step.memory.labels)
        return self._inner(step) * weights[step.slots.to(weights.device, non_blocking=True)]

    def _weights(self, labels: Tensor) -> Tensor:
        """Give the weight of each memory row, ``[K]`` float32."""
        weighted = self._weighted
        if weighted is None or weighted[0] is not labels or weighted[1] != labels._version:
            device = self._cameras.device
            of_target = camera_entropy_weights(labels[self._first :].to(device), self._cameras, self._floor)
            weights = torch.cat([torch.ones(self._first, device=device), of_target])
            self._weighted = weighted = (labels, labels._version, weights)
        return weighted[2]


def camera_entropy_weights(classes: Tensor, cameras: Tensor, floor: float) -> Tensor:
    """Compute the weight of each image by the entropy of its class over cameras.

    Args:
        classes: ``[N]`` int64, the class of each image.
        cameras: ``[N]`` int64, the camera of each image, -1 unknown.
        floor: Weight of an image whose class has one camera.

    Returns:
        ``[N]`` float32, from ``floor`` to 1; all 1 where there is one camera.

    Examples:
        >>> classes, cameras = torch.tensor([0, 0, 0, 1, 1]), torch.tensor([0, 1, 1, 0, 0])
        >>> [round(weight, 3) for weight in camera_entropy_weights(classes, cameras, 0.5).tolist()]
        [0.959, 0.959, 0.959, 0.5, 0.5]
    """
    num_cameras = len(torch.unique(cameras))
    if num_cameras < 2:
        return torch.ones(len(classes), device=classes.device)
    proxies = proxies_of(classes, cameras)
    _, numbers, sizes = torch.unique(classes, return_inverse=True, return_counts=True)
    of_pair = torch.zeros_like(proxies.sizes)
    of_pair[proxies.of_image] = numbers
    # In double precision, so that the sum does not depend on the order of a device's additions.
    shares = proxies.sizes.double() / sizes[of_pair]
    entropy = torch.zeros(len(sizes), dtype=torch.float64, device=classes.device)
    entropy.index_add_(0, of_pair, -shares * shares.log())
    relative = entropy / torch.log(torch.tensor(float(num_cameras), dtype=torch.float64))
    return (floor + (1 - floor) * relative[numbers]).clamp(max=1).float()
