"""The places of numbers in a list, which takes the place of an array over all numbers."""

from __future__ import annotations

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from spcl.compiled import PARALLEL


def places_in(listed: NDArray[np.int64], numbers: NDArray[np.int32]) -> NDArray[np.int32]:
    """Find each number's place in a list.

    Args:
        listed: ``[L]`` int64, different numbers from 0 on, in any order.
        numbers: int32 numbers, of any shape.

    Returns:
        int32 of the same shape: places in the list, -1 for numbers that are not in it.

    Cost: O(1) for each number, by a hash table of 16 L to 32 L bytes.
    """
    size = 2
    while size < 2 * len(listed):
        size *= 2
    keys, places = np.full(size, -1, dtype=np.int32), np.empty(size, dtype=np.int32)
    _fill(listed, keys, places)
    found = np.empty(numbers.size, dtype=np.int32)
    _find(keys, places, np.ascontiguousarray(numbers).reshape(-1), found)
    return found.reshape(numbers.shape)


@njit(cache=True, inline="always")
def _slot(keys, value):  # type: ignore[no-untyped-def]
    mask = len(keys) - 1
    mixed = np.int64(value) * 2654435761
    at = (mixed ^ (mixed >> 16)) & mask
    while keys[at] != -1 and keys[at] != value:
        at = (at + 1) & mask
    return at


@njit(cache=True)
def _fill(listed, keys, places):  # type: ignore[no-untyped-def]
    for place in range(len(listed)):
        at = _slot(keys, listed[place])
        keys[at] = listed[place]
        places[at] = place


@njit(cache=True, parallel=PARALLEL)
def _find(keys, places, numbers, found):  # type: ignore[no-untyped-def]
    for at in prange(len(numbers)):
        if numbers[at] < 0:
            found[at] = -1
        else:
            slot = _slot(keys, numbers[at])
            found[at] = places[slot] if keys[slot] == numbers[at] else -1
