"""The paper's augmentation as a part: kind ``paper``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from spcl.errors import require

if TYPE_CHECKING:
    from spcl.data.batches import Augmentation
    from spcl.training.augmentation import AugmentationContext


@dataclass(frozen=True)
class PaperAugmentationSettings:
    """Mirrored, shifted by a padded crop, a box erased."""

    flip: float | Literal["auto"] = 0.5
    """Share of images that are mirrored; auto: 0 where the images look like writing, else 0.5."""
    pad: int = 10
    """Width of the black border before the crop, in pixels."""
    erase: float | Literal["auto"] = 0.5
    """Share of images in which a box is erased; auto: 0 where the images look like writing, else 0.5."""

    def __post_init__(self) -> None:
        require(self.flip == "auto" or 0 <= self.flip <= 1, "flip", self.flip, "auto, or a share from 0 to 1")
        require(self.pad >= 0, "pad", self.pad, "0 or more pixels")
        require(self.erase == "auto" or 0 <= self.erase <= 1, "erase", self.erase, "auto, or a share from 0 to 1")

    def build(self, context: AugmentationContext) -> Augmentation:
        """The augmentation of images of the context's size."""
        from spcl.data.augment import TrainAugmentation

        flip, erase = context.shares(self.flip, self.erase)
        return TrainAugmentation(
            context.height,
            context.width,
            mean=context.mean,
            std=context.std,
            flip=flip,
            pad=self.pad,
            erase=erase,
        )
