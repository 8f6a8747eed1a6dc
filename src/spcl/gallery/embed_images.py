"""``spcl.embed_images``: from images to features in a file, in a gallery, or in both.

The functions import torch, so that a wrong path or value is reported before it is loaded.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from spcl.atomic_files import check_place
from spcl.data.source_options import SourceOptions
from spcl.errors import InputError
from spcl.gallery.qdrant.address import shown_place
from spcl.gallery.shards_name import wants_shards
from spcl.inference.encode_options import By, EncodeOptions
from spcl.inference.engine import EmbeddingEngine, RayJob
from spcl.reporting.console import Reporter, WarningsKept, say_notes
from spcl.short_repr import with_short_repr

if TYPE_CHECKING:
    from spcl.gallery.embedding_total import EmbeddingTotal
    from spcl.gallery.gallery import Gallery
    from spcl.inference.embedding import Encoder


@dataclass(frozen=True)
class EmbeddingRequest:
    """The images to embed, and the file or gallery for their features.

    Attributes:
        images: An image, a folder with all below it, a table of paths (CSV, Parquet) or a registered data set.
        output: Features file to write: ``.parquet`` (paths, columns and vectors) or ``.npy`` (the matrix, with the
            paths in a second file). A name without an ending is a folder of Parquet files of 16,384 images each; a run
            that was stopped goes on behind the last complete one. None: no file.
        gallery: Folder or address of a gallery to add the images to, which is made if it does not exist; None: no
            gallery. Without ``output``, a run that was stopped goes on with the images that are not in it.
        key: What identifies an image in a new gallery: its file (``path``) or its bytes (``content``); None: the
            gallery's setting, and ``path`` for a new gallery.
        overwrite: Whether to replace an existing features file.
        by: What a row of the features file is: an ``image``, or a ``track``, all images of it together. A gallery gets
            the images in both cases, and makes tracks of them when it is searched by track.
        groups: A folder of groups of these images (``spcl cluster``, ``spcl identify --groups``): the name of its
            group, after corrections, is the identity of an image. None: identities come from the images' source.
        source: How the images are found, and which columns are read.
        encoding: The encoder and its options; by default the gallery's encoder, otherwise a network with ImageNet
            weights.
        engine: Where features are computed: in this process, or by a Ray cluster.
    """

    images: str | Path
    output: str | Path | None = None
    gallery: str | Path | None = None
    key: Literal["path", "content"] | None = None
    overwrite: bool = False
    by: By = field(default="image", kw_only=True)
    groups: str | Path | None = field(default=None, kw_only=True)
    source: SourceOptions = field(default_factory=SourceOptions)
    encoding: EncodeOptions = field(default_factory=EncodeOptions)
    engine: EmbeddingEngine = field(default_factory=EmbeddingEngine, kw_only=True)

    def __post_init__(self) -> None:
        """Raise an ``InputError`` if there is no output, or an option is for an output that is not given."""
        if not self.output and not self.gallery:
            raise InputError(
                "the features have no output: give -o features.parquet, --gallery FOLDER, or both",
                code="missing-argument",
            )
        if self.key and not self.gallery:
            raise InputError(
                f"--key {self.key} is for a gallery, and none is given: add --gallery FOLDER, or leave it out",
                code="option-does-not-apply",
            )
        if self.output and wants_shards(self.output):
            given = {"--overwrite": self.overwrite, "--by track": self.by == "track", "--gallery": bool(self.gallery)}
            for flag in [flag for flag, is_given in given.items() if is_given]:
                raise InputError(
                    f"{flag} does not go with a folder of features files, which {self.output} names: give a name that "
                    f"ends in .parquet, or leave {flag} out",
                    code="option-does-not-apply",
                )
        if self.overwrite and not self.output:
            raise InputError(
                "--overwrite is for a features file, and none is given: add -o features.parquet, or leave it out",
                code="option-does-not-apply",
            )
        if self.groups and self.source.identity_from != "auto":
            raise InputError(
                f"--groups {self.groups} gives the identities, and so does --identity-from "
                f"{self.source.identity_from}; give one of them",
                code="option-contradiction",
            )


@dataclass(frozen=True)
class FilledGallery:
    """A gallery after images were added to it.

    Attributes:
        path: Folder of the gallery.
        added: Number of new images.
        replaced: Number of images that were in the gallery before, whose vectors were replaced.
        kept: For each column, the number of replaced images that kept their value, because the source has none.
        num_images: Number of images in the gallery.
        recall: Share of the ten nearest images that the index finds; None: without an index, search is exact.
    """

    path: Path
    added: int
    replaced: int
    kept: Mapping[str, int]
    num_images: int
    recall: float | None

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "path": shown_place(self.path),
            "added": self.added,
            "replaced": self.replaced,
            "kept": dict(self.kept),
            "num_images": self.num_images,
            "recall": self.recall,
        }


@with_short_repr
@dataclass(frozen=True)
class EmbeddingResult:
    """The result of ``embed_images``.

    Attributes:
        num_images: Number of images whose features were computed.
        feature_length: ``D``, the length of a feature; features are unit vectors.
        fingerprint: Fingerprint of the encoder.
        output: The features file; None: not requested.
        gallery: The gallery after the images were added; None: not requested.
        num_tracks: Number of rows of the features file, if these are tracks; None: they are images.
        broken: Path and reason of each image that could not be read and was left out.
        notes: Remarks about the source, in sentences.
        warnings: Warnings, in sentences.
    """

    num_images: int
    feature_length: int
    fingerprint: str
    output: Path | None = None
    gallery: FilledGallery | None = None
    num_tracks: int | None = None
    broken: tuple[tuple[Path, str], ...] = ()
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON; ``output``, ``gallery`` and ``warnings`` only if there are any."""
        plain: dict[str, Any] = {
            "num_images": self.num_images,
            "dim": self.feature_length,
            "fingerprint": self.fingerprint,
            "broken": [{"path": str(path), "reason": reason} for path, reason in self.broken],
        }
        if self.output is not None:
            plain["output"] = str(self.output)
        if self.gallery is not None:
            plain["gallery"] = self.gallery.to_dict()
        if self.num_tracks is not None:
            plain["num_tracks"] = self.num_tracks
        plain["notes"] = list(self.notes)
        return plain | ({"warnings": list(self.warnings)} if self.warnings else {})


