"""Augmentation by small affine changes, colour and blur, as a part: kind ``affine``.

What is done to the pixels is in ``data/affine_augment.py``.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Literal

from spcl.errors import require

if TYPE_CHECKING:
    from spcl.data.batches import Augmentation
    from spcl.training.augmentation import AugmentationContext


@dataclass(frozen=True)
class AffineAugmentationSettings:
    """Small rotations, scales, shears and shifts; colour and blur where they are asked for."""

    flip: float | Literal["auto"] = "auto"
    """Share of images that are mirrored; auto: 0 where the images look like writing, else 0.5."""
    rotation: float = 10.0
    """Largest rotation to either side, degrees."""
    scale: float = 0.1
    """Largest change of each side's length, as a share."""
    shear: float = 0.1
    """Largest shear, as a share of the height."""
    shift: float = 0.06
    """Largest shift in each direction, as a share of the side."""
    brightness: float = 0.0
    """Largest change of brightness, as a share."""
    contrast: float = 0.0
    """Largest change of contrast, as a share."""
    saturation: float = 0.0
    """Largest change of saturation, as a share."""
    grey: float = 0.0
    """Share of images without colour."""
    blur: float = 0.0
    """Share of images that are blurred."""
    erase: float | Literal["auto"] = "auto"
    """Share of images in which a box is erased; auto: 0 where the images look like writing, else 0.5."""

    def __post_init__(self) -> None:
        for name in ("flip", "erase"):
            share = getattr(self, name)
            require(share == "auto" or 0 <= share <= 1, name, share, "auto, or a share from 0 to 1")
        for name in ("grey", "blur"):
            require(0 <= getattr(self, name) <= 1, name, getattr(self, name), "a share from 0 to 1")
        for name in ("shear", "shift", "brightness", "contrast", "saturation"):
            require(0 <= getattr(self, name) < 1, name, getattr(self, name), "a share from 0 to below 1")
        require(0 <= self.rotation <= 180, "rotation", self.rotation, "0 to 180 degrees")
        require(0 <= self.scale < inf, "scale", self.scale, "a finite number, 0 or more")

    def build(self, context: AugmentationContext) -> Augmentation:
        """The augmentation of images of the context's size."""
        from dataclasses import asdict

        from spcl.data.affine_augment import AffineAugmentation, AffineStrength
        from spcl.data.augment import TrainAugmentation

        flip, erase = context.shares(self.flip, self.erase)
        base = TrainAugmentation(context.height, context.width, mean=context.mean, std=context.std, erase=erase)
        return AffineAugmentation(base, AffineStrength(**{**asdict(self), "flip": flip, "erase": erase}))
