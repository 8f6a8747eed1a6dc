"""The groups of images that were identified: what is asked for and what was found, without what computes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from spcl.errors import require
from spcl.pairs.pair_options import PairOptions

IDENTIFIED = "identified"
"""Key of the result of an identification in the summary of a folder of groups."""


@dataclass(frozen=True)
class UnknownGrouping:
    """How the unknown images of an identification are grouped, and where all images are written as groups.

    Attributes:
        out: Folder that gets the groups, as ``spcl cluster`` writes them: named images as groups with their names,
            unknown images as groups ``new-1``, ``new-2`` and so on.
        eps: Largest distance inside a group, from 0.02 to below 0.98; auto: suggested by the unknown images.
        k1: Neighbours looked at, about the number of images of an object, at least 1; auto: suggested.
        min_samples: About the least number of images of a group, at least 2.
        overwrite: Replace groups that are in ``out`` already; corrections by hand in it stay and count.
        pairs: Which knowledge of pairs of images is used: tracks, a table of pairs.

    Raises:
        InputError: If a setting is out of range.
    """

    out: str | Path
    eps: float | Literal["auto"] = "auto"
    k1: int | Literal["auto"] = "auto"
    min_samples: int = 4
    overwrite: bool = False
    pairs: PairOptions = field(default_factory=PairOptions)

    def __post_init__(self) -> None:
        """Raise an ``InputError`` for a setting that is out of range."""
        require(self.eps == "auto" or 0.02 <= self.eps < 0.98, "eps", self.eps, "auto, or from 0.02 to below 0.98")
        require(self.k1 == "auto" or self.k1 >= 1, "k1", self.k1, "auto, or at least 1")
        require(self.min_samples >= 2, "min_samples", self.min_samples, "at least 2")


@dataclass(frozen=True)
class NewGroup:
    """A group of unknown images.

    Attributes:
        name: Its name, ``new-7``.
        num_images: Number of its images.
        probability: Mean probability that two of its images show one object; None without a calibration.
        nearest: The identity of the gallery that is most similar to the mean of the group.
        similarity: Cosine similarity of that mean to the mean of the identity.
    """

    name: str
    num_images: int
    probability: float | None
    nearest: str
    similarity: float


@dataclass(frozen=True)
class IdentifiedGroups:
    """Identified images as groups.

    Attributes:
        out: The folder of the groups.
        named: Number of images of each identity that was given, the most frequent first.
        new: The groups of unknown images, the largest first.
        num_single: Number of unknown images in no group.
        num_changed: Number of images that have another name than by themselves, because of known pairs.
        reasons: Why these settings of the grouping, in sentences; empty if nothing was grouped.
        notes: Remarks about known pairs, in sentences.
        contradictions: A sentence on each contradiction of the known pairs, and how it was decided.
    """

    out: Path
    named: Mapping[str, int]
    new: tuple[NewGroup, ...]
    num_single: int
    num_changed: int = 0
    reasons: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    contradictions: tuple[str, ...] = ()

    @property
    def num_named(self) -> int:
        """Number of images with an identity of the gallery."""
        return sum(self.named.values())

    @property
    def num_grouped(self) -> int:
        """Number of unknown images in groups."""
        return sum(group.num_images for group in self.new)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "folder": str(self.out),
            "named_images": self.num_named,
            "grouped_images": self.num_grouped,
            "single_images": self.num_single,
            "named": dict(self.named),
            "new_groups": [asdict(group) for group in self.new],
            "changed_by_pairs": self.num_changed,
            "reasons": list(self.reasons),
            "notes": list(self.notes),
            "contradictions": list(self.contradictions),
        }
