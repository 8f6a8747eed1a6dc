"""``spcl embed``: features of images, to a file, to a gallery, or to both."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import tyro

from spcl.cli.encoder_flags import CheckpointWord
from spcl.cli.options import FeatureOptions, parsed, say_notes
from spcl.data.checked_tables import check_tables
from spcl.data.one_image import shown_path
from spcl.data.source_options import IdentityFrom
from spcl.engine.journal import ConsoleReporter, Reporter, SilentReporter
from spcl.engine.whole_files import check_place
from spcl.errors import InputError

if TYPE_CHECKING:
    from spcl.engine.embed import Encoder
    from spcl.gallery.gallery import Gallery
    from spcl.gallery.intake import FoundImages
    from spcl.runtime import Runtime

_MOST_NAMED = 20


@dataclass(frozen=True)
class Embed(FeatureOptions):
    """Turn images into features (unit vectors) with an encoder: into a file, a gallery to search in, or both.

    Images that cannot be read are named and left out. A gallery is made where there is none. Images that it holds
    already are replaced; what is known of them stays where the new source does not say anything else.
    """

    other_words: ClassVar[tuple[str, ...]] = ("images",)

    checkpoint: CheckpointWord = ""
    """The encoder: model_best.pth.tar, say. Without one: the gallery's, else ImageNet weights in a size that fits."""
    images: tyro.conf.Positional[Annotated[str, tyro.conf.arg(metavar="IMAGES", help_behavior_hint="")]] = ""
    """An image, a folder with all below it, a table of paths (CSV, Parquet) or a registered data set."""
    output: Annotated[str, tyro.conf.arg(aliases=["-o"])] = ""
    """features.parquet: path, what is known of the image, vector. features.npy: the matrix alone, paths beside it."""
    gallery: str = ""
    """Folder of a gallery to add the images to."""
    key: Literal["path", "content"] | None = None
    """What one image is, for a new gallery: one file, whatever links lead to it (path), or equal bytes (content)."""
    identity_from: IdentityFrom = "auto"
    """Identities: the table's column; the name of the folder an image lies in; the number before _c in its name."""
    overwrite: bool = False
    """Replace a features file that is there already."""
    json: bool = False
    """Print what was done as JSON."""


def main(arguments: Sequence[str]) -> None:
    """Run ``spcl embed`` with these words."""
    options = parsed(Embed, arguments, "spcl embed")
    run_embedding(options, SilentReporter() if options.json else ConsoleReporter())


def run_embedding(options: Embed, report: Reporter) -> None:
    """Check everything, embed, write and tell.

    Raises:
        InputError: If something cannot be used, before any image is encoded; if no image can be read.
    """
    check_tables(options.images, options=options.source().table)

    from spcl.gallery.intake import find_images
    from spcl.gallery.opening import gallery_to_fill
    from spcl.gallery.remembered import encoder_to_search
    from spcl.runtime import Runtime

    output = _checked_output(options)
    runtime = Runtime(options.device, options.precision)
    found = find_images(options.images, options.source())
    say_notes(report, found.notes)
    encoder = encoder_to_search(options.choice(), options.gallery, lambda: found.records, report)
    with ExitStack() as stack:
        gallery = None
        if options.gallery:
            folder = Path(options.gallery)
            gallery = stack.enter_context(gallery_to_fill(folder, encoder, flip=options.flip, key=options.key))
            gallery.check_rows(found.table)
        done = _embed(options, output, gallery, encoder, found, runtime, report)
    if options.json:
        print(json.dumps(done | {"notes": list(found.notes)}))
        return
    _tell(done, report)


def _checked_output(options: Embed) -> Path | None:
    if not options.output and not options.gallery:
        raise InputError("where to? Give -o features.parquet, --gallery FOLDER, or both")
    if not options.output:
        return None

    from spcl.gallery.features_file import check_suffix, paths_file, there_already

    output = Path(options.output)
    check_suffix(output)
    for file in (output, paths_file(output)) if output.suffix == ".npy" else (output,):
        check_place(file)
    taken = there_already(output)
    if taken is not None and not options.overwrite:
        raise InputError(f"{taken} is there already; give another name, or --overwrite to replace it")
    return output


def _embed(
    options: Embed,
    output: Path | None,
    gallery: Gallery | None,
    encoder: Encoder,
    found: FoundImages,
    runtime: Runtime,
    report: Reporter,
) -> dict[str, Any]:
    from spcl.engine.encoder_origin import FACT
    from spcl.gallery.features_file import features_writer
    from spcl.gallery.intake import embedded_rows
    from spcl.gallery.result import Added

    facts = {
        "fingerprint": encoder.fingerprint,
        "checkpoint": options.named_checkpoint,
        "domain": encoder.domain,
        "flip": options.flip,
        FACT: None if encoder.origin is None else encoder.origin.to_dict(),
    }
    num_images = 0
    added = Added(0, 0)
    with ExitStack() as stack:
        writer = stack.enter_context(features_writer(output, encoder.feature_dim, facts)) if output else None
        for part in embedded_rows(
            encoder, found, flip=options.flip, runtime=runtime, report=report, num_threads=options.workers
        ):
            num_images += len(part.table)
            added += Added(0, 0, part.broken)
            if writer is not None:
                writer.write(part.table, part.features)
            if gallery is not None:
                added += gallery.add_table(part.table, part.features)
    done: dict[str, Any] = {
        "num_images": num_images,
        "dim": encoder.feature_dim,
        "fingerprint": encoder.fingerprint,
        "broken": [{"path": str(path), "reason": reason} for path, reason in added.broken],
    }
    if output is not None:
        done["output"] = str(output)
    if gallery is not None:
        if added.note:
            report.warn(added.note)
        gallery.tidy(report)
        index = gallery.index
        done["gallery"] = {
            "path": str(gallery.path),
            "added": added.num_added,
            "replaced": added.num_replaced,
            "kept": dict(added.kept),
            "num_images": len(gallery),
            "recall": None if index is None else index.recall,
        }
    return done


def _tell(done: dict[str, Any], report: Reporter) -> None:
    for image in done["broken"][:_MOST_NAMED]:
        report.warn(f"{shown_path(image['path'])} is left out: {image['reason']}")
    if len(done["broken"]) > _MOST_NAMED:
        report.warn(f"and {len(done['broken']) - _MOST_NAMED} more images are left out; --json lists them all")
    report.say(f"{done['num_images']} images, features of length {done['dim']}, encoder {done['fingerprint']}")
    if "output" in done:
        from spcl.gallery.features_file import paths_file

        output = Path(done["output"])
        report.say(f"features: {output}" + (f", paths: {paths_file(output)}" if output.suffix == ".npy" else ""))
    if "gallery" in done:
        gallery = done["gallery"]
        recall = gallery["recall"]
        found = "exact search" if recall is None else f"index, finds {100 * recall:.1f} % of the 10 nearest images"
        report.say(
            f"gallery: {gallery['path']}, {gallery['added']} added, {gallery['replaced']} replaced, "
            f"{gallery['num_images']} in all, {found}"
        )
        if gallery["kept"]:
            kept = ", ".join(f"{name} of {count}" for name, count in gallery["kept"].items())
            report.say(f"of the replaced images, what the new source does not say stays as it was: {kept}")
