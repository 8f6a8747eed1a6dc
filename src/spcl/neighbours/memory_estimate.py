"""Estimated time and memory of the label stage on this machine, reported before it starts."""

from __future__ import annotations

from dataclasses import dataclass

from spcl.neighbours.approximate_search import VISITS_AT_ONCE
from spcl.neighbours.exact_search import BLOCK_BYTES
from spcl.neighbours.nearest import Engine, choose_engine

_ENCODED_PER_NEIGHBOUR = 4.0
"""Entries of an encoding row, divided by k1, after the local query expansion; an upper value of measurements."""

_STORED_PER_NEIGHBOUR = 3.0
"""Stored distances in a row of the Jaccard distance, divided by k1; an upper value of measurements."""

_SECONDS_PER_ENTRY = 8e-8
"""Seconds for each entry of the encodings of all steps after the search, on one core of a machine of 2025."""

_APPROXIMATE_SHARE = 0.08
"""Share of all products that the approximate search computes."""


@dataclass(frozen=True)
class Estimate:
    """Estimated time and memory of a label stage.

    Attributes:
        engine: Engine of the search: the choice of ``auto``, or the given one.
        seconds: Duration of one label stage, within a factor of two or three.
        memory: Additional bytes on the host, the features included.
        device_memory: Additional bytes on the device, the features included; 0 on the host.
    """

    engine: str
    seconds: float
    memory: int
    device_memory: int

    def words(self) -> str:
        """Describe the estimate in one line."""
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
    """Estimate time and memory of the search and the steps after it.

    Args:
        num: N, the number of images.
        dim: D, the length of a feature.
        k1: Neighbours in the k-reciprocal encoding.
        flops_per_second: Speed of a float32 matrix product on the device.
        engine: Engine of the neighbour search.
        device_type: Type of the device of the search.
    """
    chosen = choose_engine(num, dim, device_type) if engine == "auto" else engine
    k1 = min(k1, num)
    products = float(num) * num * dim
    if chosen == "approximate":
        flops = 2 * _APPROXIMATE_SHARE * products
    else:
        # The exact engine of spcl multiplies each pair once.
        flops = products if chosen == "torch" else 2 * products
    encoded, stored = num * k1 * _ENCODED_PER_NEIGHBOUR, num * k1 * _STORED_PER_NEIGHBOUR
    after = encoded * _SECONDS_PER_ENTRY
    memory = 4 * num * dim + num * k1 * (8 + 4 + 4) + 2 * 8 * encoded + 2 * 8 * stored + 2 * BLOCK_BYTES
    regions = 4 * num * dim / 4 if chosen == "approximate" else 0
    if chosen == "approximate":
        # The regions of each row and the rows of each region, both int32; a row visits at most a quarter of the
        # regions.
        memory += 2 * 4 * min(num * num**0.5 / 4, VISITS_AT_ONCE)
    on_device = 0 if device_type == "cpu" else 4 * num * dim + num * k1 * (8 + 4) + 2 * BLOCK_BYTES + regions
    memory += regions if device_type == "cpu" else 0
    return Estimate(chosen, flops / flops_per_second + after, int(memory), int(on_device))
