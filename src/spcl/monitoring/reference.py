"""The figures of a gallery's own images, by camera: what new images are compared with.

They are kept in the gallery's folder, for one that is elsewhere in the cache of this machine, and measured again after
a write to the gallery.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spcl.atomic_files import written_aside
from spcl.data.image_decoding import UnreadableImageError, open_image
from spcl.errors import InputError
from spcl.file_kinds import check_unfolded
from spcl.gallery.gallery import Gallery
from spcl.monitoring.figures import FIGURES, PIXEL_FIGURES, pixel_figures
from spcl.randomness import generator
from spcl.reporting.console import Reporter
from spcl.threads import NumThreads, decoding_threads
from spcl.verification.identification import Enrolled

ALL_IMAGES = "all images"
"""In place of a camera, where the images have none."""

_FILE = "monitor.npz"
_LAYOUT = 1
_MOST_A_CAMERA = 1000
_BLOCK = 8
"""Images without identity: so many neighbours in the order of the gallery are taken to be alike."""

FALSE_MATCH_RATE = 0.01
"""The false-match rate at which an image counts as unknown."""


@dataclass(frozen=True)
class Measured:
    """Figures of images.

    Attributes:
        values: ``[n, len(FIGURES)]`` float64, in the order of ``FIGURES``; NaN: unknown.
        cameras: Camera of each image.
        groups: ``[n]`` int, images with one number are alike.
    """

    values: NDArray[np.float64]
    cameras: tuple[str, ...]
    groups: NDArray[np.int64]

    def of_camera(self, camera: str, figure: str) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """The known values of a figure in one camera, and the groups of their images."""
        column = self.values[:, FIGURES.index(figure)]
        rows = np.array([name == camera for name in self.cameras], dtype=bool) & np.isfinite(column)
        return column[rows], self.groups[rows]


def measured_reference(gallery: Gallery, report: Reporter, *, num_threads: NumThreads = "auto") -> Measured:
    """Measure a gallery's own images, or read what was measured before; at most 1000 of each camera.

    An image is compared with the other images of the gallery, as a new image is.

    Args:
        gallery: The gallery, opened with its encoder.
        report: Receives progress.
        num_threads: Number of threads that decode images.
    """
    state = gallery.state()
    if (known := read_reference(gallery.kept, gallery.fingerprint, state)) is not None:
        return known
    features, columns = _sampled(gallery)
    paths = [str(path) for path in columns["path"]]
    values = np.full((len(paths), len(FIGURES)), np.nan)
    hits = gallery.search(features, k=1, without=paths, report=report)
    values[:, 0] = [found[0].similarity if found else np.nan for found in hits]
    with suppress(InputError, ValueError):
        enrolled = gallery.enrolled(report=report)
        least = enrolled.threshold(FALSE_MATCH_RATE).similarity
        values[:, 1] = best_without_itself(enrolled, features, columns["identity"]) < least
    values[:, 2:] = pixels_of([Path(path) for path in paths], report, num_threads=num_threads)
    cameras = tuple(ALL_IMAGES if camera is None else str(camera) for camera in columns["camera"])
    found = Measured(values, cameras, columns["group"])
    _write(gallery, state, found)
    return found


def read_reference(folder: Path, fingerprint: str, state: str | None = None) -> Measured | None:
    """Read the kept figures of a gallery; None: there are none, or they are of another encoder or out of date.

    Args:
        folder: Folder for files that are computed from the gallery.
        fingerprint: Fingerprint of the gallery's encoder.
        state: State of the gallery's table that they must be of; None: of any state.
    """
    # A damaged file raises errors of many types, and its content can be measured again.
    with suppress(Exception):
        check_unfolded(folder / _FILE)
        return _read(folder / _FILE, fingerprint, state)
    return None


def _read(file: Path, fingerprint: str, state: str | None) -> Measured | None:
    with np.load(file, allow_pickle=False) as arrays:
        about = json.loads(arrays["about"].tobytes())
        is_known = about["layout"] == _LAYOUT and about["fingerprint"] == fingerprint
        if is_known and state in (None, about["state"]):
            return Measured(arrays["values"], tuple(about["cameras"]), arrays["groups"])
    return None


def pixels_of(paths: Sequence[Path], report: Reporter, *, num_threads: NumThreads = "auto") -> NDArray[np.float64]:
    """Measure the pixels of images, ``[n, 4]``; NaN for those that cannot be read."""

    def measure(path: Path) -> tuple[float, ...]:
        try:
            return tuple(pixel_figures(open_image(path)))
        except UnreadableImageError:
            return (np.nan,) * len(PIXEL_FIGURES)

    values = np.full((len(paths), len(PIXEL_FIGURES)), np.nan)
    with (
        report.progress("pixels") as advance,
        ThreadPoolExecutor(max_workers=max(1, decoding_threads(num_threads))) as pool,
    ):
        for row, found in enumerate(pool.map(measure, paths)):
            values[row] = found
            advance(row + 1, len(paths))
    return values


def best_without_itself(
    enrolled: Enrolled, features: NDArray[np.float32], identities: Sequence[Any]
) -> NDArray[np.float64]:
    """The best similarity of each image to the mean of an identity, its own identity without the image itself.

    Args:
        enrolled: The enrolled identities.
        features: ``[n, D]`` unit rows of enrolled images.
        identities: Identity of each image; None: unknown.
    """
    similarities = (features @ enrolled.means.T).astype(np.float64)
    places = {identity: place for place, identity in enumerate(enrolled.identities)}
    for row, identity in enumerate(identities):
        place = places.get(identity)
        if place is None:
            continue
        shots = enrolled.counts[place]
        others = enrolled.means[place].astype(np.float64) * (enrolled.lengths[place] * shots) - features[row]
        length = float(np.linalg.norm(others))
        similarities[row, place] = -1.0 if shots < 2 or length < 1e-9 else float(others @ features[row]) / length
    return np.asarray(similarities.max(axis=1))


def _sampled(gallery: Gallery) -> tuple[NDArray[np.float32], dict[str, Any]]:
    """Features and columns of whole groups of images, at most about 1000 images of each camera."""
    cameras: list[Any] = []
    identities: list[Any] = []
    for part in gallery.read(("camera", "identity")):
        cameras += part.columns["camera"]
        identities += part.columns["identity"]
    numbers: dict[tuple[Any, Any], int] = {}
    groups = np.array(
        [
            numbers.setdefault((camera, identity if identity is not None else (row // _BLOCK,)), len(numbers))
            for row, (camera, identity) in enumerate(zip(cameras, identities, strict=True))
        ],
        dtype=np.int64,
    )
    kept: set[int] = set()
    counts: dict[Any, int] = {}
    sizes = np.bincount(groups, minlength=len(numbers))
    keys = list(numbers)
    for number in generator(0, "images to monitor").permutation(len(keys)).tolist():
        camera = keys[number][0]
        if counts.get(camera, 0) < _MOST_A_CAMERA:
            counts[camera] = counts.get(camera, 0) + int(sizes[number])
            kept.add(number)
    wanted = np.isin(groups, np.array(sorted(kept), dtype=np.int64))
    features, columns, at = [], {"path": [], "camera": [], "identity": []}, 0  # type: ignore[var-annotated]
    for part in gallery.read(("path", "camera", "identity")):
        rows = np.flatnonzero(wanted[at : at + len(part.features)])
        at += len(part.features)
        features.append(part.features[rows])
        for name in columns:
            columns[name] += [part.columns[name][row] for row in rows.tolist()]
    return np.concatenate(features), columns | {"group": groups[wanted]}


def _write(gallery: Gallery, state: str | None, found: Measured) -> None:
    about = {"layout": _LAYOUT, "state": state, "fingerprint": gallery.fingerprint, "cameras": list(found.cameras)}
    packed = np.frombuffer(json.dumps(about).encode(), dtype=np.uint8)
    # If it cannot be written, it is measured again.
    with suppress(InputError), written_aside(gallery.kept / _FILE) as aside, aside.open("wb") as file:
        np.savez(file, about=packed, values=found.values, groups=found.groups)
