"""P classes x K images, other cameras first, as a part: kind ``identity`` of the sampler."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from spcl.errors import require

if TYPE_CHECKING:
    from spcl.training.parts import Sampler, SamplerContext


@dataclass(frozen=True)
class IdentitySamplerSettings:
    """The choice of the images of a batch."""

    num_instances: int = 4
    """Number of images of an identity or a cluster in a batch; 0: images are drawn at random."""

    def __post_init__(self) -> None:
        require(self.num_instances >= 0, "num_instances", self.num_instances, "at least 1, or 0 for random images")

    def build(self, context: SamplerContext) -> Sampler:
        """Build the sampler of a domain in an epoch."""
        from spcl.data.identity_sampler import IdentityBatches

        return IdentityBatches(
            context.labels,
            context.cameras,
            batch_size=context.batch_size,
            num_instances=self.num_instances,
            seed=context.seed,
            domain=context.domain,
            tracks=context.tracks,
        )
