"""Names of images under known pairs: images of one object have one name, and images of two objects never share one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from spcl.pairs.constraints import PairConstraints


def names_under_pairs(
    names: Sequence[str | None],
    similarities: NDArray[np.float64],
    constraints: PairConstraints | None,
    by_hand: Sequence[str | None] = (),
) -> list[str | None]:
    """Make the names of single images agree with what is known of pairs.

    Images of one object (a track, or pairs that are called the same) get the name that at least half of them have, the
    most frequent one, then the one with the highest similarity; otherwise they have no name. Of two objects that are
    known to be different and have one name, the one with the higher mean similarity keeps it.

    Args:
        names: Name of each of N images; None: unknown.
        similarities: ``[N]`` similarity of each image to the identity of its name.
        constraints: Known pairs of the images; None: there are none.
        by_hand: Name that a person gave to each image, None where there is none, which comes before the others; empty:
            a person gave none.

    Returns:
        N names.

    Cost: O(N + pairs).
    """
    given = list(by_hand) or [None] * len(names)
    if constraints is None:
        return [hand or name for hand, name in zip(given, names, strict=True)]
    members: list[list[int]] = [[] for _ in constraints.sizes]
    for row, node in enumerate(constraints.nodes.tolist()):
        members[node].append(row)
    of_nodes = [_name_of([names[row] for row in rows], similarities[rows]) for rows in members]
    hands = [next((given[row] for row in rows if given[row]), None) for rows in members]
    apart: list[set[int]] = [set() for _ in members]
    for first, second in constraints.cannot_link.tolist():
        apart[first].add(second)
        apart[second].add(first)
    means = [float(similarities[rows].mean()) for rows in members]
    kept: dict[int, str] = {}
    for node in sorted(range(len(members)), key=lambda node: (hands[node] is None, -means[node], node)):
        name = hands[node] or of_nodes[node]
        if name is not None and all(kept.get(other) != name for other in apart[node]):
            kept[node] = name
    return [kept.get(node) for node in constraints.nodes.tolist()]


def _name_of(names: Sequence[str | None], similarities: NDArray[np.float64]) -> str | None:
    """The name of at least half of the images of one object; None: there is none."""
    counts = Counter(name for name in names if name is not None)
    if not counts:
        return None
    highest: dict[str, float] = {}
    for name, similarity in zip(names, similarities.tolist(), strict=True):
        if name is not None:
            highest[name] = max(similarity, highest.get(name, -1.0))
    best = min(counts, key=lambda name: (-counts[name], -highest[name], name))
    return best if 2 * counts[best] >= len(names) else None
