"""``spcl export``: a trained encoder as a file for other programs, checked before it is kept."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import tyro

from spcl.cli.encoder_flags import CheckpointWord, EncoderOptions
from spcl.cli.options import parsed, say_notes
from spcl.data.checked_tables import check_tables
from spcl.data.source_options import DATA_DIR, SourceOptions
from spcl.engine.journal import ConsoleReporter, Reporter, SilentReporter
from spcl.errors import InputError
from spcl.export.files import DEFAULT_OPSET, refuse_existing

if TYPE_CHECKING:
    from spcl.engine.embed import Encoder
    from spcl.export.onnx_file import OnnxFile

_ONNX, _WEIGHTS = ".onnx", ".safetensors"


@dataclass(frozen=True)
class Export(EncoderOptions):
    """Write an encoder for other programs: NAME.onnx for onnxruntime and trackers, NAME.safetensors for timm and torch.

    The ONNX file holds normalisation and unit length, takes batches of any size, and is kept only if onnxruntime gives
    the features of torch with it. Beside the safetensors file a model card is written, NAME.md.
    """

    other_words: ClassVar[tuple[str, ...]] = ("output",)

    checkpoint: CheckpointWord = ""
    """The encoder: model_best.pth.tar, say. Without one, --encoder imagenet, and --images for the size."""
    output: tyro.conf.Positional[Annotated[str, tyro.conf.arg(metavar="OUTPUT", help_behavior_hint="")]] = ""
    """The file to write; its ending decides: .onnx or .safetensors."""
    opset: int = DEFAULT_OPSET
    """Version of ONNX's operators (.onnx)."""
    float16: bool = False
    """Weights and arithmetic of the trunk in half precision; input, output and the head stay float32 (.onnx)."""
    for_tracker: bool = False
    """Take what trackers give: images of the size that the file's name means to them, already normalised (.onnx)."""
    images: str = ""
    """Images to compare onnxruntime with torch on (128 at most); empty: rendered ones (.onnx). Without a checkpoint
    their shape decides the size."""
    data_dir: str = DATA_DIR
    """Folder that holds the registered data sets, for --images."""
    columns: str = ""
    """Names of a table's columns that differ, for --images: path=file,identity=track_id."""
    time_format: str = ""
    """How times are written in the table of --images, as strptime has it."""
    overwrite: bool = False
    """Replace a file that is there."""
    json: bool = False
    """Print what was written and how well it agrees as JSON."""

    def source(self) -> SourceOptions:
        """How the images of ``--images`` are found."""
        return SourceOptions(data_dir=self.data_dir, columns=self.columns, time_format=self.time_format)


def main(arguments: Sequence[str]) -> None:
    """Run ``spcl export`` with these words."""
    options = parsed(Export, arguments, "spcl export")
    output = Path(options.output)
    _check(options, output)
    refuse_existing(output, overwrite=options.overwrite)
    if options.images:
        check_tables(options.images, options=options.source().table)

    from spcl.data.image_sources import images_of
    from spcl.engine.encoder_choice import chosen_encoder
    from spcl.export.onnx_file import export_onnx
    from spcl.export.weights import export_weights

    report = SilentReporter() if options.json else ConsoleReporter()
    encoder = chosen_encoder(
        options.choice(), lambda: images_of(options.images, options.source()).records, report=report
    )
    if output.suffix.lower() == _WEIGHTS:
        card = export_weights(encoder, output, overwrite=options.overwrite)
        row = {"path": str(output), "card": str(card), "bytes": output.stat().st_size} | _facts(encoder)
        _tell(row, [f"weights: {output} ({_size(output.stat().st_size)})", f"model card: {card}"], report, options.json)
        return
    written = export_onnx(
        encoder,
        output,
        opset=options.opset,
        float16=options.float16,
        for_tracker=options.for_tracker,
        images=_images(options, report) if options.images else None,
        overwrite=options.overwrite,
        report=report,
    )
    row = {"path": str(output), "bytes": written.num_bytes} | written.metadata | written.agreement.to_row()
    if written.own_preparation is not None:
        row["own_preparation"] = written.own_preparation
    warnings = {"warnings": report.warnings} if isinstance(report, SilentReporter) and report.warnings else {}
    _tell(row | warnings, _lines(written, float16=options.float16), report, options.json)


def _images(options: Export, report: Reporter) -> list[Path]:
    from spcl.data.image_sources import images_of

    found = images_of(options.images, options.source())
    say_notes(report, found.notes)
    return [record.path for record in found.records]


def _check(options: Export, output: Path) -> None:
    """Do the ending and the flags go together?"""
    suffix = output.suffix.lower()
    if suffix not in (_ONNX, _WEIGHTS):
        raise InputError(f"{output} ends in {suffix or 'nothing'}; expected {_ONNX} or {_WEIGHTS}")
    if not options.named_checkpoint and not options.images:
        raise InputError(
            "which encoder? Give a checkpoint first, or --encoder imagenet with --images FOLDER, whose shape decides "
            "the size of the images"
        )
    if suffix == _ONNX:
        return
    given = {
        "--float16": options.float16,
        "--for-tracker": options.for_tracker,
        "--images": bool(options.images and options.named_checkpoint),
        "--opset": options.opset != DEFAULT_OPSET,
    }
    unfit = [flag for flag, is_given in given.items() if is_given]
    if unfit:
        raise InputError(f"{', '.join(unfit)} is for {_ONNX} files; {output} is none")


def _facts(encoder: Encoder) -> dict[str, Any]:
    return {
        "arch": encoder.network.settings.arch,
        "domain": encoder.domain,
        "fingerprint": encoder.fingerprint,
        "feature_length": encoder.feature_dim,
        "size": list(encoder.size),
    }


def _lines(written: OnnxFile, *, float16: bool) -> list[str]:
    """What was written, for people."""
    agreement, given = written.agreement, written.given
    lines = [
        f"ONNX: {written.path} ({_size(written.num_bytes)}), opset and facts inside",
        f"input {given.name}: {given.description}",
        f"output {given.output_name}: {written.metadata['output']}",
        f"agrees with torch on {agreement.num_images} images in batches of 1, 2, 7 and 16: smallest cosine "
        f"{agreement.least_cosine:.7f}; same ten nearest others, in order, for {100 * agreement.equal_top10:.1f}%",
    ]
    if float16:
        lines.append(
            f"half precision: {100 * agreement.mean_overlap_top10:.1f}% of the ten nearest others are the same"
        )
    if written.own_preparation is not None:
        lines.append(
            f"images of the tracker's size in place of the encoder's: mean cosine {written.own_preparation:.4f} to the "
            "features of Encoder.embed (how the tracker itself resizes is not in this figure)"
        )
    return lines


def _tell(row: dict[str, Any], lines: Sequence[str], report: Reporter, as_json: bool) -> None:
    if as_json:
        print(json.dumps(row))
        return
    for line in lines:
        report.say(line)


def _size(num_bytes: int) -> str:
    return f"{num_bytes / 1e6:.1f} MB"
