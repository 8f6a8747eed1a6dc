"""Quality of an encoder on unlabelled images: figures that need no identities.

None of them is accuracy. The docstring of each gives its meaning and the cases in which it misleads. They are measured
before and after an adaptation on the same images, so that both are misled alike; ``adaptation/verdict.py`` decides.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from spcl.arrays import Features, unit_rows
from spcl.grouping.silhouette import silhouette
from spcl.neighbours.nearest import nearest_neighbours
from spcl.selfpaced.clustering import NOISE
from spcl.selfpaced.pseudo_labels import PseudoLabels, pseudo_labels
from spcl.settings_checks import check_count

UNKNOWN_CAMERA = -1
_LIKE_IT = 5
"""Number of nearest neighbours that are searched for mutual neighbours of an image."""


@dataclass(frozen=True)
class LabelFreeQuality:
    """Figures of an encoder's features on a set of images; each is explained at the function of its name.

    Attributes:
        num_images: N, the number of images.
        found_again: Recall@1 of augmented copies; None without copies.
        num_clusters: Number of clusters at the normal scale.
        share_clustered: Share of the images that are in a cluster.
        scale_stability: Stability of the clusters over the three scales; None without clusters.
        silhouette: Mean silhouette of the clustered images; None with fewer than two clusters.
        half_agreement: Agreement of the neighbours by the even and by the odd columns.
        mutual_neighbours: Share of nearest neighbours that are mutual.
        across_cameras: Share of mutual neighbours from another camera, relative to chance; None without cameras.
        effective_dimensions: Effective number of directions of the features.
    """

    num_images: int
    found_again: float | None
    num_clusters: int
    share_clustered: float
    scale_stability: float | None
    silhouette: float | None
    half_agreement: float
    mutual_neighbours: float
    across_cameras: float | None
    effective_dimensions: float

    def to_dict(self) -> dict[str, Any]:
        """Give the values as plain types, for a file."""
        return asdict(self)


@dataclass(frozen=True)
class ClusteringSettings:
    """Settings of the clusters, by the names that ``pseudo_labels`` gives them.

    Attributes:
        k1: Neighbours in the k-reciprocal encoding, the image itself included.
        k2: Neighbours in the local query expansion.
        eps: DBSCAN's largest distance of two neighbours.
        eps_gap: Difference of eps to the tight and the loose scale.
        min_samples: Neighbours, the image itself included, that make a core sample.
    """

    k1: int = 30
    k2: int = 6
    eps: float = 0.6
    eps_gap: float = 0.02
    min_samples: int = 4


def label_free_quality(
    features: Features,
    cameras: NDArray[np.int64] | None = None,
    altered: Features | None = None,
    *,
    k: int = 10,
    clustering: ClusteringSettings | None = None,
    seed: int = 0,
) -> LabelFreeQuality:
    """Compute all the figures.

    Args:
        features: ``[N, D]`` rows, N at least 2; normalised here where they are not of unit length.
        cameras: ``[N]`` int, the camera of each image, -1 unknown; None: all unknown.
        altered: ``[N, D]`` unit rows of augmented copies of the same images, in the same order; None: no copies.
        k: Number of neighbours of an image that are compared, without the image itself; at most N - 1.
        clustering: Settings of the clusters; None: the paper's.
        seed: Seed of the random sample that the silhouette takes of many images.

    Returns:
        LabelFreeQuality.

    Raises:
        ValueError: If there are fewer than two images, a setting is out of range, or rows are NaN or infinite.

    Cost: neighbour searches, ``4 N^2 D`` in all; memory O(N k).
    """
    rows = _directions(features, "features")
    k = check_count(k, "k")
    if len(rows) < 2:
        raise ValueError(f"{len(rows)} images; at least 2 are needed")
    settings = clustering or ClusteringSettings()
    near = nearest_neighbours(rows, max(k + 1, settings.k1)).indices
    found = pseudo_labels(rows, **asdict(settings), neighbours=near[:, : settings.k1])
    mutual, across = mutual_neighbours(near[:, 1 : k + 1], cameras)
    labels = found.scales.normal
    return LabelFreeQuality(
        num_images=len(rows),
        found_again=None
        if altered is None
        else found_again(rows, _directions(altered, "altered"), near[:, 1 : _LIKE_IT + 1]),
        num_clusters=int(labels.max(initial=NOISE)) + 1,
        share_clustered=float((labels != NOISE).mean()),
        scale_stability=scale_stability(found),
        silhouette=silhouette(rows, labels, seed=seed),
        half_agreement=half_agreement(rows, k=k),
        mutual_neighbours=mutual,
        across_cameras=across,
        effective_dimensions=effective_dimensions(rows),
    )


def _directions(features: Features, name: str) -> NDArray[np.float32]:
    """Give unit rows, also for rows of zeros: an encoder that gives zeros has collapsed, and is rated as such."""
    given = torch.as_tensor(features)
    if given.ndim == 2 and given.shape[1] and not bool((given != 0).any(dim=1).all()):
        given = given.clone()
        given[(given == 0).all(dim=1), 0] = 1
    return np.asarray(unit_rows(given, name).cpu().numpy())


def found_again(features: NDArray[np.float32], altered: NDArray[np.float32], neighbours: NDArray[np.integer]) -> float:
    """Recall@1 of augmented copies of images (mirrored, shifted, relighted); mutual neighbours count as the original.

    The most similar of all images must be the original or one of its mutual neighbours, because frames of a video are
    near duplicates. It measures both properties that an encoder needs: to ignore how an image was taken, and to
    separate objects. A collapsed encoder finds no original. It misleads because it covers only these augmentations:
    no other side of the object, no occlusion, no camera with other colours.

    Args:
        features: ``[N, D]`` unit rows.
        altered: ``[N, D]`` unit rows of the copies, in the same order.
        neighbours: ``[N, k]`` int, nearest neighbours of the images, each without the image itself.

    Returns:
        A share from 0 to 1; by chance about the number of mutual neighbours divided by N.
    """
    nearest = nearest_neighbours(features, 1, queries=altered).indices
    is_like_it = (_are_mutual(neighbours) & (neighbours == nearest)).any(axis=1)
    return float((is_like_it | (nearest[:, 0] == np.arange(len(features)))).mean())


def scale_stability(found: PseudoLabels) -> float | None:
    """Measure how stable the clusters are when the clustering is made tighter or looser.

    The mean over clustered images of the smaller of independence and compactness (IoU of an image's cluster at the
    normal scale with its cluster at the loose and at the tight one): 1 if nothing changes. It misleads if few images
    are clustered (the easiest few are stable), and if all fall into one cluster, which is perfectly stable.

    Returns:
        A value in (0, 1]; None without clusters.
    """
    clustered = found.scales.normal != NOISE
    if not clustered.any():
        return None
    return float(np.minimum(found.independence, found.compactness)[clustered].mean())


def half_agreement(features: NDArray[np.float32], *, k: int = 10) -> float:
    """Measure the agreement of two encoders made of one: the even and the odd columns of the features.

    The mean share of an image's ``k`` nearest neighbours by one half that are also nearest by the other, corrected for
    chance: 0 for noise, 1 for the same neighbours. Structure that both halves show is a property of the images, not of
    a few columns. It misleads if both show the same irrelevant structure: columns that follow the light agree well.

    Returns:
        A value of at most 1; about 0 for noise. 0 if there is only one column.
    """
    if features.shape[1] < 2:
        return 0.0
    near = [_neighbours_of(features[:, start::2], k) for start in (0, 1)]
    width = near[0].shape[1]
    common = float((near[0][:, :, None] == near[1][:, None, :]).any(axis=2).mean())
    chance = width / (len(features) - 1)
    return 0.0 if chance >= 1 else (common - chance) / (1 - chance)


def _neighbours_of(columns: NDArray[np.float32], k: int) -> NDArray[np.int64]:
    """Give ``[N, min(k, N - 1)]`` nearest rows by cosine similarity, without the row itself."""
    lengths = np.linalg.norm(columns, axis=1, keepdims=True)
    unit = np.ascontiguousarray(columns / np.maximum(lengths, 1e-12), dtype=np.float32)
    return np.asarray(nearest_neighbours(unit, k + 1).indices[:, 1:], dtype=np.int64)


def mutual_neighbours(
    neighbours: NDArray[np.integer], cameras: NDArray[np.int64] | None = None
) -> tuple[float, float | None]:
    """Measure the share of neighbours that are mutual, and how often mutual neighbours are of different cameras.

    The first is the share of nearest neighbours that have the image among their own nearest neighbours. The second is
    the share of these mutual neighbours from another camera, divided by the share expected by chance: 1 if cameras do
    not matter, 0 if an image only finds its own camera, the usual failure of an encoder on new cameras. The second
    misleads if each object is seen by one camera (then it should be 0), and for noise, which also gives 1: read it
    together with the first.

    Args:
        neighbours: ``[N, k]`` int, nearest neighbours without the image itself; k at least 1.
        cameras: ``[N]`` int, the camera of each image, -1 unknown; None: all unknown.

    Returns:
        Both shares; the second is None without images of two known cameras or without a mutual pair among them.
    """
    mutual = _are_mutual(neighbours)
    if cameras is None:
        return float(mutual.mean()), None
    known = cameras != UNKNOWN_CAMERA
    counted = mutual & known[:, None] & known[neighbours]
    _, numbers, counts = np.unique(cameras[known], return_inverse=True, return_counts=True)
    if len(counts) < 2 or not counted.any():
        return float(mutual.mean()), None
    share_other = np.zeros(len(cameras))
    share_other[known] = (known.sum() - counts[numbers.reshape(-1)]) / (known.sum() - 1)
    # Each image is weighted by the number of its mutual neighbours, on both sides.
    expected = float((counted.sum(axis=1) * share_other).sum())
    other = float((counted & (cameras[neighbours] != cameras[:, None])).sum())
    return float(mutual.mean()), other / expected


def _are_mutual(neighbours: NDArray[np.integer]) -> NDArray[np.bool_]:
    """Give ``[N, k]`` bool: whether each neighbour has the image among its own neighbours."""
    mutual = np.zeros(neighbours.shape, dtype=np.bool_)
    for at in range(0, len(neighbours), 4096):
        block = neighbours[at : at + 4096]
        rows = np.arange(at, at + len(block))[:, None, None]
        mutual[at : at + len(block)] = (neighbours[block] == rows).any(axis=2)
    return mutual


def effective_dimensions(features: NDArray[np.float32]) -> float:
    """Compute the effective number of directions of the features: the exponential of the entropy of their spectrum.

    From 1 (all images on one line: the encoder has collapsed) to the smaller of N and D. Garrido et al., *RankMe*,
    ICML 2023, on features minus their mean. It misleads as a measure of quality, because noise uses all directions;
    only a decrease is meaningful.

    Returns:
        A value of at least 1; 1 if all features are equal.

    Cost: ``N D^2``.
    """
    rows = features.astype(np.float64)
    rows = rows - rows.mean(axis=0)
    small = rows @ rows.T if len(rows) < rows.shape[1] else rows.T @ rows
    values = np.sqrt(np.clip(np.linalg.eigvalsh(small), 0, None))
    if values.sum() <= 1e-9:
        return 1.0
    shares = values / values.sum()
    shares = shares[shares > 1e-12]
    return float(np.exp(-(shares * np.log(shares)).sum()))
