"""How good an encoder is on images of which nobody knows what they show: figures without labels.

None of them is accuracy. Each says what it means and when it misleads; ``adaptation_verdict.py`` decides by them. They
are used before and after an adaptation, on the same images, where what misleads one misleads the other as well.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from spcl.retrieval.arrays import Features, unit_rows
from spcl.retrieval.neighbours import nearest_neighbours
from spcl.retrieval.settings_checks import check_count
from spcl.selfpaced.clustering import NOISE
from spcl.selfpaced.pseudo_labels import PseudoLabels, pseudo_labels
from spcl.selfpaced.silhouette import silhouette

UNKNOWN_CAMERA = -1
_LIKE_IT = 5
"""Nearest neighbours among which those lie that may stand in for an image."""


@dataclass(frozen=True)
class LabelFreeQuality:
    """Figures of an encoder's features on a set of images; what each means stands at the function of its name.

    Attributes:
        num_images: N, the number of images.
        found_again: See ``found_again``; None where there are no altered copies.
        num_clusters: Clusters at the normal scale.
        share_clustered: Of the images.
        scale_stability: See ``scale_stability``; None where nothing clusters.
        silhouette: See ``silhouette``; None where there are not two clusters.
        half_agreement: See ``half_agreement``.
        mutual_neighbours: See ``mutual_neighbours``.
        across_cameras: See ``mutual_neighbours``; None without cameras.
        effective_dimensions: See ``effective_dimensions``.
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


def label_free_quality(
    features: Features,
    cameras: NDArray[np.int64] | None = None,
    altered: Features | None = None,
    *,
    k: int = 10,
    k1: int = 30,
    k2: int = 6,
    eps: float = 0.6,
    eps_gap: float = 0.02,
    min_samples: int = 4,
    seed: int = 0,
) -> LabelFreeQuality:
    """All the figures.

    Args:
        features: ``[N, D]`` rows, N at least 2; normalised here where they are not of unit length.
        cameras: ``[N]`` int, -1 unknown; None: none is known.
        altered: ``[N, D]`` unit rows of altered copies of the same images, in their order; None: there are none.
        k: Neighbours that are asked about, the image itself not among them; fewer where there are fewer images.
        k1: Of the clustering, as in ``pseudo_labels``.
        k2: Likewise.
        eps: Likewise.
        eps_gap: Likewise.
        min_samples: Likewise.
        seed: Of the sample where there are too many images.

    Cost: neighbour searches, ``4 N^2 D`` in all; memory O(N k).
    """
    rows = _directions(features, "features")
    k = check_count(k, "k")
    if len(rows) < 2:
        raise ValueError(f"{len(rows)} images; at least 2 are needed")
    near = nearest_neighbours(rows, max(k + 1, k1)).indices
    found = pseudo_labels(
        rows,
        k1=k1,
        k2=k2,
        eps=eps,
        eps_gap=eps_gap,
        min_samples=min_samples,
        neighbours=near[:, :k1],
    )
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
    """Unit rows, those of zeros too: an encoder that gives zeros has collapsed, and is rated as such."""
    given = torch.as_tensor(features)
    if given.ndim == 2 and given.shape[1] and not bool((given != 0).any(dim=1).all()):
        given = given.clone()
        given[(given == 0).all(dim=1), 0] = 1
    return np.asarray(unit_rows(given, name).cpu().numpy())


def found_again(features: NDArray[np.float32], altered: NDArray[np.float32], neighbours: NDArray[np.integer]) -> float:
    """How often an altered copy of an image (mirrored, shifted, in other light) finds its original, or the like of it.

    The most similar of all images must be the original or one of its mutual neighbours: frames of a video may stand in
    for each other. It asks for both that an encoder must have: to ignore how an image was taken, and to tell objects
    apart. A collapsed encoder finds nothing. Misleads as it knows only the alterations that were made: no other side of
    the object, nothing in front of it, no camera with other colours.

    Args:
        features: ``[N, D]`` unit rows.
        altered: ``[N, D]`` unit rows, of the copies in the same order.
        neighbours: ``[N, k]`` int, of the images themselves, without the image itself.

    Returns:
        A share; by chance about the number of mutual neighbours, over N.
    """
    nearest = nearest_neighbours(features, 1, queries=altered).indices
    is_like_it = (_are_mutual(neighbours) & (neighbours == nearest)).any(axis=1)
    return float((is_like_it | (nearest[:, 0] == np.arange(len(features)))).mean())


