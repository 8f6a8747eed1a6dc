"""Reading a gallery: its columns, its vectors, the images most similar to a query."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from spcl.arrays import Features, is_tensor
from spcl.errors import InputError
from spcl.gallery.argument_checks import require_as_many, required_count
from spcl.gallery.begun_enrolment import Enrolment, begin_enrolment
from spcl.gallery.columns import VECTOR, checked_features, column_kind, path_text, vectors_of
from spcl.gallery.comparable_features import check_same_encoder, check_same_flip
from spcl.gallery.filter_counts import CountedFilters
from spcl.gallery.filters import quoted
from spcl.gallery.index import is_worth_it, read_facts
from spcl.gallery.keys import KeyBy, OwnImages
from spcl.gallery.nearest_image import nearest_of_identities
from spcl.gallery.qdrant.address import shown_place
from spcl.gallery.result import GalleryRows, Hit, SearchResult
from spcl.gallery.search import IndexFacts, hits_of, nearest, nearest_others
from spcl.gallery.store import Store
from spcl.inference.encoder_origin import EncoderOrigin
from spcl.reporting.console import Reporter
from spcl.reporting.quiet_reporters import LoggingReporter
from spcl.verification.identification import Enrolled, Identification

if TYPE_CHECKING:
    from spcl.inference.embedding import Encoder, ImageLike


class ReadableGallery:
    """The reading methods of ``Gallery``: each call sees one version, also while another process writes.

    Attributes:
        path: Folder of the gallery, or its address as a path.
        place: Folder or address as text.
        kept: Folder of this machine for files that are computed from the gallery; it need not exist.
        dim: D, the length of a vector.
        fingerprint: Fingerprint of the encoder of the vectors; vectors of other encoders are refused.
        flip: Whether vectors are averaged with those of mirror images.
        key: What identifies an image: ``path``, its file with links followed; ``content``, its bytes.
        encoder: Encoder of images; None: only features can be searched for.
    """

    def __init__(self, store: Store, encoder: Encoder | None = None) -> None:
        """Wrap an open store; users call ``Gallery.create`` or ``Gallery.open``."""
        self._store, self.encoder = store, encoder
        self.path, self.kept, self.dim = store.folder, store.kept, store.dim
        self.place = shown_place(store.folder)
        self.fingerprint = str(store.facts["fingerprint"])
        self.flip = bool(store.facts.get("flip", False))
        self.key: KeyBy = store.keys.by
        self._passing = CountedFilters()
        if encoder is not None:
            self.check_fingerprint(encoder.fingerprint)

    def __len__(self) -> int:
        """Count the images in the newest version."""
        return self._store.reading().count()

    def state(self) -> str | None:
        """A name for the state of the gallery, which changes with every write; None: unknown."""
        return self._store.state()

    def count(self, where: str | None = None) -> int:
        """Count the images, or those that pass a filter.

        Raises:
            InputError: If the filter cannot be used.
        """
        return self._passing.of(self._store.reading(where), where)[1]

    @property
    def columns(self) -> dict[str, str]:
        """Give the columns beside the vector, each with its type: ``text``, ``number``, ``time`` and so on."""
        return {field.name: column_kind(field.type) for field in self._store.reading().schema if field.name != VECTOR}

    @property
    def index(self) -> IndexFacts | None:
        """Give facts of the index, with its measured recall; None while every vector is compared."""
        return read_facts(self._store, self._store.snapshot())

    def check_fingerprint(self, fingerprint: str) -> None:
        """Raise an ``InputError`` if the fingerprint is of another encoder."""
        origin = EncoderOrigin.of_facts(self._store.facts)
        check_same_encoder(f"the gallery {self.place}", self.fingerprint, fingerprint, origin)

    def check_flip(self, flip: bool) -> None:
        """Raise an ``InputError`` if features with mirror images would be compared with features without."""
        check_same_flip(f"the gallery {self.place}", self.flip, flip)

    def unknown_cameras(self, cameras: Iterable[str]) -> list[str]:
        """Give those of the given cameras of which the gallery has no image."""
        return [camera for camera in cameras if not self.count(f"camera = {quoted(camera)}")]

    def cameras(self) -> list[str]:
        """List the cameras of the gallery's images, in numeric order where all are integers.

        The list takes one pass over the images and is kept until the next write.
        """
        return list(self._passing.cameras(self._store.reading()))

    def check_filter(self, where: str) -> None:
        """Raise an ``InputError`` if the text is no filter over the gallery's columns."""
        self._passing.of(self._store.snapshot(), where)

    def search(
        self,
        query: Features | ImageLike | Sequence[ImageLike],
        k: int = 10,
        *,
        where: str | None = None,
        exact: bool | None = None,
        rerank: bool = False,
        without: Sequence[object] | None = None,
        report: Reporter | None = None,
    ) -> SearchResult:
        """Find the images most similar to each query.

        Args:
            query: Features ``[Q, D]`` or ``[D]`` (floating point), or images as ``Encoder.embed`` takes them.
            k: Number of hits for each query.
            where: A filter that images must pass.
            exact: True: compare every vector. False: use the index. None: compare every vector while that takes some
                hundredths of a second, or where few images pass the filter, and use the index otherwise.
            rerank: Whether to order the 100 (or 4 k) nearest images of each query by k-reciprocal re-ranking among
                themselves.
            without: The path of each query's own image, which is left out of its hits, whichever spelling or link of
                the path the gallery holds.
            report: Receives progress.

        Returns:
            SearchResult, one tuple of hits for each query.

        Raises:
            InputError: If the filter, the query or ``k`` cannot be used, or there is no index to be used.
        """
        k = required_count(k, "k")
        queries = self._features(query)
        own = self._own_images(without, len(queries))
        snapshot = self._store.snapshot() if exact is False else self._store.reading(where)
        condition, num_passing = self._passing.of(snapshot, where)
        facts = None if exact else read_facts(self._store, snapshot)
        if exact is False and facts is None:
            raise InputError(
                f"the gallery {self.place} has no index: searches in {num_passing} images are exact", code="no-index"
            )
        if exact is None and not is_worth_it(num_passing, self.dim, scattered=condition is not None):
            facts = None
        report = report or LoggingReporter()
        if own is None:
            found = nearest(snapshot, queries, k, facts, (condition, num_passing), rerank, report)
        else:
            found = nearest_others(snapshot, queries, k, facts, (condition, num_passing), rerank, own, report)
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
        """Name the identity of each query among those in the gallery, or unknown.

        Args:
            query: Features ``[Q, D]`` or ``[D]`` (floating point), or images as ``Encoder.embed`` takes them.
            false_match_rate: Share of images of strangers (objects that are not enrolled) that may be given an
                identity. With fewer than twenty enrolled identities, the threshold comes from the checkpoint's
                calibration (``spcl calibrate``).
            where: A filter that enrolled images must pass.
            enrolled: The result of ``enrolled``; None: computed now.

        Returns:
            An answer for each query: ``identity`` is None where it is unknown.

        Raises:
            InputError: If no image has an identity, or neither gallery nor calibration gives a threshold; the message
                names the next step.
        """
        queries = self._features(query)
        known = enrolled or self.enrolled(where)
        try:
            return known.identify(queries, false_match_rate)
        except ValueError as error:
            raise InputError(str(error), code="not-calibrated") from error

    def enrolled(self, where: str | None = None, report: Reporter | None = None) -> Enrolled:
        """Collect the identities of the gallery's images, by which ``identify`` names queries.

        Without a filter the result is kept in the gallery's folder, and computed again only after a write.

        Args:
            where: A filter that images must pass.
            report: Receives progress.

        Returns:
            Enrolled: the identities at the time of the call, without images that are added later; with the encoder's
                calibration if the gallery was opened with its encoder.

        Raises:
            InputError: If the filter cannot be used, or no image that passes has an identity.
        """
        return self.enrolment(where).compute(report)

    def enrolment(self, where: str | None = None) -> Enrolment:
        """Fix the version of the gallery whose identities are collected; ``Enrolment.compute`` then collects them.

        Raises:
            InputError: If the filter cannot be used, or no image that passes has an identity.
        """
        return begin_enrolment(self._store, self._passing, where, self.encoder)

    def paths(self, rows: int = 65536) -> Iterator[list[str]]:
        """Read the paths of all images of one version, in batches of at most ``rows``."""
        for _, batch in self._store.reading().scan(["path"], rows=rows):
            yield batch.column("path").to_pylist()

    def nearest_of(
        self,
        query: Features,
        identities: Sequence[str],
        *,
        where: str | None = None,
        without: Sequence[object] | None = None,
    ) -> list[Hit | None]:
        """Find, for each query, the most similar image of a given identity, in one pass over the vectors.

        Args:
            query: Features ``[Q, D]``.
            identities: The identity to search for, for each query.
            where: A filter that images must pass.
            without: The path of each query's own image, which does not count.

        Returns:
            A hit for each query; None where no other image of the identity passes the filter.

        Raises:
            InputError: If the filter or the query cannot be used, or there are more queries than identities, or fewer.
        """
        queries = self._features(query)
        require_as_many(queries, identities, "identities")
        snapshot = self._store.reading(where)
        condition, _ = self._passing.of(snapshot, where)
        own = self._own_images(without, len(queries))
        found = nearest_of_identities(snapshot, queries, identities, condition, own)
        return [hits[0] if hits else None for hits in hits_of(snapshot, found)]

    def read(
        self, columns: Sequence[str] = ("path", "identity"), where: str | None = None, rows: int = 8192
    ) -> Iterator[GalleryRows]:
        """Read all vectors of one version, in batches, with some columns.

        Args:
            columns: Names of the columns to read.
            where: A filter that images must pass, for example ``identity is not null``.
            rows: Largest number of rows in a batch.

        Raises:
            InputError: If the filter or a column cannot be used.
        """
        snapshot = self._store.reading(where)
        unknown = [name for name in columns if name not in snapshot.schema.names]
        if unknown:
            raise InputError(
                f"the gallery {self.place} has no column {unknown[0]!r}; it has {', '.join(self.columns)}",
                code="no-such-column",
            )
        condition, _ = self._passing.of(snapshot, where)
        for _, batch in snapshot.scan([VECTOR, *columns], condition, rows):
            vectors = vectors_of(batch.column(VECTOR), self.dim)
            yield GalleryRows(vectors, {name: batch.column(name).to_pylist() for name in columns})

    def _own_images(self, paths: Sequence[object] | None, num_queries: int) -> OwnImages | None:
        """The images that the queries are; None: no paths are given."""
        if paths is None:
            return None
        require_as_many(range(num_queries), paths, "images to leave out")
        return OwnImages(self._store.keys.of([path_text(path) for path in paths]).keys, self._store.keys)

    def _features(self, query: Features | ImageLike | Sequence[ImageLike]) -> NDArray[np.float32]:
        is_floating = isinstance(query, np.ndarray) and query.dtype.kind == "f"
        if is_tensor(query) or is_floating:
            return checked_features(query, self.dim)  # type: ignore[arg-type]
        return self._encoder("search").embed(query, flip=self.flip)  # type: ignore[arg-type]

    def _encoder(self, verb: str) -> Encoder:
        if self.encoder is None:
            raise InputError(
                f"to {verb} images, open the gallery with their encoder: Gallery.open(path, encoder)", code="no-encoder"
            )
        # The encoder's weights may have changed since the gallery was opened.
        self.check_fingerprint(self.encoder.fingerprint)
        return self.encoder
