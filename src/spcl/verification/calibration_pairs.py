"""The pairs of images that a calibration is fitted to, with labels and without.

With labels: pairs of one identity (of two cameras, where these are known) and of two. Without, pairs that almost surely
are: members of one reliable cluster and altered copies of one image, half and half, against members of different
clusters; or, where cameras and times are known, against images that one camera took at one time. Tracks take the place
of both: images of one track, against images of simultaneous tracks (``known_calibration_pairs.py``). Members of one
cluster are more alike than images of one object, altered copies less; their mixture errs little (docs/results.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from spcl.data.augment import TrainAugmentation
from spcl.data.image_store import ImageStore
from spcl.inference.embedding import EmbeddedImages, Encoder
from spcl.pairs.constraints import PairConstraints
from spcl.records import cameras_of, identities_of
from spcl.reporting.console import Reporter
from spcl.runtime import Runtime
from spcl.selfpaced.pseudo_labels import PseudoLabels, pseudo_labels
from spcl.selfpaced.reliability import singletons_for_noise
from spcl.threads import NumThreads
from spcl.verification.calibration import Calibration
from spcl.verification.known_calibration_pairs import pairs_of_one_object, pairs_of_two_objects
from spcl.verification.pairs import NO_GROUP, different_pairs, pair_similarities, same_pairs
from spcl.verification.stranger_scores import StrangerScores

MOST_PAIRS = 200_000
"""Largest number of pairs of each kind."""

_K1, _LEAST_K1, _K2 = 30, 6, 6
_EPS, _EPS_GAP = 0.45, 0.05
"""Stricter than in training, because a cluster of two objects hides the pairs that are mistaken for one object. Images
that the tight scale (0.40) separates count as different objects. Some of these pairs show one object and make
thresholds stricter; a looser scale would miss the most similar pairs of different objects. docs/results.md has both."""

_MOST_ALTERED = 2_000
_ENOUGH_PAIRS = 200
_MOST_ALIKE = 0.1
"""Of images taken at one time, at most: one object taken several times is in one cluster, two objects rarely are."""


@dataclass(frozen=True)
class CalibrationPairs:
    """Similarities of pairs of images, to which a calibration is fitted.

    Attributes:
        same: ``[n]`` float32 similarities of two images of one object; some are repeated, so that kinds of pairs have
            equal weight.
        different: ``[m]`` float32 similarities of images of two objects.
        different_groups: ``[m, 2]`` int64, the two objects or clusters of each pair, numbered from 0.
        num_same: Number of distinct pairs in ``same``.
        num_groups: Number of identities, or of reliable clusters.
        notes: Limits of the result, in sentences.
        labelled: Whether they are known from labels.
        strangers: What strangers reach to enrolled identities, or reliable clusters; None: too few.
    """

    same: NDArray[np.float32]
    different: NDArray[np.float32]
    different_groups: NDArray[np.int64]
    num_same: int
    num_groups: int
    notes: tuple[str, ...]
    labelled: bool
    strangers: StrangerScores | None

    def fit(self) -> Calibration:
        """The calibration of these pairs.

        Raises:
            ValueError: As ``Calibration.fit``.
        """
        return Calibration.fit(
            self.same,
            self.different,
            different_groups=self.different_groups,
            num_objects=self.num_groups,
            labelled=self.labelled,
            num_same=self.num_same,
            strangers=self.strangers,
        )


def labelled_pairs(images: EmbeddedImages, rng: np.random.Generator) -> CalibrationPairs:
    """Pairs from the identities of the records; images without one are in no pair."""
    identities = identities_of(images.records)
    same = same_pairs(identities, cameras_of(images.records), most=MOST_PAIRS, rng=rng)
    different = different_pairs(identities, most=MOST_PAIRS, rng=rng)
    return CalibrationPairs(
        pair_similarities(images.features, same),
        pair_similarities(images.features, different),
        _numbered(identities, different),
        len(same),
        len(np.unique(identities[identities != NO_GROUP])),
        notes=(),
        labelled=True,
        strangers=StrangerScores.measure(images.features, identities, identities, rng),
    )


def unlabelled_pairs(
    images: EmbeddedImages,
    altered: NDArray[np.float32],
    moments: NDArray[np.int64] | None,
    rng: np.random.Generator,
    constraints: PairConstraints | None = None,
    *,
    impostors: PairConstraints | None = None,
) -> CalibrationPairs:
    """Pairs from tracks, clusters, altered copies and, where they are known, cameras and times.

    Args:
        images: Images and features.
        altered: ``[n]`` similarities of images to altered copies of themselves.
        moments: ``[N]``: equal numbers: taken by one camera at one time; -1 unknown. None: none known.
        rng: Generator of the random draws.
        constraints: Known pairs of the images: those of one object take the place of clusters where there are enough,
            and clusters respect all of them; None: none.
        impostors: Known pairs whose pairs of two objects are a fair sample, and take the place of clusters where there
            are enough; None: none.
    """
    features = images.features
    clusters = clusters_of(features, constraints)
    reliable = np.where(np.bincount(clusters.labels)[clusters.labels] > 1, clusters.labels, NO_GROUP)
    apart = singletons_for_noise(clusters.scales.tight)
    cameras = cameras_of(images.records)
    linked = pairs_of_one_object(constraints, cameras, most=MOST_PAIRS, rng=rng)
    if len(linked) >= _ENOUGH_PAIRS:
        same, num_same = pair_similarities(features, linked), len(linked)
        notes: tuple[str, ...] = (f"pairs of one object: {len(linked)} of tracks and of pairs that are known by hand",)
    else:
        inside = pair_similarities(features, same_pairs(reliable, cameras, most=MOST_PAIRS, rng=rng))
        none = "no reliable clusters: images of one object are known from altered copies alone"
        notes = () if len(inside) else (none,)
        num_same, same = len(inside) + len(altered), _half_and_half(inside, altered, rng)
    different, found = _known_different(clusters.scales.tight, moments, impostors, rng)
    if not len(different):
        different = different_pairs(apart, most=MOST_PAIRS, rng=rng)
    return CalibrationPairs(
        same,
        pair_similarities(features, different),
        # An object may have several narrow clusters, rarely several wide ones; how far a rate holds for other objects
        # is as with labels when these are left out one by one (docs/results.md).
        _numbered(singletons_for_noise(clusters.scales.loose), different),
        num_same,
        clusters.num_clusters,
        (*notes, *found),
        labelled=False,
        strangers=StrangerScores.measure(features, reliable, apart, rng),
    )


def _known_different(
    narrow: NDArray[np.int64],
    moments: NDArray[np.int64] | None,
    constraints: PairConstraints | None,
    rng: np.random.Generator,
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Pairs of two objects that are known from simultaneous tracks, or from times, and notes; empty: too few."""
    different = pairs_of_two_objects(constraints, most=MOST_PAIRS, rng=rng)
    if len(different) >= _ENOUGH_PAIRS:
        return different, (f"pairs of different objects: {len(different)} of simultaneous tracks and known by hand",)
    notes: tuple[str, ...] = ()
    different = _at_one_time(moments, rng)
    alike = (narrow[different[:, 0]] == narrow[different[:, 1]]) & (narrow[different[:, 0]] >= 0)
    if len(different) and alike.mean() > _MOST_ALIKE:
        notes = (
            f"times are not used: {alike.mean():.0%} of the pairs that one camera took at one time look like one "
            "object (docs/compare.md)",
        )
        different = different[:0]
    if len(different) < _ENOUGH_PAIRS:
        return different[:0], notes
    return different, (*notes, f"pairs of different objects: {len(different)} that one camera took at one time")


