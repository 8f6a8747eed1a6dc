"""Options of encoding images: the encoder, the device, the threads. Importing this module does not load torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from spcl.errors import InputError

if TYPE_CHECKING:
    from spcl.runtime import Runtime


By = Literal["image", "track"]
"""What has one feature and one answer: an image, or a track, the images of which are used together."""


@dataclass(frozen=True)
class EncoderChoice:
    """The encoder that a user asks for: a checkpoint, or a network without one.

    Attributes:
        checkpoint: A checkpoint of spcl or of the official scripts; empty: none.
        imagenet: Whether a network with ImageNet weights is asked for by name.
        arch: Architecture. With a checkpoint: needed only if the checkpoint does not contain it. Empty without a
            checkpoint: the small default of ``imagenet_encoder``.
        pretrained: Weights of a network without a checkpoint: ``auto`` (ImageNet), ``none`` or a file.
        domain: Domain of the checkpoint whose batch norm is used: ``target`` or ``source``.
        pixel_range: Value range of images of more than 8 bits; only without a checkpoint.
    """

    checkpoint: str = ""
    imagenet: bool = False
    arch: str = ""
    pretrained: str = "auto"
    domain: str = "target"
    pixel_range: str = "auto"

    def __post_init__(self) -> None:
        """Raise an ``InputError`` if a checkpoint and options of a network without a checkpoint are given."""
        others = {
            "imagenet": self.imagenet,
            f"pretrained {self.pretrained}": self.pretrained != "auto",
            f"pixel_range {self.pixel_range}": self.pixel_range != "auto",
        }
        given = [name for name, is_given in others.items() if is_given]
        if self.checkpoint and given:
            raise InputError(
                f"{given[0]} is for a network without a checkpoint, and the checkpoint {self.checkpoint} is given; "
                "give one of both",
                code="option-contradiction",
            )

    @property
    def is_open(self) -> bool:
        """Whether no encoder is asked for, so that the encoder stored in a gallery is used."""
        given = self.checkpoint or self.imagenet or self.arch or self.pixel_range != "auto"
        return not given and self.pretrained == "auto"


@dataclass(frozen=True, kw_only=True)
class ComputeOptions:
    """How images are decoded and encoded, by whichever encoder.

    Attributes:
        flip: Whether to average the features of each image and its mirror image, in twice the time; use one value for
            all features that are compared.
        workers: Number of threads that decode images; ``auto``: as many as compute; 0: the calling thread decodes.
        device: Device of the network: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
        precision: Precision of the network: ``fp32``, ``bf16`` or ``fp16``.
    """

    flip: bool = False
    workers: int | Literal["auto"] = "auto"
    device: str = "auto"
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"

    def runtime(self) -> Runtime:
        """Make the runtime of this device and precision.

        Raises:
            InputError: If there is no such device, or it does not compute in this precision.
        """
        from spcl.runtime import Runtime

        return Runtime(self.device, self.precision)


@dataclass(frozen=True, kw_only=True)
class EncodeOptions(ComputeOptions):
    """Which encoder encodes images, and how: the options of every program that turns images into features.

    Attributes:
        encoder: The encoder; by default the gallery's encoder, otherwise a network with ImageNet weights.
        flip: Whether to average the features of each image and its mirror image, in twice the time; use one value for
            all features that are compared.
        workers: Number of threads that decode images; ``auto``: as many as compute; 0: the calling thread decodes.
        device: Device of the network: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
        precision: Precision of the network: ``fp32``, ``bf16`` or ``fp16``.
    """

    encoder: EncoderChoice = field(default_factory=EncoderChoice)
