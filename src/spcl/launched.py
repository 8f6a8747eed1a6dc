"""World size and ranks from the environment variables of the launcher (torchrun or MPI), before processes join."""

from __future__ import annotations

import os
from typing import NamedTuple

# Variables of the number of processes, the rank, and the rank on the machine, as Accelerate reads them.
_VARIABLES = (
    ("WORLD_SIZE", "RANK", "LOCAL_RANK"),
    ("PMI_SIZE", "PMI_RANK", "MPI_LOCALRANKID"),
    ("OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_LOCAL_RANK"),
    ("MV2_COMM_WORLD_SIZE", "MV2_COMM_WORLD_RANK", "MV2_COMM_WORLD_LOCAL_RANK"),
)


class Launched(NamedTuple):
    """Position of this process among those that were launched together.

    Attributes:
        size: Number of processes; 1 for a process that was started alone.
        rank: Rank of this process, from 0.
        local_rank: Rank among the processes of its machine, from 0; the global rank if the launcher does not set it.
    """

    size: int
    rank: int
    local_rank: int


def launched() -> Launched:
    """Read the environment variables; an empty or non-numeric value is ignored."""
    for size, rank, local_rank in _VARIABLES:
        if _number(size, 1) > 1:
            return Launched(_number(size, 1), _number(rank, 0), _number(local_rank, _number(rank, 0)))
    return Launched(1, 0, 0)


def is_main_process() -> bool:
    """Whether this process prints, by the environment, before the processes are joined."""
    return launched().rank == 0


def _number(name: str, default: int) -> int:
    value = os.environ.get(name, "")
    return int(value) if value.isdecimal() else default
