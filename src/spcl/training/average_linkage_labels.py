"""Pseudo labels by average linkage on the Jaccard distance, as a part: kind ``average-linkage`` of the labels.

In each epoch several numbers of neighbours k1 are tried, and for each the clusters at several thresholds
(``grouping/average_linkage.py``). Each is rated without labels (``grouping/cluster_rating.py``)::

    rating = share of links to nearest neighbours inside a cluster - 6 s / (1 + s) + 4 a^3

with s the share of all pairs of images that share a cluster, and a the mean silhouette. Ratings are carried over the
epochs by an exponential average, so that the choice does not jump; the best one is taken. All its clusters become
classes, and an image alone is a class of its own, as in the paper. Where objects are known to have few images, two to
ten, k1 and the links follow their number: beyond it, an image's neighbours show other objects.

Cameras, where at least two are known, are used in one of these ways:

* ``balance``: a fixed share of an image's neighbours and links is from its own camera
  (``retrieval/camera_neighbours.py``);
* ``centre``: the mean of each camera is subtracted from the features (``retrieval/camera_centring.py``), and half of
  the links are to images of other cameras;
* ``auto``: as ``centre`` if centred features have the higher rating with links to the nearest images of all cameras,
  otherwise as if cameras were unknown. Where each camera sees other objects, centred features have the lower rating.

The distance is the paper's (section 3.3); linkage, threshold, rating and cameras are not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from spcl.errors import require

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from spcl.pairs.constraints import PairConstraints
    from spcl.reporting.epoch_report import EpochReport
    from spcl.reporting.events import Reporter
    from spcl.runtime import Runtime
    from spcl.selfpaced.pseudo_labels import PseudoLabels
    from spcl.training.label_cameras import CameraView
    from spcl.training.parts import BuildContext, Labeller, TargetView

TRIED_K1 = (6, 12, 20, 30)
TRIED_THRESHOLDS = tuple(round(0.5 + 0.03 * step, 2) for step in range(16))
_MOST_LINKS = 4
"""Nearest neighbours, the image itself included, that count as links."""
_MOST_THRESHOLD = 0.98
_CUTOFF = 0.99
"""Largest Jaccard distance that is computed; pairs above it count as 1."""


@dataclass(frozen=True)
class AverageLinkageSettings:
    """Pseudo labels by average linkage."""

    k1: int | Literal["auto"] = "auto"
    """Neighbours in the k-reciprocal encoding, the image itself included; auto: 6, 12, 20 and 30 are tried."""
    images_per_object: int = 0
    """About how many images an object has, where that is known and at most 10: k1 of one and two more are tried, and
    no more links of an image are counted; 0: not known."""
    threshold: float | Literal["auto"] = "auto"
    """Largest average Jaccard distance of two clusters that are merged; auto: 0.5 to 0.95 are tried."""
    smoothing: float = 0.5
    """Share of the last epoch's ratings in this epoch's; 0: each epoch chooses anew."""
    mend: bool = True
    """Lower the threshold for an epoch in which a cluster holds over half of the images; raise it without two."""
    cameras: Literal["ignore", "balance", "centre", "auto"] = "ignore"
    """balance: a fixed share of the neighbours is from the own camera; centre: features without the camera's mean;
    auto: centred features in the epochs in which their clusters are rated higher."""
    same_camera_share: float = 0.25
    """Share of the neighbours that are from the image's own camera, where they are balanced."""
    search: Literal["auto", "torch", "faiss", "approximate"] = "auto"
    """Search of neighbours: torch and faiss compare every pair, approximate those of near regions; auto: by size."""

    def __post_init__(self) -> None:
        require(self.k1 == "auto" or self.k1 >= 2, "k1", self.k1, "auto, or at least 2")
        few = self.images_per_object
        require(few == 0 or 2 <= few <= 10, "images_per_object", few, "2 to 10, or 0 where it is not known")
        limits = "auto, or an average distance above 0 and at most 0.98"
        require(self.threshold == "auto" or 0 < self.threshold <= _MOST_THRESHOLD, "threshold", self.threshold, limits)
        uses = ("ignore", "balance", "centre", "auto")
        require(self.cameras in uses, "cameras", self.cameras, ", ".join(uses))
        share = self.same_camera_share
        require(0 < share <= 1, "same_camera_share", share, "a share above 0, at most 1")
        require(0 <= self.smoothing < 1, "smoothing", self.smoothing, "a share from 0 to below 1")

    def build(self, context: BuildContext) -> Labeller:
        """The labeller; says once if cameras are to be used and are not known."""
        from spcl.training.label_cameras import note_unknown_cameras

        note_unknown_cameras(self.cameras, context)
        return AverageLinkageLabeller(self, context.runtime, context.report)