def embed_images(request: EmbeddingRequest, *, report: Reporter | None = None) -> EmbeddingResult:
    """Embed images into a features file, a gallery, or both.

    Images that cannot be read are left out and listed. The vectors of images that are in the gallery already are
    replaced; their identities and other columns keep their values where the new source has none.

    Args:
        request: The images, and the file or gallery of their features.
        report: Receives progress, notes and warnings; None: nothing is shown.

    Returns:
        EmbeddingResult.

    Raises:
        InputError: If something cannot be used, before any image is encoded; if no image can be read.

    Cost: one pass over the images; memory for 4096 of them, whatever their number.

    Example::

        done = spcl.embed_images(spcl.EmbeddingRequest("my_crops", gallery="my.gallery"))
        print(done.num_images, "images,", len(done.broken), "could not be read")
    """
    output = _checked_output(request)

    from spcl.gallery.embedding_total import EmbeddingTotal, opened_output
    from spcl.gallery.gallery_encoder import encoder_to_fill
    from spcl.gallery.images_to_rows import embedded_rows, find_images
    from spcl.gallery.named_groups import named_groups, prepare_gallery
    from spcl.gallery.open_or_create import gallery_to_fill
    from spcl.inference.embedding import EmbedSettings

    kept = WarningsKept(report)
    named, encoding = named_groups(request.groups, request.encoding, request.gallery)
    cluster = RayJob(request.engine, encoding) if request.engine.name == "ray" else None
    # The machines of a cluster may have the GPUs that this one lacks.
    settings = EmbedSettings.of(encoding, encoding.runtime()) if cluster is None else None
    found = to_embed = (find_images if named is None else named.find_images)(request.images, request.source)
    tracks = None
    if request.by == "track":
        from spcl.gallery.track_rows import TrackParts, ordered_by_track

        to_embed, tracks = ordered_by_track(found), TrackParts()
    say_notes(kept, to_embed.notes)
    encoder = encoder_to_fill(encoding.encoder, request.gallery, lambda: found.records, kept)
    with ExitStack() as stack:
        gallery, writer = None, None
        if request.gallery:
            to_fill = gallery_to_fill(Path(request.gallery), encoder, flip=encoding.flip, key=request.key)
            gallery = stack.enter_context(to_fill)
            prepare_gallery(gallery, found, named, kept)
        total = EmbeddingTotal(tracks)
        with ExitStack() as file:
            if output is not None:
                facts = _facts(encoder, encoding) | ({} if tracks is None else {"by": "track"})
                writer = file.enter_context(opened_output(output, to_embed, facts, encoder.feature_dim))
            to_embed = total.begin(writer, gallery, to_embed, kept)
            for part in embedded_rows(encoder, to_embed, settings, report=kept, cluster=cluster):
                total.take(part, writer, gallery)
            total.end(writer, kept)
        filled = None if gallery is None else _filled(gallery, total, kept)
    return EmbeddingResult(
        num_images=total.num_images,
        feature_length=encoder.feature_dim,
        fingerprint=encoder.fingerprint,
        output=output,
        gallery=filled,
        broken=total.added.broken,
        num_tracks=None if tracks is None else total.num_tracks,
        notes=to_embed.notes,
        warnings=tuple(kept.warnings),
    )


def _checked_output(request: EmbeddingRequest) -> Path | None:
    if not request.output:
        return None

    from spcl.gallery.features_file import check_suffix, existing_file, paths_file

    output = Path(request.output)
    if wants_shards(request.output):
        return output
    check_suffix(output)
    for file in (output, paths_file(output)) if output.suffix == ".npy" else (output,):
        check_place(file)
    taken = existing_file(output)
    if taken is not None and not request.overwrite:
        raise InputError(
            f"{taken} exists already; give another name, or --overwrite to replace it", code="already-exists"
        )
    return output


def _facts(encoder: Encoder, encoding: EncodeOptions) -> dict[str, Any]:
    """The facts that a features file stores of its encoder."""
    from spcl.inference.encoder_origin import FACT

    return {
        "fingerprint": encoder.fingerprint,
        "checkpoint": encoding.encoder.checkpoint,
        "domain": encoder.domain,
        "flip": encoding.flip,
        FACT: None if encoder.origin is None else encoder.origin.to_dict(),
    }


def _filled(gallery: Gallery, total: EmbeddingTotal, report: Reporter) -> FilledGallery:
    """Bring the gallery's index up to date, and describe it."""
    added = total.added
    if added.note:
        report.warn(added.note)
    gallery.tidy(report)
    total.finish()
    index = gallery.index
    return FilledGallery(
        path=gallery.path,
        added=added.num_added,
        replaced=added.num_replaced,
        kept=added.kept,
        num_images=len(gallery),
        recall=None if index is None else index.recall,
    )
