"""What is evaluated and how: the options of ``spcl.evaluate`` and the request of ``spcl.evaluate_dataset``.

Importing this module does not load torch, so that a wrong value is reported at once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from spcl.data.source_options import SourceOptions
from spcl.errors import InputError, require
from spcl.inference.encode_options import By, ComputeOptions, EncodeOptions


@dataclass(frozen=True)
class ExpectedCheckpoint:
    """Properties that a checkpoint must have; None: not checked.

    Attributes:
        size: Height and width of its input images in pixels.
        features: Length of its embedding layer; 0: no such layer.
        domains: Whether it has a batch norm for each domain.
    """

    size: tuple[int, int] | None = None
    features: int | None = None
    domains: bool | None = None


@dataclass(frozen=True, kw_only=True)
class EvaluationSettings:
    """How the images of an evaluation are found, read and ranked.

    Attributes:
        source: How the images are found, and which columns are read.
        batch_size: Number of images encoded at a time, at least 1.
        on_broken: Handling of images that cannot be read: ``error`` ends the evaluation, ``skip`` lists them and ranks
            them as grey images.
        num_hits: Number of most similar gallery images to return for each query; 0: none.
        by: What a query and an entry of the gallery is: an ``image``, or a ``track``, all images of it together.
    """

    source: SourceOptions = field(default_factory=SourceOptions)
    batch_size: int = 256
    on_broken: Literal["error", "skip"] = "error"
    num_hits: int = 0
    by: By = "image"

    def __post_init__(self) -> None:
        """Raise an ``InputError`` for a number that is too small, or another value of ``by``."""
        require(self.by in ("image", "track"), "by", self.by, "image or track")
        require(self.batch_size >= 1, "batch_size", self.batch_size, "at least 1")
        require(self.num_hits >= 0, "num_hits", self.num_hits, "at least 0")


@dataclass(frozen=True, kw_only=True)
class EvaluationOptions(EvaluationSettings, ComputeOptions):
    """Options of ``spcl.evaluate``: how images are found, read and encoded.

    Attributes:
        source: How the images are found, and which columns are read.
        batch_size: Number of images encoded at a time, at least 1.
        flip: Whether to average the features of each image and its mirror image, in twice the time.
        workers: Number of threads that decode images; ``auto``: as many as compute; 0: the calling thread decodes.
        device: Device of the network: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
        precision: Precision of the network: ``fp32``, ``bf16`` or ``fp16``.
        on_broken: Handling of images that cannot be read: ``error`` ends the evaluation, ``skip`` lists them and ranks
            them as grey images.
        num_hits: Number of most similar gallery images to return for each query; 0: none.
        by: What a query and an entry of the gallery is: an ``image``, or a ``track``, all images of it together.
    """


@dataclass(frozen=True)
class EvaluationRequest(EvaluationSettings):
    """What ``spcl.evaluate_dataset`` evaluates: which encoder, on which data, and how.

    Attributes:
        data: A registered name or a path; a labelled folder without queries is split into queries and gallery.
        protocol: How matches count: ``market1501``, ``vehicleid`` or ``no-camera``; None: the data set's protocol.
        rerank: Whether to evaluate a second time after k-reciprocal re-ranking.
        source: How the images are found, and which columns are read.
        batch_size: Number of images encoded at a time, at least 1.
        on_broken: Handling of images that cannot be read: ``error`` ends the evaluation, ``skip`` lists them and ranks
            them as grey images.
        num_hits: Number of most similar gallery images in the result of each query; 0: no results of single queries.
        by: What a query and an entry of the gallery is: an ``image``, or a ``track``, all images of it together.
        encoding: The encoder and its options; by default a network with ImageNet weights.
        expected: Properties that the checkpoint must have.
    """

    data: str | Path
    protocol: str | None = None
    rerank: bool = False
    encoding: EncodeOptions = field(default_factory=EncodeOptions, kw_only=True)
    expected: ExpectedCheckpoint = field(default_factory=ExpectedCheckpoint, kw_only=True)

    def __post_init__(self) -> None:
        """Raise an ``InputError`` for a number that is too small, or properties of a checkpoint that is not given."""
        super().__post_init__()
        if self.expected != ExpectedCheckpoint() and not self.encoding.encoder.checkpoint:
            raise InputError(
                "properties of a checkpoint are expected, and no checkpoint is given: give one, or leave expected out",
                code="option-does-not-apply",
            )
