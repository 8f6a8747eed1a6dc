"""One pass of the official sampler, class after class, as it is written there."""

from __future__ import annotations

import numpy as np


def loop_pass(labels, cameras, num_instances, rng):
    """Row numbers of a pass; cameras are known."""
    rows = []
    for label in rng.permutation(np.unique(labels)):
        members = np.flatnonzero(labels == label)
        first = rng.choice(members)
        rows.append(first)
        others = [row for row in members if cameras[row] != cameras[first]]
        if not others:
            others = [row for row in members if row != first]
        if not others:
            continue
        replace = len(others) < num_instances
        rows.extend(rng.choice(others, size=num_instances - 1, replace=replace))
    return np.array(rows)
