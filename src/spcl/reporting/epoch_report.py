"""The report of an epoch: one object, and one row of ``metrics.jsonl``."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass
class EpochReport:
    """The figures of an epoch, filled in while it runs.

    Attributes:
        epoch: Number of the epoch, from 1.
        num_clusters: Classes of more than one target image.
        num_unclustered: Target images that are a class of their own.
        cluster_size_quartiles: Images in a cluster: first quartile, median, third quartile; empty without clusters.
        largest_cluster: Images in the largest cluster; 0 without clusters.
        independence_threshold: Threshold of the self-paced selection; None without one.
        label_score: Label-free score of the pseudo labels (``training/label_score.py``), from -1 to 1, high is good;
            None: the labeller gives none.
        label_agreement: Adjusted Rand index with the pseudo labels of the epoch before; None in the first epoch.
        label_figures: Further figures of the labeller, for example settings that it chose.
        loss: The mean loss, summed over domains and terms; None before the first step is counted.
        losses: The mean loss of each domain, summed over terms.
        loss_terms: The mean loss of each term, times its weight, by domain.
        evaluation: mAP, top1, top5 and top10 as fractions, the protocol, valid queries and broken images; empty where
            the epoch was not evaluated.
        seconds: Duration of each stage: label, train, evaluate.
    """

    epoch: int
    num_clusters: int = 0
    num_unclustered: int = 0
    cluster_size_quartiles: list[float] = field(default_factory=list)
    largest_cluster: int = 0
    independence_threshold: float | None = None
    label_score: float | None = None
    label_agreement: float | None = None
    label_figures: dict[str, Any] = field(default_factory=dict)
    loss: float | None = None
    losses: dict[str, float] = field(default_factory=dict)
    loss_terms: dict[str, dict[str, float]] = field(default_factory=dict)
    evaluation: dict[str, Any] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def mean_ap(self) -> float | None:
        """The mAP on the target, a fraction; None where the epoch was not evaluated."""
        value = self.evaluation.get("mAP")
        return None if value is None else float(value)

    def to_row(self) -> dict[str, Any]:
        """Plain values on one level, for a line of ``metrics.jsonl``; losses by term where there are several.

        The figures of the labels are left out where they are None.
        """
        plain = asdict(self)
        unknown = [name for name in ("label_score", "label_agreement") if plain[name] is None]
        for name in ("label_figures", "evaluation", *unknown, *(() if len(self.loss_terms) > 1 else ("loss_terms",))):
            del plain[name]
        return self.label_figures | plain | self.evaluation
