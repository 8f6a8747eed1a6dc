"""Grouping as a function: from images to groups that show one object each, and the folder that holds them.

What computes is imported by the function: a wrong path or value is reported before torch is loaded.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from spcl.corrections.grouped_again import check_groups_unedited
from spcl.data.image_key import kept_path
from spcl.data.image_sources import Source, images_of
from spcl.data.source_options import SourceOptions
from spcl.data.suspect_images import SuspectImages, without_small_images
from spcl.errors import require
from spcl.inference.encode_options import EncodeOptions
from spcl.pairs.corrected_pairs import CorrectedPairs, corrected_pairs
from spcl.pairs.known_pairs import KnownPairs, pair_facts
from spcl.pairs.pair_options import PairOptions
from spcl.records import Record
from spcl.reporting.console import Reporter, say_pairs
from spcl.reporting.quiet_reporters import LoggingReporter
from spcl.short_repr import with_short_repr

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from spcl.grouping.groups import Groups
    from spcl.grouping.own_images import GroupSettings
    from spcl.inference.encoder_origin import EncoderOrigin


@dataclass(frozen=True)
class GroupingRequest:
    """Which images to group, and how.

    Attributes:
        images: A folder with all below it, a table of paths (CSV, Parquet), a registered data set, or a list of these.
        out: Folder that gets a table (``groups.csv``), a summary and a picture; None: nothing is written.
        eps: Largest distance inside a group, from 0.02 to below 0.98; auto: suggested by the images.
        k1: Neighbours looked at, about the number of images of an object, at least 1; auto: suggested by the images.
        k2: Neighbours averaged over, at least 1; auto: goes with k1.
        min_samples: About the least number of images of a group, at least 2.
        min_size: Images whose shorter side has fewer pixels are left out; 0: none.
        folders: A folder for each group in ``out``, of links to the images or of copies.
        overwrite: Replace groups that are in ``out`` already.
        pairs: Which knowledge of pairs of images is used: tracks, a table of pairs.
        source: Options of finding images.
        encoding: The encoder and its options; by default ImageNet weights, at a size that fits the images.

    Raises:
        InputError: If a setting is out of range, or folders are asked for and there is no ``out``.
    """

    images: Source
    out: str | Path | None = None
    eps: float | Literal["auto"] = "auto"
    k1: int | Literal["auto"] = "auto"
    k2: int | Literal["auto"] = "auto"
    min_samples: int = 4
    min_size: int = 0
    folders: Literal["none", "link", "copy"] = "none"
    overwrite: bool = False
    pairs: PairOptions = field(default_factory=PairOptions)
    source: SourceOptions = field(default_factory=SourceOptions)
    encoding: EncodeOptions = field(default_factory=EncodeOptions)

    def __post_init__(self) -> None:
        """Raise an ``InputError`` for a setting that is out of range."""
        require(self.eps == "auto" or 0.02 <= self.eps < 0.98, "eps", self.eps, "auto, or from 0.02 to below 0.98")
        require(self.k1 == "auto" or self.k1 >= 1, "k1", self.k1, "auto, or at least 1")
        require(self.k2 == "auto" or self.k2 >= 1, "k2", self.k2, "auto, or at least 1")
        require(self.min_samples >= 2, "min_samples", self.min_samples, "at least 2")
        require(self.min_size >= 0, "min_size", self.min_size, "at least 0")
        require(self.folders in ("none", "link", "copy"), "folders", self.folders, "none, link or copy")
        require(self.folders == "none" or self.out is not None, "out", self.out, "a folder for the groups' folders")

    def settings(self) -> GroupSettings:
        """Give the settings of the label stage."""
        from spcl.grouping.own_images import GroupSettings

        return GroupSettings(self.eps, self.k1, self.k2, self.min_samples)


@with_short_repr
@dataclass(frozen=True)
class GroupingResult:
    """Images and their groups.

    Attributes:
        records: ``[N]`` the images that were grouped, in a fixed order.
        groups: The group of each image and the confidence in it, the settings, and why these
            (``groups.suggestion.reasons``).
        broken: Path and reason of each image that could not be read.
        left_out: Path and reason of each file that was found and not used.
        odd: Copies and thumbnails among the images that were grouped.
        notes: Remarks about the source, in sentences.
        checkpoint: The encoder's file; empty: a network without one.
        encoder: Fingerprint of the encoder.
        features: ``[N, D]`` float32 unit rows, the features of the images.
        origin: How the encoder was made; None: unknown.
        source: The source of the images, as it was given.
        out: Folder that holds the results; None: nothing was written.
        not_copied: Images that are in no folder, because they were gone or the disk cannot hold their name; None: no
            folders were asked for.
        pairs: Known pairs of the images, by their rows, which the groups respect.
        contradictions: A sentence on each contradiction of the known pairs, and how it was decided.
        grouped_with: Number of the last correction in the folder of the results that the groups respect; 0: none.
    """

    records: tuple[Record, ...]
    groups: Groups
    broken: tuple[tuple[Path, str], ...]
    left_out: tuple[tuple[Path, str], ...]
    odd: SuspectImages
    notes: tuple[str, ...]
    checkpoint: str
    encoder: str
    features: NDArray[np.float32] = field(repr=False)
    origin: EncoderOrigin | None
    source: tuple[str, ...]
    out: Path | None = None
    not_copied: tuple[Path, ...] | None = None
    pairs: KnownPairs = field(default_factory=KnownPairs)
    contradictions: tuple[str, ...] = ()
    grouped_with: int = 0

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why these settings, in sentences."""
        return () if self.groups.suggestion is None else self.groups.suggestion.reasons

    def to_dict(self) -> dict[str, Any]:
        """The summary: counts, settings and reasons, plain values. The images are in ``to_rows``."""
        from spcl.grouping.groups_folder import summary_of

        plain = summary_of(self.groups) | self._facts()
        return plain if self.not_copied is None else plain | {"not_copied": [str(path) for path in self.not_copied]}

    def to_rows(self) -> list[dict[str, Any]]:
        """``path`` (absolute), ``group`` (-1: none) and ``confidence`` (0 to 1) of each image, in their order."""
        values = zip(self.records, self.groups.group.tolist(), self.groups.confidence.tolist(), strict=True)
        return [{"path": str(record.path), "group": group, "confidence": sure} for record, group, sure in values]

    def _facts(self) -> dict[str, Any]:
        return {
            "broken": len(self.broken),
            "left_out": len(self.left_out),
            "copies": len(self.odd.copies),
            "thumbnails": len(self.odd.small),
            "checkpoint": self.checkpoint,
            "encoder": self.encoder,
            "encoder_origin": None if self.origin is None else self.origin.to_dict(),
            "source": list(self.source),
            "notes": list(self.notes),
            **pair_facts(self.pairs, self.contradictions),
        }

    def _written(self, request: GroupingRequest, out: Path) -> GroupingResult:
        from spcl.grouping.groups_folder import write_groups

        summary = write_groups(
            out,
            self.records,
            self.groups,
            broken=(*self.broken, *self.left_out),
            odd=self.odd.rows(),
            facts=self._facts(),
            folders=request.folders,
            grouped_with=self.grouped_with,
        )
        gone = summary.get("not_copied")
        return replace(self, out=out, not_copied=None if gone is None else tuple(map(Path, gone)))


