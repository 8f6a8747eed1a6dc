"""Calibration as a function: from images and an encoder to what its similarities mean, and where that is stored.

What computes is imported by the functions: a wrong path or value is reported before torch is loaded. How a calibration
is made is in ``calibrate.py``.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spcl.atomic_files import check_place
from spcl.data.image_sources import Source, images_of
from spcl.data.source_options import SourceOptions
from spcl.errors import InputError, require
from spcl.inference.encode_options import EncodeOptions
from spcl.pairs.known_pairs import KnownPairs
from spcl.pairs.pair_options import PairOptions
from spcl.reporting.console import Reporter, say_pairs
from spcl.reporting.quiet_reporters import LoggingReporter

if TYPE_CHECKING:
    from spcl.inference.encoder_origin import EncoderOrigin
    from spcl.verification.stored_calibration import EncoderCalibration

_RATES = (0.1, 0.01, 0.001, 0.0001)
"""False-match rates whose thresholds are always given."""


@dataclass(frozen=True)
class CalibrationRequest:
    """Which images and which encoder to calibrate.

    Attributes:
        images: A folder with all below it, a table of paths (CSV, Parquet), a registered data set, or a list of these.
            Best images that the encoder was not trained on.
        labelled: Take pairs from the identities of the images; otherwise no identity is read.
        false_match_rate: Share of pairs of different objects, above 0 and below 1, that may be taken for one: its
            threshold is among the figures.
        seed: Seed of the random pairs, at least 0.
        pairs: Which knowledge of pairs of images is used without labels: tracks, a table of pairs.
        source: Options of finding images, and of identities if labels are used.
        encoding: The encoder and its options; by default ImageNet weights, at a size that fits the images.

    Raises:
        InputError: If a value is out of range, ``source.identity_from`` is given without labels, or a table of pairs
            with labels.
    """

    images: Source
    labelled: bool = False
    false_match_rate: float = 0.01
    seed: int = 0
    pairs: PairOptions = field(default_factory=PairOptions)
    source: SourceOptions = field(default_factory=SourceOptions)
    encoding: EncodeOptions = field(default_factory=EncodeOptions)

    def __post_init__(self) -> None:
        """Raise an ``InputError`` for a value that is out of range."""
        require(0 < self.false_match_rate < 1, "false_match_rate", self.false_match_rate, "above 0 and below 1")
        require(self.seed >= 0, "seed", self.seed, "at least 0")
        is_used = self.labelled or self.source.identity_from == "auto"
        require(is_used, "identity_from", self.source.identity_from, "auto without labels, which are not read")
        if self.labelled and self.pairs.files:
            raise InputError(
                f"a table of pairs ({self.pairs.files[0]}) is for a calibration without labels, and identities are "
                "used here; leave one of them out (--pairs, --labels)",
                code="option-contradiction",
            )

    def check_places(self, output: str | Path | None = None) -> None:
        """Check that ``CalibrationResult.store`` can write, before the work.

        Args:
            output: Path of the written file or checkpoint.

        Raises:
            InputError: If the checkpoint's folder or the file cannot be written.
        """
        if output is not None:
            check_place(Path(output))
        checkpoint = Path(self.encoding.encoder.checkpoint)
        if checkpoint.is_file() and not os.access(checkpoint.parent, os.W_OK):
            raise InputError(
                f"the calibration is stored in {checkpoint}, whose folder cannot be written; copy it elsewhere",
                code="cannot-write",
            )


@dataclass(frozen=True)
class CalibrationResult:
    """The meaning of an encoder's similarities.

    Attributes:
        calibration: The calibration; ``spcl.compare`` takes it, too.
        false_match_rate: The requested false-match rate.
        checkpoint: The encoder's file; empty: a network without one.
        arch: The architecture, where it was given.
        encoder_origin: How the encoder was made; None: not known.
        source_notes: Remarks about the source of the images, in sentences.
    """

    calibration: EncoderCalibration
    false_match_rate: float
    checkpoint: str
    arch: str
    encoder_origin: EncoderOrigin | None
    source_notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The figures as fractions, plain values: ``threshold`` and ``different_below`` are cosine similarities."""
        found, numbers = self.calibration, self.calibration.calibration
        return {
            "origin": found.origin,
            "num_images": found.num_images,
            "num_groups": found.num_groups,
            "num_same_pairs": numbers.same.num_scores,
            "num_different_pairs": numbers.different.num_scores,
            "false_match_rate": self.false_match_rate,
            "threshold": numbers.threshold(self.false_match_rate).similarity,
            "different_below": numbers.lower_threshold(self.false_match_rate),
            "least_rate_kept": numbers.least_rate(),
            "thresholds": self.to_rows(),
            "fingerprint": found.fingerprint,
            "notes": list(found.notes),
        }

    def to_rows(self) -> list[dict[str, Any]]:
        """Threshold, share of pairs of one object above it and a warning for each of some false-match rates."""
        rates = sorted({*_RATES, self.false_match_rate}, reverse=True)
        return [
            {
                "false_match_rate": threshold.false_match_rate,
                "similarity": threshold.similarity,
                "true_match_rate": threshold.true_match_rate,
                "factor_on_others": self.calibration.calibration.factor(threshold.false_match_rate),
                "warning": threshold.warning,
            }
            for threshold in map(self.calibration.threshold, rates)
        ]

    def store(self, output: str | Path | None = None) -> tuple[str, ...]:
        """Write the calibration into the checkpoint, where there is one, and into a file, where one is named.

        Args:
            output: A JSON file, which ``spcl.compare_images`` takes; replaced where it is there. None: no file.

        Returns:
            The files that were written.

        Raises:
            InputError: If one cannot be written, or there is neither a checkpoint nor a file.
        """
        from spcl.verification.calibrate import store_calibration, write_calibration

        if not self.checkpoint and not output:
            raise InputError(
                "without a checkpoint a calibration is stored in a file: give the name of the file (-o)",
                code="missing-argument",
            )
        if self.checkpoint:
            store_calibration(self.checkpoint, self.calibration, arch=self.arch or None)
        if output:
            write_calibration(Path(output), self.calibration, self.encoder_origin)
        return tuple(str(place) for place in (self.checkpoint, output) if place)


