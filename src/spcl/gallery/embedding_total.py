"""What ``spcl.embed_images`` writes, part by part: images to a gallery, images or tracks to a features file."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from spcl.gallery.begun_filling import BegunFilling
from spcl.gallery.features_file import FeaturesWriter, features_writer
from spcl.gallery.gallery import Gallery
from spcl.gallery.images_to_rows import EmbeddedRows, FoundImages
from spcl.gallery.result import Added
from spcl.gallery.shards import ShardsWriter, open_shards, rest_of
from spcl.gallery.shards_name import wants_shards
from spcl.gallery.track_rows import FusedRows, TrackParts, without_numbers
from spcl.reporting.console import Reporter

Writer = FeaturesWriter | ShardsWriter


def opened_output(
    output: Path, found: FoundImages, facts: Mapping[str, Any], dim: int
) -> AbstractContextManager[Writer]:
    """Begin a features file, or begin or continue a folder of them.

    Args:
        output: The file or folder.
        found: The images.
        facts: Facts of the encoder, plain values.
        dim: D, the length of a feature.
    """
    return open_shards(output, found, facts, dim) if wants_shards(output) else features_writer(output, dim, facts)


class EmbeddingTotal:
    """Writes parts, and counts what was written.

    Attributes:
        num_images: Number of images.
        num_tracks: Number of tracks; 0 if rows are images.
        added: What was added to the gallery, and the images that could not be read.
    """

    def __init__(self, tracks: TrackParts | None) -> None:
        """Begin; with ``tracks``, the file gets a row for each track."""
        self.num_images, self.added = 0, Added(0, 0)
        self.num_tracks, self._num_doubtful = 0, 0
        self._tracks = tracks
        self._filling: BegunFilling | None = None

    def begin(
        self, writer: Writer | None, gallery: Gallery | None, found: FoundImages, report: Reporter
    ) -> FoundImages:
        """Count what a stopped run has done, and give the images that are left.

        A features file, and tracks, get all images.
        """
        if isinstance(writer, ShardsWriter):
            begun = writer.begun
            return self._rest(found, begun.num_covered, Added(0, 0, begun.broken), report)
        if gallery is None or writer is not None or self._tracks is not None:
            return found
        self._filling = BegunFilling(gallery, found)
        return self._rest(found, self._filling.num_covered, self._filling.added, report)

    def _rest(self, found: FoundImages, num_covered: int, added: Added, report: Reporter) -> FoundImages:
        self.num_images += num_covered - len(added.broken)
        self.added += added
        if num_covered:
            report.say(f"{num_covered} of {len(found.records)} images were done by a run that was stopped")
        return rest_of(found, num_covered)

    def take(self, part: EmbeddedRows, writer: Writer | None, gallery: Gallery | None) -> None:
        """Write a part to the file and to the gallery, and count it."""
        self.num_images += len(part.table)
        self.added += Added(0, 0, part.broken)
        rows = part
        if self._tracks is not None:
            self._write(self._tracks.take(part), _file(writer))
            rows = without_numbers(part)
        elif isinstance(writer, ShardsWriter):
            writer.take(part)
        elif writer is not None:
            writer.write(part.table, part.features)
        if gallery is not None:
            added = gallery.add_table(rows.table, rows.features)
            self.added += added
            if self._filling is not None:
                self._filling.take(part, added)

    def finish(self) -> None:
        """Forget how far the run has come: all is done."""
        if self._filling is not None:
            self._filling.finish()

    def end(self, writer: Writer | None, report: Reporter) -> None:
        """Write the last track, and report images that do not agree with their track."""
        if self._tracks is None:
            return
        self._write(self._tracks.rest(), _file(writer))
        if self._num_doubtful:
            report.say(
                f"{self._num_doubtful} image(s) agree with the others of their track less than half as much as usual "
                "and hardly count: they may show another object"
            )

    def _write(self, fused: FusedRows | None, writer: FeaturesWriter | None) -> None:
        if fused is None:
            return
        self.num_tracks += len(fused.table)
        self._num_doubtful += fused.num_doubtful
        if writer is not None:
            writer.write(fused.table, fused.features)


def _file(writer: Writer | None) -> FeaturesWriter | None:
    """The writer of a file of tracks, which are not written to shards."""
    return None if isinstance(writer, ShardsWriter) else writer
