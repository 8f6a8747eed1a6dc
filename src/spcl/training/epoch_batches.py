"""The batches of an epoch: each domain's images as its sampler draws them, joined."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from spcl.data.batches import Augmentation, Batch, DomainStream, Share, joined_batches
from spcl.data.image_store import ImageStore
from spcl.selfpaced.slots import Slots
from spcl.training.parts import SamplerContext, SamplerSettings

# Each domain has separate random draws: those of the target do not depend on whether there is a source.
_DOMAIN_NUMBERS = {"source": 0, "target": 1}


@dataclass(frozen=True)
class EpochBatches:
    """Gives the batches of each epoch, source images first.

    Attributes:
        stores: The training images of each domain, in the order of a batch.
        cameras: ``[images]`` int64 of each domain, -1 unknown.
        source_identities: ``[source images]`` int64, from 0 without gaps.
        slots: Layout of the memory.
        sampler: Chooses the images of each batch.
        augmentation: Augmentation of training images.
        batch_size: Images of each domain in a batch.
        iters: Number of steps in an epoch.
        seed: Seed of the run.
        device: Device on which images are augmented.
        share: Part of every batch that this process encodes.
        target_tracks: ``[N]`` int64, the track of each target image, -1 none; None: tracks are not used.
    """

    stores: Mapping[str, ImageStore]
    cameras: Mapping[str, NDArray[np.int64]]
    source_identities: NDArray[np.int64]
    slots: Slots
    sampler: SamplerSettings
    augmentation: Augmentation
    batch_size: int
    iters: int
    seed: int
    device: torch.device
    share: Share
    target_tracks: NDArray[np.int64] | None = None

    def __call__(self, epoch: int, target_labels: NDArray[np.int64], start_iteration: int) -> Iterator[Batch]:
        """Give the batches of an epoch, beginning at an iteration.

        Args:
            epoch: Number of the epoch, from 0.
            target_labels: ``[N]`` pseudo labels of the epoch.
            start_iteration: Number of the first batch, from 0.
        """
        labels = {"source": self.source_identities, "target": target_labels}
        instances = np.arange(self.slots.num_target_instances)
        slots = {"source": self.slots.of_source(self.source_identities), "target": self.slots.of_target(instances)}
        streams = []
        for domain, store in self.stores.items():
            number = _DOMAIN_NUMBERS[domain]
            tracks = self.target_tracks if domain == "target" else None
            drawn = self.sampler.build(
                SamplerContext(labels[domain], self.cameras[domain], self.batch_size, self.seed, number, tracks)
            )
            streams.append(
                DomainStream(store, drawn, slots[domain], self.cameras[domain], self.augmentation, number, self.seed)
            )
        return joined_batches(
            streams,
            epoch=epoch,
            start_iteration=start_iteration,
            num_iterations=self.iters,
            device=self.device,
            share=self.share,
        )
