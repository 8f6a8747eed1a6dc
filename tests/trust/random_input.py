"""The kinds of random input; ``python -m tests.trust.random_input NAME [N]`` tries all inputs of a kind, or one.

Each kind is an entry point of ``workers.py``. ``inputs_of_*.py`` has the samples and how they are damaged.
"""

from __future__ import annotations

import sys

from tests.trust import (
    inputs_of_encoders,
    inputs_of_galleries,
    inputs_of_images,
    inputs_of_programs,
    inputs_of_settings,
    inputs_of_tables,
)
from tests.trust.workers import EntryPoint, tried_inputs

ENTRY_POINTS: tuple[EntryPoint, ...] = (
    *inputs_of_tables.ENTRY_POINTS,
    *inputs_of_settings.ENTRY_POINTS,
    *inputs_of_images.ENTRY_POINTS,
    *inputs_of_encoders.ENTRY_POINTS,
    *inputs_of_galleries.ENTRY_POINTS,
    *inputs_of_programs.ENTRY_POINTS,
)


def main() -> None:
    """Try inputs of the kinds whose name has a word in it, and print what became of them."""
    word, *numbers = sys.argv[1:]
    for entry in ENTRY_POINTS:
        if word in entry.name:
            first = int(numbers[0]) if numbers else 0
            outcome = tried_inputs(entry, int(numbers[1]) if len(numbers) > 1 else 1 if numbers else 10_000, first)
            figures = f"{outcome.num_tried:,} tried, {len(outcome.faults)} faults; {outcome.note}"
            sys.stdout.write(f"== {entry.name}: {figures}\n{outcome}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
