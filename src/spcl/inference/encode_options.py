"""Which encoder a program uses and how it encodes images: settings alone, so that nothing heavy is imported here."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from spcl.runtime import Runtime


@dataclass(frozen=True)
class EncoderChoice:
    """What a user said of the encoder.

    Attributes:
        checkpoint: A file of ours or of the official scripts; empty: none.
        imagenet: Whether a network without a checkpoint is asked for by name.
        arch: The network; with a checkpoint: where it does not say. Empty: the small one of ``imagenet_encoder``.
        pretrained: Weights of a network without a checkpoint: ``auto`` (ImageNet), ``none`` or a file.
        domain: Domain of the checkpoint whose batch norm is used.
        pixel_range: Value range of grey images of more than 8 bits; only without a checkpoint.
    """

    checkpoint: str = ""
    imagenet: bool = False
    arch: str = ""
    pretrained: str = "auto"
    domain: str = "target"
    pixel_range: str = "auto"

    @property
    def is_open(self) -> bool:
        """Whether nothing was said: what a gallery remembers is then taken."""
        said = self.checkpoint or self.imagenet or self.arch or self.pixel_range != "auto"
        return not said and self.pretrained == "auto"


@dataclass(frozen=True, kw_only=True)
class EncodeOptions:
    """How images are encoded: what every program has in common that turns images into features.

    Attributes:
        encoder: The encoder; by default the gallery's encoder, otherwise a network with ImageNet weights.
        flip: Average the features of each image and its mirror image: twice the time. The same for all features that
            are compared.
        workers: Threads that decode images; ``auto``: as many as compute; 0: none of their own.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
        precision: Precision of the network: ``fp32``, ``bf16`` or ``fp16``.
    """

    encoder: EncoderChoice = field(default_factory=EncoderChoice)
    flip: bool = False
    workers: int | Literal["auto"] = "auto"
    device: str = "auto"
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"

    def runtime(self) -> Runtime:
        """Device and precision.

        Raises:
            InputError: If the device is not there or does not compute in this precision.
        """
        from spcl.runtime import Runtime

        return Runtime(self.device, self.precision)
