"""Which knowledge of pairs of images a command uses. Light to import: flags are read before what computes is loaded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class PairOptions:
    """Which knowledge of pairs of images is used.

    Attributes:
        pairs: A table of pairs (CSV), or several, as a sequence or as ``a.csv,b.csv``; a folder of groups means its
            corrections. Empty: ``pairs.csv`` and ``corrections.csv`` beside the images, where there are such.
        tracks: Whether the tracks of the images are used.
    """

    pairs: str | Sequence[str] = ""
    tracks: bool = True

    @property
    def files(self) -> tuple[Path, ...]:
        """The tables that are named."""
        if isinstance(self.pairs, str):
            whole = Path(self.pairs)
            # A file whose name has a comma is one file.
            return (whole,) if whole.is_file() else tuple(Path(name) for name in self.pairs.split(",") if name.strip())
        return tuple(Path(name) for name in self.pairs)
