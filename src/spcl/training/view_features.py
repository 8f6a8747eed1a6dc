"""Labels from features that are averaged over several views of each image: kind ``views`` of label features.

Each target image is encoded as it is, and in ``views`` slightly altered forms (``data/view_store.py``)::

    f = normalise(f(x) + f(view 1 of x) + ... + f(view V of x))

The average moves less with details that an encoder in training has not learnt to ignore. The views are the same in each
epoch. A view costs one more pass over the images in each epoch.

Reference: averaging over views at test time, Krizhevsky et al., NeurIPS 2012; for pseudo labels, Berthelot et al.,
*MixMatch*, NeurIPS 2019 (label guessing).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from spcl.errors import require
from spcl.training.extracted_features import ExtractedFeatures, ExtractedFeaturesSettings

if TYPE_CHECKING:
    from torch import Tensor

    from spcl.data.affine_augment import AffineStrength
    from spcl.data.image_store import ReadsImages
    from spcl.nn.encoder_network import EncoderNetwork
    from spcl.training.parts import BuildContext, FeatureSource


@dataclass(frozen=True)
class ViewFeaturesSettings(ExtractedFeaturesSettings):
    """Pseudo labels are computed from features that are averaged over views."""

    views: int = 2
    """Altered forms of each image, beside the image itself."""
    rotation: float = 6.0
    """Largest rotation to either side, degrees."""
    scale: float = 0.06
    """Largest change of each side's length, as a share."""
    shear: float = 0.06
    """Largest shear, as a share of the height."""
    shift: float = 0.04
    """Largest shift in each direction, as a share of the side."""

    def __post_init__(self) -> None:
        require(self.views >= 1, "views", self.views, "at least 1")
        require(0 <= self.rotation <= 180, "rotation", self.rotation, "0 to 180 degrees")
        for name in ("scale", "shear", "shift"):
            require(0 <= getattr(self, name) < 1, name, getattr(self, name), "a share from 0 to below 1")

    def build(self, context: BuildContext) -> FeatureSource:
        """Build the source.

        Raises:
            InputError: If the teacher is required and the recipe has none.
        """
        from spcl.data.affine_augment import AffineStrength

        plain = super().build(context)
        if not isinstance(plain, ExtractedFeatures):
            raise TypeError(f"expected extracted features, not {type(plain).__name__}")
        strength = AffineStrength(
            flip=0.0, rotation=self.rotation, scale=self.scale, shear=self.shear, shift=self.shift, erase=0.0
        )
        return ViewFeatures(plain.network, context.extract, self.views, strength, context.seed)


@dataclass(frozen=True)
class ViewFeatures:
    """The target's features by the present state of a network, averaged over views."""

    network: EncoderNetwork
    extract: Callable[..., Tensor]
    views: int
    strength: AffineStrength
    seed: int

    def features(self) -> Tensor:
        """``[N, D]`` float32 unit rows, the same in every process."""
        from torch.nn import functional as F

        total = self.extract(self.network)
        for number in range(self.views):
            total = total + self.extract(self.network, lambda store, number=number: self._view(store, number))
        return F.normalize(total, dim=1)

    def _view(self, store: ReadsImages, number: int) -> ReadsImages:
        from spcl.data.view_store import ViewStore

        size = self.network.settings.height, self.network.settings.width
        return ViewStore(store, size=size, strength=self.strength, seed=self.seed, number=number)