class AverageLinkageLabeller:
    """Labels of an epoch from target features; the same in every process.

    Attributes:
        settings: The settings as given.
        ratings: ``[values of k1][thresholds]`` for each use of the cameras that is tried, one after the other, and with
            cameras auto those of centred features with the nearest links; averaged over the epochs; None before the
            first.
        chosen: k1, threshold, rating and use of the cameras of the last epoch; None before the first.
        score: Label-free score of the last labels; None before the first.
    """

    def __init__(self, settings: AverageLinkageSettings, runtime: Runtime, report: Reporter) -> None:
        self.settings = settings
        self.ratings: list[list[float]] | None = None
        self.chosen: dict[str, Any] | None = None
        self.score: float | None = None
        self._runtime, self._report = runtime, report
        self._constraints: PairConstraints | None = None

    def label(self, features: Tensor, target: TargetView) -> PseudoLabels:
        """Labels of features ``[N, D]`` under known pairs; cameras are used only as the settings say."""
        from spcl.selfpaced.pseudo_labels import PseudoLabels
        from spcl.training.label_cameras import camera_views
        from spcl.training.label_neighbours import label_neighbours
        from spcl.training.label_score import label_score

        if not len(features):
            return PseudoLabels.from_labels([])
        self._constraints = target.constraints()
        width = max(*self._tried_k1(len(features)), _MOST_LINKS)
        views = camera_views(
            self.settings.cameras,
            features,
            target,
            lambda rows, k: label_neighbours(rows, k, self.settings.search, self._runtime, self._report),
            width,
        )
        labels, self.ratings, self.chosen = self._runtime.on_main(lambda: self._best(views))
        self.score = label_score(labels, views[0].neighbours)
        return PseudoLabels.from_labels(labels)

    def label_score(self) -> float | None:
        """Give the label-free score of the last labels."""
        return self.score

    @property
    def _num_links(self) -> int:
        """Number of nearest neighbours, the image itself included, that count as links."""
        return min(self.settings.images_per_object or _MOST_LINKS, _MOST_LINKS)

    def _tried_k1(self, num: int) -> tuple[int, ...]:
        if self.settings.k1 != "auto":
            return (self.settings.k1,)
        if few := self.settings.images_per_object:
            return (few + 1, few + 2)
        return tuple(k1 for k1 in TRIED_K1 if k1 <= num / 2) or TRIED_K1[:1]

    def _best(self, views: Sequence[CameraView]) -> tuple[NDArray[np.int64], list[list[float]], dict[str, Any]]:
        """The clusters with the best rating, all ratings, and what was chosen."""
        import numpy as np

        from spcl.grouping.cluster_rating import cluster_rating, without_mean

        thresholds = TRIED_THRESHOLDS if self.settings.threshold == "auto" else (self.settings.threshold,)
        tried = [(view, k1) for view in views for k1 in self._tried_k1(len(views[0].features))]
        clusters = self._clusters(tried, thresholds)
        links = [view.links(self._num_links, self.settings.same_camera_share) for view, _ in tried]
        centred = {view.use: without_mean(view.rated()) for view in views}
        rated = [(of, near, centred[view.use]) for of, near, (view, _) in zip(clusters, links, tried, strict=True)]
        num = len(tried) // len(views)
        if len(views) > 1:
            # Each use has the links that suit it; between the uses, the nearest of all cameras decide.
            rated += [(of, views[1].neighbours[:, : self._num_links], rows) for of, _, rows in rated[num:]]
        now = np.array([[cluster_rating(each, near, rows) for each in of] for of, near, rows in rated])
        if self.ratings is not None:
            share = self.settings.smoothing
            now = share * np.array(self.ratings) + (1 - share) * now
        first = num if len(views) > 1 and now[2 * num :].max() > now[:num].max() else 0
        row, column = np.unravel_index(int(now[first : first + num].argmax()), (num, len(thresholds)))
        view, k1 = tried[first + row]
        rating = round(float(now[first + row, column]), 4)
        chosen: dict[str, Any] = {"k1": k1, "threshold": thresholds[column], "coherence": rating}
        if self.settings.cameras != "ignore":
            chosen["cameras"] = view.use
        labels = self._usable(
            clusters[first + row][column], view.features, view.near(k1, self.settings.same_camera_share), chosen
        )
        return labels, now.tolist(), chosen

    def _usable(
        self, labels: NDArray[np.int64], features: Tensor, near: NDArray[np.int64], chosen: dict[str, Any]
    ) -> NDArray[np.int64]:
        """Give the clusters; if they have merged or vanished, those at another threshold, noted in ``chosen``."""
        from spcl.grouping.average_linkage import average_linkage, cut
        from spcl.grouping.eps_choice import k2_for
        from spcl.retrieval.jaccard import jaccard_distance
        from spcl.training.collapsed_labels import STEP, collapse_of, distances_to_try, mended, mended_message

        way = collapse_of(labels) if self.settings.mend else None
        if way is None:
            return labels
        k1, before = int(chosen["k1"]), float(chosen["threshold"])
        distance = jaccard_distance(features, k1=k1, k2=k2_for(k1), cutoff=_CUTOFF, neighbours=near)
        merges = average_linkage(distance, most=_MOST_THRESHOLD, constraints=self._constraints)
        tried = distances_to_try(before, way, least=STEP, most=_MOST_THRESHOLD)
        better = mended(tried, lambda threshold: cut(merges, threshold), lambda each: each)
        if better is None:
            return labels
        chosen |= {"threshold": better[0], "mended_from": before}
        self._report.say(mended_message(way, "threshold", before, better[0]))
        return better[1]

    def _clusters(
        self, tried: Sequence[tuple[CameraView, int]], thresholds: Sequence[float]
    ) -> list[list[NDArray[np.int64]]]:
        """The clusters at each threshold, for each use of the cameras and each k1."""
        from spcl.grouping.average_linkage import average_linkage, cut
        from spcl.grouping.eps_choice import k2_for
        from spcl.retrieval.jaccard import jaccard_distance

        clusters = []
        with self._report.progress("clustering: average linkage") as advance:
            for done, (view, k1) in enumerate(tried, start=1):
                near = view.near(k1, self.settings.same_camera_share)
                distance = jaccard_distance(view.features, k1=k1, k2=k2_for(k1), cutoff=_CUTOFF, neighbours=near)
                merges = average_linkage(distance, most=max(thresholds), constraints=self._constraints)
                clusters.append([cut(merges, threshold) for threshold in thresholds])
                advance(done, len(tried))
        return clusters

    def figures(self) -> Mapping[str, Any]:
        """k1, threshold and rating of the epoch, and how cameras were used where the settings name a use."""
        return self.chosen or {}

    def advice(self, labels: PseudoLabels) -> str | None:
        """Describe a fault of the clusters of an epoch and what to change; None: there is none."""
        num, largest = len(labels.labels), int(labels.cluster_sizes.max(initial=0))
        if not num or (labels.num_clusters > 1 and 2 * largest <= max(40, num)):
            return None
        if labels.num_clusters == 0:
            return f"no clusters in {num} images: start from better weights, or check the crops (docs/adapt.md)"
        return (
            f"clusters are merging: the largest has {largest} of {num} images; set labels.threshold below "
            f"{(self.chosen or {}).get('threshold')}, or start from better weights (docs/adapt.md)"
        )

    def advice_at_end(self, history: Sequence[EpochReport], num_images: int) -> str | None:
        """Describe a fault of the labels of a run; None: most epochs had at least two clusters."""
        without = sum(epoch.num_clusters < 2 for epoch in history)
        if not num_images or not history or 2 * without < len(history):
            return None
        return f"the run learnt almost nothing: {without} of {len(history)} epochs had fewer than two clusters"

    def state_dict(self) -> dict[str, Any]:
        """The ratings so far."""
        return {"ratings": self.ratings, "chosen": self.chosen}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue where ``state_dict`` was taken."""
        self.ratings, self.chosen = state["ratings"], state["chosen"]
