"""Images of a folder of groups as JPEG files of a limited size; only these images are served, by their row."""

from __future__ import annotations

from spcl.review.session import ReviewSession
from spcl.serve.shown_images import ShownImages


class RowImages:
    """Draws the images of a session.

    Args:
        session: Has the paths.
    """

    def __init__(self, session: ReviewSession) -> None:
        self._session = session
        self._shown = ShownImages(self)

    def path_of(self, name: str) -> str | None:
        """Give the path of an image by its row, as text; None: there is no such row."""
        paths = self._session.paths
        return str(paths[int(name)]) if name.isdecimal() and len(name) < 19 and int(name) < len(paths) else None

    def jpeg(self, row: int, size: int) -> bytes:
        """Give an image as JPEG, at most ``size`` pixels wide and high.

        Raises:
            RequestError: If there is no such image, or its file cannot be read.
        """
        return self._shown.jpeg(str(row), size)
