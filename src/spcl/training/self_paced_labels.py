"""The paper's pseudo labels as a part, with progress and over processes: kind ``self-paced``.

The algorithm is in ``selfpaced/pseudo_labels.py``. Each process searches for the neighbours of a part of the rows; one
process does the rest, which takes a fraction of the search's time.
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

    from spcl.reporting.epoch_report import EpochReport
    from spcl.reporting.events import Reporter
    from spcl.runtime import Runtime
    from spcl.selfpaced.pseudo_labels import PseudoLabels
    from spcl.training.parts import BuildContext, Labeller, TargetView


@dataclass(frozen=True)
class SelfPacedLabelSettings:
    """Pseudo labels."""

    k1: int = 30
    """Number of neighbours in the k-reciprocal encoding, the image itself included."""
    k2: int = 6
    """Number of neighbours in the local query expansion."""
    eps: float | Literal["auto"] = 0.6
    """DBSCAN: largest distance of two neighbours, 0 to 1; auto: eps, k1 and k2 are chosen from the first features."""
    eps_gap: float = 0.02
    """Difference between eps and the eps of the tight and of the loose clustering."""
    min_samples: int = 4
    """DBSCAN: number of neighbours of a core sample, itself included."""
    search: Literal["auto", "torch", "faiss", "approximate"] = "auto"
    """Neighbour search: torch and faiss compare every pair, approximate only near regions; auto: by the number of
    images."""

    def __post_init__(self) -> None:
        require(self.k1 >= 1, "k1", self.k1, "at least 1")
        require(self.k2 >= 1, "k2", self.k2, "at least 1")
        require(self.eps_gap >= 0, "eps_gap", self.eps_gap, "0 or more")
        require(
            self.eps == "auto" or (self.eps - self.eps_gap >= 0 and self.eps + self.eps_gap < 1),
            "eps",
            self.eps,
            f"a Jaccard distance with eps - {self.eps_gap} at least 0 and eps + {self.eps_gap} below 1",
        )
        require(self.min_samples >= 1, "min_samples", self.min_samples, "at least 1")
        if self.eps == "auto":
            require(self.min_samples >= 2, "min_samples", self.min_samples, "at least 2 with eps auto")
            require(self.eps_gap <= 0.1, "eps_gap", self.eps_gap, "at most 0.1 with eps auto")

    def build(self, context: BuildContext) -> Labeller:
        """Build the labeller."""
        return SelfPacedLabeller(self, context.runtime, context.report)


class SelfPacedLabeller:
    """Computes the pseudo labels of an epoch from target features, the same in every process.

    Attributes:
        settings: Settings of the labeller.
        independence_threshold: Threshold that the first epoch with clusters fixes; None before.
        score: Label-free score of the last labels; None before the first.
        chosen: The eps, k1 and k2 that the first epoch suggests and fixes; None if they are given.
    """

    def __init__(self, settings: SelfPacedLabelSettings, runtime: Runtime, report: Reporter) -> None:
        self.settings = settings
        self.independence_threshold: float | None = None
        self.chosen: dict[str, Any] | None = None
        self.score: float | None = None
        self._runtime, self._report = runtime, report
        self._target: TargetView | None = None

    def label(self, features: Tensor, target: TargetView) -> PseudoLabels:
        """Label features ``[N, D]`` under the known pairs of the target; its cameras are not used."""
        given, self._target = self.settings, target
        if given.eps == "auto" and self.chosen is None and len(features):
            self.chosen = self._suggested(features)
        used = {"k1": given.k1, "k2": given.k2, "eps": self._eps} | (self.chosen or {})
        return self._labelled(features, self._neighbours(features, used["k1"]), used)

    def _labelled(self, features: Tensor, neighbours: NDArray[np.int64], used: Mapping[str, Any]) -> PseudoLabels:
        """Label features by their neighbours ``[N, k1]`` at the eps, k1 and k2 in ``used``."""
        from spcl.selfpaced.pseudo_labels import pseudo_labels

        target = self._target
        found = self._runtime.on_main(
            lambda: pseudo_labels(
                features,
                **used,
                eps_gap=self.settings.eps_gap,
                min_samples=self.settings.min_samples,
                neighbours=neighbours,
                independence_threshold=self.independence_threshold,
                must_link=None if target is None else target.must_link,
                cannot_link=None if target is None else target.cannot_link,
            )
        )
        self.independence_threshold = found.independence_threshold
        return self._rated(found, neighbours)

    def _rated(self, found: PseudoLabels, neighbours: NDArray[np.int64]) -> PseudoLabels:
        """Rate labels by the neighbours ``[N, k]``, and give them."""
        from spcl.training.label_score import label_score

        self.score = label_score(found.labels, neighbours) if len(found.labels) else None
        return found

    def label_score(self) -> float | None:
        """Give the label-free score of the last labels."""
        return self.score

    @property
    def _eps(self) -> float:
        from spcl.grouping.eps_choice import PAPER_EPS

        if self.chosen is not None:
            return float(self.chosen["eps"])
        return PAPER_EPS if self.settings.eps == "auto" else self.settings.eps

    def _suggested(self, features: Tensor) -> dict[str, Any]:
        """Give the eps, k1 and k2 that fit the features, and report the reasons."""
        from spcl.grouping.eps_choice import searched, suggest

        min_samples = self.settings.min_samples
        neighbours = self._neighbours(features, searched("auto", min_samples))
        constraints = None if self._target is None else self._target.constraints()
        with self._report.progress("trying settings of the clustering") as advance:
            found = self._runtime.on_main(
                lambda: suggest(
                    features,
                    min_samples=min_samples,
                    neighbours=neighbours,
                    progress=advance,
                    constraints=constraints,
                )
            )
        self._report.say(f"eps auto: eps {found.eps:g}, k1 {found.k1}, k2 {found.k2} {self._scope()}, because")
        for reason in found.reasons:
            self._report.say(f"  {reason}")
        return {"eps": found.eps, "k1": found.k1, "k2": found.k2}

    def _scope(self) -> str:
        """How long suggested settings are used, for a line of information."""
        return "for the whole run"

    def _neighbours(self, features: Tensor, k: int) -> NDArray[np.int64]:
        """Find the neighbours ``[N, k]``; each process searches for a part of the rows."""
        from spcl.training.label_neighbours import label_neighbours

        return label_neighbours(features, k, self.settings.search, self._runtime, self._report)

    def figures(self) -> Mapping[str, Any]:
        """Give eps, k1 and k2 if they were suggested; otherwise nothing."""
        return self.chosen or {}

    def advice(self, labels: PseudoLabels) -> str | None:
        """Describe a fault of the clusters of an epoch and the setting to change; None: there is none."""
        largest = int(labels.cluster_sizes.max(initial=0))
        return cluster_warning(labels.num_clusters, largest, len(labels.labels), self._eps)

    def advice_at_end(self, history: Sequence[EpochReport], num_images: int) -> str | None:
        """Describe a fault of the labels of the whole run; None: there is none."""
        return run_warning(history, num_images, self._eps)

    def state_dict(self) -> dict[str, Any]:
        """Give the values that the first epoch fixed."""
        return {"independence_threshold": self.independence_threshold, "chosen": self.chosen}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore values from ``state_dict``."""
        self.independence_threshold, self.chosen = state["independence_threshold"], state["chosen"]


