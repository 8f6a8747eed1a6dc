"""One seed, split by purpose.

Every random draw comes from a generator made for it: of the seed, a purpose in words, and a position (an epoch, an
iteration, an image). So a draw depends on nothing that was drawn before it, a stop cannot lose a generator's state, and
no part of the program disturbs another's numbers.
"""

from __future__ import annotations

from zlib import crc32

import numpy as np


def generator(seed: int, purpose: str, *position: int) -> np.random.Generator:
    """A generator for one purpose at one position.

    Args:
        seed: The run's seed.
        purpose: Name of what is drawn, as text.
        position: Where: an epoch, an iteration, an image; non-negative.
    """
    return np.random.default_rng(np.random.SeedSequence((seed, crc32(purpose.encode()), *position)))


def number(seed: int, purpose: str) -> int:
    """A seed of 63 bits for a generator of another library."""
    return int(generator(seed, purpose).integers(2**63))
