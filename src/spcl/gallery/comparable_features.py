"""Whether features can be compared: they come from one encoder, with or without mirror images."""

from __future__ import annotations

from spcl.errors import InputError
from spcl.inference.encoder_origin import EncoderOrigin


def check_same_encoder(holder: str, held: str, given: str, origin: EncoderOrigin | None = None) -> None:
    """Raise an ``InputError`` if features of another encoder would be compared.

    Args:
        holder: What holds the features, in words: ``the gallery g``.
        held: Fingerprint of the encoder of the held features.
        given: Fingerprint of the encoder that is given.
        origin: How the encoder of the held features was made; None: unknown.
    """
    if held == given:
        return
    made = "" if origin is None else f" ({origin})"
    raise InputError(
        f"{holder} holds features of the encoder {held}{made}, not of {given}: they cannot be compared. Use the "
        "encoder that they were made with, or embed the images again",
        code="encoder-mismatch",
    )


def check_same_flip(holder: str, held: bool, given: bool) -> None:
    """Raise an ``InputError`` if features with mirror images would be compared with features without.

    Args:
        holder: What holds the features, in words: ``the gallery g``.
        held: Whether the held features are averaged with those of mirror images.
        given: Whether the given features are.
    """
    if held == given:
        return
    features = "averaged with those of mirror images" if held else "of the images alone, without mirror images"
    raise InputError(
        f"{holder} holds features {features}: they cannot be compared with others. "
        f"{'Add' if held else 'Leave out'} --flip (flip={held})",
        code="flip-mismatch",
    )
