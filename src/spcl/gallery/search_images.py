"""``spcl.search_images``: from images and a gallery to the most similar images of the gallery.

The functions import torch, so that a wrong path or value is reported before it is loaded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spcl.data.image_key import kept_path
from spcl.errors import require
from spcl.gallery.queries import OpenRequest, QueryRequest, opened_request
from spcl.gallery.result import Hit, SearchResult
from spcl.reporting.console import Reporter
from spcl.short_repr import with_short_repr

if TYPE_CHECKING:
    import pyarrow as pa

    from spcl.gallery.gallery import Gallery
    from spcl.gallery.tracks import QueryTrack
    from spcl.inference.embedding import EmbeddedImages

MOST_CAMERAS_NAMED = 20


@dataclass(frozen=True)
class SearchRequest(QueryRequest):
    """The images to search for, and the gallery to search in.

    Attributes:
        gallery: A gallery's folder, a features file (Parquet), or images of any kind, which are embedded first.
        queries: The images to search for: a path, or several; an image, a folder, a table or a registered name.
        top: Number of images to find for each query, at least 1.
        camera_not: Cameras whose images are left out, in the spelling of file names or tables.
        where: A filter of the gallery's images, for example ``time >= '2026-01-01 08:00' and identity is not null``;
            empty: all images.
        exact: Whether to compare every image, even if the gallery has an index.
        rerank: Whether to order the 100 (or 4 x ``top``) most similar images of each query by k-reciprocal re-ranking.
        by: What is searched for and found: an ``image``, or a ``track``, all images of it together.
        source: How images are found, and which columns are read.
        encoding: The encoder and its options; by default the gallery's encoder.
    """

    top: int = 10
    camera_not: tuple[str, ...] = ()
    where: str = ""
    exact: bool = False
    rerank: bool = False

    def __post_init__(self) -> None:
        """Raise an ``InputError`` for a number of images that is too small."""
        require(self.top >= 1, "top", self.top, "at least 1")

    @property
    def has_filter(self) -> bool:
        """Whether images of the gallery are left out by camera or by a filter."""
        return bool(self.camera_not or self.where)


@with_short_repr
@dataclass(frozen=True)
class ImageSearchResult:
    """The result of ``search_images``.

    Attributes:
        queries: Paths of the ``Q`` queries that could be read, in their order, absolute.
        found: Hits of each query, nearest first, with the search engine and its recall.
        num_images: Number of images in the gallery.
        image_size: Height and width in pixels of the images that the encoder sees.
        reranked: Whether the hits are in the order of re-ranking.
        tracks: The tracks that were searched for, one for each query; empty if images were searched for.
        num_tracks: Number of tracks in the gallery; 0 if images were searched for.
        broken: Path and reason of each image that could not be read, of the queries and of a gallery of images.
        notes: Remarks about the sources, in sentences.
        warnings: Warnings, in sentences.
    """

    queries: tuple[Path, ...]
    found: SearchResult
    num_images: int
    image_size: tuple[int, int]
    reranked: bool = False
    tracks: tuple[QueryTrack, ...] = ()
    num_tracks: int = 0
    broken: tuple[tuple[Path, str], ...] = ()
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def hits(self) -> tuple[tuple[Hit, ...], ...]:
        """The hits of each query, nearest first; fewer than requested if no more images pass the filter."""
        return self.found.hits

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON; ``warnings`` only if there are any."""
        plain: dict[str, Any] = {
            "engine": self.found.engine,
            "recall": self.found.recall,
            "num_images": self.num_images,
            "queries": [
                {"query": str(query), **of_track, "hits": [hit.to_row() for hit in hits]}
                for query, of_track, hits in zip(self.queries, self._of_tracks(), self.found, strict=True)
            ],
            "broken": [{"path": str(path), "reason": reason} for path, reason in self.broken],
            "notes": list(self.notes),
        }
        return plain | ({"warnings": list(self.warnings)} if self.warnings else {})

    def _of_tracks(self) -> list[dict[str, Any]]:
        if not self.tracks:
            return [{}] * len(self.queries)
        return [{"track": track.track, "num_images": track.num_images} for track in self.tracks]

    def to_table(self) -> pa.Table:
        """Make a table with one row for each hit; its columns are those of ``answer_tables.search_table``."""
        from spcl.gallery.answer_tables import search_table

        return search_table(self.found, self.queries, [track.track for track in self.tracks])

    def write_table(self, path: str | Path, *, excel: bool = False) -> None:
        """Write ``to_table`` as CSV or Parquet, by the ending of the path.

        Args:
            path: A path that ends in ``.csv`` or ``.parquet``; an existing file is replaced.
            excel: Whether the CSV is for a spreadsheet.

        Raises:
            InputError: If it cannot be written.
        """
        from spcl.gallery.answer_tables import write_answers

        write_answers(Path(path), self.to_table(), excel=excel)

    def save_picture(self, path: str | Path) -> None:
        """Draw the first twelve queries with their first twelve hits.

        Args:
            path: A path that ends in ``.png``; an existing file is replaced.

        Raises:
            InputError: If it cannot be written.
        """
        from spcl.gallery.search_picture import search_picture

        search_picture(Path(path), self)


