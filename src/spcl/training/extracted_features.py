"""Labels from features that are extracted in each epoch, as a part: kind ``extracted`` of label features.

The memory's rows are as old as the last step that saw their image. This source encodes every target image at the start
of an epoch instead, in evaluation mode and without augmentation: one more pass over the images in each epoch.
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
    """Pseudo labels are computed from features of the present network."""

    network: Literal["auto", "encoder", "teacher"] = "auto"
    """Network that encodes the images; auto: the teacher if there is one."""

    def build(self, context: BuildContext) -> FeatureSource:
        """Build the source.

        Raises:
            InputError: If the teacher is required and the recipe has none.
        """
        teacher = context.teacher
        if self.network == "teacher" and teacher is None:
            raise InputError(
                'the label features are those of a teacher, and the recipe has none; add one: [teacher] kind = "ema"',
                code="no-teacher",
            )
        takes_teacher = teacher is not None and self.network != "encoder"
        network = teacher.network if teacher is not None and takes_teacher else context.encoder
        return ExtractedFeatures(network, context.extract)


@dataclass(frozen=True)
class ExtractedFeatures:
    """The target's features by the present state of a network."""

    network: EncoderNetwork
    extract: Callable[[EncoderNetwork], Tensor]

    def features(self) -> Tensor:
        """``[N, D]`` float32 unit rows, the same in every process."""
        return self.extract(self.network)
