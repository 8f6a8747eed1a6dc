"""How the inner loops are compiled: one setting for all of them."""

from __future__ import annotations

from numba import config

PARALLEL = not getattr(config, "BOUNDSCHECK", None)
"""Whether loops over ``prange`` share the threads: always, except where numba checks indices (NUMBA_BOUNDSCHECK=1).

An index error inside a parallel loop is lost, so that the check would find nothing.
"""
