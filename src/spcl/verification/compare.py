"""Comparison of two images: their similarity, and with a calibration the probability that they show one object."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from spcl.errors import InputError
from spcl.inference.image_lists import flattened
from spcl.retrieval.track_features import track_features
from spcl.verification.calibration import Verdict
from spcl.verification.stored_calibration import FACT, EncoderCalibration, stored_calibration
from spcl.verification.thresholds import check_rate

if TYPE_CHECKING:
    from spcl.inference.embedding import Encoder, ImageLike


@dataclass(frozen=True)
class Comparison:
    """The result of comparing two images. Values that need a calibration are None without one.

    Attributes:
        similarity: Cosine similarity, -1 to 1.
        probability: Probability that both show one object, for a prior of 0.5.
        verdict: ``same``, ``different`` or ``unsure``.
        threshold: The similarity from which the verdict is ``same``.
        false_match_rate: Share of pairs of different objects that are called ``same``.
        origin: Whether the calibration comes from identities (``labels``) or from clusters (``no labels``).
        warning: Limits of the result, in a sentence; None: there are none.
    """

    similarity: float
    probability: float | None = None
    verdict: Verdict | None = None
    threshold: float | None = None
    false_match_rate: float | None = None
    origin: str | None = None
    warning: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Give the result as plain values by name, for a table or a file."""
        return asdict(self)


def compare(
    encoder: Encoder,
    first: ImageLike | Sequence[ImageLike],
    second: ImageLike | Sequence[ImageLike],
    *,
    false_match_rate: float = 0.01,
    calibration: EncoderCalibration | None = None,
) -> Comparison:
    """Compare two images, or two tracks.

    Args:
        encoder: The encoder, from ``load_encoder``.
        first: One image: a path, a PIL image or a uint8 array ``[H, W, 3]``; or a list of images of one object.
        second: The other image or list, in any of the same forms. A list may be compared with an image.
        false_match_rate: Share of pairs of different objects that may be called ``same``; the same share of pairs of
            one object may be called ``different``, and the similarities between are ``unsure``.
        calibration: Calibration of the encoder; None: the checkpoint's, if it has one (``spcl calibrate`` makes one).
            If it was made with ``flip``, the images are encoded with ``flip``, too.

    Returns:
        Comparison. Of lists, the similarity is that of their fused features (``retrieval/track_features.py``). The
            calibration is one of single images: probability and verdict are those of the mean similarity of the images
            of one list to those of the other, which is cautious, because a mean varies less than single pairs do.

    Raises:
        InputError: If an image cannot be read, the rate is out of range, or the calibration is of another encoder.
    """
    try:
        check_rate(false_match_rate)
    except ValueError as error:
        raise InputError(str(error), code="setting-out-of-range") from error
    known = calibration or stored_calibration(encoder)
    if known is not None and known.fingerprint != encoder.fingerprint:
        raise InputError(
            f"the calibration was made with the encoder {known.fingerprint}, not with {encoder.fingerprint}: "
            "make one for this checkpoint with spcl calibrate",
            code="encoder-mismatch",
        )
    sides = [list(side) if isinstance(side, list | tuple) else [side] for side in (first, second)]
    images, tracks = flattened(sides)
    features = encoder.embed(images, flip=known is not None and known.flip)
    is_unused = known is None and FACT in encoder.facts
    unused = "the checkpoint's calibration is of other weights or another domain" if is_unused else None
    if tracks is None or len(images) == 2:
        return judged(float(features[0] @ features[1]), known, false_match_rate=false_match_rate, unused=unused)
    fused = track_features(features, tracks)
    similarity = float(fused.features[0] @ fused.features[1])
    of_images = similarity * float(fused.lengths.prod())
    found = judged(of_images, known, false_match_rate=false_match_rate, unused=unused)
    return replace(found, similarity=similarity)


def judged(
    similarity: float, known: EncoderCalibration | None, *, false_match_rate: float, unused: str | None = None
) -> Comparison:
    """Judge a similarity by a calibration.

    Args:
        similarity: Cosine similarity of two images.
        known: Calibration of their encoder; None: there is none.
        false_match_rate: Share of pairs of different objects that may be called ``same``, above 0 and below 1.
        unused: Why a calibration that is there is not used; None: there is none.
    """
    if known is None:
        return Comparison(similarity, warning=None if unused is None else f"{unused}, and is not used")
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
