"""Labels and memory from features that are extracted in each epoch: kind ``extracted-into-memory`` of label features.

As kind ``extracted``, and the features also become the memory's rows of the target, so that class means (or the entries
of a cluster memory) start the epoch from the present network. It costs no further pass over the images.

Paper: Dai et al., *Cluster Contrast for Unsupervised Person Re-Identification*, ACCV 2022: the memory is initialised
again at the start of each epoch, with the means of the features of each cluster.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from spcl.training.extracted_features import ExtractedFeaturesSettings

if TYPE_CHECKING:
    from torch import Tensor

    from spcl.training.parts import BuildContext, FeatureSource, Memory


@dataclass(frozen=True)
class RefreshedMemorySettings(ExtractedFeaturesSettings):
    """Pseudo labels and the memory's rows of the target are computed from features of the present network."""

    def build(self, context: BuildContext) -> FeatureSource:
        """Build the source.

        Raises:
            InputError: If the teacher is required and the recipe has none.
        """
        return RefreshedMemory(super().build(context), context.memory, context.slots.num_source_classes)


@dataclass(frozen=True)
class RefreshedMemory:
    """The target's features by the present state of a network, which replace the memory's rows of the target."""

    source: FeatureSource
    memory: Memory
    num_source_classes: int

    def features(self) -> Tensor:
        """``[N, D]`` float32 unit rows, the same in every process; the memory has no classes until it is relabelled."""
        found = self.source.features()
        self.memory.put(self.num_source_classes, found)
        return found
