"""A searchable gallery on disk: embeddings of images, their columns, and the encoder that they come from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from spcl.arrays import Features
from spcl.data.image_key import kept_path
from spcl.data.source_options import IdentityFrom, SourceOptions
from spcl.errors import InputError
from spcl.gallery.columns import KEY, ImageColumns, columns_by_name, described, path_text, with_vectors
from spcl.gallery.enrolment import HAS_IDENTITY
from spcl.gallery.filters import checked_filter, quoted
from spcl.gallery.images_added_twice import merged_by_key
from spcl.gallery.images_to_rows import embedded_rows, find_images
from spcl.gallery.index import build_index, is_worth_it, needs_building, read_facts
from spcl.gallery.keys import ImageKeys, KeyBy, check_identities_agree
from spcl.gallery.places import made_store, opened_store
from spcl.gallery.readable_gallery import ReadableGallery
from spcl.gallery.result import Added
from spcl.inference.encoder_origin import FACT
from spcl.reporting.console import Reporter

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from spcl.inference.embedding import Encoder
    from spcl.runtime import Runtime

_ROWS_A_COMMIT = 50_000
_PATHS_A_FILTER = 300
_MOST_VALUES_ENROLLED_AT_ONCE = 20_000 * 512


class Gallery(ReadableGallery):
    """Vectors of images on disk, with path, identity or group, camera, time and further columns.

    An image is one row, whichever spelling of its path or link is given. If it is added again, its vector and its given
    columns are replaced; columns that are missing or empty in the new rows keep their values (``clear`` empties them).

    Several processes may open the same folder: a reader sees one complete version, and a write is stored completely or
    not at all. Filters are SQL: ``camera != 3``, ``time >= '2026-01-01 08:00'``, ``path like 'gate/%'``. As in SQL,
    ``camera != 3`` excludes images whose camera is unknown; add ``or camera is null`` to include them.

    Attributes:
        path: Folder of the gallery.
        dim: D, the length of a vector.
        fingerprint: Fingerprint of the encoder of the vectors; vectors of other encoders are refused.
        flip: Whether vectors are averaged with those of mirror images.
        key: What identifies an image: ``path``, its file with links followed; ``content``, its bytes.
        encoder: Encoder of images; None: only features can be added and searched for.

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
            path: Folder of the gallery, which does not exist yet or is empty.
            encoder: Encoder of the vectors.
            fingerprint: Fingerprint of the encoder, if only features are available; of another project's, any name.
            dim: Length of a vector; needed with ``fingerprint``.
            flip: Whether the vectors will be averaged with those of mirror images.
            key: What identifies an image: ``path``, its file with links followed; ``content``, its bytes.

        Raises:
            InputError: If the folder is not empty, or neither an encoder nor fingerprint and length are given.
        """
        facts: dict[str, Any] = {"flip": flip}
        if encoder is not None:
            fingerprint, dim = encoder.fingerprint, encoder.feature_dim
            if encoder.origin is not None:
                facts[FACT] = encoder.origin.to_dict()
        if not fingerprint or dim is None:
            raise InputError(
                "a gallery needs the encoder whose vectors it will hold, or its fingerprint and dim", code="no-encoder"
            )
        facts |= {"fingerprint": fingerprint, "key": ImageKeys(key).by}
        return cls(made_store(path, dim, facts), encoder)

    @classmethod
    def open(cls, path: str | Path, encoder: Encoder | None = None) -> Gallery:
        """Open a gallery.

        Args:
            path: Folder of the gallery.
            encoder: Encoder to add and search images with; None: only features can be added and searched for.

        Raises:
            InputError: If the folder holds no gallery, or the gallery holds vectors of another encoder.
        """
        return cls(opened_store(path), encoder)

    def add(
        self,
        images: str | Path | Sequence[str | Path],
        *,
        identity_from: IdentityFrom = "auto",
        flip: bool | None = None,
        runtime: Runtime | None = None,
        report: Reporter | None = None,
        **known: Unpack[ImageColumns],
    ) -> Added:
        """Embed images and add them. Images that cannot be read are left out and listed in the result.

        Args:
            images: A file, a folder with all images below it, a table, or a list of files. Cameras are read from
                file names or the table, other columns from the table.
            identity_from: Where identities are read from, as in ``SourceOptions``: ``auto``, ``table``, ``folder`` or
                ``name``.
            flip: Whether to average the features of each image and its mirror image; None: the gallery's setting.
            runtime: Device and precision; None: the CPU.
            report: Receives progress.
            known: Columns that replace those of ``images``. ``identities``, ``cameras`` and
                ``times``: a value for each image, as in ``add_features``; ``columns``: further columns by name.

        Returns:
            Added: the counts and the unreadable images. An image that is in the gallery already is replaced, so that
                repeating a call changes nothing; columns that are missing or empty in ``images`` keep their values.

        Raises:
            InputError: If the gallery was opened without an encoder, ``flip`` differs from the gallery's, images or
                columns cannot be used, or one image is given with two identities.
        """
        from spcl.inference.embedding import EmbedSettings

        encoder = self._encoder("add")
        flip = self.flip if flip is None else flip
        self.check_flip(flip)
        found = find_images(images, SourceOptions(identity_from=identity_from), columns=columns_by_name(**known))
        self.check_rows(found.table)
        done = Added(0, 0)
        for part in embedded_rows(encoder, found, EmbedSettings(runtime=runtime, flip=flip), report=report):
            done += self.add_table(part.table, part.features) + Added(0, 0, part.broken)
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
        """Add features that were computed elsewhere.

        Each 50,000 rows are one write: a reader sees all of them or none, also after the process was killed.

        Args:
            features: ``[N, D]`` rows; normalised here where they are not of unit length.
            paths: ``N`` file paths or other unique names, one for each row. A row that is in the gallery already is
                replaced; of a path that is given twice the last row counts.
            identities: ``N`` identities as text or numbers; None where unknown, which keeps the value in the gallery.
            cameras: ``N`` cameras as text or numbers, None where unknown.
            times: ``N`` times as ``datetime`` or text, None where unknown.
            columns: Further columns by name, with ``N`` values each; a new column is empty for the images added before.
            fingerprint: Fingerprint of the encoder of the features, which is checked; None: not checked.

        Raises:
            InputError: If the features come from another encoder, rows are zero, NaN or infinite, a column does not
                fit, or one image is given with two identities.
        """
        if fingerprint is not None:
            self.check_fingerprint(fingerprint)
        table = described(paths, identities=identities, cameras=cameras, times=times, columns=columns)
        return self.add_table(table, features)

    def check_rows(self, table: pa.Table) -> None:
        """Check that rows can be added, before they are embedded.

        Raises:
            InputError: If a column has another type than in the gallery, or one image has two identities.
        """
        self._store.check_columns(table)
        check_identities_agree(table, self._store.keys.of(table.column("path").to_pylist()).keys)

    def add_columns(self, table: pa.Table) -> None:
        """Add empty columns for those of ``table`` that the gallery lacks, so that filters may name them."""
        self._store.add_columns(table.schema)

    def add_table(self, table: pa.Table, features: Features) -> Added:
        """Add rows from ``columns.described`` with their features ``[len(table), D]``."""
        rows = with_vectors(table, features, self.dim)
        keys, paths = self._store.keys.of(rows.column("path").to_pylist())
        check_identities_agree(rows, keys)
        rows = rows.set_column(rows.column_names.index("path"), "path", pa.array(paths, pa.string()))
        rows = merged_by_key(rows.append_column(KEY, pa.array(keys, pa.string())))
        done = Added(0, 0)
        for at in range(0, len(rows), _ROWS_A_COMMIT):
            put = self._store.put(rows.slice(at, _ROWS_A_COMMIT))
            done += Added(put.num_added, put.num_replaced, (), put.kept, put.note)
        return done

    def clear(self, columns: Sequence[str], where: str | None = None, *, paths: Sequence[object] | None = None) -> int:
        """Set columns of images to unknown, which adding the images again does not do.

        Args:
            columns: Names of columns: ``identity``, ``camera``, ``time`` or further columns.
            where: A filter that chooses the images.
            paths: Paths of the images, in place of a filter.

        Returns:
            The number of images that were chosen.

        Raises:
            InputError: If the gallery has no such column, the filter cannot be used, or not exactly one of ``where``
                and ``paths`` is given.
        """
        known = [name for name in self.columns if name != "path"]
        columns = [columns] if isinstance(columns, str) else columns
        unknown = [name for name in columns if name not in known]
        if not columns:
            raise InputError(f"no column is given; give some of {', '.join(known)}", code="missing-argument")
        if unknown:
            raise InputError(
                f"the gallery {self.place} has no column {unknown[0]!r} to be emptied; it has {', '.join(known)}",
                code="no-such-column",
            )
        return sum(self._store.clear(columns, condition) for condition in self._conditions(where, paths, "emptied"))

    def remove(self, where: str | None = None, *, paths: Sequence[object] | None = None) -> int:
        """Remove images by a filter or by their paths.

        Returns:
            The number of images that were removed.

        Raises:
            InputError: If the filter cannot be used, or not exactly one of ``where`` and ``paths`` is given.
        """
        return sum(self._store.delete(condition) for condition in self._conditions(where, paths, "removed"))

    def _conditions(self, where: str | None, paths: Sequence[object] | None, what: str) -> list[str]:
        """Make checked filters of a filter or of paths."""
        if (where is None) == (paths is None) or not isinstance(where or "", str):
            raise InputError(f"no images to be {what}; give either a filter or paths=[...]", code="invalid-selection")
        snapshot = self._store.snapshot()
        if where is not None:
            # Without the list of cameras, so that new cameras of another writer are included.
            condition = checked_filter(where, snapshot.schema)
            snapshot.count(condition)
            return [condition]
        names = [path_text(path) for path in ([paths] if isinstance(paths, str | Path) else paths or ())]
        conditions = []
        for at in range(0, len(names), _PATHS_A_FILTER):
            some = names[at : at + _PATHS_A_FILTER]
            # Also by the stored path: the file may be deleted, or the gallery may have no keys.
            known = {*some, *self._store.keys.of(some).keys, *(kept_path(name).as_posix() for name in some)}
            listed = ", ".join(quoted(name) for name in sorted(known))
            conditions.append(f"path in ({listed})" + (f" or {KEY} in ({listed})" if snapshot.has_keys else ""))
        return conditions

    def tidy(self, report: Reporter | None = None) -> None:
        """Merge the files of many small writes; build the index if it saves time, or if the gallery has doubled.

        ``add`` calls it at its end; call it yourself after many calls of ``add_features``. It does not block searches.
        """
        self._store.tidy()
        snapshot = self._store.snapshot()
        if self._store.builds_index and needs_building(snapshot, read_facts(self._store, snapshot)):
            build_index(self._store, report)
        if is_worth_it(snapshot.count(), self.dim):
            self._store.index_columns()
        self._store.copy_rows()
        # A larger gallery computes its enrolled identities at the first identification.
        named = 0 if self._store.state() is None else snapshot.count(HAS_IDENTITY)
        if 0 < named * self.dim <= _MOST_VALUES_ENROLLED_AT_ONCE:
            # A gallery of spcl 0.1.0 may have only words such as "unknown" as identities: ``identify`` raises then.
            with suppress(InputError):
                self.enrolled()
