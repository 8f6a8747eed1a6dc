"""How an encoder was made, in plain values: what a gallery keeps of it, so that it can be made again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from spcl.errors import InputError

FACT = "encoder"
"""The name of an origin among the facts of a gallery, a features file or a calibration."""


@dataclass(frozen=True)
class EncoderOrigin:
    """A checkpoint, or a network with weights of ImageNet or of another project.

    Attributes:
        checkpoint: The file, an absolute path; empty: none.
        domain: Domain of the checkpoint whose batch norm is used.
        arch: The network; of a checkpoint: where it does not say (empty: it does).
        pretrained: Weights of the network without a checkpoint: ``auto`` (ImageNet), ``none``, or an absolute path.
        height: Image height in pixels; only without a checkpoint.
        width: Image width in pixels; only without a checkpoint.
        pixel_range: Value range of grey images of more than 8 bits; only without a checkpoint.
    """

    checkpoint: str = ""
    domain: str = "target"
    arch: str = ""
    pretrained: str = "auto"
    height: int = 0
    width: int = 0
    pixel_range: str = "auto"

    def __str__(self) -> str:
        """In words, for reports and errors."""
        if self.checkpoint:
            branch = "" if self.domain == "target" else f", {self.domain} branch"
            return f"the checkpoint {self.checkpoint}{branch}"
        kinds = {"auto": "ImageNet weights", "none": "random weights"}
        kind = kinds.get(self.pretrained, f"the weights {self.pretrained}")
        return f"{self.arch}, {kind}, images of {self.height} x {self.width}"

    @property
    def flags(self) -> str:
        """The flags that ask for such an encoder."""
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
        """From facts that hold what ``to_dict`` gave under ``FACT``; None: they do not say it.

        Raises:
            InputError: If it was written by another version and cannot be understood.
        """
        values = facts.get(FACT)
        if values is None:
            return None
        try:
            return cls(**values)
        except TypeError as error:
            raise InputError(f"how the encoder was made is written in a way that is not known: {values}") from error


def kept_file(name: str) -> str:
    """A file's path as an origin keeps it: absolute, so that it is found from every folder; a word stays."""
    return name if name in ("", "auto", "none") else str(Path(name).absolute())
