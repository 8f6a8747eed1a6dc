"""Context and settings of an augmentation; its kinds are in files of their own, ``*_augmentation.py``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from spcl.data.batches import Augmentation
    from spcl.reporting.events import Reporter


@dataclass(frozen=True)
class AugmentationContext:
    """The context that an augmentation is built from.

    Attributes:
        height: Image height in pixels.
        width: Image width in pixels.
        mean: Mean of each channel, of values in 0 to 1.
        std: Standard deviation of each channel.
        sample: Function that reads some of the training images, ``[n, H, W, 3]`` uint8, the same in every process.
        report: Receives the reason for what was chosen by the images.
    """

    height: int
    width: int
    mean: Sequence[float]
    std: Sequence[float]
    sample: Callable[[], NDArray[np.uint8]]
    report: Reporter

    def shares(self, flip: float | Literal["auto"], erase: float | Literal["auto"]) -> tuple[float, float]:
        """Give the shares of images that are mirrored and of those with an erased box.

        ``auto`` is chosen by the images, and the reason is reported.
        """
        if flip != "auto" and erase != "auto":
            return flip, erase
        from spcl.data.mirror_images import mirror_advice

        advice = mirror_advice(self.sample())
        chosen = advice.flip if flip == "auto" else flip, advice.erase if erase == "auto" else erase
        self.report.say(f"augmentation: flip {chosen[0]:g}, erase {chosen[1]:g}, because {advice.reason}")
        return chosen


class AugmentationSettings(Protocol):
    """Settings of an augmentation."""

    def build(self, context: AugmentationContext, /) -> Augmentation:
        """Build the augmentation of a run."""
