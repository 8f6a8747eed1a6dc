"""Comparing two images as a function: from paths to a similarity, a probability and a verdict.

What computes is imported by the function: a wrong path or value is reported before torch is loaded.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from spcl.errors import InputError, require
from spcl.inference.encode_options import By, EncoderChoice
from spcl.reporting.console import Reporter
from spcl.reporting.quiet_reporters import LoggingReporter

if TYPE_CHECKING:
    from spcl.verification.compare import Comparison


@dataclass(frozen=True)
class ComparisonRequest:
    """Which two images to compare, and with what.

    Attributes:
        first: Path of an image; with ``by="track"`` a folder or a table of images of one object.
        second: Path of the other image, folder or table.
        false_match_rate: Share of pairs of different objects, above 0 and below 1, that may be called ``same``.
        calibration: A file that ``CalibrationResult.store`` or ``spcl calibrate -o`` wrote, in place of the calibration
            in the checkpoint; None: the checkpoint's, where it has one.
        encoder: The encoder; by default the calibration's, otherwise ImageNet weights.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
        by: What is compared: an ``image`` with another, or a ``track`` (all images of a folder or table) with another.

    Raises:
        InputError: If the rate is none, or a folder is given in the place of an image.
    """

    first: str | Path
    second: str | Path
    false_match_rate: float = 0.01
    calibration: str | Path | None = None
    encoder: EncoderChoice = field(default_factory=EncoderChoice)
    device: str = "auto"
    by: By = "image"

    def __post_init__(self) -> None:
        """Raise an ``InputError`` for a rate that is none, and for a folder."""
        require(0 < self.false_match_rate < 1, "false_match_rate", self.false_match_rate, "above 0 and below 1")
        for given in (self.first, self.second):
            if self.by == "image" and Path(given).is_dir():
                raise InputError(f"{given} is a folder; give one image", code="not-an-image")


def compare_images(request: ComparisonRequest, *, report: Reporter | None = None) -> Comparison:
    """Compare two images, or two tracks. ``spcl.compare`` does the same with an encoder that is loaded already.

    Args:
        request: The two images and the options.
        report: Receives which encoder is used; None: nothing is shown.

    Returns:
        Comparison: the cosine similarity and, with a calibration, probability and verdict.

    Raises:
        InputError: If an image, the encoder or the calibration cannot be used.

    Examples:
        ::

            encoder = spcl.EncoderChoice("model_best.pth.tar")
            found = spcl.compare_images(spcl.ComparisonRequest("a.jpg", "b.jpg", encoder=encoder))
            print(found.similarity, found.probability, found.verdict)

    Cost: the images are encoded; the network is loaded anew each time.
    """
    from spcl.inference.encoder_choice import chosen_encoder
    from spcl.records import Record
    from spcl.runtime import Runtime
    from spcl.verification.compare import compare
    from spcl.verification.stored_calibration import read_calibration, use_calibration

    device = Runtime(request.device).device
    sides = [_images_of(Path(given), request.by) for given in (request.first, request.second)]
    file = Path(request.calibration) if request.calibration else None
    encoder = chosen_encoder(
        request.encoder,
        lambda: [Record(image) for side in sides for image in side],
        remembered=None if file is None else read_calibration(file)[1],
        report=report or LoggingReporter(),
    ).to(device)
    if file is not None:
        use_calibration(encoder, file)
    return compare(encoder, sides[0], sides[1], false_match_rate=request.false_match_rate)


def _images_of(given: Path, by: By) -> list[Path]:
    """The images of one side; all of them show one object.

    Raises:
        InputError: If there are none, or images of several tracks are given as one.
    """
    if by == "image":
        return [given]
    from spcl.data.image_sources import images_of

    records = images_of(given).records
    tracks = sorted({record.track for record in records if record.track is not None})
    if len(tracks) > 1:
        raise InputError(
            f"{given} has images of {len(tracks)} tracks ({', '.join(tracks[:4])}); give the folder or a table of one "
            "track",
            code="several-tracks",
        )
    return [record.path for record in records]
