"""What a label stage will take on this machine, told before it starts."""

from __future__ import annotations

from dataclasses import dataclass

from spcl.retrieval.approximate_search import VISITS_AT_ONCE
from spcl.retrieval.exact_search import BLOCK_BYTES
from spcl.retrieval.neighbours import Engine, choose_engine

_ENCODED_PER_NEIGHBOUR = 4.0
"""Entries of an encoding row by k1, after the local query expansion; an upper value of what was measured."""

_STORED_PER_NEIGHBOUR = 3.0
"""Stored distances of a row by k1, likewise."""

_SECONDS_PER_ENTRY = 8e-8
"""Of everything after the search, by entry of the encodings, one core's work on a machine of 2025."""

_APPROXIMATE_SHARE = 0.08
"""Share of all products that the approximate search makes, where regions help."""


@dataclass(frozen=True)
class Estimate:
    """An estimate.

    Attributes:
        engine: What ``auto`` takes, or what was asked for.
        seconds: Of one label stage; right within a factor of two or three.
        memory: Bytes on the host beside what the process has, the features included.
        device_memory: Bytes on the device, where that is not the host, likewise.
    """

    engine: str
    seconds: float
    memory: int
    device_memory: int

    def words(self) -> str:
        """In one line."""
        how = "every pair compared" if self.engine != "approximate" else "only pairs of near regions compared"
        return f"{self.engine} search ({how}), about {self.seconds:.0f} s and {self.memory / 1e9:.1f} GB an epoch"


def estimate_label_stage(
    num: int,
    dim: int,
    *,
    k1: int,
    flops_per_second: float,
    engine: Engine = "auto",
    device_type: str = "cpu",
) -> Estimate:
    """Time and memory of the search and everything after it.

    Args:
        num: N.
        dim: D.
        k1: Neighbours in the k-reciprocal encoding.
        flops_per_second: Of a plain float32 matrix product on the device.
        engine: Engine of the neighbour search.
        device_type: Where it multiplies.
    """
    chosen = choose_engine(num, dim, device_type) if engine == "auto" else engine
    k1 = min(k1, num)
    products = float(num) * num * dim
    if chosen == "approximate":
        flops = 2 * _APPROXIMATE_SHARE * products
    else:
        # Our own engine multiplies each pair once.
        flops = products if chosen == "torch" else 2 * products
    encoded, stored = num * k1 * _ENCODED_PER_NEIGHBOUR, num * k1 * _STORED_PER_NEIGHBOUR
    after = encoded * _SECONDS_PER_ENTRY
    memory = 4 * num * dim + num * k1 * (8 + 4 + 4) + 2 * 8 * encoded + 2 * 8 * stored + 2 * BLOCK_BYTES
    regions = 4 * num * dim / 4 if chosen == "approximate" else 0
    if chosen == "approximate":
        # Where rows visit and who visits a region, int32 both; a row visits a quarter of the regions at most.
        memory += 2 * 4 * min(num * num**0.5 / 4, VISITS_AT_ONCE)
    on_device = 0 if device_type == "cpu" else 4 * num * dim + num * k1 * (8 + 4) + 2 * BLOCK_BYTES + regions
    memory += regions if device_type == "cpu" else 0
    return Estimate(chosen, flops / flops_per_second + after, int(memory), int(on_device))
