"""Endless batches of each domain, joined into one: source images first, then the target's.

One or several domains are the same code; unsupervised learning has one. Everything is a function of (seed, epoch,
iteration), so a run that was stopped draws the same batches again, whatever was read ahead.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spcl.data.augment import TrainAugmentation
from spcl.data.identity_sampler import IdentityBatches
from spcl.data.images import ImageStore
from spcl.randomness import generator


@dataclass(frozen=True)
class Batch:
    """A training batch.

    Attributes:
        images: ``[B, 3, H, W]`` float32, normalised and augmented, one domain after the other.
        slots: ``[B]`` int64, the memory row of each image.
        domain_sizes: Images of each domain.
    """

    images: Tensor
    slots: Tensor
    domain_sizes: tuple[int, ...]


@dataclass(frozen=True)
class DomainStream:
    """One domain's part of the batches.

    Attributes:
        store: Its images.
        batches: Which of them make a batch.
        slots: ``[len(store)]`` int64, the memory row of each image.
        augmentation: Of its training images.
        number: Of the domain: each has draws of its own.
        seed: Of the run.
    """

    store: ImageStore
    batches: IdentityBatches
    slots: NDArray[np.int64]
    augmentation: TrainAugmentation
    number: int
    seed: int

    def read(self, epoch: int, iteration: int, device: torch.device) -> tuple[Tensor, NDArray[np.int64]]:
        """Its images of one step, augmented on the device, and their memory rows."""
        rows = self.batches.batch(epoch, iteration)
        pixels = torch.from_numpy(self.store.read(rows)).to(device)
        draw = self.augmentation.draw(len(rows), generator(self.seed, "augmentation", self.number, epoch, iteration))
        return self.augmentation.apply(pixels, draw), self.slots[rows]


def joined_batches(
    streams: Sequence[DomainStream],
    *,
    epoch: int,
    start_iteration: int,
    num_iterations: int,
    device: torch.device,
    read_ahead: int = 2,
) -> Iterator[Batch]:
    """The batches of an epoch, from ``start_iteration`` to ``num_iterations``.

    A thread reads up to ``read_ahead`` (at least 1) batches ahead while the network works. An error there is raised
    here, with the traceback it has; leaving the loop ends the thread.
    """
    if read_ahead < 1:
        raise ValueError(f"read_ahead is {read_ahead}; at least one batch must be read before it is used")
    ready: queue.SimpleQueue[Batch | BaseException | None] = queue.SimpleQueue()
    room = threading.Semaphore(read_ahead)
    stopped = threading.Event()

    def read() -> None:
        try:
            for iteration in range(start_iteration, num_iterations):
                room.acquire()
                if stopped.is_set():
                    return
                ready.put(_joined(streams, epoch, iteration, device))
            ready.put(None)
        except BaseException as error:
            ready.put(error)

    reader = threading.Thread(target=read, name="read batches ahead", daemon=True)
    reader.start()
    try:
        while (item := ready.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            room.release()
            yield item
    finally:
        stopped.set()
        room.release()
        reader.join()


def _joined(streams: Sequence[DomainStream], epoch: int, iteration: int, device: torch.device) -> Batch:
    parts = [stream.read(epoch, iteration, device) for stream in streams]
    slots = torch.from_numpy(np.concatenate([slots for _, slots in parts]))
    return Batch(
        images=torch.cat([images for images, _ in parts]),
        slots=slots.to(device),
        domain_sizes=tuple(len(slots) for _, slots in parts),
    )