def group_images(request: GroupingRequest, *, report: Reporter | None = None) -> GroupingResult:
    """Group images by the object they show, without labels. Nothing among the images is changed.

    Args:
        request: The images and the options.
        report: Receives progress and notes; None: nothing is shown.

    Returns:
        GroupingResult; ``groups.group`` is ``[N]``, -1 for an image in no group.

    Raises:
        InputError: If something cannot be used, before any image is encoded; if no image can be read.

    Examples:
        ::

            found = spcl.group_images(spcl.GroupingRequest("my_crops"))
            for row in found.to_rows():
                print(row["path"], row["group"], row["confidence"])

    Cost: one pass over the images, ``N^2 D`` for the neighbours, a few label stages of O(N k1).
    """
    report = report or LoggingReporter()
    out = None if request.out is None else Path(request.out)
    found = images_of(request.images, request.source)
    # Earlier results are no crops, where the folder of the results lies among the images.
    images, odd = without_small_images(found if out is None else found.outside(out), min_size=request.min_size)

    from spcl.grouping.groups_folder import check_folder
    from spcl.grouping.own_images import embed_and_search, groups_under_pairs
    from spcl.pairs.pair_sources import pair_sources

    corrections: list[CorrectedPairs] = []
    if out is not None:
        check_folder(out, overwrite=request.overwrite)
        check_groups_unedited(out)
        corrections.append(corrected_pairs(out))
    runtime = request.encoding.runtime()
    sources = pair_sources(request.images, request.pairs, others=corrections)
    known, contradictions = sources.known(images.records)
    notes = (*images.notes, *odd.notes, *known.notes)
    say_pairs(report, notes, contradictions)
    searched = embed_and_search(
        images.records,
        encoding=request.encoding,
        k1=request.k1,
        min_samples=request.min_samples,
        runtime=runtime,
        report=report,
        memory_flags=("--k1",),
    )
    if searched.images.broken:
        known, contradictions = sources.known(searched.images.records)
    result = GroupingResult(
        records=searched.images.records,
        groups=groups_under_pairs(searched, known, request.settings(), report),
        broken=searched.images.broken,
        left_out=images.left_out,
        odd=odd,
        notes=notes,
        checkpoint=request.encoding.encoder.checkpoint,
        encoder=searched.encoder.fingerprint,
        features=searched.images.features,
        origin=searched.encoder.origin,
        source=source_names(request.images),
        pairs=known,
        contradictions=contradictions,
        grouped_with=max((source.log.next_number - 1 for source in corrections), default=0),
    )
    return result if out is None else result._written(request, out)


def source_names(source: Source) -> tuple[str, ...]:
    """Give the parts of a source as text: paths absolute, names of data sets as they are."""
    parts = [source] if isinstance(source, str | Path) else source
    return tuple(str(kept_path(part)) if Path(part).exists() else str(part) for part in parts)