def clusters_of(features: NDArray[np.float32], constraints: PairConstraints | None = None) -> PseudoLabels:
    """Clusters of ``[N, D]`` unit rows, under known pairs, as pairs are taken from them."""
    # In a small set the thirty nearest neighbours are nearly all images.
    k1 = min(len(features), max(_LEAST_K1, min(_K1, len(features) // 6)))
    must, cannot = (None, None) if constraints is None else constraints.as_pairs()
    return pseudo_labels(
        features, k1=k1, k2=min(_K2, k1), eps=_EPS, eps_gap=_EPS_GAP, must_link=must, cannot_link=cannot
    )


@torch.no_grad()
def altered_similarities(
    encoder: Encoder,
    images: EmbeddedImages,
    runtime: Runtime,
    report: Reporter,
    num_threads: NumThreads,
    rng: np.random.Generator,
    *,
    flip: bool = False,
) -> NDArray[np.float32]:
    """Compute the similarity of images to copies that are augmented as in training, ``[n]`` float32.

    ``flip`` must be the same as for the features of the images.
    """
    rows = np.sort(rng.choice(len(images.records), size=min(_MOST_ALTERED, len(images.records)), replace=False))
    height, width = encoder.size
    store = ImageStore(
        [images.records[row] for row in rows.tolist()],
        size=(height, width),
        on_broken="skip",
        memory=0,
        num_threads=num_threads,
        pixel_range=encoder.network.settings.pixel_range,
    )
    alter = TrainAugmentation(height, width, encoder.network.mean, encoder.network.std)
    together = encoder.batch_size()
    similarities = np.empty(len(rows), dtype=np.float32)
    with report.progress("altered copies") as advance:
        for at in range(0, len(rows), together):
            pixels = torch.from_numpy(store.read(np.arange(at, min(at + together, len(rows))))).to(runtime.device)
            with runtime.autocast():
                altered = encoder.encode(alter.apply(pixels, alter.draw(len(pixels), rng)), flip=flip)
            part = images.features[rows[at : at + len(pixels)]]
            similarities[at : at + len(pixels)] = (altered.cpu().numpy() * part).sum(axis=1)
            advance(at + len(pixels), len(rows))
    return similarities


def _half_and_half(
    first: NDArray[np.float32], second: NDArray[np.float32], rng: np.random.Generator
) -> NDArray[np.float32]:
    """Join both, with values of the smaller one drawn repeatedly until both have equal numbers."""
    if not len(first) or not len(second):
        return np.concatenate([first, second])
    count = max(len(first), len(second))
    return np.concatenate([part if len(part) == count else rng.choice(part, size=count) for part in (first, second)])


def _at_one_time(moments: NDArray[np.int64] | None, rng: np.random.Generator) -> NDArray[np.int64]:
    """Pairs of images that one camera took at one time: two objects, whatever their clusters say."""
    if moments is None:
        return np.empty((0, 2), dtype=np.int64)
    return same_pairs(moments, np.full(len(moments), NO_GROUP), most=MOST_PAIRS, rng=rng)


def _numbered(groups: NDArray[np.int64], pairs: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.unique(groups[pairs], return_inverse=True)[1].reshape(-1, 2)


def moments_of(cameras: Sequence[Any] | None, times: Sequence[Any] | None, count: int) -> NDArray[np.int64] | None:
    """Number the pairs of camera and time, ``[count]``: -1 where one is unknown; None where all are unknown."""
    if cameras is None or times is None:
        return None
    known = [None if None in pair else (str(pair[0]), str(pair[1])) for pair in zip(cameras, times, strict=True)]
    numbers = {moment: number for number, moment in enumerate(dict.fromkeys(m for m in known if m is not None))}
    return np.array([NO_GROUP if m is None else numbers[m] for m in known], dtype=np.int64).reshape(count)
