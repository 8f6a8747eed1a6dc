"""Answers from one gallery: decoding in threads, the network in micro-batches, searches in threads."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from spcl.errors import InputError
from spcl.gallery.result import SearchResult
from spcl.pixel_range import PixelRange
from spcl.retrieval.track_features import track_features
from spcl.serve.batching import Batcher
from spcl.serve.drift_window import DriftWindow
from spcl.serve.enrolled_now import EnrolledNow
from spcl.serve.enrolling import Enroller, NewImages, Written
from spcl.serve.failures import RequestError, answered_error
from spcl.serve.forms import ImageForm
from spcl.serve.image_ids import ImageIds
from spcl.serve.metrics import Metrics
from spcl.serve.opening import Served
from spcl.serve.settings import ServeLimits
from spcl.serve.shown_images import ShownImages
from spcl.serve.uploads import Decoded, decode
from spcl.threads import num_threads
from spcl.verification.calibration import Calibration
from spcl.verification.identification import Enrolled, Identification

T = TypeVar("T")

_SECONDS_BETWEEN_LOOKS = 1.0
_TIDY_AFTER_WRITES = 200
_READERS = 4


class GalleryService:
    """Answers requests; its methods are called in the event loop, and what takes long runs in threads.

    Args:
        served: What the answers come from.
        limits: Limits of requests.
        metrics: Receives figures.
    """

    def __init__(self, served: Served, limits: ServeLimits, metrics: Metrics) -> None:
        self.served, self.limits, self.metrics = served, limits, metrics
        self.gallery = served.gallery
        write_lock = threading.Lock()
        self.enrolled = EnrolledNow(served.gallery, write_lock, _pairs(served))
        self.enroller = Enroller(served.gallery, self.enrolled, write_lock)
        self.ids = ImageIds(served.gallery)
        self.shown = ShownImages(self.ids)
        self._pixel_range = PixelRange.parse(served.encoder.pixel_range)
        self._decoders = ThreadPoolExecutor(max(2, num_threads()), thread_name_prefix="decode")
        self._readers = ThreadPoolExecutor(_READERS, thread_name_prefix="search")
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="write")
        self._background = ThreadPoolExecutor(1, thread_name_prefix="background")
        self._network = Batcher(
            lambda pixels, _: self.served.engine.engine.encode(pixels),
            most=limits.batch,
            most_waiting=limits.waiting_images,
            name="the network",
            observe=metrics.observe_batch,
        )
        self._naming = Batcher(self._identify, most=256, most_waiting=limits.waiting_images, name="identification")
        self._looking: asyncio.Task[None] | None = None
        self.drift = DriftWindow(served.gallery.kept, served.gallery.fingerprint, metrics.registry)

    async def start(self) -> None:
        """Read the enrolled identities, and begin to look for writes of other programs."""
        await self._in_thread(self._background, self.enrolled.compute)
        self._looking = asyncio.create_task(self._look())

    async def stop(self) -> None:
        """Finish what has begun, and merge the files of small writes."""
        if self._looking is not None:
            self._looking.cancel()
            with suppress(asyncio.CancelledError):
                await self._looking
        for pool in (self._decoders, self._readers, self._writer):
            pool.shutdown(wait=True)
        if self.enroller.num_untidy:
            with suppress(InputError):
                await self._in_thread(self._background, self.enroller.tidy)
        self._background.shutdown(wait=True)
        self._network.close()
        self._naming.close()

    async def decode(self, form: ImageForm) -> list[Decoded]:
        """Decode the images of a request in threads."""
        size = self.served.encoder.size
        loop = asyncio.get_running_loop()
        waiting = [
            loop.run_in_executor(self._decoders, decode, upload, number, size, self._pixel_range, self.limits)
            for number, upload in enumerate(form.images)
        ]
        done = await asyncio.gather(*waiting, return_exceptions=True)
        for each in done:
            if isinstance(each, BaseException):
                raise each
        return [each for each in done if isinstance(each, Decoded)]

    async def encode(self, images: Sequence[Decoded]) -> NDArray[np.float32]:
        """Encode decoded images to ``[n, D]`` unit rows, together with those of other requests."""
        pixels = np.stack([image.pixels for image in images])
        self.metrics.waiting.set(self._network.num_waiting + len(pixels))
        parts = [
            await self._network(pixels[at : at + self.limits.batch]) for at in range(0, len(pixels), self.limits.batch)
        ]
        return np.asarray(parts[0] if len(parts) == 1 else np.concatenate(parts), dtype=np.float32)

    async def embed(self, form: ImageForm) -> tuple[NDArray[np.float32], list[Decoded]]:
        """Give the features of each query of a request, ``[Q, D]`` unit rows, and its decoded images.

        A track has one feature of all its images, as in ``Encoder.embed`` (``retrieval/track_features.py``).
        """
        decoded = await self.decode(form)
        return fused(await self.encode(decoded), form.tracks, form.quality), decoded

    async def observe(self, form: ImageForm, decoded: Sequence[Decoded], **figures: Sequence[Any]) -> None:
        """Take in the images of a request for the comparison of cameras, each with the figures of its query.

        Args:
            form: The images of the request.
            decoded: The decoded images.
            figures: Values of each query: ``similarities`` or ``unknown``.
        """
        cameras = form.values("camera")
        if not any(self.drift.counts(camera) for camera in cameras):
            return
        query_of = {image: number for number, track in enumerate(form.tracks) for image in track}
        given = {name: [values[query_of[row]] for row in range(len(decoded))] for name, values in figures.items()}
        await self._in_thread(self._decoders, lambda: self.drift.observe(decoded, cameras, **given))

    async def search(self, features: NDArray[np.float32], **options: Any) -> SearchResult:
        """Search the gallery, with the options of ``Gallery.search``."""
        return await self._in_thread(self._readers, lambda: self.gallery.search(features, **options))

    async def unknown_cameras(self, cameras: Sequence[str]) -> list[str]:
        """Give those of the cameras of which the gallery has no image."""
        return await self._in_thread(self._readers, lambda: self.gallery.unknown_cameras(cameras)) if cameras else []

    async def count(self) -> int:
        """Count the images of the gallery."""
        return await self._in_thread(self._readers, lambda: len(self.gallery))

    async def read(self, call: Callable[[], T]) -> T:
        """Run a function that reads the gallery in a thread."""
        return await self._in_thread(self._readers, call)

    async def identify(
        self, features: NDArray[np.float32], false_match_rate: float
    ) -> tuple[Enrolled, Sequence[Identification]]:
        """Name the queries, together with those of other requests."""
        known = self.enrolled.now()
        try:
            return known, await self._naming(features, false_match_rate)
        except ValueError as error:
            raise answered_error(InputError(str(error), code="not-calibrated")) from error

    async def enrol(self, form: ImageForm) -> Written:
        """Enrol the images of a request; they are on the disk when this returns."""
        decoded = await self.decode(form)
        features = await self.encode(decoded)
        new = NewImages(
            form.images, decoded, features, form.values("identity"), form.values("camera"), form.values("time")
        )
        # A client that goes away does not stop a write that has begun.
        written = await asyncio.shield(self._in_thread(self._writer, lambda: self.enroller.write(new)))
        self.metrics.enrolled.inc(len(form.images))
        return written

    def _identify(self, rows: NDArray[np.float32], rate: float) -> Sequence[Identification]:
        return self.enrolled.now().identify(rows, rate)

    async def _in_thread(self, pool: ThreadPoolExecutor, call: Callable[[], T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(pool, call)
        except InputError as error:
            raise answered_error(error) from error

    async def _look(self) -> None:
        """Bring what is in memory up to date after writes."""
        looked: str | None = None
        while True:
            # On object storage, the state is asked of a server.
            state = await self._in_thread(self._readers, self.gallery.state)
            # The first search after a write reads the new version; here no client waits for it.
            if state != looked:
                looked = state
                with suppress(RequestError):
                    self.metrics.images.set(await self.count())
            if await self._in_thread(self._readers, self.enrolled.is_due):
                await asyncio.get_running_loop().run_in_executor(self._background, self.enrolled.compute)
            with suppress(InputError):
                self.metrics.identities.set(len(self.enrolled.now().identities))
            if self.enroller.num_untidy >= _TIDY_AFTER_WRITES:
                with suppress(RequestError):
                    await self._in_thread(self._background, self.enroller.tidy)
            await asyncio.sleep(_SECONDS_BETWEEN_LOOKS)


def _pairs(served: Served) -> Calibration | None:
    return None if served.calibration is None else served.calibration.calibration


def fused(
    features: NDArray[np.float32], tracks: Sequence[Sequence[int]], quality: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Give one unit row for each track of images, ``[len(tracks), D]``; ``quality`` is ``[n]``, above 0."""
    if all(len(track) == 1 for track in tracks):
        return features
    numbers = np.empty(len(features), dtype=np.int64)
    for number, track in enumerate(tracks):
        numbers[list(track)] = number
    return track_features(features, numbers, quality).features
