"""The paper's pseudo labels with settings that follow the training: kind ``self-paced-each-epoch`` of the labels.

The paper fixes eps, k1 and k2 for the whole run and freezes the reliability threshold in the first epoch. Features
change most in the first epochs, so that both fit badly later. Here eps, k1 and k2 are suggested from the features of
each epoch (``grouping/eps_choice.py``), and eps moves by an exponential average, so that it does not jump::

    eps_t = smoothing * eps_(t-1) + (1 - smoothing) * suggested eps        (k1 and k2: as suggested)

The clusters that become classes are chosen by ``keep``:

* ``all``: every cluster at the normal scale, whole;
* ``reliable``: the paper's selection (section 3.3), with the threshold set anew in each epoch;
* ``first-threshold``: the paper's selection, with the threshold of the first epoch that had clusters.

Where the clusters of an epoch have merged or vanished, eps is lowered or raised (``collapsed_labels.py``).

With ``cameras = "centre"`` the mean of each camera is subtracted from the features first
(``retrieval/camera_centring.py``), where at least two cameras are known.

Paper: section 3.3, equations 4 and 5, for the selection. The suggestion is not in the paper.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from spcl.errors import require
from spcl.retrieval.camera_centring import camera_centred
from spcl.training.label_cameras import knows_cameras, note_unknown_cameras
from spcl.training.self_paced_labels import SelfPacedLabeller, SelfPacedLabelSettings

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from spcl.selfpaced.pseudo_labels import PseudoLabels
    from spcl.training.parts import BuildContext, Labeller, TargetView


@dataclass(frozen=True)
class LabelsEachEpochSettings(SelfPacedLabelSettings):
    """Pseudo labels with eps, k1 and k2 suggested in each epoch; a given eps keeps k1 and k2 as given, too."""

    eps: float | Literal["auto"] = "auto"
    """DBSCAN: largest distance of two neighbours; auto: eps, k1 and k2 are suggested by the features of each epoch."""
    smoothing: float = 0.5
    """Share of the last epoch's eps in this epoch's; 0: as suggested."""
    mend: bool = True
    """Lower eps for an epoch in which a cluster holds over half of the images; raise it where there are not two."""
    keep: Literal["all", "reliable", "first-threshold"] = "all"
    """Clusters that become classes: all; the paper's selection, its threshold set in each epoch or by the first."""
    cameras: Literal["ignore", "centre"] = "ignore"
    """centre: features without the mean of their camera, where at least two cameras are known."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 <= self.smoothing < 1, "smoothing", self.smoothing, "a share from 0 to below 1")
        require(self.cameras in ("ignore", "centre"), "cameras", self.cameras, "ignore, or centre")

    def build(self, context: BuildContext) -> Labeller:
        """The labeller; says once if cameras are to be used and are not known."""
        note_unknown_cameras(self.cameras, context)
        return LabelsEachEpoch(self, context.runtime, context.report)


class LabelsEachEpoch(SelfPacedLabeller):
    """Labels of an epoch from target features, with settings of the epoch; the same in every process."""

    settings: LabelsEachEpochSettings
    mended_from: float | None = None
    """The eps of the last labels before it was changed because they had collapsed; None: it was not changed."""

    def label(self, features: Tensor, target: TargetView) -> PseudoLabels:
        """Labels of features ``[N, D]`` under known pairs; cameras are used only as the settings say."""
        self._target = target
        if self.settings.cameras == "centre" and knows_cameras(target):
            features = camera_centred(features, target.cameras)
        before = self.chosen if self.settings.eps == "auto" else None
        self.chosen = self.mended_from = None
        if self.settings.keep == "reliable":
            self.independence_threshold = None
        return super().label(features, target) if before is None else self._continued(features, target, before)

    def _labelled(self, features: Tensor, neighbours: NDArray[np.int64], used: Mapping[str, Any]) -> PseudoLabels:
        """Label features; if the labels have collapsed, at another eps."""
        from spcl.training.collapsed_labels import collapse_of, distances_to_try, mended, mended_message

        threshold, labelled = self.independence_threshold, super()._labelled

        def at(eps: float) -> PseudoLabels:
            self.independence_threshold = threshold
            found = labelled(features, neighbours, {**used, "eps": eps})
            return found if self.settings.keep != "all" else self._rated(_whole(found), neighbours)

        eps, gap = float(used["eps"]), self.settings.eps_gap
        found = at(eps)
        way = collapse_of(found.labels) if self.settings.mend else None
        if way is None:
            return found
        tried = distances_to_try(eps, way, least=gap, most=0.99 - gap)
        better = mended(tried, at, lambda each: each.labels)
        if better is None:
            return at(eps)
        self.mended_from, self.chosen = eps, {**used, "eps": better[0]}
        self._report.say(mended_message(way, "eps", eps, better[0]))
        return better[1]

    def figures(self) -> Mapping[str, Any]:
        """Eps, k1 and k2 if they were suggested or changed, and the eps before a collapse was mended."""
        return super().figures() if self.mended_from is None else {**super().figures(), "mended_from": self.mended_from}

    def _continued(self, features: Tensor, target: TargetView, before: Mapping[str, Any]) -> PseudoLabels:
        """Labels of a later epoch, with an eps between the last one and the suggested one."""
        if not len(features):
            self.chosen = dict(before)
            return super().label(features, target)
        suggested = self._suggested(features)
        share = self.settings.smoothing
        smooth = share * float(before["eps"]) + (1 - share) * float(suggested["eps"])
        self.chosen = suggested | {"eps": round(smooth, 6)}
        return super().label(features, target)

    def _scope(self) -> str:
        return "for this epoch"


def _whole(found: PseudoLabels) -> PseudoLabels:
    """The labels of every cluster at the normal scale, with the reliability that was measured."""
    from dataclasses import replace

    from spcl.selfpaced.pseudo_labels import PseudoLabels

    whole = PseudoLabels.from_labels(found.scales.normal)
    return replace(found, labels=whole.labels, num_clusters=whole.num_clusters, num_unclustered=whole.num_unclustered)
