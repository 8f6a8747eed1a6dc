"""Training batches: the source images first, then the target images, read ahead in a thread.

One domain (unsupervised learning) and several use the same code. A batch is a function of (seed, epoch, iteration), so
a run that was stopped draws the same batches again, however many were read ahead.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spcl.data.image_store import ImageStore
from spcl.randomness import generator


@dataclass(frozen=True)
class Batch:
    """A training batch.

    Attributes:
        images: ``[B, 3, H, W]`` float32, normalised and augmented; this process's share, one domain after the other.
        slots: ``[B]`` int64 on the host, the memory row of each image.
        domain_sizes: Number of images of each domain in this process's share.
        all_slots: Memory rows of the whole batch, of all processes, on the host, one domain after the other.
        cameras: ``[B]`` int64 on the host, the camera of each image, -1 unknown.
    """

    images: Tensor
    slots: Tensor
    domain_sizes: tuple[int, ...]
    all_slots: Tensor
    cameras: Tensor

    def split(self, count: int) -> list[Batch]:
        """Split the batch into ``count`` parts with the same share of each domain, in order."""
        if count == 1:
            return [self]
        images, slots, cameras = (
            [part.chunk(count) for part in torch.split(whole, list(self.domain_sizes))]
            for whole in (self.images, self.slots, self.cameras)
        )
        return [
            Batch(
                torch.cat([chunks[at] for chunks in images]),
                torch.cat([chunks[at] for chunks in slots]),
                tuple(len(chunks[at]) for chunks in slots),
                self.all_slots,
                torch.cat([chunks[at] for chunks in cameras]),
            )
            for at in range(count)
        ]


@dataclass(frozen=True)
class Share:
    """The part of every batch that one process reads.

    Attributes:
        rank: Rank of the process.
        of: Number of equal parts into which each domain's images are cut.
    """

    rank: int = 0
    of: int = 1

    def rows(self, batch_size: int) -> slice:
        """Give the process's rows of a domain's part of a batch."""
        return slice(batch_size * self.rank // self.of, batch_size * (self.rank + 1) // self.of)


class DrawsBatches(Protocol):
    """A sampler: chooses the images of each batch."""

    def batch(self, epoch: int, iteration: int) -> NDArray[np.int64]:
        """Give the row numbers ``[batch size]`` of a domain's images."""


class Augmentation(Protocol):
    """The random transforms of training images; a draw is separate from its application."""

    def draw(self, batch_size: int, rng: np.random.Generator, /) -> Any:
        """Draw for each image of a batch; ``draw.part(rows)`` gives the draw of some of them."""

    def apply(self, images: Tensor, draw: Any, /) -> Tensor:
        """Apply a draw to ``[B, H, W, 3]`` uint8 images; give ``[B, 3, H, W]`` float32, normalised."""


@dataclass(frozen=True)
class DomainStream:
    """One domain's part of the batches.

    Attributes:
        store: Images of the domain.
        batches: Chooses the images of each batch.
        slots: ``[len(store)]`` int64, the memory row of each image.
        cameras: ``[len(store)]`` int64, the camera of each image, -1 unknown.
        augmentation: Augmentation of the domain's training images.
        number: Number of the domain; each has separate random draws.
        seed: Seed of the run.
    """

    store: ImageStore
    batches: DrawsBatches
    slots: NDArray[np.int64]
    cameras: NDArray[np.int64]
    augmentation: Augmentation
    number: int
    seed: int

    def read(
        self, epoch: int, iteration: int, device: torch.device, share: Share = Share()
    ) -> tuple[Tensor, NDArray[np.int64], NDArray[np.int64]]:
        """Read the images of one step, augmented on the device, with their row numbers and those of the whole batch.

        The augmentation of an image does not depend on the number of processes that share the batch.
        """
        rows = self.batches.batch(epoch, iteration)
        own = share.rows(len(rows))
        draw = self.augmentation.draw(len(rows), generator(self.seed, "augmentation", self.number, epoch, iteration))
        pixels = torch.from_numpy(self.store.read(rows[own])).to(device, non_blocking=True)
        return self.augmentation.apply(pixels, draw.part(own)), rows[own], rows


def joined_batches(
    streams: Sequence[DomainStream],
    *,
    epoch: int,
    start_iteration: int,
    num_iterations: int,
    device: torch.device,
    share: Share = Share(),
    read_ahead: int = 2,
) -> Iterator[Batch]:
    """Yield the batches of an epoch, from ``start_iteration`` to ``num_iterations``.

    A thread reads up to ``read_ahead`` (at least 1) batches ahead while the network computes. An error in the thread is
    raised here with its traceback. The thread ends when the loop is left.
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
                ready.put(_joined(streams, epoch, iteration, device, share))
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


def _joined(streams: Sequence[DomainStream], epoch: int, iteration: int, device: torch.device, share: Share) -> Batch:
    parts = [stream.read(epoch, iteration, device, share) for stream in streams]
    slots = [stream.slots[own] for stream, (_, own, _) in zip(streams, parts, strict=True)]
    all_slots = [stream.slots[rows] for stream, (_, _, rows) in zip(streams, parts, strict=True)]
    cameras = [stream.cameras[own] for stream, (_, own, _) in zip(streams, parts, strict=True)]
    return Batch(
        images=_together([images for images, _, _ in parts]),
        slots=torch.from_numpy(np.concatenate(slots)),
        domain_sizes=tuple(map(len, slots)),
        all_slots=torch.from_numpy(np.concatenate(all_slots)),
        cameras=torch.from_numpy(np.concatenate(cameras)),
    )


def _together(parts: list[Tensor]) -> Tensor:
    """Concatenate images of several domains, ``[B, 3, H, W]``, channels last."""
    if len(parts) == 1:
        return parts[0]
    if parts[0].device.type != "cpu":
        return torch.cat(parts)
    # Not with torch: in the reading thread it starts further threads, which slow the network down.
    pixels = np.concatenate([part.permute(0, 2, 3, 1).numpy() for part in parts])
    return torch.from_numpy(pixels).permute(0, 3, 1, 2)
