"""Settings that fit a user's images, as a function: from images to eps, k1, k2, a recipe and a training command.

What computes is imported by the function: a wrong path or value is reported before torch is loaded.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spcl.atomic_files import written_aside
from spcl.data.catalogue import load_dataset
from spcl.data.crop_shapes import CropShape, crop_shape
from spcl.data.image_sources import images_of
from spcl.data.source_options import SourceOptions
from spcl.errors import InputError, require
from spcl.inference.encode_options import EncodeOptions
from spcl.pairs.pair_options import PairOptions
from spcl.reporting.console import Reporter, say_pairs
from spcl.reporting.quiet_reporters import LoggingReporter

if TYPE_CHECKING:
    from spcl.grouping.eps_choice import Suggestion

_FEWEST_TRAINED = 2
"""Number of images from which ``spcl train`` accepts a data set."""

_MORE_IMAGES = "more images are needed: one image cannot be trained on, and shows no group"

_CURVE = ("eps", "num_clusters", "share_clustered", "largest_share", "stability", "coherence")


@dataclass(frozen=True)
class SettingsRequest:
    """Which images to find settings for.

    Attributes:
        images: A folder with all below it, a table of paths (CSV, Parquet) or a registered data set.
        min_samples: About the least number of images of a group, at least 2.
        pairs: Which knowledge of pairs of images is used: tracks, a table of pairs.
        source: Options of finding images.
        encoding: Which encoder, and how it encodes; by default ImageNet weights, at a size that fits the images. With
            another encoder other settings may fit.

    Raises:
        InputError: If ``min_samples`` is too small.
    """

    images: str | Path
    min_samples: int = 4
    pairs: PairOptions = field(default_factory=PairOptions)
    source: SourceOptions = field(default_factory=SourceOptions)
    encoding: EncodeOptions = field(default_factory=EncodeOptions)

    def __post_init__(self) -> None:
        """Raise an ``InputError`` for too few images of a group."""
        require(self.min_samples >= 2, "min_samples", self.min_samples, "at least 2")


@dataclass(frozen=True)
class SuggestedSettings:
    """Settings that fit some images.

    Attributes:
        suggestion: eps, k1 and k2, the reasons, and the curves behind them.
        shape: The images' shape, and the recipe and the size in pixels that fit it.
        command: A command line that trains on the images with these settings; empty with fewer than two images, which
            cannot be trained on.
        training_note: Why there is no command, or which images the training reads differently, in a sentence; empty:
            it reads the same images.
        num_images: Images that were looked at.
        broken: Path and reason of each image that could not be read.
        notes: Remarks about the source and the known pairs, in sentences.
        contradictions: A sentence on each contradiction of the known pairs, and how it was decided.
    """

    suggestion: Suggestion
    shape: CropShape
    command: str
    training_note: str
    num_images: int
    broken: tuple[tuple[Path, str], ...]
    notes: tuple[str, ...]
    contradictions: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain values, with the curve of the suggested k1."""
        found, shape, curve = self.suggestion, self.shape, self.suggestion.curve
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
            "command": self.command,
            "training_note": self.training_note,
            "images": self.num_images,
            "broken": [{"path": str(path), "reason": reason} for path, reason in self.broken],
            "curve": {} if curve is None else {name: getattr(curve, name).tolist() for name in _CURVE},
            "notes": list(self.notes),
        }

    def save_picture(self, path: str | Path) -> bool:
        """Draw the curves behind the suggestion into a PNG file.

        Returns:
            Whether there was something to draw: where too few images were looked at, nothing was tried.

        Raises:
            InputError: If the file cannot be written.
        """
        if not self.suggestion.curves:
            return False
        from spcl.grouping.suggestion_picture import suggestion_picture

        with written_aside(Path(path)) as aside:
            suggestion_picture(aside, self.suggestion)
        return True


