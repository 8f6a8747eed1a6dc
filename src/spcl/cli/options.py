"""Flags that the commands share which encode images with a checkpoint."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class EncodingOptions:
    """How images are read and encoded."""

    domain: Literal["target", "source"] = "target"
    """Whose batch norm is used, for a checkpoint that was trained with a source."""
    arch: str = ""
    """The architecture, where the checkpoint does not tell."""
    data_dir: str = "examples/data"
    """Folder that holds the registered data sets."""
    workers: int = 4
    """Threads that decode images."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:N or mps."""
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    """Precision of the network."""