def search_images(request: SearchRequest, *, report: Reporter | None = None) -> ImageSearchResult:
    """Find the images of a gallery that are most similar to others; a query's own file is not listed.

    Args:
        request: The queries and the gallery.
        report: Receives progress, notes and warnings; None: nothing is shown.

    Returns:
        ImageSearchResult; similarities are cosines, -1 to 1.

    Raises:
        InputError: If something cannot be used. The gallery and the filter are checked before the queries are embedded,
            and the queries before a gallery of images is.

    Cost: one pass over the queries (and over a gallery of images), and queries x gallery similarities without an index.

    Example::

        found = spcl.search_images(spcl.SearchRequest("my.gallery", "query.jpg", top=5))
        for hit in found.hits[0]:
            print(f"{hit.similarity:.3f}", hit.path)
    """
    where = request.where or None
    if request.camera_not:
        # Imported only where it is needed: a mistake in a table is reported before torch is imported.
        from spcl.gallery.filters import both, not_cameras

        where = both(not_cameras(request.camera_not), where)
    with opened_request(request, purpose="searched for", where=where, report=report) as asked:
        queries = asked.embed_queries()
        asked.source.fill()
        gallery = asked.source.gallery
        _warn_of_unknown_cameras(gallery, request.camera_not, asked.report)
        if request.by == "track":
            return _search_tracks(request, where, asked, queries)
        paths = [record.path for record in queries.records]
        found = gallery.search(
            queries.features,
            request.top,
            where=where,
            exact=True if request.exact else None,
            rerank=request.rerank,
            without=paths,
            report=asked.report,
        )
        return ImageSearchResult(
            queries=tuple(Path(kept_path(path)) for path in paths),
            found=found,
            num_images=len(gallery),
            image_size=asked.encoder.size,
            reranked=request.rerank,
            broken=queries.broken + asked.source.broken,
            notes=asked.notes,
            warnings=tuple(asked.report.warnings),
        )


def _search_tracks(
    request: SearchRequest, where: str | None, asked: OpenRequest, images: EmbeddedImages
) -> ImageSearchResult:
    from spcl.gallery.tracks import GalleryTracks, query_tracks, search_tracks

    gallery = asked.source.gallery
    queries, features = query_tracks(images, asked.quality)
    tracks = GalleryTracks.of(gallery, where)
    return ImageSearchResult(
        queries=tuple(Path(kept_path(query.path)) for query in queries),
        found=search_tracks(tracks, queries, features, request.top, rerank=request.rerank),
        num_images=len(gallery),
        image_size=asked.encoder.size,
        reranked=request.rerank,
        tracks=queries,
        num_tracks=len(tracks.names),
        broken=images.broken + asked.source.broken,
        notes=asked.notes,
        warnings=tuple(asked.report.warnings),
    )


def _warn_of_unknown_cameras(gallery: Gallery, cameras: Sequence[str], report: Reporter) -> None:
    unknown = gallery.unknown_cameras(cameras)
    if not unknown:
        return
    known = gallery.cameras()
    more = f" and {len(known) - MOST_CAMERAS_NAMED} more" if known[MOST_CAMERAS_NAMED:] else ""
    there = ", ".join(known[:MOST_CAMERAS_NAMED]) + more
    report.warn(
        f"--camera-not {' '.join(unknown)}: no image of the gallery is of such a camera, so nothing is left out by it; "
        + (f"its cameras are {there}" if known else "its images have no cameras")
    )
