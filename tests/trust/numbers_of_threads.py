"""Hashes of neighbours, labels and distances with some numbers of threads; a program of ``test_numbers.py``.

``python -m tests.trust.numbers_of_threads FIRST END`` prints, for each input, its kind and the hashes that were found;
one hash means that all numbers of threads and sizes of blocks gave the same bits.
"""

from __future__ import annotations

import os

THREADS = (1, 2, 4)
# Before anything of spcl, which takes no more threads than there are cores.
os.environ["NUMBA_NUM_THREADS"] = os.environ["OMP_NUM_THREADS"] = str(max(THREADS))

import numba  # noqa: E402, I001

import hashlib  # noqa: E402
import sys  # noqa: E402
import warnings  # noqa: E402
from collections.abc import Iterator  # noqa: E402

import numpy as np  # noqa: E402
import torch  # noqa: E402
from numpy.typing import NDArray  # noqa: E402

from spcl.neighbours.nearest import nearest_neighbours  # noqa: E402
from spcl.retrieval.jaccard import jaccard_distance  # noqa: E402
from spcl.selfpaced.pseudo_labels import pseudo_labels  # noqa: E402
from tests.trust.hard_features import KINDS, hard_features  # noqa: E402

BLOCKS = (2**10, 2**14, 2**30)
"""Largest bytes of a block of similarities."""


def hashes(features: NDArray[np.float32], k1: int) -> Iterator[tuple[str, str, str]]:
    """The hashes of labels, of distances and of neighbours, for each number of threads and size of blocks."""
    for threads in THREADS:
        torch.set_num_threads(threads)
        numba.set_num_threads(threads)
        for block in BLOCKS:
            near = nearest_neighbours(features, k1, block_bytes=block, engine="torch").indices
            distance = jaccard_distance(features, k1=k1, k2=3, neighbours=near)
            labels = pseudo_labels(features, k1=k1, k2=3, neighbours=near).labels
            yield _hash(labels), _hash(distance.indptr, distance.indices, distance.data), _hash(near)


def _hash(*arrays: NDArray[np.generic]) -> str:
    whole = hashlib.sha256()
    for array in arrays:
        whole.update(np.ascontiguousarray(array).tobytes())
    return whole.hexdigest()[:16]


def main() -> None:
    """Print the hashes of the inputs of some numbers."""
    first, end = map(int, sys.argv[1:])
    warnings.simplefilter("ignore")  # rows that are tiny or huge are normalised
    for number in range(first, end):
        kind = KINDS[number % len(KINDS)]
        found = list(hashes(hard_features(kind, number), 5 + number % 16))
        told = " ".join(",".join(sorted(set(column))) for column in zip(*found, strict=True))
        sys.stdout.write(f"{kind} {len(found)} {told}\n")


if __name__ == "__main__":
    main()
