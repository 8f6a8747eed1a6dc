"""``spcl.monitor``: from a gallery and new images to the cameras whose images have changed.

The functions import torch, so that a wrong path or value is reported before it is loaded.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from spcl.data.source_options import SourceOptions
from spcl.errors import InputError, require
from spcl.inference.encode_options import EncodeOptions
from spcl.reporting.console import Reporter, WarningsKept, say_notes

if TYPE_CHECKING:
    from spcl.gallery.gallery import Gallery
    from spcl.gallery.images_to_rows import FoundImages
    from spcl.inference.embedding import Encoder
    from spcl.monitoring.comparison import FigureShift
    from spcl.monitoring.reference import Measured


@dataclass(frozen=True)
class MonitoringRequest:
    """The gallery, and the new images that are compared with it.

    Attributes:
        gallery: Folder of the gallery.
        new: The new images: a folder, a table or a registered name.
        reference: Images that the new ones are compared with in place of the gallery's own; empty: the gallery's.
        level: Probability that a run reports drift where there is none, over all cameras and figures.
        source: How images are found, and which columns are read.
        encoding: The encoder and its options; by default the gallery's encoder.
    """

    gallery: str | Path
    new: str | Path
    reference: str | Path = ""
    level: float = 0.01
    source: SourceOptions = field(default_factory=SourceOptions)
    encoding: EncodeOptions = field(default_factory=EncodeOptions)

    def __post_init__(self) -> None:
        """Raise an ``InputError`` for a level out of range."""
        require(0 < self.level < 1, "level", self.level, "a value above 0 and below 1, such as 0.01")


@dataclass(frozen=True)
class MonitoringResult:
    """The cameras and figures that were compared.

    Attributes:
        shifts: One entry for each camera and figure that was tested.
        level: Probability that a run reports drift where there is none.
        num_new: Number of new images.
        broken: Path and reason of each new image that could not be read.
        notes: What was not tested, and why, in sentences.
    """

    shifts: tuple[FigureShift, ...]
    level: float
    num_new: int
    broken: tuple[tuple[Path, str], ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def has_drift(self) -> bool:
        """Whether a figure of a camera has shifted."""
        return any(shift.has_shifted for shift in self.shifts)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "has_drift": self.has_drift,
            "level": self.level,
            "num_new": self.num_new,
            "shifts": [asdict(shift) for shift in self.shifts],
            "broken": [{"path": str(path), "reason": reason} for path, reason in self.broken],
            "notes": list(self.notes),
        }


def monitor(request: MonitoringRequest, *, report: Reporter | None = None) -> MonitoringResult:
    """Compare new images with a gallery: similarity, rate of unknown, brightness, sharpness, colour, size, by camera.

    Args:
        request: The gallery and the new images.
        report: Receives progress, notes and warnings; None: nothing is shown.

    Returns:
        MonitoringResult.

    Raises:
        InputError: If something cannot be used, or no camera has enough images in both sets.

    Cost: one pass over the new images; one pass over at most 1000 images of each camera of the gallery, which is kept
    until the gallery changes.
    """
    from spcl.gallery.gallery import Gallery
    from spcl.gallery.gallery_encoder import encoder_to_search
    from spcl.gallery.images_to_rows import find_images
    from spcl.gallery.places import folder_of_gallery, opened_store
    from spcl.monitoring.comparison import FEWEST_IMAGES, compared
    from spcl.monitoring.reference import measured_reference

    kept = WarningsKept(report)
    folder = folder_of_gallery(request.gallery, "spcl monitor")
    opened_store(folder)
    found = find_images(request.new, request.source)
    others = find_images(request.reference, request.source) if request.reference else None
    say_notes(kept, found.notes)
    encoder = encoder_to_search(request.encoding.encoder, folder, tuple, kept)
    gallery = Gallery.open(folder, encoder)
    new, broken = _measured(gallery, encoder, found, request, kept)
    if others is None:
        reference = measured_reference(gallery, kept, num_threads=request.encoding.workers)
    else:
        reference, unread = _measured(gallery, encoder, others, request, kept)
        broken += unread
    shifts = compared(reference, new, level=request.level)
    if not shifts:
        raise InputError(
            f"no camera has at least {FEWEST_IMAGES} images in both sets: the new images are of "
            f"{_counted(new)}, the reference is of {_counted(reference)}; give more images, or name cameras as in the "
            "gallery (a column camera, or _c3 in file names)",
            code="nothing-to-compare",
        )
    return MonitoringResult(tuple(shifts), request.level, len(new.cameras), broken, _notes(reference, new, shifts))


def _measured(
    gallery: Gallery, encoder: Encoder, found: FoundImages, request: MonitoringRequest, report: Reporter
) -> tuple[Measured, tuple[tuple[Path, str], ...]]:
    """Measure images that are not in the gallery, or are left out of what they are compared with."""
    from spcl.gallery.images_to_rows import embedded_rows
    from spcl.inference.embedding import EmbedSettings
    from spcl.monitoring.figures import FIGURES
    from spcl.monitoring.reference import ALL_IMAGES, FALSE_MATCH_RATE, Measured, pixels_of

    settings = EmbedSettings(
        runtime=request.encoding.runtime(), flip=gallery.flip, num_threads=request.encoding.workers
    )
    parts: list[NDArray[np.float64]] = []
    cameras: list[str] = []
    broken: list[tuple[Path, str]] = []
    try:
        enrolled = gallery.enrolled(report=report)
        least = enrolled.threshold(FALSE_MATCH_RATE).similarity
    except (InputError, ValueError):
        enrolled = None
    for part in embedded_rows(encoder, found, settings, report=report):
        paths = part.table.column("path").to_pylist()
        values = np.full((len(paths), len(FIGURES)), np.nan)
        hits = gallery.search(part.features, k=1, without=paths, report=report)
        values[:, 0] = [each[0].similarity if each else np.nan for each in hits]
        if enrolled is not None and len(paths):
            answers = enrolled.identify(part.features, FALSE_MATCH_RATE)
            values[:, 1] = [answer.similarity < least for answer in answers]
        values[:, 2:] = pixels_of([Path(path) for path in paths], report, num_threads=request.encoding.workers)
        parts.append(values)
        cameras += [ALL_IMAGES if camera is None else camera for camera in part.table.column("camera").to_pylist()]
        broken += part.broken
    rows = np.concatenate(parts)
    groups = np.arange(len(rows)) // 8
    return Measured(rows, tuple(cameras), groups), tuple(broken)


def _counted(measured: Measured) -> str:
    counts = Counter(measured.cameras)
    listed = [f"{count} of {name!r}" for name, count in sorted(counts.items())[:10]]
    return ", ".join(listed) + (" and others" if len(counts) > len(listed) else "")


def _notes(reference: Measured, new: Measured, shifts: list[FigureShift]) -> tuple[str, ...]:
    """Say what was not tested."""
    from spcl.monitoring.figures import FIGURES

    notes = []
    tested = {shift.camera for shift in shifts}
    left = sorted(set(new.cameras) - tested)
    if left:
        count = sum(camera in left for camera in new.cameras)
        named = ", ".join(repr(camera) for camera in left[:10])
        notes.append(f"{count} new images are of cameras with fewer than 20 images in one of both sets: {named}")
    for figure in FIGURES:
        if not any(shift.figure == figure for shift in shifts):
            notes.append(f"{figure} is not compared: {_WHY[figure]}")
    return tuple(notes)


_WHY = {
    "similarity": "the gallery has too few images",
    "unknown": "the gallery has no identities, or too few for a threshold (spcl calibrate)",
    **dict.fromkeys(("brightness", "sharpness", "colour", "size"), "the files of the reference cannot be read"),
}
