"""Drift while a server runs: the last images of each camera against the figures that ``spcl monitor`` has measured.

Only requests with the field ``camera`` count, and only cameras of those figures: a client cannot make new time series.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily, Metric

from spcl.monitoring.figures import FIGURES, pixel_figures
from spcl.monitoring.reference import ALL_IMAGES, Measured, read_reference
from spcl.serve.uploads import Decoded

if TYPE_CHECKING:
    from spcl.monitoring.comparison import FigureShift

_LAST = 500
_SECONDS = 60.0
"""Least pause between two comparisons, which take up to some seconds."""

_LEVEL = 0.01


class DriftWindow:
    """The figures of the last images of each camera.

    Args:
        folder: Folder for files that are computed from the gallery.
        fingerprint: Fingerprint of the gallery's encoder.
        registry: Receives the comparison, which is made when the registry is read.
    """

    def __init__(self, folder: Path, fingerprint: str, registry: CollectorRegistry) -> None:
        self._reference = read_reference(folder, fingerprint)
        known = set() if self._reference is None else set(self._reference.cameras)
        self._last = {camera: deque[tuple[float, ...]](maxlen=_LAST) for camera in known}
        self._lock = threading.Lock()
        self._compared_at, self._shifts = -_SECONDS, list["FigureShift"]()
        if self._reference is not None:
            registry.register(self)

    def counts(self, camera: str | None) -> bool:
        """Whether images of a camera are compared; None: they have no camera."""
        return (ALL_IMAGES if camera is None else camera) in self._last

    def observe(
        self,
        images: Sequence[Decoded],
        cameras: Sequence[str | None],
        *,
        similarities: Sequence[float] | None = None,
        unknown: Sequence[bool] | None = None,
    ) -> None:
        """Take in the images of a request. It runs in a thread.

        Args:
            images: The decoded images.
            cameras: Camera of each image; None: none was given.
            similarities: Similarity of each image to the nearest one of the gallery; None: not searched for.
            unknown: Whether no identity is similar enough to each image; None: not identified.
        """
        for row, (image, camera) in enumerate(zip(images, cameras, strict=True)):
            if not self.counts(camera):
                continue
            first = np.nan if similarities is None else similarities[row]
            second = np.nan if unknown is None else float(unknown[row])
            values = (first, second, *pixel_figures(image.image))
            with self._lock:
                self._last[ALL_IMAGES if camera is None else camera].append(values)

    def shifts(self) -> list[FigureShift]:
        """Compare, at most once a minute."""
        if self._reference is None:
            return []
        with self._lock:
            if time.monotonic() - self._compared_at < _SECONDS:
                return self._shifts
            self._compared_at = time.monotonic()
            rows = [values for window in self._last.values() for values in window]
            cameras = tuple(camera for camera, window in self._last.items() for _ in window)
        new = Measured(np.array(rows).reshape(-1, len(FIGURES)), cameras, np.arange(len(rows)))
        # Imported here because it loads SciPy, which a server without a reference does not need.
        from spcl.monitoring.comparison import compared

        self._shifts = compared(self._reference, new, level=_LEVEL)
        return self._shifts

    def collect(self) -> Iterator[Metric]:
        """Give the figures to Prometheus."""
        names = ("camera", "figure")
        medians = GaugeMetricFamily(
            "spcl_drift_median", f"Median of the last {_LAST} images; of unknown: the rate.", labels=names
        )
        usual = GaugeMetricFamily("spcl_drift_reference_median", "Median of the gallery's own images.", labels=names)
        p_values = GaugeMetricFamily(
            "spcl_drift_p_value",
            "p-value of the difference, adjusted for the number of tests; from 20 images on.",
            labels=names,
        )
        for shift in self.shifts():
            for family, value in ((medians, shift.new), (usual, shift.reference), (p_values, shift.p_value)):
                family.add_metric([shift.camera, shift.figure], value)
        yield from (medians, usual, p_values)
