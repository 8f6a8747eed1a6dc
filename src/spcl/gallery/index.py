"""The index of a gallery: when it is worth it, how it is built, and how much of the truth it finds.

An inverted file (IVF): vectors in about sqrt(N) regions, each value in 8 bits; a search looks through the regions
nearest to the query and compares the best candidates by their full vectors. How many regions is chosen by measurement.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np

from spcl.atomic_files import written_aside
from spcl.gallery.search import IndexFacts, search_exactly
from spcl.gallery.snapshot import Snapshot
from spcl.gallery.store import Store
from spcl.randomness import generator
from spcl.reporting.console import Reporter, SilentReporter

EXACT_UP_TO_VALUES = 50_000 * 512
"""Up to so many values (rows x length of a vector) a search compares all vectors: some hundredths of a second."""

_SCATTERED = 16
"""A row that is read for itself costs about so many times as much as one of a whole table."""

_FILE = "index.json"
_RECALL_AT = 10
_WANTED_RECALL = 0.995
_SAMPLE = 100
_REGIONS = (16, 32, 64, 128, 256, 512)
_REFINE = 4
_SAMPLE_RATE = 64
_ITERATIONS = 10


def is_worth_it(rows: int, dim: int, *, scattered: bool = False) -> bool:
    """Whether comparing every vector takes too long; ``scattered``: of rows that a filter picks among others."""
    return rows * dim * (_SCATTERED if scattered else 1) > EXACT_UP_TO_VALUES


def needs_building(snapshot: Snapshot, facts: IndexFacts | None) -> bool:
    """Whether there should be an index and is none, or the gallery has doubled since it was built."""
    rows = snapshot.count()
    return is_worth_it(rows, snapshot.dim) and (facts is None or rows > 2 * facts.rows)


def read_facts(folder: Path, snapshot: Snapshot) -> IndexFacts | None:
    """The facts of the index; None where there is none that was measured."""
    try:
        facts = IndexFacts(**json.loads((folder / _FILE).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
    return facts if snapshot.indexed() is not None else None


def build_index(store: Store, report: Reporter | None = None) -> IndexFacts:
    """Build the index over all rows, and measure it."""
    report = report or SilentReporter()
    rows = store.snapshot().count()
    with report.progress("index") as advance:
        advance(0, 2)
        store.build_index(partitions=max(2, round(rows**0.5)), sample_rate=_SAMPLE_RATE, iterations=_ITERATIONS)
        advance(1, 2)
        facts = measured(store.snapshot())
        advance(2, 2)
    with written_aside(store.folder / _FILE) as aside:
        aside.write_text(json.dumps(asdict(facts)), encoding="utf-8")
    return facts


def measured(snapshot: Snapshot, seed: int = 0) -> IndexFacts:
    """How many regions a search must look through, and what it then finds of the truth.

    The queries are images of the gallery; an image itself does not count as found.
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
