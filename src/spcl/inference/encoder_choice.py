"""Choose the encoder of a program: a checkpoint, the encoder stored in a gallery, or a network without a checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from spcl.data.crop_shapes import crop_shape
from spcl.errors import InputError
from spcl.file_kinds import is_hub
from spcl.inference.embedding import SMALL_IMAGENET_ARCH, Encoder, imagenet_encoder, load_encoder
from spcl.inference.encode_options import EncoderChoice
from spcl.inference.encoder_origin import EncoderOrigin, RememberedEncoder
from spcl.records import Record
from spcl.reporting.console import Reporter


def chosen_encoder(
    choice: EncoderChoice,
    records: Callable[[], Sequence[Record]],
    *,
    remembered: RememberedEncoder | None = None,
    report: Reporter,
) -> Encoder:
    """Make the encoder that is chosen, and report it if no checkpoint is given.

    Args:
        choice: The encoder that the user asks for.
        records: Function that gives the images; their shape decides the input size of a network without a checkpoint.
        remembered: The encoder of the features that are compared; used if the user asks for none.
        report: Receives a line on the encoder and its input size.

    Raises:
        InputError: If the checkpoint or the weights cannot be used, or the remembered encoder is unknown or has
            changed; the message names the next step.
    """
    if choice.checkpoint:
        return load_encoder(choice.checkpoint, arch=choice.arch or None, domain=choice.domain)
    if choice.domain != "target":
        raise InputError(
            f"--domain {choice.domain} is for a checkpoint, and none is given: leave it out",
            code="option-does-not-apply",
        )
    if remembered is not None and choice.is_open:
        return _made_again(remembered, report)
    origin = None if remembered is None else remembered.origin
    if origin is not None and not origin.checkpoint:
        size, reason = (origin.height, origin.width), f"images of {origin.height} x {origin.width}"
    else:
        shape = crop_shape(records())
        size, reason = shape.size, shape.reason
    encoder = imagenet_encoder(
        choice.arch or SMALL_IMAGENET_ARCH, pretrained=choice.pretrained, size=size, pixel_range=choice.pixel_range
    )
    report.say(f"encoder: {encoder.network.settings.arch}, {_weights(encoder, choice.pretrained)}; {reason}")
    return encoder


def made_again(origin: EncoderOrigin) -> Encoder:
    """Make an encoder again from its origin; it raises the errors of ``load_encoder`` and ``imagenet_encoder``."""
    if origin.checkpoint:
        return load_encoder(origin.checkpoint, arch=origin.arch or None, domain=origin.domain)
    size = origin.height, origin.width
    return imagenet_encoder(origin.arch, pretrained=origin.pretrained, size=size, pixel_range=origin.pixel_range)


def _made_again(remembered: RememberedEncoder, report: Reporter) -> Encoder:
    origin = remembered.origin
    if origin is None:
        raise InputError(
            f"{remembered.holder} does not contain how its encoder {remembered.fingerprint} was made: give the "
            "checkpoint first, or --encoder",
            code="encoder-unknown",
        )
    if origin.checkpoint and not (Path(origin.checkpoint).exists() or is_hub(Path(origin.checkpoint))):
        raise InputError(
            f"{remembered.holder} was made with {origin}, which does not exist any more: give its new path first, "
            "or --encoder FILE",
            code="no-such-checkpoint",
        )
    encoder = made_again(origin)
    if encoder.fingerprint != remembered.fingerprint:
        raise InputError(
            f"{remembered.holder} was made with {origin}, whose weights have changed "
            f"({remembered.fingerprint}, now {encoder.fingerprint}): give the checkpoint with the former weights, or "
            "embed the images again",
            code="encoder-mismatch",
        )
    report.say(f"encoder: {origin}, as {remembered.holder} has it")
    return encoder


def _weights(encoder: Encoder, pretrained: str) -> str:
    if pretrained == "none":
        return "random weights, whose features are not meaningful"
    return "ImageNet weights" if pretrained == "auto" else f"weights {pretrained} ({encoder.network.used_weights})"
