"""What is labelled in parts, with which settings, and the result."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spcl.partitioned.partitioned_search import SearchEngine
from spcl.selfpaced.pseudo_labels import PseudoLabels
from spcl.settings_checks import check_count, check_range, check_scales
from spcl.short_repr import with_short_repr


@with_short_repr
@dataclass(frozen=True)
class PartitionedLabelRequest:
    """Features to label out of core, and how.

    Attributes:
        features: A ``.npy`` file ``[N, D]``, a Parquet file or a folder from ``spcl embed``, or an array.
        work_dir: Folder of the intermediate files; a run that was stopped goes on there.
        k1: Neighbours in the k-reciprocal encoding, the sample itself included, at least 1.
        k2: Neighbours in the local query expansion, at least 1; 1: no expansion.
        eps: DBSCAN's largest distance of two neighbours, at the normal scale, inclusive.
        eps_gap: Difference of eps to the tight and the loose scale.
        min_samples: Neighbours, the sample itself included, that make a core sample.
        neighbours: ``[N, k1]`` int, mapped or not, nearest first, the row itself among them; None: searched.
        engine: ``torch``: exact; ``approximate``: rows of near regions; ``auto``: by the size, as in one process.
        independence_threshold: Threshold of an earlier epoch; None: set from these clusters.
        memory: Bytes of memory that may be used; None: three quarters of what is free.

    Raises:
        ValueError: If a setting is out of range.
    """

    features: str | Path | NDArray[np.floating]
    work_dir: str | Path
    k1: int = 30
    k2: int = 6
    eps: float = 0.6
    eps_gap: float = 0.02
    min_samples: int = 4
    neighbours: NDArray[np.integer] | None = field(default=None, repr=False)
    engine: SearchEngine = "auto"
    independence_threshold: float | None = None
    memory: int | None = None

    def __post_init__(self) -> None:
        """Raise a ``ValueError`` for a setting that is out of range."""
        for name in ("k1", "k2", "min_samples"):
            check_count(getattr(self, name), name)
        check_scales(self.eps, self.eps_gap)
        if self.independence_threshold is not None:
            check_range(self.independence_threshold, "independence_threshold", 0, 1)
        if self.engine not in ("auto", "torch", "approximate"):
            raise ValueError(f"engine is {self.engine!r}; expected auto, torch or approximate")


@with_short_repr
@dataclass(frozen=True)
class PartitionedLabels:
    """Labels that were computed in parts.

    Attributes:
        labels: The pseudo labels, as ``spcl.pseudo_labels`` gives them.
        engine: Engine of the neighbour search; ``given``: neighbours were given.
        recall: Share of the true neighbours that were found; 1 for an exact search.
        seconds: Seconds of each stage, in their order; those of a run that was stopped count from its last start.
        processor_seconds: Seconds of all processors together in each stage, whatever else the machine does.
        num_entries: Entries of all encodings.
        num_pairs: Pairs of samples at the loose scale or nearer, each counted once.
    """

    labels: PseudoLabels
    engine: str
    recall: float
    seconds: dict[str, float]
    processor_seconds: dict[str, float]
    num_entries: int
    num_pairs: int
