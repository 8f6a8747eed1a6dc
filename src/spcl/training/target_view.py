"""What a labeller may see of the target, besides its features: never its identities."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from zlib import crc32

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from spcl.pairs.constraints import PairConstraints
    from spcl.pairs.known_pairs import KnownPairs


@dataclass(frozen=True)
class TargetView:
    """The data of the target's training images that a labeller may use, without their identities.

    Attributes:
        num_images: N, the number of images.
        cameras: ``[N]`` int64, the camera of each image, -1 unknown.
        pairs: Pairs of images that are known to show one object or two, without contradictions; None: none. The loop
            refuses labels that contradict them.
        tracks: ``[N]`` int64, the track of each image, -1 none; None: no tracks are used.
    """

    num_images: int
    cameras: NDArray[np.int64]
    pairs: KnownPairs | None = None
    tracks: NDArray[np.int64] | None = None

    @property
    def must_link(self) -> NDArray[np.int64] | None:
        """Rows of one object, ``[M, 2]`` int64, transitively; None: none are known."""
        return None if self.pairs is None else self.pairs.must_link

    @property
    def cannot_link(self) -> NDArray[np.int64] | None:
        """Rows of two objects, ``[C, 2]`` int64; None: none are known."""
        return None if self.pairs is None else self.pairs.cannot_link

    def constraints(self) -> PairConstraints | None:
        """Give the known pairs as constraints of a clustering; None: none are known."""
        from spcl.pairs.constraints import PairConstraints

        return PairConstraints.of(self.num_images, self.must_link, self.cannot_link)

    def checksum(self) -> int:
        """Give a number by which a continued run recognises the same pairs and tracks; 0 without any."""
        if self.pairs is None and self.tracks is None:
            return 0
        pairs = 0 if self.pairs is None else self.pairs.checksum()
        return crc32(b"" if self.tracks is None else self.tracks.tobytes(), pairs)
