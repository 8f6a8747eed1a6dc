"""Contradictions among known pairs: two images that chains of must-links make one object, and a cannot-link makes two.

One of the statements is wrong. What is known by hand is preferred to what a tracker found:

* a cannot-link of simultaneous tracks is dropped;
* a cannot-link by hand against a chain with tracks dissolves these tracks: their images are linked no more;
* a cannot-link by hand against a chain that is all by hand is dropped: the program cannot decide which is wrong.

Each contradiction is reported with its chain.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from spcl.pairs.known_pairs import KnownPairs, PairOrigin


def linked_nodes(num: int, must_link: NDArray[np.int64]) -> NDArray[np.int64]:
    """Number the objects that must-links make, ``[num]`` int64, by their first row; an image without links is alone.

    Examples:
        >>> linked_nodes(4, np.array([[3, 1]])).tolist()
        [0, 1, 2, 1]
    """
    entries = (np.ones(len(must_link), dtype=np.int8), (must_link[:, 0], must_link[:, 1]))
    _, parts = connected_components(coo_array(entries, (num, num)), directed=False)
    _, firsts, numbers = np.unique(parts, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(firsts))[numbers.reshape(-1)].astype(np.int64)


def without_contradictions(
    known: KnownPairs, num: int, name_of: Callable[[int], str]
) -> tuple[KnownPairs, tuple[str, ...]]:
    """Remove what contradicts itself, deterministically.

    Args:
        known: The pairs.
        num: N, the number of images.
        name_of: Gives the name of the image of a row, for the messages.

    Returns:
        Pairs of which no cannot-link is inside an object of must-links, and a sentence on each contradiction.

    Cost: O(N + pairs), and the length of its object for each contradiction.
    """
    found: list[str] = []
    while True:
        nodes = linked_nodes(num, known.must_link)
        first, second = known.cannot_link[:, 0], known.cannot_link[:, 1]
        wrong = np.flatnonzero(nodes[first] == nodes[second])
        if not len(wrong):
            return known, tuple(found)
        links = _links(known)
        dropped: list[int] = []
        dissolved: set[str] = set()
        for at in wrong.tolist():
            origin = known.cannot_origins[at]
            chain = _chain(links, int(first[at]), int(second[at]))
            # By the places of must-links, whose origins name the tracks.
            tracks = {known.must_origins[link].words for link, _ in chain if known.must_origins[link].kind == "track"}
            if origin.kind == "by hand" and tracks:
                if tracks & dissolved:
                    # A chain through a track that is gone: looked at again without it.
                    continue
                dissolved |= tracks
                decision = f"{', '.join(sorted(tracks))}: the images are linked no more"
            else:
                dropped.append(at)
                decision = f"{origin.words} is not used for them"
            found.append(_sentence(known, chain, (int(first[at]), int(second[at])), origin, name_of, decision))
        gone = [
            at for at, origin in enumerate(known.must_origins) if origin.kind == "track" and origin.words in dissolved
        ]
        known = known.without(gone, dropped)


def _links(known: KnownPairs) -> dict[int, list[tuple[int, int]]]:
    """The must-links of each row: their place, and the other row."""
    links: dict[int, list[tuple[int, int]]] = {}
    for at, (one, other) in enumerate(known.must_link.tolist()):
        links.setdefault(one, []).append((at, other))
        links.setdefault(other, []).append((at, one))
    return links


def _chain(links: dict[int, list[tuple[int, int]]], start: int, end: int) -> list[tuple[int, int]]:
    """A shortest chain of must-links between two rows: the place of each link, and the row that it leads to."""
    came_from: dict[int, tuple[int, int]] = {start: (-1, -1)}
    waiting = deque([start])
    while waiting and end not in came_from:
        row = waiting.popleft()
        for at, other in links.get(row, []):
            if other not in came_from:
                came_from[other] = (at, row)
                waiting.append(other)
    chain = []
    row = end
    while row != start:
        at, before = came_from[row]
        chain.append((at, row))
        row = before
    return chain[::-1]


def _sentence(
    known: KnownPairs,
    chain: list[tuple[int, int]],
    ends: tuple[int, int],
    origin: PairOrigin,
    name_of: Callable[[int], str],
    decision: str,
) -> str:
    steps: list[str] = []
    before = ""
    for at, row in chain:
        words = known.must_origins[at].words
        # Within a track only the last image is named.
        if words == before:
            steps.pop()
        steps.append(f"{name_of(row)} ({words})")
        before = words
    if ends[0] == ends[1]:
        return f"{name_of(ends[0])} is said to be another object than itself ({origin.words}): {decision}"
    return (
        f"{name_of(ends[0])} is one object with {', with '.join(steps)}; but {name_of(ends[0])} and "
        f"{name_of(ends[1])} are two ({origin.words}): {decision}"
    )