def cluster_warning(num_clusters: int, largest: int, num_images: int, eps: float) -> str | None:
    """Describe a fault of the clusters of an epoch and what to change; None: there is none.

    Args:
        num_clusters: Number of clusters that were kept.
        largest: Number of images in the largest cluster.
        num_images: Number of all images.
        eps: The clustering's largest distance of two neighbours.
    """
    if num_images == 0:
        return None
    if num_clusters == 0:
        return (
            f"no clusters in {num_images} images: raise --eps (now {eps:g}), start from better weights, or check the "
            "crops (docs/adapt.md)"
        )
    if num_clusters == 1 and 2 * largest > num_images:
        # This holds for any number of images: with one class the loss is 0 for every encoder.
        return (
            f"one cluster has {largest} of {num_images} images, and there is no other: lower --eps (now {eps:g}) or "
            "--k1 (docs/adapt.md)"
        )
    if 2 * largest <= max(40, num_images):
        return None
    return (
        f"clusters are merging: the largest has {largest} of {num_images} images; lower --eps (now {eps:g}) or --k1, "
        "or start from better weights (docs/adapt.md)"
    )


def run_warning(history: Sequence[EpochReport], num_images: int, eps: float) -> str | None:
    """Describe a fault of the labels of a finished run; None: most epochs had at least two clusters.

    Args:
        history: Reports of the finished epochs.
        num_images: Number of target images; 0: a run on the source alone.
        eps: The clustering's largest distance of two neighbours.
    """
    if not history or not num_images:
        return None
    without = sum(epoch.num_clusters == 0 for epoch in history)
    merged = sum(epoch.num_clusters == 1 and 2 * epoch.largest_cluster > num_images for epoch in history)
    if 2 * (without + merged) < len(history):
        return None
    kinds = [
        f"{count} {what}"
        for count, what in ((without, "without a cluster"), (merged, "with a single cluster"))
        if count
    ]
    worst = history[-1] if history[-1].num_clusters < 2 else next(epoch for epoch in history if epoch.num_clusters < 2)
    advice = cluster_warning(worst.num_clusters, worst.largest_cluster, num_images, eps)
    return f"the run learnt almost nothing: of {len(history)} epochs {' and '.join(kinds)}; last: {advice}"
