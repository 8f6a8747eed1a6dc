"""How an encoder was made, in plain values: a gallery stores it, so that the encoder can be made again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from spcl.errors import InputError

FACT = "encoder"
"""The name under which a gallery, a features file or a calibration stores an origin."""


@dataclass(frozen=True)
class EncoderOrigin:
    """The origin of an encoder: a checkpoint, or a network with weights of ImageNet or of another project.

    Attributes:
        checkpoint: Absolute path of the checkpoint; empty: none.
        domain: Domain of the checkpoint whose batch norm is used.
        arch: Architecture; with a checkpoint: empty if the checkpoint contains it.
        pretrained: Weights of the network without a checkpoint: ``auto`` (ImageNet), ``none``, or an absolute path.
        height: Image height in pixels; only without a checkpoint.
        width: Image width in pixels; only without a checkpoint.
        pixel_range: Value range of images of more than 8 bits; only without a checkpoint.
    """

    checkpoint: str = ""
    domain: str = "target"
    arch: str = ""
    pretrained: str = "auto"
    height: int = 0
    width: int = 0
    pixel_range: str = "auto"

    def __str__(self) -> str:
        """Describe the origin, for reports and error messages."""
        if self.checkpoint:
            branch = "" if self.domain == "target" else f", {self.domain} branch"
            return f"the checkpoint {self.checkpoint}{branch}"
        kinds = {"auto": "ImageNet weights", "none": "random weights"}
        kind = kinds.get(self.pretrained, f"the weights {self.pretrained}")
        return f"{self.arch}, {kind}, images of {self.height} x {self.width}"

    @property
    def flags(self) -> str:
        """The flags of the command line that choose this encoder."""
        if self.checkpoint:
            return f"--encoder {self.checkpoint}"
        weights = "" if self.pretrained == "auto" else f" --pretrained {self.pretrained}"
        values = "" if self.pixel_range == "auto" else f" --range {self.pixel_range}"
        return f"--encoder imagenet --arch {self.arch}{weights}{values}"

    def to_dict(self) -> dict[str, Any]:
        """Give the values as plain types."""
        return asdict(self)

    @classmethod
    def of_facts(cls, facts: Mapping[str, Any]) -> EncoderOrigin | None:
        """Read the origin from stored facts, under the name ``FACT``; None if they do not contain it.

        Raises:
            InputError: If a later version of spcl wrote it with other fields.
        """
        values = facts.get(FACT)
        if values is None:
            return None
        try:
            return cls(**values)
        except TypeError as error:
            raise InputError(
                f"the origin of the encoder has unknown fields: {values}; a later version of spcl may have written it",
                code="version-not-supported",
            ) from error


@dataclass(frozen=True)
class RememberedEncoder:
    """The encoder of stored features.

    Attributes:
        holder: Name of what stores the features: ``the gallery g``.
        fingerprint: Fingerprint of the encoder.
        origin: How the encoder was made; None: unknown, in a file of spcl 0.1.0 or of another program.
    """

    holder: str
    fingerprint: str
    origin: EncoderOrigin | None


def kept_file(name: str) -> str:
    """Make a path absolute, so that every folder finds it; ``auto``, ``none`` and ``hf-hub:NAME`` are not changed."""
    return name if name in ("", "auto", "none") or name.startswith("hf-hub:") else str(Path(name).absolute())
