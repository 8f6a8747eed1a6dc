"""``spcl export``: a trained encoder as a file for other programs, checked before it is kept."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import tyro

from spcl.cli.encoder_flags import CheckpointWord, EncoderOptions
from spcl.cli.options import parsed
from spcl.data.source_options import DATA_DIR, SourceOptions
from spcl.data.table_checks import check_tables
from spcl.errors import InputError
from spcl.export.export_encoder import ExportRequest, ExportResult, export_encoder
from spcl.export.files import DEFAULT_OPSET
from spcl.reporting.console import ConsoleReporter, Reporter, SilentReporter

if TYPE_CHECKING:
    from spcl.export.onnx_file import OnnxFile


@dataclass(frozen=True)
class Export(EncoderOptions):
    """Write an encoder for other programs: NAME.onnx for onnxruntime and trackers, NAME.safetensors for timm and torch,
    a folder for the Hugging Face hub.

    The ONNX file includes the normalisation of pixels and features, and takes batches of any size. It is kept only if
    onnxruntime and torch give the same features. With a safetensors file a model card is written, NAME.md.
    """

    usage: ClassVar[str] = "[CHECKPOINT] OUTPUT [options]"
    example: ClassVar[str] = "spcl export model_best.pth.tar encoder.onnx"

    other_words: ClassVar[tuple[str, ...]] = ("output",)

    checkpoint: CheckpointWord = ""
    """The encoder, for example model_best.pth.tar. Without one: give --encoder imagenet, and --images for the size."""
    output: tyro.conf.Positional[str] = ""
    """The file to write: NAME.onnx or NAME.safetensors."""
    hub: str = ""
    """In place of OUTPUT: a folder in the format of the Hugging Face hub, which timm.create_model("local-dir:FOLDER",
    pretrained=True) loads, the last batch norm included."""
    push: str = ""
    """--hub: upload the folder to this repository of the hub, OWNER/NAME."""
    opset: int = DEFAULT_OPSET
    """.onnx: version of the ONNX operators, 13 to 23."""
    float16: bool = False
    """.onnx: compute the backbone in half precision; input, output and the layers after it stay float32."""
    for_tracker: bool = False
    """.onnx: take images as trackers give them: divided by 255 and normalised by the values of ImageNet."""
    images: str = ""
    """.onnx: images (at most 128) on which onnxruntime and torch are compared. Without it: rendered images. Without a
    checkpoint the shape of these images decides the size of the input."""
    data_dir: str = DATA_DIR
    """Folder that holds the registered data sets, for --images."""
    columns: str = ""
    """Names of the columns of the table of --images, where they differ from the standard ones: path=file."""
    time_format: str = ""
    """Format of the times in the table of --images, in the codes of strptime."""
    overwrite: bool = False
    """Replace a file that exists."""
    json: bool = False
    """Print what was written and how well it agrees as JSON."""

    def wanted_words(self) -> tuple[str, ...]:
        """The output, unless a folder of the hub is written."""
        return () if self.hub else self.other_words

    def source(self) -> SourceOptions:
        """How the images of ``--images`` are found."""
        return SourceOptions(data_dir=self.data_dir, columns=self.columns, time_format=self.time_format)

    def request(self) -> ExportRequest:
        """What is asked for."""
        if self.hub and self.output:
            raise InputError(
                f"{self.output} is a file, and --hub {self.hub} a folder; give one of both", code="option-contradiction"
            )
        return ExportRequest(
            self.hub or self.output,
            self.choice(),
            hub=bool(self.hub),
            push=self.push,
            opset=self.opset,
            float16=self.float16,
            for_tracker=self.for_tracker,
            images=self.images,
            overwrite=self.overwrite,
            source=self.source(),
        )


def main(arguments: Sequence[str]) -> None:
    """Run ``spcl export`` with these words."""
    options = parsed(Export, arguments, "spcl export")
    report: Reporter = SilentReporter() if options.json else ConsoleReporter()
    request = options.request()
    if options.images:
        check_tables(options.images, options=request.source.table)
    written = export_encoder(request, report=report)
    if options.json:
        print(json.dumps(written.to_dict()))
    else:
        print_export(written, report, float16=options.float16)


def print_export(written: ExportResult, report: Reporter, *, float16: bool) -> None:
    """Print what was written, and how well an ONNX file agrees with torch."""
    if written.hub is not None:
        report.say(f"folder: {written.path} ({_size(written.num_bytes)}), with a model card, README.md")
        report.say(f"loaded with timm and compared: smallest cosine {written.hub.least_cosine:.7f}")
        if written.hub.pushed:
            report.say(f"uploaded: {written.hub.pushed}")
        return
    if written.onnx is None:
        report.say(f"weights: {written.path} ({_size(written.num_bytes)})")
        report.say(f"model card: {written.card}")
        return
    for line in _lines(written.onnx, float16=float16):
        report.say(line)


def _lines(written: OnnxFile, *, float16: bool) -> list[str]:
    """What was written, for people."""
    agreement, given = written.agreement, written.given
    lines = [
        f"ONNX: {written.path} ({_size(written.num_bytes)}); the file contains opset and metadata",
        f"input {given.name}: {given.description}",
        f"output {given.output_name}: {written.metadata['output']}",
        f"agrees with torch on {agreement.num_images} images in batches of 1, 2, 7 and 16: smallest cosine "
        f"{agreement.least_cosine:.7f}; the ten nearest images are equal for {100 * agreement.equal_top10:.1f}%",
    ]
    if float16:
        lines.append(
            f"half precision: {100 * agreement.mean_overlap_top10:.1f}% of the ten nearest images are the same"
        )
    if written.own_preparation is not None:
        lines.append(
            f"images that are resized as trackers do: mean cosine {written.own_preparation:.4f} with the features of "
            "spcl (docs/trackers.md)"
        )
    return lines


def _size(num_bytes: int) -> str:
    return f"{num_bytes / 1e6:.1f} MB"
