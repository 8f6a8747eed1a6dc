"""Sampling of batches: P classes x K images, other cameras first.

Paper: section 4.1; Reference: ``RandomMultipleGallerySampler``. A pass visits every class once, in random order. From a
class it takes a random image and K - 1 of its other images: of other cameras than the first's where there are any,
otherwise of other tracks where tracks are known, otherwise of any; without repetition when there are at least K, with
repetition when there are fewer. A class of one image, an un-clustered instance, contributes that image alone.
Batches are consecutive slices of a pass.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spcl.errors import InputError
from spcl.randomness import generator
from spcl.records import UNKNOWN


def identity_pass(
    labels: NDArray[np.int64],
    cameras: NDArray[np.int64],
    *,
    num_instances: int,
    rng: np.random.Generator,
    tracks: NDArray[np.int64] | None = None,
) -> NDArray[np.int64]:
    """Draw one pass over all classes.

    Args:
        labels: ``[N]`` int, class of each image.
        cameras: ``[N]`` int, camera of each image, -1 unknown; an unknown camera differs from every other.
        num_instances: K, number of images of a class; 1: only its random image.
        rng: Generator of the random draws.
        tracks: ``[N]`` int, track of each image, -1 none: such an image is in another track than every other. None:
            tracks are not used.

    Returns:
        Row numbers of the images, class after class: K of a class of several images, one of a class of one.

    Cost: O(N log N), without a loop over images.
    """
    order = np.argsort(labels, kind="stable")
    classes, starts, sizes = np.unique(labels[order], return_index=True, return_counts=True)
    firsts = order[starts + (rng.random(len(classes)) * sizes).astype(np.int64)]
    visit = rng.permutation(len(classes))
    several = sizes > 1
    levels = _preferred(order, firsts[np.repeat(np.arange(len(sizes)), sizes)], cameras, tracks)
    others = _draw_others(order, starts, sizes, levels, num_instances - 1, rng)
    table = np.concatenate([firsts[:, None], others], axis=1)[visit]
    taken = np.ones(table.shape, dtype=np.bool_)
    taken[:, 1:] = several[visit][:, None]
    return np.asarray(table[taken], dtype=np.int64)


def _preferred(
    order: NDArray[np.int64],
    first_of: NDArray[np.int64],
    cameras: NDArray[np.int64],
    tracks: NDArray[np.int64] | None,
) -> list[NDArray[np.bool_]]:
    """The images that are preferred to accompany the first of their class, the best first; the last are all others.

    Args:
        order: ``[N]`` images by class.
        first_of: ``[N]`` the first image of the class of each.
        cameras: ``[N]`` camera of each image, -1 unknown.
        tracks: ``[N]`` track of each image, -1 none; None: not used.
    """
    others = order != first_of
    other_camera = others & ((cameras[order] != cameras[first_of]) | (cameras[order] == UNKNOWN))
    if tracks is None:
        return [other_camera, others]
    other_track = others & ((tracks[order] != tracks[first_of]) | (tracks[order] == UNKNOWN))
    return [other_camera & other_track, other_track, others]


def _draw_others(
    order: NDArray[np.int64],
    starts: NDArray[np.int64],
    sizes: NDArray[np.int64],
    levels: list[NDArray[np.bool_]],
    count: int,
    rng: np.random.Generator,
) -> NDArray[np.int64]:
    """Draw ``[classes, count]`` further images of each class; the row of a class of one image is not used.

    Every image gets a random key; images that must not be drawn get larger keys than all others. Sorted by class and
    key, the first ``count`` images of a class are a draw without repetition, and random images among its m allowed ones
    a draw with repetition. A class draws from the first of ``levels`` in which it has an image.
    """
    class_of = np.repeat(np.arange(len(sizes)), sizes)
    allowed, num_allowed = levels[-1], sizes - 1
    for preferred in reversed(levels[:-1]):
        num_preferred = np.bincount(class_of, weights=preferred, minlength=len(sizes)).astype(np.int64)
        has_preferred = num_preferred > 0
        allowed = np.where(has_preferred[class_of], preferred, allowed)
        num_allowed = np.where(has_preferred, num_preferred, num_allowed)
    keys = rng.random(len(order)) + ~allowed
    drawn = order[np.lexsort((keys, class_of))]
    places = np.broadcast_to(np.arange(count), (len(sizes), count))
    # The reference draws K - 1 images, without repetition if at least K are left.
    repeated = (rng.random((len(sizes), count)) * np.maximum(num_allowed, 1)[:, None]).astype(np.int64)
    enough = num_allowed[:, None] >= count + 1
    chosen = np.where(enough, places, repeated)
    return np.asarray(drawn[np.minimum(starts[:, None] + chosen, len(order) - 1)], dtype=np.int64)


class IdentityBatches:
    """The batches of a domain, as a function of epoch and iteration, without state.

    Args:
        labels: ``[N]`` int, class of each image.
        cameras: ``[N]`` int, camera of each image, -1 unknown.
        batch_size: Number of images in a batch.
        num_instances: K, number of images of a class; 0: a pass is all images in random order, whatever their class.
        seed: Seed of the run.
        domain: Number of the domain; each has separate random draws.
        tracks: ``[N]`` int, track of each image, -1 none; None: tracks are not used.

    Raises:
        InputError: If there is no image, ``batch_size`` is below 1, or ``num_instances`` below 0.
        ValueError: If the numbers of cameras and labels differ.
    """

    def __init__(
        self,
        labels: NDArray[np.int64],
        cameras: NDArray[np.int64],
        *,
        batch_size: int,
        num_instances: int,
        seed: int,
        domain: int,
        tracks: NDArray[np.int64] | None = None,
    ) -> None:
        if not len(labels):
            raise InputError("there are no images to draw batches from", code="no-images")
        if len(labels) != len(cameras):
            raise ValueError(f"{len(labels)} labels and {len(cameras)} cameras; expected as many cameras as labels")
        if batch_size < 1 or num_instances < 0:
            raise InputError(
                f"a batch of {batch_size} images, {num_instances} of a class, cannot be drawn; expected at least 1 "
                "image, and 0 (images at random) or more of a class",
                code="setting-out-of-range",
            )
        self._labels, self._cameras, self._tracks = labels, cameras, tracks
        self._batch_size, self._num_instances = batch_size, num_instances
        self._seed, self._domain = seed, domain
        # The passes of the current epoch: the number of batches before the last pass, and its images.
        self._epoch, self._passes, self._before = -1, 0, 0
        self._rows = np.empty(0, dtype=np.int64)

    def batch(self, epoch: int, iteration: int) -> NDArray[np.int64]:
        """Give the row numbers ``[batch_size]`` of the images of a batch."""
        if epoch != self._epoch or iteration < self._before:
            self._epoch, self._passes, self._before = epoch, 0, 0
            self._rows = self._next_pass()
        while iteration >= self._before + len(self._rows) // self._batch_size:
            self._before += len(self._rows) // self._batch_size
            self._rows = self._next_pass()
        start = (iteration - self._before) * self._batch_size
        return self._rows[start : start + self._batch_size]

    def _next_pass(self) -> NDArray[np.int64]:
        """Draw the next pass; passes shorter than a batch are concatenated until they fill it.

        As in the reference, the rest of a longer pass after its last full batch is dropped.
        """
        parts: list[NDArray[np.int64]] = []
        while sum(map(len, parts)) < self._batch_size:
            rng = generator(self._seed, "identity sampler", self._domain, self._epoch, self._passes)
            parts.append(self._pass(rng))
            self._passes += 1
        return np.concatenate(parts)

    def _pass(self, rng: np.random.Generator) -> NDArray[np.int64]:
        if self._num_instances == 0:
            return rng.permutation(len(self._labels))
        return identity_pass(
            self._labels, self._cameras, num_instances=self._num_instances, rng=rng, tracks=self._tracks
        )
