"""What is read from a gallery: its columns, its vectors, the images most similar to a query."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from spcl.data.files import number_in_order
from spcl.engine.embed import Encoder, ImageLike
from spcl.engine.journal import Reporter, SilentReporter
from spcl.errors import InputError
from spcl.gallery.columns import VECTOR, checked_features, kind_of, vectors_of
from spcl.gallery.filters import checked_filter, quoted
from spcl.gallery.index import is_worth_it, read_facts
from spcl.gallery.naming import enrolled_identities
from spcl.gallery.result import GalleryRows, SearchResult
from spcl.gallery.search import (
    RERANK_CANDIDATES,
    IndexFacts,
    hits_of,
    reranked,
    search_by_index,
    search_exactly,
)
from spcl.gallery.snapshot import Snapshot
from spcl.gallery.store import Store
from spcl.retrieval.arrays import Features
from spcl.retrieval.identification import Enrolled, Identification

_MOST_COUNTED = 256
_CAMERAS_AT_ONCE = 65536


class ReadableGallery:
    """The reading half of ``Gallery``: whatever is written meanwhile, each call sees one version.

    Attributes:
        path: The folder.
        dim: D, the length of a vector.
        fingerprint: Of the encoder that the vectors come from; others are refused.
        flip: Whether they are averaged with those of mirror images; None: an older gallery, which does not say.
        encoder: Turns images into vectors; None: only features can be searched for.
    """

    def __init__(self, store: Store, encoder: Encoder | None = None) -> None:
        """Use ``create`` or ``open``."""
        self._store = store
        self.path = store.folder
        self.fingerprint = str(store.facts["fingerprint"])
        self.flip: bool | None = store.facts.get("flip")
        self.dim = store.snapshot().dim
        self.encoder = encoder
        self._counted: dict[tuple[int, str], tuple[str, int]] = {}
        self._cameras: tuple[int, list[str]] | None = None
        if encoder is not None:
            self.check_fingerprint(encoder.fingerprint)

    def __len__(self) -> int:
        """Images in the newest version."""
        return self._store.snapshot().count()

    def count(self, where: str | None = None) -> int:
        """Images, or images that pass a filter.

        Raises:
            InputError: If the filter cannot be used.
        """
        return self._passing(self._store.snapshot(), where)[1]

    @property
    def columns(self) -> dict[str, str]:
        """The columns beside the vector, and what each holds: ``text``, ``number``, ``time`` and so on."""
        return {field.name: kind_of(field.type) for field in self._store.snapshot().schema if field.name != VECTOR}

    @property
    def index(self) -> IndexFacts | None:
        """The index and its measured recall; None while every vector is compared."""
        return read_facts(self.path, self._store.snapshot())

    def check_fingerprint(self, fingerprint: str) -> None:
        """Raise an ``InputError`` if it is another encoder's."""
        if fingerprint != self.fingerprint:
            raise InputError(
                f"the gallery {self.path} holds vectors of the encoder {self.fingerprint}, not of {fingerprint}: they "
                "cannot be compared. Use the checkpoint it was made with, or embed the images again into a new gallery"
            )

    def check_flip(self, flip: bool) -> None:
        """Raise an ``InputError`` if features with or without mirror images would meet the others here."""
        if self.flip in (None, flip):
            return
        held = "averaged with those of mirror images" if self.flip else "of the images alone, without mirror images"
        raise InputError(
            f"the gallery {self.path} holds features {held}: others cannot be compared with them well. "
            f"{'Add' if self.flip else 'Leave out'} --flip (flip={self.flip})"
        )

    def unknown_cameras(self, cameras: Iterable[str]) -> list[str]:
        """Those of some cameras that no image of the gallery is of."""
        snapshot = self._store.snapshot()
        return [camera for camera in cameras if not snapshot.count(f"camera = {quoted(camera)}")]

    def cameras(self) -> list[str]:
        """The cameras of the gallery's images, in numeric order where all are whole numbers.

        One pass over the images, remembered until something is written.
        """
        return list(self._known_cameras(self._store.snapshot()))

    def check_filter(self, where: str) -> None:
        """Raise an ``InputError`` if it is no filter over the gallery's columns."""
        self._passing(self._store.snapshot(), where)

    def search(
        self,
        query: Features | ImageLike | Sequence[ImageLike],
        k: int = 10,
        *,
        where: str | None = None,
        exact: bool | None = None,
        rerank: bool = False,
        report: Reporter | None = None,
    ) -> SearchResult:
        """The images most similar to each query.

        Args:
            query: Features ``[Q, D]`` or ``[D]`` (floating point), or images as ``Encoder.embed`` takes them.
            k: How many for each.
            where: A filter that images must pass.
            exact: None: every vector is compared while that takes some hundredths of a second, the index is used
                beyond; also where a filter is passed by few. True: every vector. False: the index.
            rerank: Order the 100 (or 4 k) nearest images of each query by k-reciprocal re-ranking among themselves.
            report: Shows progress.

        Returns:
            SearchResult, one tuple of hits for each query.

        Raises:
            InputError: If the filter, the query or ``k`` cannot be used, or there is no index to be used.
        """
        if k < 1:
            raise InputError(f"k is {k}; expected 1 or more")
        queries = self._features(query)
        snapshot = self._store.snapshot()
        condition, num_passing = self._passing(snapshot, where)
        facts = None if exact else read_facts(self.path, snapshot)
        if exact is False and facts is None:
            raise InputError(f"the gallery {self.path} has no index: searches in {num_passing} images are exact")
        wanted = max(RERANK_CANDIDATES, 4 * k) if rerank else k
        is_filtered = condition is not None
        report = report or SilentReporter()
        with report.progress("searching") as advance:
            if facts is None or (exact is None and not is_worth_it(num_passing, self.dim, scattered=is_filtered)):
                found = search_exactly(snapshot, queries, wanted, condition, num_passing=num_passing, progress=advance)
            else:
                found = search_by_index(snapshot, queries, wanted, facts, condition, num_passing, advance)
        if rerank:
            with report.progress("re-ranking") as advance:
                found = reranked(snapshot, queries, found, k, advance)
        recall = 1.0 if found.engine == "exact" or facts is None else facts.recall
        return SearchResult(hits_of(snapshot, found), found.engine, recall)

    def identify(
        self,
        query: Features | ImageLike | Sequence[ImageLike],
        false_match_rate: float = 0.01,
        *,
        where: str | None = None,
        enrolled: Enrolled | None = None,
    ) -> list[Identification]:
        """Whose image each query is, of the identities in the gallery, or nobody's.

        Args:
            query: As for ``search``.
            false_match_rate: Share of images of strangers that may be given somebody's name. Where fewer than twenty
                identities are enrolled, the checkpoint's calibration of pairs (``spcl calibrate``) decides.
            where: A filter that enrolled images must pass.
            enrolled: What ``enrolled_identities`` gave; None: asked for now, which reads every vector.

        Returns:
            An answer for each query: ``identity`` is None for nobody's.

        Raises:
            InputError: If nobody is enrolled, or nothing tells how similar strangers are; says what would.
        """
        queries = self._features(query)
        known = enrolled or enrolled_identities(self, where)
        try:
            return known.identify(queries, false_match_rate)
        except ValueError as error:
            raise InputError(str(error)) from error

    def read(
        self, columns: Sequence[str] = ("path", "identity"), where: str | None = None, rows: int = 8192
    ) -> Iterator[GalleryRows]:
        """All vectors of one version, in batches, with some columns.

        Args:
            columns: Names of the columns to read.
            where: A filter: ``identity is not null``, say.
            rows: Rows in a batch, at most.

        Raises:
            InputError: If the filter or a column cannot be used.
        """
        snapshot = self._store.snapshot()
        unknown = [name for name in columns if name not in snapshot.schema.names]
        if unknown:
            raise InputError(f"the gallery {self.path} has no column {unknown[0]!r}; it has {', '.join(self.columns)}")
        condition, _ = self._passing(snapshot, where)
        for _, batch in snapshot.scan([VECTOR, *columns], condition, rows):
            vectors = vectors_of(batch.column(VECTOR), self.dim)
            yield GalleryRows(vectors, {name: batch.column(name).to_pylist() for name in columns})

    def _passing(self, snapshot: Snapshot, where: str | None) -> tuple[str | None, int]:
        """A filter as the store takes it and how many rows pass; remembered, for the next query often has the same."""
        if where is None:
            return None, snapshot.count()
        known = self._counted.get((snapshot.version, where))
        if known is None:
            condition = checked_filter(where, snapshot.schema, lambda: self._known_cameras(snapshot))
            known = condition, snapshot.count(condition)
            if len(self._counted) >= _MOST_COUNTED:
                self._counted.clear()
            self._counted[snapshot.version, where] = known
        return known

    def _known_cameras(self, snapshot: Snapshot) -> list[str]:
        if self._cameras is None or self._cameras[0] != snapshot.version:
            batches = snapshot.scan(["camera"], rows=_CAMERAS_AT_ONCE)
            found = {camera for _, batch in batches for camera in batch.column("camera").unique().to_pylist()}
            cameras = number_in_order([camera for camera in found if camera is not None])
            self._cameras = snapshot.version, list(cameras)
        return self._cameras[1]

    def _features(self, query: Features | ImageLike | Sequence[ImageLike]) -> NDArray[np.float32]:
        is_floating = isinstance(query, np.ndarray) and query.dtype.kind == "f"
        if isinstance(query, torch.Tensor) or is_floating:
            return checked_features(query, self.dim)  # type: ignore[arg-type]
        return self._encoder("search").embed(query, flip=bool(self.flip))  # type: ignore[arg-type]

    def _encoder(self, verb: str) -> Encoder:
        if self.encoder is None:
            raise InputError(f"to {verb} images, open the gallery with their encoder: Gallery.open(path, encoder)")
        # Its weights may have changed since the gallery was opened.
        self.check_fingerprint(self.encoder.fingerprint)
        return self.encoder
