"""The contrastive loss against centroids of unit length, as a part: kind ``normalised-centroids`` of the losses.

In the paper the logit of a class is the similarity with the un-normalised mean of its rows, so that a loose cluster has
smaller logits than a tight one. Here each class mean is normalised first: a logit is a cosine similarity.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from spcl.training.contrastive import ContrastiveSettings, against_class_means

if TYPE_CHECKING:
    from torch import Tensor

    from spcl.training.parts import BuildContext, LossTerm, StepInputs


@dataclass(frozen=True)
class NormalisedCentroidsSettings(ContrastiveSettings):
    """The contrastive loss against class means of unit length."""

    def build(self, context: BuildContext) -> LossTerm:
        """Build the term."""
        return NormalisedCentroids("normalised-centroids", self.weight, self.temperature)


@dataclass(frozen=True)
class NormalisedCentroids:
    """The term for a memory with ``features``, ``labels``, ``class_means`` and ``class_sizes``, whole or sharded."""

    name: str
    weight: float
    temperature: float

    def __call__(self, step: StepInputs) -> Tensor:
        """Compute the loss of each image, ``[B]``."""
        return against_class_means(step.features, step.slots, _with_unit_means(step.memory), self.temperature)


def _with_unit_means(memory: Any) -> Any:
    """Give a view of a memory with class means of unit length; the mean of an empty class stays zero."""
    from torch.nn import functional as F

    from spcl.selfpaced.sharded_memory import ShardedMemory

    means = F.normalize(memory.class_means, dim=1)
    if isinstance(memory, ShardedMemory):
        view: Any = copy.copy(memory)
        view.class_means = means
        return view
    return SimpleNamespace(
        features=memory.features, labels=memory.labels, class_sizes=memory.class_sizes, class_means=means
    )
