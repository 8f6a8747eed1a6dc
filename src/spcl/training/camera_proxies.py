"""Camera proxies, a term of the loss: kind ``camera-proxies``.

A proxy is the normalised mean of the memory rows of one class and one camera. For an image with unit feature ``f`` of
class ``y`` and camera ``c``, with ``s(p) = p . f / temperature``::

    intra = logsumexp over the proxies of camera c of s - s(proxy of y and c)
    inter = logsumexp over P and Q of s - mean over P of s(p)
    loss  = intra + inter_weight * inter

``P`` are the proxies of class ``y`` in the other cameras; ``inter`` is 0 where there are none. ``Q`` are the
``num_negatives`` proxies of other classes with the largest ``s``, of all cameras. The intra term separates objects
whose images differ by nothing but the object; the inter term pulls an object's images of different cameras together.

Images of unknown camera form one camera of their own. Un-clustered images are classes of one image. Images of the
source have no proxies, and a loss of 0: give the term beside one that reads the source classes.

Reference: Wang et al., *Camera-aware Proxies for Unsupervised Person Re-Identification*, AAAI 2021, equations 4 and 6.
There proxies move by themselves; here they are computed from the memory's rows, so that they follow the memory. There
the intra term is a mean for each camera, here a mean over the images of the batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from spcl.errors import InputError, require
from spcl.selfpaced.sharded_memory import ShardedMemory

if TYPE_CHECKING:
    from spcl.training.parts import BuildContext, LossTerm, StepInputs


@dataclass(frozen=True)
class CameraProxiesSettings:
    """The loss against proxies of classes and cameras."""

    temperature: float = 0.07
    """Divides the similarities in the loss."""
    inter_weight: float = 0.5
    """Weight of the term over other cameras; the term within the camera has weight 1."""
    num_negatives: int = 50
    """Number of the most similar proxies of other classes in the term over other cameras."""
    weight: float = 1.0
    """Weight of this term in the sum of all terms."""

    def __post_init__(self) -> None:
        require(0 < self.temperature < inf, "temperature", self.temperature, "a positive, finite number")
        require(0 <= self.inter_weight < inf, "inter_weight", self.inter_weight, "a finite number, 0 or more")
        require(self.num_negatives >= 1, "num_negatives", self.num_negatives, "at least 1")
        require(0 <= self.weight < inf, "weight", self.weight, "a finite number, 0 or more")

    def build(self, context: BuildContext) -> LossTerm:
        """Build the term.

        Raises:
            InputError: If no camera of the target is known, or the memory is sharded over processes.
        """
        cameras = torch.from_numpy(context.target.cameras)
        require_cameras(cameras, "camera-proxies")
        if isinstance(context.memory, ShardedMemory):
            raise InputError(
                "camera-proxies reads all rows of the memory, which is sharded over the processes; set "
                'memory.placement to "replicated", or leave the term out',
                code="kind-not-usable",
            )
        return CameraProxies(self, cameras.to(context.runtime.device), context.slots.num_source_classes)


def require_cameras(cameras: Tensor, kind: str) -> None:
    """Check that a camera of the target's images ``[N]`` is known; a target without images passes.

    Raises:
        InputError: If there are images and all are of unknown camera (-1).
    """
    if len(cameras) and bool((cameras < 0).all()):
        raise InputError(
            f"{kind} needs the cameras of the target's images, and no camera is known: give a table with a column "
            f"camera, or file names such as 0007_c3_001.jpg; otherwise leave {kind} out",
            code="no-cameras",
        )


class Proxies(NamedTuple):
    """The proxies of an epoch.

    Attributes:
        classes: ``[P]`` int64, the class of each proxy.
        cameras: ``[P]`` int64, the camera of each proxy.
        sizes: ``[P]`` int64, the number of rows of each proxy.
        of_image: ``[N]`` int64, the proxy of each target image.
    """

    classes: Tensor
    cameras: Tensor
    sizes: Tensor
    of_image: Tensor


def proxies_of(classes: Tensor, cameras: Tensor) -> Proxies:
    """Number the pairs of class and camera that occur, for images with these classes and cameras, ``[N]`` int64.

    Examples:
        >>> proxies = proxies_of(torch.tensor([5, 5, 5, 7]), torch.tensor([0, 1, 0, 1]))
        >>> proxies.classes.tolist(), proxies.cameras.tolist(), proxies.of_image.tolist()
        ([5, 5, 7], [0, 1, 1], [0, 1, 0, 2])
    """
    pairs = torch.stack([classes, cameras], dim=1)
    found, of_image, sizes = torch.unique(pairs, dim=0, return_inverse=True, return_counts=True)
    return Proxies(found[:, 0], found[:, 1], sizes, of_image)


class CameraProxies:
    """The term for a memory that is whole in each process; it changes no state.

    Attributes:
        name: Name in reports.
        weight: Factor of the term in the sum.

    Cost: the mean of all target rows in each step, N D, and the similarities with all proxies, B P D.
    """

    def __init__(self, settings: CameraProxiesSettings, cameras: Tensor, num_source_classes: int) -> None:
        self.name, self.weight = "camera-proxies", settings.weight
        self._settings, self._cameras, self._first = settings, cameras, num_source_classes
        # Labels change once an epoch: the proxies are numbered again only when they do.
        self._numbered: tuple[Tensor, int, Proxies] | None = None

    def __call__(self, step: StepInputs) -> Tensor:
        """Compute the loss of each image, ``[B]``; 0 for images of the source."""
        device = self._cameras.device
        slots = step.slots.to(device, non_blocking=True)
        with torch.autocast(device_type=step.features.device.type, enabled=False):
            features = step.features.float()
            if not len(self._cameras):
                return 0 * features.sum(dim=1)
            proxies = self._proxies(step.memory.labels)
            own = proxies.of_image[(slots - self._first).clamp(min=0)]
            rows = step.memory.rows()[self._first :]
            with torch.no_grad():
                means = torch.zeros(len(proxies.sizes), rows.shape[1], device=device, dtype=torch.float32)
                means.index_add_(0, proxies.of_image, rows.float())
                means = F.normalize(means, dim=1)
            logits = features @ means.T / self._settings.temperature
            losses = intra_camera(logits, own, proxies)
            if self._settings.inter_weight:
                inter = inter_camera(logits, own, proxies, self._settings.num_negatives)
                losses = losses + self._settings.inter_weight * inter
        return torch.where(slots >= self._first, losses, 0 * losses)

    def _proxies(self, labels: Tensor) -> Proxies:
        """Give the proxies for the classes of the memory's rows, ``[K]``."""
        numbered = self._numbered
        if numbered is None or numbered[0] is not labels or numbered[1] != labels._version:
            classes = labels[self._first :].to(self._cameras.device)
            self._numbered = numbered = (labels, labels._version, proxies_of(classes, self._cameras))
        return numbered[2]


