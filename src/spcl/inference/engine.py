"""Where the features of many images are computed: in this process, or by the processes of a Ray cluster.

Importing this module loads neither torch nor Ray.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from spcl.errors import InputError, require
from spcl.inference.encode_options import ComputeOptions

EngineName = Literal["local", "ray"]


@dataclass(frozen=True, kw_only=True)
class EmbeddingEngine:
    """Where features are computed.

    Attributes:
        name: ``local``: in this process; ``ray``: by processes of a Ray cluster, each with the encoder loaded once.
        address: Address of a running cluster, as ``ray.init`` takes it (``auto``, ``HOST:PORT``, ``ray://HOST:PORT``);
            empty: a cluster of this machine's cores and GPUs, which ends with the run.
        num_workers: Number of processes that encode; ``auto``: one for each GPU of the cluster, and without GPUs one
            for each four cores.
    """

    name: EngineName = "local"
    address: str = ""
    num_workers: int | Literal["auto"] = "auto"

    def __post_init__(self) -> None:
        """Raise an ``InputError`` for a number of processes below 1, or options of Ray without Ray."""
        require(self.name in ("local", "ray"), "engine", self.name, "local or ray")
        if self.num_workers != "auto":
            require(self.num_workers >= 1, "ray_workers", self.num_workers, "auto, or at least 1")
        given = {"--address": bool(self.address), "--ray-workers": self.num_workers != "auto"}
        for flag, is_given in given.items():
            if is_given and self.name != "ray":
                raise InputError(
                    f"{flag} is for a Ray cluster: add --engine ray, or leave it out", code="option-does-not-apply"
                )


@dataclass(frozen=True)
class RayJob:
    """What a Ray cluster is asked to compute with.

    Attributes:
        engine: The cluster.
        options: Device, precision and flip of each of its processes, as the user gave them.
    """

    engine: EmbeddingEngine
    options: ComputeOptions
