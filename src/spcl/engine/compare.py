"""Do two images show one object? Their similarity, and what the checkpoint's calibration says about it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from spcl.engine.calibrate import FACT, EncoderCalibration, stored_calibration
from spcl.engine.embed import Encoder, ImageLike
from spcl.errors import InputError
from spcl.retrieval.calibration import Verdict, check_rate


@dataclass(frozen=True)
class Comparison:
    """Two images compared. What needs a calibration is None without one.

    Attributes:
        similarity: Cosine similarity, -1 to 1.
        probability: That both show one object, if that is as likely as not beforehand.
        verdict: ``same``, ``different`` or ``unsure``.
        threshold: The similarity from which the verdict is ``same``.
        false_match_rate: Share of pairs of different objects that are called ``same``.
        origin: What the calibration was made from: ``labels`` or ``no labels``.
        warning: What to know, in a sentence; None: nothing.
    """

    similarity: float
    probability: float | None = None
    verdict: Verdict | None = None
    threshold: float | None = None
    false_match_rate: float | None = None
    origin: str | None = None
    warning: str | None = None

    def to_row(self) -> dict[str, Any]:
        """Plain values by name."""
        return asdict(self)


def compare(
    encoder: Encoder,
    first: ImageLike,
    second: ImageLike,
    *,
    false_match_rate: float = 0.01,
    calibration: EncoderCalibration | None = None,
) -> Comparison:
    """Compare two images.

    Args:
        encoder: From ``load_encoder``.
        first: A path, a PIL image or a uint8 array ``[H, W, 3]``.
        second: Likewise.
        false_match_rate: Share of pairs of different objects that may be called ``same``; the same share of pairs of
            one object may be called ``different``, and what lies between is ``unsure``.
        calibration: What similarities mean; None: what the checkpoint says, if it says anything (``spcl calibrate``).
            Where it is of features averaged with mirror images, these are such features, too.

    Raises:
        InputError: If an image cannot be read, the rate is none, or the calibration is another encoder's.
    """
    try:
        check_rate(false_match_rate)
    except ValueError as error:
        raise InputError(str(error)) from error
    known = calibration or stored_calibration(encoder)
    if known is not None and known.fingerprint != encoder.fingerprint:
        raise InputError(
            f"the calibration was made with the encoder {known.fingerprint}, not with {encoder.fingerprint}: "
            "make one for this checkpoint with spcl calibrate"
        )
    features = encoder.embed([first, second], flip=known is not None and known.flip)
    similarity = float(features[0] @ features[1])
    if known is None:
        warning = None
        if FACT in encoder.facts:
            warning = "the checkpoint's calibration is of other weights or another domain, and is not used"
        return Comparison(similarity, warning=warning)
    threshold = known.threshold(false_match_rate)
    return Comparison(
        similarity,
        probability=float(known.calibration.probability(similarity)),
        verdict=known.calibration.verdict(similarity, false_match_rate),
        threshold=threshold.similarity,
        false_match_rate=false_match_rate,
        origin=known.origin,
        warning=threshold.warning,
    )
