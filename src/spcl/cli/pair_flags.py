"""The flags of known pairs, which ``spcl cluster``, ``suggest`` and ``calibrate`` have in common."""

from __future__ import annotations

from dataclasses import dataclass

from spcl.pairs.pair_options import PairOptions


@dataclass(frozen=True, kw_only=True)
class PairFlags:
    """Which knowledge of pairs of images is used."""

    pairs: str = ""
    """Table of known pairs: path_a, path_b, relation (same or different); several as a.csv,b.csv. A folder of spcl
    cluster means its corrections. Without it: pairs.csv beside the images, where there is one."""
    no_tracks: bool = False
    """Do not use the tracks of the images (column track), which are known to show one object each."""

    def pair_options(self) -> PairOptions:
        """Give the options of known pairs."""
        return PairOptions(self.pairs, tracks=not self.no_tracks)
