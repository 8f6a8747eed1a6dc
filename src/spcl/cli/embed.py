"""``spcl embed``: features of images, to a file, to a gallery, or to both."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import tyro

from spcl.cli.encoder_flags import CheckpointWord
from spcl.cli.options import FeatureOptions, parsed
from spcl.cli.querying import print_broken
from spcl.data.image_sources import check_is_there
from spcl.data.source_options import IdentityFrom
from spcl.data.table_checks import check_tables
from spcl.gallery.embed_images import EmbeddingRequest, EmbeddingResult, embed_images
from spcl.gallery.qdrant.address import shown_place
from spcl.inference.encode_options import By
from spcl.inference.engine import EmbeddingEngine, EngineName
from spcl.reporting.console import ConsoleReporter, Reporter, SilentReporter


@dataclass(frozen=True)
class Embed(FeatureOptions):
    """Turn images into features (unit vectors) with an encoder: into a file, a gallery to search in, or both.

    Images that cannot be read are named and left out. If the gallery does not exist, it is made. Images that are in it
    already get new features; their identity, camera and time are kept if IMAGES has no new values.
    """

    usage: ClassVar[str] = "[CHECKPOINT] IMAGES [-o FILE] [--gallery FOLDER] [options]"
    example: ClassVar[str] = "spcl embed model_best.pth.tar crops --gallery gallery"

    other_words: ClassVar[tuple[str, ...]] = ("images",)

    checkpoint: CheckpointWord = ""
    """The encoder, for example model_best.pth.tar. Without one: the encoder of the gallery, or ImageNet weights."""
    images: tyro.conf.Positional[str] = ""
    """An image, a folder with all below it, a table of paths (CSV, Parquet) or a registered data set."""
    output: Annotated[str, tyro.conf.arg(aliases=["-o"])] = ""
    """Write the features to this file. .parquet: path, identity, camera, time and vector; .npy: the matrix, with the
    paths in a second file."""
    gallery: str = ""
    """Folder of a gallery to add the images to, or an address in Qdrant (docs/search.md)."""
    key: Literal["path", "content"] | None = None
    """Which files are one image in a new gallery. path (default): a file and the links to it; content: files of equal
    bytes."""
    identity_from: IdentityFrom = "auto"
    """Where identities are read: table (a column), folder (the folder of an image), top-folder (the folder directly
    below the given one) or name (the number before _c in the file name): docs/data.md."""
    by: By = "image"
    """With -o: what a row is, an image or a track with all its images (column track). A gallery gets the images, and
    tracks are searched with --by track."""
    groups: str = ""
    """Folder of groups of these images (spcl cluster -o, spcl identify --groups): the names of the groups, after
    corrections, become the identities."""
    overwrite: bool = False
    """With -o: replace a features file that exists."""
    engine: EngineName = "local"
    """Where features are computed: in this process, or by the processes of a Ray cluster (docs/scale.md)."""
    address: str = ""
    """With --engine ray: address of a running cluster, as ray.init takes it. Without it: this machine's cores and
    GPUs."""
    ray_workers: int | Literal["auto"] = "auto"
    """With --engine ray: number of processes that encode. auto: one for each GPU, or for each four cores."""
    json: bool = False
    """Print what was done as JSON."""

    def request(self) -> EmbeddingRequest:
        """What is asked for."""
        return EmbeddingRequest(
            self.images,
            output=self.output or None,
            gallery=self.gallery or None,
            key=self.key,
            overwrite=self.overwrite,
            by=self.by,
            groups=self.groups or None,
            source=self.source(),
            encoding=self.encoding(),
            engine=EmbeddingEngine(name=self.engine, address=self.address, num_workers=self.ray_workers),
        )


def main(arguments: Sequence[str]) -> None:
    """Run ``spcl embed`` with these words."""
    options = parsed(Embed, arguments, "spcl embed")
    report: Reporter = SilentReporter() if options.json else ConsoleReporter()
    request = options.request()
    check_is_there(options.images, request.source)
    check_tables(options.images, options=request.source.table)
    embedded = embed_images(request, report=report)
    if options.json:
        print(json.dumps(embedded.to_dict()))
    else:
        print_embedding(embedded, report)


def print_embedding(embedded: EmbeddingResult, report: Reporter) -> None:
    """Print what was left out, what was embedded, and where it is."""
    print_broken(embedded.broken, report)
    of_tracks = "" if embedded.num_tracks is None else f"{embedded.num_tracks} tracks of "
    report.say(
        f"{of_tracks}{embedded.num_images} images, features of length {embedded.feature_length}, "
        f"encoder {embedded.fingerprint}"
    )
    output, gallery = embedded.output, embedded.gallery
    if output is not None:
        from spcl.gallery.features_file import paths_file

        report.say(f"features: {output}" + (f", paths: {paths_file(output)}" if output.suffix == ".npy" else ""))
    if gallery is not None:
        recall = gallery.recall
        found = "exact search" if recall is None else f"index, finds {100 * recall:.1f} % of the 10 nearest images"
        report.say(
            f"gallery: {shown_place(gallery.path)}, {gallery.added} added, {gallery.replaced} replaced, "
            f"{gallery.num_images} in all, {found}"
        )
        if gallery.kept:
            kept = ", ".join(f"{name} of {count}" for name, count in gallery.kept.items())
            report.say(f"values of replaced images that the new source does not have are kept: {kept}")
