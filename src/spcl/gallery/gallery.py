"""A searchable, persistent gallery: images as vectors, what is known about them, and the encoder they come from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from spcl.data.source_options import IdentityFrom, SourceOptions
from spcl.engine.embed import Encoder
from spcl.engine.journal import Reporter
from spcl.errors import InputError
from spcl.gallery.columns import described, path_text, with_vectors
from spcl.gallery.filters import checked_filter, quoted
from spcl.gallery.index import build_index, is_worth_it, needs_building, read_facts
from spcl.gallery.intake import embedded_rows, find_images
from spcl.gallery.reading import ReadableGallery
from spcl.gallery.store import Store
from spcl.retrieval.arrays import Features
from spcl.runtime import Runtime

_ROWS_A_COMMIT = 50_000
_PATHS_A_FILTER = 1000


@dataclass(frozen=True)
class Added:
    """What was added to a gallery.

    Attributes:
        num_added: New images.
        num_replaced: Images whose path was there: the new vector and columns took the place of the old.
        broken: Path and reason of each image that could not be read; it was left out.
    """

    num_added: int
    num_replaced: int
    broken: tuple[tuple[Path, str], ...] = ()


class Gallery(ReadableGallery):
    """Vectors of images on disk, with path, identity or group, camera, time and columns of the user's own.

    Open the same folder as often as you like, from several processes: a reader sees a whole version, and a write is
    there as a whole or not at all. Filters are SQL: ``camera != 3``, ``time >= '2026-01-01 08:00'``, ``path like
    'gate/%'``. As in SQL, ``camera != 3`` is not passed by images whose camera is unknown; add ``or camera is null``.

    Attributes:
        path: The folder.
        dim: D, the length of a vector.
        fingerprint: Of the encoder that the vectors come from; others are refused.
        flip: Whether they are averaged with those of mirror images; None: an older gallery, which does not say.
        encoder: Turns images into vectors; None: only features can be added and searched for.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> folder = tempfile.TemporaryDirectory()
        >>> gallery = Gallery.create(folder.name, fingerprint="my encoder", dim=2)
        >>> gallery.add_features(np.eye(2, dtype="float32"), ["a.jpg", "b.jpg"], cameras=[1, 3]).num_added
        2
        >>> gallery.search(np.array([0.6, 0.8]), where="camera != 3")[0][0].path
        'a.jpg'
    """

    @classmethod
    def create(
        cls,
        path: str | Path,
        encoder: Encoder | None = None,
        *,
        fingerprint: str | None = None,
        dim: int | None = None,
        flip: bool = False,
    ) -> Gallery:
        """Make an empty gallery.

        Args:
            path: A folder that does not exist, or is empty.
            encoder: Whose vectors it will hold.
            fingerprint: Of the encoder, where only features are at hand; a name of your own for another encoder's.
            dim: Length of a vector; needed with ``fingerprint``.
            flip: It will hold features that are averaged with those of mirror images.

        Raises:
            InputError: If something is there already, or neither encoder nor fingerprint and length are given.
        """
        if encoder is not None:
            fingerprint, dim = encoder.fingerprint, encoder.feature_dim
        if not fingerprint or not dim or dim < 1:
            raise InputError("a gallery needs the encoder whose vectors it will hold, or its fingerprint and dim")
        return cls(Store.create(Path(path), dim, {"fingerprint": fingerprint, "flip": flip}), encoder)

    @classmethod
    def open(cls, path: str | Path, encoder: Encoder | None = None) -> Gallery:
        """Open a gallery.

        Args:
            path: Its folder.
            encoder: To add and search images; None: features only.

        Raises:
            InputError: If there is none, or it holds vectors of another encoder.
        """
        return cls(Store(Path(path)), encoder)

    def add(
        self,
        images: str | Path | Sequence[str | Path],
        *,
        identities: Sequence[Any] | None = None,
        cameras: Sequence[Any] | None = None,
        times: Sequence[Any] | None = None,
        columns: Mapping[str, Sequence[Any]] | None = None,
        identity_from: IdentityFrom = "auto",
        flip: bool | None = None,
        runtime: Runtime | None = None,
        report: Reporter | None = None,
    ) -> Added:
        """Embed images and add them. One that cannot be read is left out and told.

        Args:
            images: A file, a folder with all below it, a manifest, or a list of files. Cameras come from the files'
                names or the manifest, other columns from the manifest.
            identities: One for each image, instead: text or numbers, None where unknown. So are ``cameras``, ``times``
                and ``columns`` (by name).
            cameras: See there.
            times: ``datetime`` or text as in ``2026-01-01 08:00``.
            columns: Further columns by name.
            identity_from: ``auto``, ``table``, ``folder`` or ``name``: see ``SourceOptions``.
            flip: Average the features of each image and its mirror image; None: as the gallery has it.
            runtime: Device and precision; None: the CPU.
            report: Shows progress.

        Returns:
            Added. A path that is there already is replaced, so that the same call twice changes nothing.

        Raises:
            InputError: If the gallery was opened without an encoder, holds features of the other kind of ``flip``, or
                images or columns cannot be used.
        """
        encoder = self._encoder("add")
        flip = bool(self.flip) if flip is None else flip
        self.check_flip(flip)
        given = {"identity": identities, "camera": cameras, "time": times, **(columns or {})}
        found = find_images(images, SourceOptions(identity_from=identity_from), columns=given)
        self.check_columns(found.table)
        added, replaced = 0, 0
        broken: list[tuple[Path, str]] = []
        for part in embedded_rows(encoder, found, flip=flip, runtime=runtime, report=report):
            done = self.add_table(part.table, part.features)
            added, replaced = added + done.num_added, replaced + done.num_replaced
            broken.extend(part.broken)
        self.tidy(report)
        return Added(added, replaced, tuple(broken))

    def add_features(
        self,
        features: Features,
        paths: Sequence[object],
        *,
        identities: Sequence[Any] | None = None,
        cameras: Sequence[Any] | None = None,
        times: Sequence[Any] | None = None,
        columns: Mapping[str, Sequence[Any]] | None = None,
        fingerprint: str | None = None,
    ) -> Added:
        """Add features that are at hand.

        Each 50,000 rows are one write: a reader sees all of them or none, and so does who opens it after a kill.

        Args:
            features: ``[N, D]`` rows; normalised here where they are not of unit length.
            paths: ``N`` names, one for each: a path that is there already is replaced, and of one given twice the last
                counts.
            identities: ``N`` of text or numbers, None where unknown; likewise ``cameras``, ``times``, ``columns``.
            cameras: See there.
            times: See there.
            columns: Further columns by name; one that the gallery lacks is new and empty for the images before.
            fingerprint: Of the encoder they come from, to be checked; None: you know that they fit.

        Raises:
            InputError: If they come from another encoder, rows are zero or not finite, or a column does not fit.
        """
        if fingerprint is not None:
            self.check_fingerprint(fingerprint)
        table = described(paths, identities=identities, cameras=cameras, times=times, columns=columns)
        return self.add_table(table, features)

    def check_columns(self, table: pa.Table) -> None:
        """Raise an ``InputError`` if a column of rows to be added holds another kind of values than the gallery's."""
        self._store.check_columns(table)

    def add_columns(self, table: pa.Table) -> None:
        """Add the columns that rows to be added have and the gallery lacks, so that filters may name them."""
        self._store.add_columns(table.schema)

    def add_table(self, table: pa.Table, features: Features) -> Added:
        """Add rows that ``columns.described`` has made, and their features ``[len(table), D]``."""
        rows = with_vectors(table, features, self.dim)
        names = rows.column("path").to_pylist()
        last = {name: row for row, name in enumerate(names)}
        if len(last) < len(names):
            rows = rows.take(pa.array(sorted(last.values())))
        added = replaced = 0
        for at in range(0, len(rows), _ROWS_A_COMMIT):
            counts = self._store.put(rows.slice(at, _ROWS_A_COMMIT))
            added, replaced = added + counts[0], replaced + counts[1]
        return Added(added, replaced)

    def remove(self, where: str | None = None, *, paths: Sequence[object] | None = None) -> int:
        """Remove images by a filter or by their paths.

        Returns:
            How many were there and are no more.

        Raises:
            InputError: If the filter cannot be used, or not exactly one of both is given.
        """
        if (where is None) == (paths is None):
            raise InputError("what is to be removed? Give a filter or paths, one of both")
        if where is not None:
            snapshot = self._store.snapshot()
            # Cameras that another writer adds meanwhile count as well: none are listed here.
            condition = checked_filter(where, snapshot.schema)
            snapshot.count(condition)
            return self._store.delete(condition)
        names = [quoted(path_text(path)) for path in paths or ()]
        some = (names[at : at + _PATHS_A_FILTER] for at in range(0, len(names), _PATHS_A_FILTER))
        return sum(self._store.delete(f"path in ({', '.join(part)})") for part in some)

    def tidy(self, report: Reporter | None = None) -> None:
        """Join the files of many small writes; build the index where it is worth it, or the gallery has doubled.

        ``add`` does so at its end; after many ``add_features`` it is yours to call. Searches go on meanwhile.
        """
        self._store.tidy()
        snapshot = self._store.snapshot()
        if needs_building(snapshot, read_facts(self.path, snapshot)):
            build_index(self._store, report)
        if is_worth_it(snapshot.count(), self.dim):
            self._store.index_columns()
