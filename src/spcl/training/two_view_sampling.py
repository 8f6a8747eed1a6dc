"""P classes x K images, and an un-clustered image twice, as a part: kind ``two-views`` of the sampler.

As kind ``identity``, but an image that is alone in its class is drawn twice, one after the other. Each draw is
augmented separately, so that the batch has two views of it, which the loss of kind ``two-views`` compares.

K is even, so that the two views are neighbours at an even place: they are in the share of one process, and in one part
of an accumulated batch, if the number of images of a domain in a share or part is even.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from spcl.data.identity_sampler import IdentityBatches
from spcl.errors import require

if TYPE_CHECKING:
    from spcl.training.parts import Sampler, SamplerContext


@dataclass(frozen=True)
class TwoViewSamplerSettings:
    """The choice of the images of a batch, with un-clustered images twice."""

    num_instances: int = 4
    """Images of an identity or a cluster in a batch, an even number."""

    def __post_init__(self) -> None:
        is_even = self.num_instances >= 2 and self.num_instances % 2 == 0
        require(is_even, "num_instances", self.num_instances, "an even number of at least 2")

    def build(self, context: SamplerContext) -> Sampler:
        """Build the sampler of a domain in an epoch."""
        return TwoViewBatches(
            context.labels,
            context.cameras,
            batch_size=context.batch_size,
            num_instances=self.num_instances,
            seed=context.seed,
            domain=context.domain,
            tracks=context.tracks,
        )


class TwoViewBatches(IdentityBatches):
    """The batches of a domain, with each image of a class of one twice."""

    def _pass(self, rng: np.random.Generator) -> NDArray[np.int64]:
        rows = super()._pass(rng)
        classes = np.unique(self._labels, return_inverse=True)[1].reshape(-1)
        is_alone = np.bincount(classes)[classes] == 1
        return np.repeat(rows, np.where(is_alone[rows], 2, 1))
