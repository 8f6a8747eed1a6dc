"""Settings of numba for all compiled inner loops, and whether a loop is compiled already."""

from __future__ import annotations

from typing import Any

from numba import config

PARALLEL = not getattr(config, "BOUNDSCHECK", None)
"""Whether loops over ``prange`` run in parallel: always, except when numba checks indices (NUMBA_BOUNDSCHECK=1).

An index error inside a parallel loop is lost, so that the check would find nothing.
"""


def is_compiled(kernel: Any) -> bool:
    """Whether a compiled function is in this process or in numba's cache on disk, for the source as it is.

    Args:
        kernel: A function under ``njit(cache=True)``.

    Returns:
        False if the next call compiles it and stores the result; True also where numba has no cache on disk.

    Cost: one small file is read.
    """
    if getattr(kernel, "signatures", True):
        return True
    # Numba has no public name for it. The index is empty if the source or numba has changed since it was written.
    index = getattr(getattr(kernel, "_cache", None), "_cache_file", None)
    try:
        return index is None or bool(index._load_index())
    except (AttributeError, OSError):
        return True
