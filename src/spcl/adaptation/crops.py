"""The crops of an adaptation: those to train on, and those to rate both encoders on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spcl.adaptation.settings import AdaptationSettings
from spcl.data.image_decoding import check_images
from spcl.data.image_sources import images_of
from spcl.errors import InputError
from spcl.randomness import generator
from spcl.records import Record
from spcl.reporting.console import Reporter

LEAST_IMAGES = 16
"""Smallest number of crops to adapt on: four objects of four images."""

HELD_BACK_SHARE = 0.25
HELD_BACK_FROM = 400
"""Smallest number of crops of which some are held back; of fewer, a quarter would be too few to rate on."""
MOST_HELD_BACK = 5_000
"""Largest number of crops to rate on: rating takes seconds, and a share of them is precise to a percentage point."""


@dataclass(frozen=True)
class Crops:
    """The crops of an adaptation, without identities.

    Attributes:
        trained: Crops to train on.
        rated: Crops to rate both encoders on.
        broken: Path and reason of each crop that cannot be read.
        notes: Remarks about their source, in sentences.
    """

    trained: tuple[Record, ...]
    rated: tuple[Record, ...]
    broken: tuple[tuple[Path, str], ...]
    notes: tuple[str, ...]

    @property
    def are_held_back(self) -> bool:
        """Whether the crops to rate on are not trained on."""
        return self.rated != self.trained

    def words(self) -> str:
        """Give the numbers of crops as a sentence."""
        others = f"{len(self.rated)} other crops" if self.are_held_back else "the same crops, because there are few"
        return f"training on {len(self.trained)} crops; both encoders are measured on {others}"


def name_of(images: str | Path | Sequence[str | Path]) -> str:
    """Give the name of the crops for messages and for the recipe of the run."""
    return str(images) if isinstance(images, str | Path) else f"{len(images)} files"


def find_crops(images: str | Path | Sequence[str | Path], settings: AdaptationSettings, report: Reporter) -> Crops:
    """Find the crops, open each of them, and choose those to rate on.

    Raises:
        InputError: If there are fewer than ``LEAST_IMAGES`` that can be read.
    """
    table = images_of(images, settings.source())
    found = table.records
    for note in table.notes:
        report.say(f"note: {note}")
    with report.progress("checking the crops") as advance:
        broken = tuple(check_images(found, sample=None, num_threads=settings.workers, progress=advance))
    unreadable = {path for path, _ in broken}
    crops = tuple(record for record in found if record.path not in unreadable)
    if broken:
        listed = "; ".join(f"{path}: {reason}" for path, reason in broken[:5])
        report.warn(f"{len(broken)} crop(s) cannot be read and are left out: {listed}{' ...' if broken[5:] else ''}")
    if len(crops) < LEAST_IMAGES:
        raise InputError(
            f"{len(crops)} crops in {name_of(images)} are too few to learn from; at least {LEAST_IMAGES} are needed, "
            "and some hundred are better (docs/adapt.md)",
            code="too-few-images",
        )
    rows = held_back(len(crops), settings.seed)
    rated = set(rows.tolist()) if len(rows) < len(crops) else set()
    trained = tuple(record for row, record in enumerate(crops) if row not in rated)
    return Crops(trained, tuple(crops[row] for row in rows), broken, table.notes)


def held_back(num_images: int, seed: int) -> NDArray[np.int64]:
    """Choose the crops that both encoders are rated on.

    Args:
        num_images: Number of crops.
        seed: Seed of the random choice.

    Returns:
        Ascending row numbers: a quarter of the crops (at most ``MOST_HELD_BACK``), which are then not trained on; all
        of them where there are fewer than ``HELD_BACK_FROM``.
    """
    if num_images < HELD_BACK_FROM:
        return np.arange(num_images)
    count = min(MOST_HELD_BACK, round(HELD_BACK_SHARE * num_images))
    rows = generator(seed, "crops held back from an adaptation").choice(num_images, size=count, replace=False)
    return np.sort(rows).astype(np.int64)
