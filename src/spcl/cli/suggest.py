"""``spcl suggest``: settings that fit a folder of crops, and why."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tyro

from spcl.cli.grouping import GroupingOptions, searched_images, suggested
from spcl.cli.options import parsed, say_notes
from spcl.engine.journal import ConsoleReporter, Reporter, SilentReporter
from spcl.engine.whole_files import check_place, written_aside
from spcl.errors import InputError

if TYPE_CHECKING:
    from spcl.data.crop_shapes import CropShape
    from spcl.engine.embed import EmbeddedImages
    from spcl.selfpaced.suggestion import Suggestion


@dataclass(frozen=True)
class Suggest(GroupingOptions):
    """Suggest eps, k1 and k2 for a folder of crops from one feature pass, and a recipe from their shape.

    No labels are read. What the encoder sees decides: after a training, or with another checkpoint, other settings may
    fit; spcl train --eps auto suggests them for itself at its start.
    """

    images: tyro.conf.Positional[str]
    """A folder with all below it, a table of paths (CSV, Parquet) or a registered data set."""
    picture: str = ""
    """Draw the curves behind the suggestion into this PNG file."""
    json: bool = False
    """Print everything as JSON, the curve of the suggested k1 included."""


def main(arguments: Sequence[str]) -> None:
    """Run ``spcl suggest`` with these words."""
    options = parsed(Suggest, arguments, "spcl suggest")
    run_suggest(options, SilentReporter() if options.json else ConsoleReporter())


def run_suggest(options: Suggest, report: Reporter) -> None:
    """Embed, try settings, tell.

    Raises:
        InputError: If something cannot be used, before any image is encoded.
    """
    from spcl.data.crop_shapes import crop_shape
    from spcl.data.image_sources import images_of

    if options.picture:
        check_place(Path(options.picture))
    images = images_of(options.images, options.source())
    shape = crop_shape(images.records)

    from spcl.runtime import Runtime

    runtime = Runtime(options.device, options.precision)
    say_notes(report, images.notes)
    searched = searched_images(options, images.records, runtime=runtime, report=report)
    found = suggested(searched, options, report=report)
    command = training_command(options, found, shape)
    note = _note_on_training(options, len(images))
    if options.json:
        print(json.dumps(_plain(found, shape, command, note, searched.images) | {"notes": list(images.notes)}))
    else:
        _tell(found, shape, command, note, searched.images, report)
    # Last: what was found is told already if it cannot be drawn.
    if options.picture and found.curves:
        from spcl.report.suggestion import suggestion_picture

        with written_aside(Path(options.picture)) as aside:
            suggestion_picture(aside, found)
    if options.picture:
        report.say(f"picture: {options.picture}" if found.curves else "no picture: nothing was tried")


def training_command(options: Suggest, found: Suggestion, shape: CropShape) -> str:
    """A command line that trains on the images with what was suggested."""
    words = ["spcl", "train", options.images, "--recipe", shape.recipe]
    if options.named_checkpoint:
        # It has a size of its own, and what was suggested is for its features.
        words += ["--from-checkpoint", options.named_checkpoint]
        words += ["--arch", options.arch] if options.arch else []
    else:
        words += ["--height", str(shape.size[0]), "--width", str(shape.size[1])]
    words += ["--eps", f"{found.eps:g}", "--k1", str(found.k1), "--k2", str(found.k2)]
    usual = {entry.name: entry.default for entry in fields(Suggest)}
    for name in ("min_samples", "range", "data_dir", "columns", "time_format", "layout", "duplicates"):
        if getattr(options, name) != usual[name]:
            words += [f"--{name.replace('_', '-')}", str(getattr(options, name))]
    return shlex.join(words)


def _note_on_training(options: Suggest, num_looked_at: int) -> str:
    """What the training reads otherwise than this command does; empty where it is the same."""
    from spcl.data.catalogue import load_dataset

    try:
        num_trained = len(load_dataset(options.images, options=options.source()).train)
    except InputError as error:
        return f"spcl train cannot read these images as they are: {error}"
    if num_trained == num_looked_at:
        return ""
    return f"spcl train learns from {num_trained} of these {num_looked_at} images: those of the training split"


def _plain(found: Suggestion, shape: CropShape, command: str, note: str, images: EmbeddedImages) -> dict[str, Any]:
    curve = found.curve
    names = ("eps", "num_clusters", "share_clustered", "largest_share", "stability", "coherence")
    return {
        "eps": found.eps,
        "k1": found.k1,
        "k2": found.k2,
        "min_samples": found.min_samples,
        "reasons": list(found.reasons),
        "recipe": shape.recipe,
        "height": shape.size[0],
        "width": shape.size[1],
        "recipe_reason": shape.reason,
        "command": command,
        "training_note": note,
        "images": len(images.records),
        "broken": [{"path": str(path), "reason": reason} for path, reason in images.broken],
        "curve": {} if curve is None else {name: getattr(curve, name).tolist() for name in names},
    }


def _tell(
    found: Suggestion, shape: CropShape, command: str, note: str, images: EmbeddedImages, report: Reporter
) -> None:
    report.say(f"eps {found.eps:g}, k1 {found.k1}, k2 {found.k2} (min-samples {found.min_samples}), because")
    for reason in found.reasons:
        report.say(f"  {reason}")
    report.say(f"recipe {shape.recipe}, {shape.size[0]} x {shape.size[1]}: {shape.reason}")
    if images.broken:
        path, reason = images.broken[0]
        report.warn(f"{len(images.broken)} image(s) could not be read and do not count; the first, {path}: {reason}")
    report.say(f"to train with it:\n  {command}")
    if note:
        report.warn(note)
    report.say("without a GPU, start with --recipe quick in its place")