def calibrate_images(request: CalibrationRequest, *, report: Reporter | None = None) -> CalibrationResult:
    """Find out what the similarities of an encoder mean on images like these. Nothing is written: see ``store``.

    Args:
        request: The images and the encoder.
        report: Receives progress and notes; None: nothing is shown.

    Returns:
        CalibrationResult.

    Raises:
        InputError: If something cannot be used, before any image is encoded; if the images give too few pairs.

    Examples:
        ::

            encoding = spcl.EncodeOptions(encoder=spcl.EncoderChoice("model_best.pth.tar"))
            found = spcl.calibrate_images(spcl.CalibrationRequest("my_crops", encoding=encoding))
            print(found.to_dict()["threshold"])
            found.store()

    Cost: one pass over at most 30,000 images; without labels a second one over 2,000, and the clustering.
    """
    from spcl.pairs.pair_sources import pair_sources

    report = report or LoggingReporter()
    images = images_of(request.images, request.source, labelled=request.labelled)
    sources = None if request.labelled else pair_sources(request.images, request.pairs)
    known, contradictions = sources.known(images.records) if sources else (KnownPairs(), ())
    say_pairs(report, (*images.notes, *known.notes), contradictions)
    written = {} if request.labelled else images.columns

    from spcl.inference.encoder_choice import chosen_encoder
    from spcl.verification.calibrate import calibrate
    from spcl.verification.calibration_pairs import moments_of

    encoding = request.encoding
    runtime = encoding.runtime()
    encoder = chosen_encoder(encoding.encoder, lambda: images.records, report=report)
    found = calibrate(
        encoder,
        images.records,
        labelled=request.labelled,
        moments=moments_of(written.get("camera"), written.get("time"), len(images)),
        seed=request.seed,
        runtime=runtime,
        report=report,
        num_threads=encoding.workers,
        flip=encoding.flip,
        pairs=sources,
    )
    return CalibrationResult(
        calibration=found,
        false_match_rate=request.false_match_rate,
        checkpoint=encoding.encoder.checkpoint,
        arch=encoding.encoder.arch,
        encoder_origin=encoder.origin,
        source_notes=(*images.notes, *known.notes),
    )