def intra_camera(logits: Tensor, own: Tensor, proxies: Proxies) -> Tensor:
    """Compute the loss of each image against the proxies of its camera, ``[B]``.

    Args:
        logits: ``[B, P]`` similarities with the proxies, divided by the temperature.
        own: ``[B]`` int64, the proxy of each image.
        proxies: The proxies.
    """
    same_camera = proxies.cameras[own].unsqueeze(1) == proxies.cameras
    return F.cross_entropy(logits.masked_fill(~same_camera, -inf), own, reduction="none")


def inter_camera(logits: Tensor, own: Tensor, proxies: Proxies, num_negatives: int) -> Tensor:
    """Compute the loss of each image against proxies of its class in other cameras and the hardest of other classes.

    Args:
        logits: ``[B, P]`` similarities with the proxies, divided by the temperature.
        own: ``[B]`` int64, the proxy of each image.
        proxies: The proxies.
        num_negatives: Number of proxies of other classes, those with the largest similarity.

    Returns:
        ``[B]`` float32; 0 for an image whose class is in no other camera.
    """
    same_class = proxies.classes[own].unsqueeze(1) == proxies.classes
    positive = same_class & (proxies.cameras[own].unsqueeze(1) != proxies.cameras)
    count = positive.sum(dim=1)
    # Without a positive the row is not used; its own proxy keeps the sum, and so the gradient, finite.
    kept = positive | ((count == 0).unsqueeze(1) & same_class)
    hardest = logits.masked_fill(same_class, -inf).topk(min(num_negatives, logits.shape[1]), dim=1).values
    total = torch.cat([logits.masked_fill(~kept, -inf), hardest], dim=1).logsumexp(dim=1)
    mean = logits.masked_fill(~positive, 0).sum(dim=1) / count.clamp(min=1)
    return torch.where(count > 0, total - mean, 0 * total)
