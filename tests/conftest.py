"""``spcl`` comes first: it says how threads of compiled libraries wait before any of them is loaded."""

from __future__ import annotations

import gc
import signal
from pathlib import Path

import pytest

import spcl  # noqa: F401

FIRST = (
    # Compiles the label stage, while the next, which need nothing of it, run in the other process.
    "grouping/test_groups.py",
    "data/test_image_sources.py",
    "retrieval/test_ranking.py",
    "nn/test_trunk_weights.py",
    "nn/test_reference_networks.py",
    "inference/test_official_checkpoints.py",
    "nn/test_encoder_network.py",
    "data/test_readers.py",
    "architecture/test_docs.py",
    "export/test_weights.py",
    # Long ones: started last, one of them would run alone at the end.
    "cli/test_commands.py",
    "training/test_kinds.py",
    "journeys/test_how_to_pages.py",
    "journeys/test_readme.py",
    "training_run/test_training.py",
    "distributed/test_processes.py",
    "verification/test_calibrate.py",
    "cli/test_interrupt.py",
    "tracking/test_trackers.py",
    "cli/test_without_a_checkpoint.py",
    "cli/test_embed_and_search.py",
)
"""Files of tests to start first, in this order, where several processes share them file by file."""


gc.set_threshold(50_000, 20, 20)  # the many objects of torch and of the tests make each collection slow


@pytest.fixture(autouse=True)
def _signals_as_before():
    """A program that is run inside a test and is stopped there takes Ctrl-C as the end of its process."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        if handler is not None and signal.getsignal(number) is not handler:
            signal.signal(number, handler)


def pytest_collection_finish() -> None:
    """What is loaded now stays to the end: no collection needs to look at it."""
    gc.collect()
    gc.freeze()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the tests of some files first; the others keep their order."""
    folder = Path(__file__).parent
    places = {folder / name: place for place, name in enumerate(FIRST)}
    items.sort(key=lambda item: places.get(item.path, len(FIRST)))
