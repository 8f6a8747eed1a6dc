"""A searchable, persistent gallery: images as vectors, what is known about them, and the encoder they come from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow as pa

from spcl.data.one_image import kept_path
from spcl.data.source_options import IdentityFrom, SourceOptions
from spcl.engine.embed import Encoder
from spcl.engine.encoder_origin import FACT
from spcl.engine.journal import Reporter
from spcl.errors import InputError
from spcl.gallery.columns import KEY, described, path_text, with_vectors
from spcl.gallery.filters import checked_filter, quoted
from spcl.gallery.index import build_index, is_worth_it, needs_building, read_facts
from spcl.gallery.intake import embedded_rows, find_images
from spcl.gallery.keys import ImageKeys, KeyBy, check_agreement
from spcl.gallery.merging import joined
from spcl.gallery.naming import HAS_IDENTITY
from spcl.gallery.reading import ReadableGallery
from spcl.gallery.result import Added
from spcl.gallery.store import Store
from spcl.retrieval.arrays import Features
from spcl.runtime import Runtime

_ROWS_A_COMMIT = 50_000
_PATHS_A_FILTER = 300
_MOST_VALUES_ENROLLED_AT_ONCE = 20_000 * 512


class Gallery(ReadableGallery):
    """Vectors of images on disk, with path, identity or group, camera, time and columns of the user's own.

    An image is one row, by whatever spelling of its path or link it is given. Added again, it gets its new vector, and
    what its new description says; columns that the new description lacks or leaves empty keep what they have (``clear``
    empties them).

    Open the same folder as often as you like, from several processes: a reader sees a whole version, and a write is
    there as a whole or not at all. Filters are SQL: ``camera != 3``, ``time >= '2026-01-01 08:00'``, ``path like
    'gate/%'``. As in SQL, ``camera != 3`` is not passed by images whose camera is unknown; add ``or camera is null``.

    Attributes:
        path: The folder.
        dim: D, the length of a vector.
        fingerprint: Of the encoder that the vectors come from; others are refused.
        flip: Whether they are averaged with those of mirror images; None: an older gallery, which does not say.
        key: What one image is: ``path``, one file by whatever spelling or link; ``content``, equal bytes.
        encoder: Turns images into vectors; None: only features can be added and searched for.

    Examples:
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
        key: KeyBy = "path",
    ) -> Gallery:
        """Make an empty gallery.

        Args:
            path: A folder that does not exist, or is empty.
            encoder: Whose vectors it will hold.
            fingerprint: Of the encoder, where only features are at hand; a name of your own for another encoder's.
            dim: Length of a vector; needed with ``fingerprint``.
            flip: It will hold features that are averaged with those of mirror images.
            key: What one image is: ``path``: one file, whatever links lead to it; ``content``: files of equal bytes.

        Raises:
            InputError: If something is there already, or neither encoder nor fingerprint and length are given.
        """
        facts: dict[str, Any] = {"flip": flip}
        if encoder is not None:
            fingerprint, dim = encoder.fingerprint, encoder.feature_dim
            if encoder.origin is not None:
                facts[FACT] = encoder.origin.to_dict()
        if not fingerprint or not dim or dim < 1:
            raise InputError("a gallery needs the encoder whose vectors it will hold, or its fingerprint and dim")
        facts |= {"fingerprint": fingerprint, "key": ImageKeys(key).by}
        return cls(Store.create(Path(path), dim, facts), encoder)

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
        """Embed images and add them. One that cannot be read is left out and named in the result.

        Args:
            images: A file, a folder with all below it, a manifest, or a list of files. Cameras come from the files'
                names or the manifest, other columns from the manifest.
            identities: One for each image, instead: text or numbers, None where unknown.
            cameras: One for each image, instead: text or numbers, None where unknown.
            times: One for each image, instead: ``datetime`` or text as in ``2026-01-01 08:00``.
            columns: Further columns by name, a value for each image.
            identity_from: ``auto``, ``table``, ``folder`` or ``name``: see ``SourceOptions``.
            flip: Average the features of each image and its mirror image; None: as the gallery has it.
            runtime: Device and precision; None: the CPU.
            report: Shows progress.

        Returns:
            Added. An image that is there already is replaced, so that the same call twice changes nothing; columns
            that these images lack or leave empty stay as they are.

        Raises:
            InputError: If the gallery was opened without an encoder, holds features of the other kind of ``flip``,
                images or columns cannot be used, or one image is given with two identities.
        """
        encoder = self._encoder("add")
        flip = bool(self.flip) if flip is None else flip
        self.check_flip(flip)
        given = {"identity": identities, "camera": cameras, "time": times, **(columns or {})}
        found = find_images(images, SourceOptions(identity_from=identity_from), columns=given)
        self.check_rows(found.table)
        done = Added(0, 0)
        for part in embedded_rows(encoder, found, flip=flip, runtime=runtime, report=report):
            done += self.add_table(part.table, part.features)
            done += Added(0, 0, part.broken)
        self.tidy(report)
        return done

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
            paths: ``N`` files, or names of your own that are no files, one for each: what is there already is replaced,
                and of one given twice the last vector counts.
            identities: ``N`` of text or numbers, None where unknown: what is there stays.
            cameras: ``N`` of text or numbers, None where unknown.
            times: ``N`` of ``datetime`` or text, None where unknown.
            columns: Further columns by name, ``N`` values each; one that the gallery lacks is new and empty for the
                images before.
            fingerprint: Of the encoder they come from, to be checked; None: you know that they fit.

        Raises:
            InputError: If they come from another encoder, rows are zero or not finite, a column does not fit, or one
                image is given with two identities.
        """
        if fingerprint is not None:
            self.check_fingerprint(fingerprint)
        table = described(paths, identities=identities, cameras=cameras, times=times, columns=columns)
        return self.add_table(table, features)

    def check_rows(self, table: pa.Table) -> None:
        """Whether rows can be added, before they are embedded.

        Raises:
            InputError: If a column holds another kind of values than the gallery's, or one image has two identities.
        """
        self._store.check_columns(table)
        check_agreement(table, self._store.keys.of(table.column("path").to_pylist()).keys)

    def add_columns(self, table: pa.Table) -> None:
        """Add the columns that rows to be added have and the gallery lacks, so that filters may name them."""
        self._store.add_columns(table.schema)

    def add_table(self, table: pa.Table, features: Features) -> Added:
        """Add rows that ``columns.described`` has made, and their features ``[len(table), D]``."""
        rows = with_vectors(table, features, self.dim)
        keys, paths = self._store.keys.of(rows.column("path").to_pylist())
        check_agreement(rows, keys)
        rows = rows.set_column(rows.column_names.index("path"), "path", pa.array(paths, pa.string()))
        rows = joined(rows.append_column(KEY, pa.array(keys, pa.string())))
        done = Added(0, 0)
        for at in range(0, len(rows), _ROWS_A_COMMIT):
            put = self._store.put(rows.slice(at, _ROWS_A_COMMIT))
            done += Added(put.num_added, put.num_replaced, (), put.kept, put.note)
        return done

    def clear(self, columns: Sequence[str], where: str | None = None, *, paths: Sequence[object] | None = None) -> int:
        """Empty columns of images, which adding the images again does not do.

        Args:
            columns: ``identity``, ``camera``, ``time`` or columns of your own.
            where: A filter of the images.
            paths: The images, instead.

        Returns:
            How many images were meant.

        Raises:
            InputError: If the gallery has no such column, the filter cannot be used, or not exactly one of filter and
                paths is given.
        """
        known = [name for name in self.columns if name != "path"]
        unknown = [name for name in columns if name not in known]
        if unknown or not columns:
            raise InputError(
                f"the gallery {self.path} has no column {unknown[0]!r} to be emptied; it has {', '.join(known)}"
                if unknown
                else f"which columns are to be emptied? Give some of {', '.join(known)}"
            )
        return sum(self._store.clear(columns, condition) for condition in self._meant(where, paths, "emptied"))

    def remove(self, where: str | None = None, *, paths: Sequence[object] | None = None) -> int:
        """Remove images by a filter or by their paths.

        Returns:
            How many were there and are no more.

        Raises:
            InputError: If the filter cannot be used, or not exactly one of both is given.
        """
        return sum(self._store.delete(condition) for condition in self._meant(where, paths, "removed"))

    def _meant(self, where: str | None, paths: Sequence[object] | None, what: str) -> list[str]:
        """Filters, as the store takes them, of the images that a user means by a filter or by paths."""
        if (where is None) == (paths is None):
            raise InputError(f"what is to be {what}? Give a filter or paths, one of both")
        snapshot = self._store.snapshot()
        if where is not None:
            # Cameras that another writer adds meanwhile count as well: none are listed here.
            condition = checked_filter(where, snapshot.schema)
            snapshot.count(condition)
            return [condition]
        names = [path_text(path) for path in paths or ()]
        conditions = []
        for at in range(0, len(names), _PATHS_A_FILTER):
            some = names[at : at + _PATHS_A_FILTER]
            # Also by the path that is kept: the file may be gone, or the gallery has no keys.
            known = {*some, *self._store.keys.of(some).keys, *(kept_path(name).as_posix() for name in some)}
            listed = ", ".join(quoted(name) for name in sorted(known))
            conditions.append(f"path in ({listed})" + (f" or {KEY} in ({listed})" if snapshot.has_keys else ""))
        return conditions

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
        # Where it takes a moment only; a larger gallery's are computed when an image is to be named.
        named = snapshot.count(HAS_IDENTITY)
        if 0 < named * self.dim <= _MOST_VALUES_ENROLLED_AT_ONCE:
            # Words for "not known" in an older gallery are no identities: the error comes where images are named.
            with suppress(InputError):
                self.enrolled()