def scale_stability(found: PseudoLabels) -> float | None:
    """How little the clusters change when the clustering is made tighter or looser.

    The mean over clustered images of the smaller of independence and compactness (IoU of an image's cluster at the
    normal scale with its cluster at the loose and at the tight one): 1 where nothing changes. Misleads where few images
    are clustered (the easiest few are stable), and where all fall into one cluster, which is perfectly stable.

    Returns:
        A value in (0, 1]; None where nothing clusters.
    """
    clustered = found.scales.normal != NOISE
    if not clustered.any():
        return None
    return float(np.minimum(found.independence, found.compactness)[clustered].mean())


def half_agreement(features: NDArray[np.float32], *, k: int = 10) -> float:
    """How far two encoders made of one agree: the even and the odd columns of the features, each by itself.

    The mean share of an image's ``k`` nearest neighbours by the one half that are so by the other, above what chance
    would give: 0 for noise, 1 for the same neighbours. What both halves see is structure of the images and not of a
    few columns. Misleads where both see something beside the point: all columns that follow the light agree well.

    Returns:
        A value of at most 1; about 0 for noise. 0 where there is only one column.
    """
    if features.shape[1] < 2:
        return 0.0
    near = [_neighbours_of(features[:, start::2], k) for start in (0, 1)]
    width = near[0].shape[1]
    common = float((near[0][:, :, None] == near[1][:, None, :]).any(axis=2).mean())
    chance = width / (len(features) - 1)
    return 0.0 if chance >= 1 else (common - chance) / (1 - chance)


def _neighbours_of(columns: NDArray[np.float32], k: int) -> NDArray[np.int64]:
    """``[N, min(k, N - 1)]``: the nearest by cosine similarity, the image itself left out."""
    lengths = np.linalg.norm(columns, axis=1, keepdims=True)
    unit = np.ascontiguousarray(columns / np.maximum(lengths, 1e-12), dtype=np.float32)
    return np.asarray(nearest_neighbours(unit, k + 1).indices[:, 1:], dtype=np.int64)


def mutual_neighbours(
    neighbours: NDArray[np.integer], cameras: NDArray[np.int64] | None = None
) -> tuple[float, float | None]:
    """Do neighbours agree that they are neighbours, and do they meet across cameras?

    The share of images' nearest neighbours that have them among theirs in turn. And, of these mutual ones, the share
    from another camera, divided by the share that chance would give: 1 where cameras do not matter, 0 where an image
    only finds its own camera, which is the usual failure of an encoder on new cameras. The second misleads where
    objects are seen by one camera only (then it should be 0), and for noise, which ignores cameras as well (1): read it
    beside the first.

    Args:
        neighbours: ``[N, k]`` int, without the image itself; k at least 1.
        cameras: ``[N]`` int, -1 unknown; None: none is known.

    Returns:
        Both shares; the second is None unless images of two known cameras are there and a mutual pair is among them.
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
    # Each image weighs as many times as it has mutual neighbours, on both sides.
    expected = float((counted.sum(axis=1) * share_other).sum())
    other = float((counted & (cameras[neighbours] != cameras[:, None])).sum())
    return float(mutual.mean()), other / expected


def _are_mutual(neighbours: NDArray[np.integer]) -> NDArray[np.bool_]:
    """``[N, k]``: whether each neighbour has the image among its own."""
    mutual = np.zeros(neighbours.shape, dtype=np.bool_)
    for at in range(0, len(neighbours), 4096):
        block = neighbours[at : at + 4096]
        rows = np.arange(at, at + len(block))[:, None, None]
        mutual[at : at + len(block)] = (neighbours[block] == rows).any(axis=2)
    return mutual


def effective_dimensions(features: NDArray[np.float32]) -> float:
    """How many directions the features use: the exponential of the entropy of their spectrum.

    From 1 (all images on one line: the encoder has collapsed) to the smaller of N and D. Garrido et al., *RankMe*,
    ICML 2023, on features less their mean. Misleads as a measure of quality: noise uses all directions; only a fall
    says something.

    Returns:
        A value of at least 1; 1 as well where all features are equal.

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
