"""What ``spcl.embed_images`` writes, part by part: images to a gallery, images or tracks to a features file."""

from __future__ import annotations

from spcl.gallery.features_file import FeaturesWriter
from spcl.gallery.gallery import Gallery
from spcl.gallery.images_to_rows import EmbeddedRows
from spcl.gallery.result import Added
from spcl.gallery.track_rows import FusedRows, TrackParts, without_numbers
from spcl.reporting.console import Reporter


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

    def take(self, part: EmbeddedRows, writer: FeaturesWriter | None, gallery: Gallery | None) -> None:
        """Write a part to the file and to the gallery, and count it."""
        self.num_images += len(part.table)
        self.added += Added(0, 0, part.broken)
        rows = part
        if self._tracks is not None:
            self._write(self._tracks.take(part), writer)
            rows = without_numbers(part)
        elif writer is not None:
            writer.write(part.table, part.features)
        if gallery is not None:
            self.added += gallery.add_table(rows.table, rows.features)

    def end(self, writer: FeaturesWriter | None, report: Reporter) -> None:
        """Write the last track, and report images that do not agree with their track."""
        if self._tracks is None:
            return
        self._write(self._tracks.rest(), writer)
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
