"""The enrolled identities of a gallery while it is served: kept in memory, and brought up to date after writes.

An image that this server enrols counts in the next answer: the mean of its identity is changed at once. The similarity
from which a name is given comes from all images, and is computed again in the background, as is everything after
another program wrote to the gallery.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from spcl.errors import InputError
from spcl.gallery.gallery import Gallery
from spcl.verification.added_shots import with_shots
from spcl.verification.calibration import Calibration
from spcl.verification.identification import Enrolled

_OWN_SECONDS = 30.0
_OTHERS_SECONDS = 1.0
_PAUSES = 10.0
"""Least pause between two computations, in durations of a computation."""


class EnrolledNow:
    """The enrolled identities of a gallery.

    Args:
        gallery: The gallery.
        write_lock: Lock that this server holds while it writes and calls ``add``.
        pairs: Calibration of the pairs of the gallery's encoder; None: there is none.
    """

    def __init__(self, gallery: Gallery, write_lock: threading.Lock, pairs: Calibration | None) -> None:
        self._gallery, self._write_lock, self._pairs = gallery, write_lock, pairs
        self._lock = threading.Lock()
        self._enrolled: Enrolled | None = None
        self._state: str | None = None
        self._added: list[tuple[NDArray[np.float32], list[str]]] = []
        self._is_incomplete = False
        self._ended, self._duration = 0.0, 0.0

    def now(self) -> Enrolled:
        """Give the enrolled identities.

        Raises:
            InputError: If no image of the gallery has an identity.
        """
        enrolled = self._enrolled
        if enrolled is None:
            raise InputError(
                "no image of the gallery has an identity: enrol images (POST /enrol), or add images with identities "
                "(spcl embed --gallery)",
                code="no-identities",
            )
        return enrolled

    def add(
        self, features: NDArray[np.float32], identities: Sequence[str | None], state: str | None, *, are_new: bool
    ) -> None:
        """Take in images that this server has written; the write lock is held.

        Args:
            features: ``[n, D]`` unit rows.
            identities: Identity of each image; None: unknown.
            state: State of the gallery's table after the write.
            are_new: Whether no image was in the gallery before. What an image was called before is forgotten at the
                next computation only.
        """
        named = [row for row, identity in enumerate(identities) if identity is not None]
        with self._lock:
            self._state = state if are_new else None
            if named:
                part = features[named], [str(identities[row]) for row in named]
                self._is_incomplete = True
                self._added.append(part)
                self._enrolled = self._with(self._enrolled, *part)

    def is_due(self) -> bool:
        """Whether the identities should be computed again now."""
        waited = time.monotonic() - self._ended
        if waited < _PAUSES * self._duration:
            return False
        if self._gallery.state() != self._state:
            return waited >= _OTHERS_SECONDS
        return self._is_incomplete and waited >= _OWN_SECONDS

    def compute(self) -> None:
        """Compute the identities again from the gallery; images that are added meanwhile are kept."""
        started = time.monotonic()
        with self._write_lock:
            state = self._gallery.state()
            try:
                enrolment = self._gallery.enrolment()
            except InputError:
                enrolment = None
            with self._lock:
                self._added.clear()
                self._is_incomplete = False
        try:
            found = None if enrolment is None else replace(enrolment.compute(), pairs=self._pairs)
        except InputError:
            # A gallery of spcl 0.1.0 may have only words such as "unknown" as identities.
            found = None
        with self._lock:
            has_more = bool(self._added)
            for features, identities in self._added:
                found = self._with(found, features, identities)
            self._enrolled = found
            # Later writes of this server have set their own state.
            self._state = self._state if has_more else state
            self._ended = time.monotonic()
            self._duration = self._ended - started

    def _with(self, enrolled: Enrolled | None, features: NDArray[np.float32], identities: list[str]) -> Enrolled:
        if enrolled is not None:
            return with_shots(enrolled, features, identities)
        return Enrolled.from_features(features, identities, pairs=self._pairs)
