"""Labels from features that are extracted anew each epoch, as a part: kind ``extracted`` of label features.

The memory's rows are as old as the last step that saw their image. This source encodes every target image at the start
of an epoch instead, in evaluation mode and without augmentation: one more pass over the images an epoch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from spcl.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

    from spcl.nn.encoder_network import EncoderNetwork
    from spcl.training.parts import BuildContext, FeatureSource


@dataclass(frozen=True)
class ExtractedFeaturesSettings:
    """Labels are made from features of this epoch's network."""

    network: Literal["auto", "encoder", "teacher"] = "auto"
    """Which network encodes the images; auto: the teacher where there is one."""

    def build(self, context: BuildContext) -> FeatureSource:
        """The source.

        Raises:
            InputError: If the teacher is asked for and there is none.
        """
        teacher = context.teacher
        if self.network == "teacher" and teacher is None:
            raise InputError(
                'label features come from the teacher, and the recipe has none: [teacher] kind = "ema"',
                code="no-teacher",
            )
        takes_teacher = teacher is not None and self.network != "encoder"
        network = teacher.network if teacher is not None and takes_teacher else context.encoder
        return ExtractedFeatures(network, context.extract)


@dataclass(frozen=True)
class ExtractedFeatures:
    """The target's features by a network as it is now."""

    network: EncoderNetwork
    extract: Callable[[EncoderNetwork], Tensor]

    def features(self) -> Tensor:
        """``[N, D]`` float32 unit rows, the same in every process."""
        return self.extract(self.network)
