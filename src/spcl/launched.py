"""World size and ranks from the environment variables of the launcher (torchrun or MPI), before processes join."""

from __future__ import annotations

import os
from typing import NamedTuple

# Of the size of a run, a process's rank in it, and its rank on its machine; as Accelerate reads them.
_VARIABLES = (
    ("WORLD_SIZE", "RANK", "LOCAL_RANK"),
    ("PMI_SIZE", "PMI_RANK", "MPI_LOCALRANKID"),
    ("OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_LOCAL_RANK"),
    ("MV2_COMM_WORLD_SIZE", "MV2_COMM_WORLD_RANK", "MV2_COMM_WORLD_LOCAL_RANK"),
)


class Launched(NamedTuple):
    """This process among those that were launched together.

    Attributes:
        size: Processes in all; 1 where it was started alone.
        rank: Rank of this process, from 0.
        local_rank: Rank among the processes of its machine, from 0; the global rank if the launcher does not set it.
    """

    size: int
    rank: int
    local_rank: int


def launched() -> Launched:
    """What the environment says; a variable that is empty or no number says nothing."""
    for size, rank, local_rank in _VARIABLES:
        if _number(size, 1) > 1:
            return Launched(_number(size, 1), _number(rank, 0), _number(local_rank, _number(rank, 0)))
    return Launched(1, 0, 0)


def is_main_process() -> bool:
    """Whether this process prints: known from the environment, before anything is set up."""
    return launched().rank == 0


def _number(name: str, default: int) -> int:
    value = os.environ.get(name, "")
    return int(value) if value.isdecimal() else default
