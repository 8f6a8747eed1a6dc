"""The index of a gallery: when it is built, how it is built, and its recall.

It is an inverted file (IVF) with about sqrt(N) regions and vectors of 8 bits a value. A search compares the vectors in
the regions nearest to the query, then the best candidates by their full vectors. The number of regions is measured.
"""

from __future__ import annotations

from dataclasses import asdict

import numpy as np

from spcl.gallery.search import IndexFacts, search_exactly
from spcl.gallery.snapshot import Snapshot
from spcl.gallery.store import Store
from spcl.randomness import generator
from spcl.reporting.console import Reporter
from spcl.reporting.quiet_reporters import LoggingReporter

EXACT_UP_TO_VALUES = 50_000 * 512
"""Largest number of values (rows x length of a vector) for which a search compares all vectors: about 0.05 seconds."""

_SCATTERED = 16
"""Cost of a row that a filter picks, in rows of a scan of the whole table."""

_RECALL_AT = 10
_WANTED_RECALL = 0.995
_SAMPLE = 100
_REGIONS = (16, 32, 64, 128, 256, 512)
_REFINE = 4
_SAMPLE_RATE = 64
_ITERATIONS = 10


def is_worth_it(rows: int, dim: int, *, scattered: bool = False) -> bool:
    """Whether comparing every vector takes too long; ``scattered``: whether a filter picks the rows among others."""
    return rows * dim * (_SCATTERED if scattered else 1) > EXACT_UP_TO_VALUES


def needs_building(snapshot: Snapshot, facts: IndexFacts | None) -> bool:
    """Whether a large gallery has no index, or has doubled since its index was built."""
    rows = snapshot.count()
    return is_worth_it(rows, snapshot.dim) and (facts is None or rows > 2 * facts.rows)


def read_facts(store: Store, snapshot: Snapshot) -> IndexFacts | None:
    """Read the facts of the index; None without a measured index."""
    kept = store.kept_index(snapshot)
    try:
        facts = IndexFacts(**kept) if isinstance(kept, dict) else None
    except TypeError:
        return None
    if facts is None:
        return None
    return facts if snapshot.indexed() is not None else None


def build_index(store: Store, report: Reporter | None = None) -> IndexFacts:
    """Build the index over all rows, and measure it."""
    report = report or LoggingReporter()
    rows = store.snapshot().count()
    with report.progress("index") as advance:
        advance(0, 2)
        store.build_index(partitions=max(2, round(rows**0.5)), sample_rate=_SAMPLE_RATE, iterations=_ITERATIONS)
        advance(1, 2)
        facts = measured_facts(store.snapshot())
        advance(2, 2)
    store.keep_index(asdict(facts))
    return facts


def measured_facts(snapshot: Snapshot, seed: int = 0) -> IndexFacts:
    """Choose the number of regions that a search compares, and measure its recall.

    The queries are images of the gallery; the query itself does not count as a hit.
    """
    own, queries = snapshot.sample(_SAMPLE, generator(seed, "queries that measure an index"))
    truth = search_exactly(snapshot, queries, _RECALL_AT + 1).row_ids
    rows = snapshot.count()
    for regions in _REGIONS:
        recalls = []
        for row, query, nearest in zip(own, queries, truth, strict=True):
            found, _ = snapshot.search_index(query, _RECALL_AT + 1, regions=regions, refine=_REFINE)
            others = nearest[nearest != row][:_RECALL_AT]
            recalls.append(np.isin(others, found).mean())
        facts = IndexFacts(rows, regions, _REFINE, float(np.mean(recalls)), len(queries))
        if facts.recall >= _WANTED_RECALL:
            break
    return facts
