"""Users' filters, checked and counted once: the next query often has the same filter."""

from __future__ import annotations

from spcl.data.image_files import number_in_order
from spcl.gallery.filters import checked_filter
from spcl.gallery.snapshot import Snapshot

_MOST_COUNTED = 256


class CountedFilters:
    """Checked filters with the number of rows that pass, and the list of cameras; both for one version of a gallery."""

    def __init__(self) -> None:
        self._counted: dict[tuple[int, str], tuple[str, int]] = {}
        self._cameras: tuple[int, list[str]] | None = None

    def of(self, snapshot: Snapshot, where: str | None) -> tuple[str | None, int]:
        """Check a filter, and count the rows of one version that pass it.

        Returns:
            The filter in the form that LanceDB takes, None without a filter, and the number of rows.

        Raises:
            InputError: If the filter cannot be used.
        """
        if where is None:
            return None, snapshot.count()
        known = self._counted.get((snapshot.version, where))
        if known is None:
            condition = checked_filter(where, snapshot.schema, lambda: self.cameras(snapshot))
            known = condition, snapshot.count(condition)
            if len(self._counted) >= _MOST_COUNTED:
                self._counted.clear()
            self._counted[snapshot.version, where] = known
        return known

    def cameras(self, snapshot: Snapshot) -> list[str]:
        """List the cameras of one version, in numeric order where all are integers; one pass over the rows."""
        if self._cameras is None or self._cameras[0] != snapshot.version:
            self._cameras = snapshot.version, list(number_in_order(list(snapshot.values_of("camera"))))
        return self._cameras[1]
