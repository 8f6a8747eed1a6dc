"""One seed, split by purpose.

Every random draw comes from a separate generator, made from the seed, the name of a purpose, and a position (an epoch,
an iteration, an image). So a draw does not depend on earlier draws, stopping a run loses no generator state, and no
part of the program changes the random numbers of another.
"""

from __future__ import annotations

from zlib import crc32

import numpy as np


def generator(seed: int, purpose: str, *position: int) -> np.random.Generator:
    """Make a generator for one purpose at one position.

    Args:
        seed: Seed of the run.
        purpose: Name of what is drawn, as text.
        position: Numbers of the epoch, the iteration or the image; non-negative.
    """
    return np.random.default_rng(np.random.SeedSequence((seed, crc32(purpose.encode()), *position)))


def number(seed: int, purpose: str) -> int:
    """Make a seed of 63 bits for a generator of another library."""
    return int(generator(seed, purpose).integers(2**63))