def suggest_settings(request: SettingsRequest, *, report: Reporter | None = None) -> SuggestedSettings:
    """Suggest eps, k1 and k2 for images from one feature pass, and a recipe from their shape. No labels are read.

    Args:
        request: The images and the options.
        report: Receives progress and notes; None: nothing is shown.

    Returns:
        SuggestedSettings.

    Raises:
        InputError: If something cannot be used, before any image is encoded; if no image can be read.

    Examples:
        ::

            found = spcl.suggest_settings(spcl.SettingsRequest("my_crops"))
            print(found.suggestion.eps, found.suggestion.k1, found.command)

    Cost: one pass over the images, ``N^2 D`` for the neighbours, at most five label stages of O(N k1).
    """
    report = report or LoggingReporter()
    images = images_of(request.images, request.source)
    shape = crop_shape(images.records)

    from spcl.grouping.own_images import embed_and_search, suggestion_for
    from spcl.pairs.constraints import PairConstraints
    from spcl.pairs.pair_sources import pair_sources

    runtime = request.encoding.runtime()
    sources = pair_sources(request.images, request.pairs)
    known, contradictions = sources.known(images.records)
    notes = (*images.notes, *known.notes)
    say_pairs(report, notes, contradictions)
    searched = embed_and_search(
        images.records,
        encoding=request.encoding,
        k1="auto",
        min_samples=request.min_samples,
        runtime=runtime,
        report=report,
    )
    pairs = sources.known(searched.images.records)[0] if searched.images.broken else known
    constraints = PairConstraints.of(len(searched.images.records), pairs.must_link, pairs.cannot_link)
    found = suggestion_for(searched, min_samples=request.min_samples, report=report, constraints=constraints)
    is_enough = len(images) >= _FEWEST_TRAINED
    return SuggestedSettings(
        suggestion=found,
        shape=shape,
        command=_training_command(request, found, shape) if is_enough else "",
        training_note=_note_on_training(request, len(images)) if is_enough else _MORE_IMAGES,
        num_images=len(searched.images.records),
        broken=searched.images.broken,
        notes=notes,
        contradictions=contradictions,
    )


def _training_command(request: SettingsRequest, found: Suggestion, shape: CropShape) -> str:
    """A command line that trains on the images by the paper's recipe, with what was suggested."""
    words = ["spcl", "train", str(request.images), "--recipe", "spcl"]
    encoder = request.encoding.encoder
    if encoder.checkpoint:
        # It has a size of its own, and what was suggested is for its features.
        words += ["--from-checkpoint", encoder.checkpoint]
        words += ["--arch", encoder.arch] if encoder.arch else []
    else:
        words += ["--height", str(shape.size[0]), "--width", str(shape.size[1])]
        words += ["--arch", encoder.arch] if encoder.arch else []
        words += ["--pretrained", encoder.pretrained] if encoder.pretrained != "auto" else []
    words += ["--eps", f"{found.eps:g}", "--k1", str(found.k1), "--k2", str(found.k2)]
    words += ["--pairs", ",".join(map(str, request.pairs.files))] if request.pairs.files else []
    words += [] if request.pairs.tracks else ["--no-tracks"]
    usual = _flags_of_training(SettingsRequest(request.images))
    for flag, value in _flags_of_training(request).items():
        words += [] if value == usual[flag] else [flag, value]
    return shlex.join(words)


def _flags_of_training(request: SettingsRequest) -> dict[str, str]:
    """The flags of ``spcl train`` that say how images are found and read, with their values."""
    source = request.source
    return {
        "--min-samples": str(request.min_samples),
        "--range": request.encoding.encoder.pixel_range,
        "--data-dir": source.data_dir,
        "--columns": source.columns,
        "--time-format": source.time_format,
        "--layout": source.layout,
        "--duplicates": source.duplicates,
    }


def _note_on_training(request: SettingsRequest, num_looked_at: int) -> str:
    """Give the difference between the images of the training and these; empty if they are the same."""
    try:
        num_trained = len(load_dataset(request.images, options=request.source).train)
    except InputError as error:
        return f"spcl train cannot read these images as they are: {error}"
    if num_trained == num_looked_at:
        return ""
    return f"spcl train learns from {num_trained} of these {num_looked_at} images: those of the training split"
