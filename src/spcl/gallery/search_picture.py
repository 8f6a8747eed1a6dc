"""The picture of a search: each query with its hits."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from spcl.data.image_key import shown_path
from spcl.report.ranked import Ranking, ShownImage, lines_under, picture_of, ranked_picture

if TYPE_CHECKING:
    from spcl.gallery.search_images import ImageSearchResult

_MOST_IN_A_PICTURE = 12


def search_picture(path: Path, searched: ImageSearchResult) -> None:
    """Draw the first twelve queries and the first twelve hits of each, with similarity, identity, camera and path.

    Args:
        path: Path of the PNG file.
        searched: Result of the search; images whose files do not exist any more are drawn grey.

    Raises:
        InputError: If it cannot be written.
    """
    shown = slice(0, _MOST_IN_A_PICTURE)
    title = "most similar" + (", re-ranked" if searched.reranked else "")
    size = searched.image_size
    found = [
        [
            ShownImage(
                picture_of(Path(hit.path), size),
                lines=lines_under(
                    shown_path(hit.path), similarity=hit.similarity, identity=hit.identity, camera=hit.camera
                ),
            )
            for hit in row[shown]
        ]
        for row in searched.hits[shown]
    ]
    asked = [
        ShownImage(picture_of(query, size), lines=lines_under(shown_path(query))) for query in searched.queries[shown]
    ]
    ranked_picture(path, asked, [Ranking(title, found)])
