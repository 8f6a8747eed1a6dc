"""Facts about the images of a page: counts by split and camera, sizes, copies, files that cannot be read."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from spcl.data.byte_identical import byte_identical
from spcl.data.suspect_images import image_sizes, thumbnails
from spcl.pages.shown_images import ShownImages, in_order

_LISTED = 100
_MOST_SIZES = 20_000


@dataclass(frozen=True)
class DataSection:
    """Facts about images.

    Attributes:
        facts: Name and value of each fact, as text.
        cameras: Camera, number of its images, and of its identities ("-" where these are unknown).
        splits: Split, number of images, of identities and of cameras.
        broken: Path and reason of images that could not be read, at most a hundred.
        num_broken: Number of images that could not be read.
        left_out: Path and reason of files that are not used, at most a hundred.
        num_left_out: Number of files that are not used.
        copies: Path of each image that equals an earlier one byte for byte, and of that one; at most a hundred.
        num_copies: Number of such images.
        notes: Remarks about the source, in sentences.
    """

    facts: tuple[tuple[str, str], ...]
    cameras: tuple[tuple[str, int, str], ...]
    splits: tuple[tuple[str, int, str, str], ...]
    broken: tuple[tuple[str, str], ...]
    num_broken: int
    left_out: tuple[tuple[str, str], ...]
    num_left_out: int
    copies: tuple[tuple[str, str], ...]
    num_copies: int
    notes: tuple[str, ...]


def data_section(images: ShownImages) -> DataSection:
    """Collect the facts about images. Reads the headers of all files, and files of equal length as a whole."""
    paths = [record.path for record in images.records]
    sizes = image_sizes(paths[:_MOST_SIZES])
    copies = sorted(byte_identical(paths).items())
    small = thumbnails(sizes)
    known = sizes[(sizes > 0).all(axis=1)]
    facts = [("images", f"{len(images):,}")]
    for name, values in (("identities", images.identities), ("cameras", images.cameras), ("tracks", images.tracks)):
        count = len({value for value in values if value is not None})
        without = sum(value is None for value in values)
        if count:
            facts.append((name, f"{count:,}" + (f" ({without:,} images without)" if without else "")))
    if times := sorted(time for time in images.times if time is not None):
        facts.append(("time", f"{times[0]} to {times[-1]}"))
    if len(known):
        low, middle, high = (np.quantile(known, share, axis=0).round().astype(int) for share in (0.05, 0.5, 0.95))
        facts.append(("median size", f"{middle[0]} x {middle[1]} pixels"))
        facts.append(("usual sizes", f"width {low[0]} to {high[0]}, height {low[1]} to {high[1]} (9 of 10 images)"))
    facts.append(("byte-identical copies", f"{len(copies):,}"))
    facts.append(("far smaller than the rest", f"{len(small):,}"))
    facts.append(("cannot be read", f"{len(images.broken):,}"))
    if images.left_out:
        facts.append(("files not used", f"{len(images.left_out):,}"))
    return DataSection(
        facts=tuple(facts),
        cameras=_by_camera(images),
        splits=_by_split(images),
        broken=_listed(images.broken),
        num_broken=len(images.broken),
        left_out=_listed(images.left_out),
        num_left_out=len(images.left_out),
        copies=tuple((str(paths[row]), str(paths[first])) for row, first in copies[:_LISTED]),
        num_copies=len(copies),
        notes=images.notes,
    )


def _listed(entries: tuple[tuple[Path, str], ...]) -> tuple[tuple[str, str], ...]:
    return tuple((str(path), reason) for path, reason in entries[:_LISTED])


def _by_camera(images: ShownImages) -> tuple[tuple[str, int, str], ...]:
    counts = Counter(camera for camera in images.cameras if camera is not None)
    identities: dict[str, set[str]] = {}
    for camera, identity in zip(images.cameras, images.identities, strict=True):
        if camera is not None and identity is not None:
            identities.setdefault(camera, set()).add(identity)
    order = sorted(counts, key=in_order)
    return tuple((name, counts[name], f"{len(identities[name]):,}" if name in identities else "-") for name in order)


def _by_split(images: ShownImages) -> tuple[tuple[str, int, str, str], ...]:
    rows = []
    for split in dict.fromkeys(split for split in images.splits if split):
        members = [row for row, of in enumerate(images.splits) if of == split]
        counts = [len({values[row] for row in members} - {None}) for values in (images.identities, images.cameras)]
        rows.append((split, len(members), *(f"{count:,}" if count else "-" for count in counts)))
    return tuple(rows)  # type: ignore[arg-type]
