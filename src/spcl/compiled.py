"""Settings of numba for all compiled inner loops."""

from __future__ import annotations

from numba import config

PARALLEL = not getattr(config, "BOUNDSCHECK", None)
"""Whether loops over ``prange`` run in parallel: always, except when numba checks indices (NUMBA_BOUNDSCHECK=1).

An index error inside a parallel loop is lost, so that the check would find nothing.
"""
