"""Known pairs as constraints of a clustering, checked: one node for each object of must-links, cannot-links of nodes.

``known_pairs.py`` has the pairs with their origins; here are arrays alone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spcl.pairs.contradictions import linked_nodes


@dataclass(frozen=True)
class PairConstraints:
    """Constraints of a clustering of N samples.

    Attributes:
        nodes: ``[N]`` int64, the node of each sample, from 0 by its first sample: samples of one node are one object.
        sizes: ``[P]`` int64, the number of samples of each node.
        cannot_link: ``[C, 2]`` int64, pairs of nodes that are two objects: the lower first, each once, ascending.
    """

    nodes: NDArray[np.int64]
    sizes: NDArray[np.int64]
    cannot_link: NDArray[np.int64]

    @classmethod
    def of(
        cls, num: int, must_link: ArrayLike | None = None, cannot_link: ArrayLike | None = None
    ) -> PairConstraints | None:
        """Make constraints of pairs of rows.

        Args:
            num: N, the number of samples.
            must_link: ``[M, 2]`` int, rows of one object, transitively; None: none.
            cannot_link: ``[C, 2]`` int, rows of two objects; None: none.

        Returns:
            The constraints; None where there are no pairs.

        Raises:
            ValueError: If an array is not pairs of rows from 0 to N - 1, or a cannot-link contradicts the must-links.

        Examples:
            >>> found = PairConstraints.of(4, must_link=[[1, 3]], cannot_link=[[3, 0]])
            >>> found.nodes.tolist(), found.cannot_link.tolist()
            ([0, 1, 2, 1], [[0, 1]])
        """
        must, cannot = _pairs(must_link, "must_link", num), _pairs(cannot_link, "cannot_link", num)
        if not len(must) and not len(cannot):
            return None
        nodes = linked_nodes(num, must)
        between = np.sort(nodes[cannot], axis=1)
        wrong = np.flatnonzero(between[:, 0] == between[:, 1])
        if len(wrong):
            one, other = cannot[wrong[0]].tolist()
            raise ValueError(
                f"rows {one} and {other} are in cannot_link, and must_link makes them one object, perhaps by a chain; "
                "leave one of these pairs out"
            )
        return cls(nodes, np.bincount(nodes).astype(np.int64), np.unique(between, axis=0).reshape(-1, 2))

    def of_one_object(self) -> PairConstraints | None:
        """Give the constraints without cannot-links; None where no two samples are known to be one object."""
        if len(self.sizes) == len(self.nodes):
            return None
        return replace(self, cannot_link=self.cannot_link[:0])

    def as_pairs(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Give the constraints as must-links and cannot-links of rows, ``[M, 2]`` and ``[C, 2]`` int64."""
        firsts = np.unique(self.nodes, return_index=True)[1]
        others = np.flatnonzero(firsts[self.nodes] != np.arange(len(self.nodes)))
        return np.stack([firsts[self.nodes[others]], others], axis=1), firsts[self.cannot_link]

    def expanded(self, labels: NDArray[np.int64]) -> NDArray[np.int64]:
        """Give each sample the label of its node."""
        return labels[self.nodes]


def _pairs(given: ArrayLike | None, name: str, num: int) -> NDArray[np.int64]:
    """Check pairs of rows.

    Raises:
        ValueError: If they are not ``[M, 2]`` integers from 0 to ``num`` - 1.
    """
    pairs = np.empty((0, 2), dtype=np.int64) if given is None else np.asarray(given)
    if pairs.size == 0:
        return np.empty((0, 2), dtype=np.int64)
    if pairs.ndim != 2 or pairs.shape[1] != 2 or pairs.dtype.kind not in "iu":
        raise ValueError(f"{name} is {pairs.dtype} of shape {pairs.shape}; expected [M, 2] row numbers")
    if pairs.min() < 0 or pairs.max() >= num:
        bad = int(pairs.min()) if pairs.min() < 0 else int(pairs.max())
        raise ValueError(f"{name} has the row {bad}; expected rows from 0 to {num - 1}")
    return pairs.astype(np.int64)
