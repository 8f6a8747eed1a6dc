"""Export as a function: from an encoder to a file for other programs, checked before it is kept.

What computes is imported by the functions: a wrong path or value is reported before torch is loaded.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spcl.data.source_options import SourceOptions
from spcl.errors import InputError
from spcl.export.files import DEFAULT_OPSET, refuse_existing
from spcl.inference.encode_options import EncoderChoice
from spcl.reporting.console import Reporter, WarningsKept, say_notes

if TYPE_CHECKING:
    from spcl.export.hub_folder import HubFolder
    from spcl.export.onnx_file import OnnxFile
    from spcl.inference.embedding import Encoder

ONNX, WEIGHTS = ".onnx", ".safetensors"


@dataclass(frozen=True)
class ExportRequest:
    """Which encoder to write, and how.

    Attributes:
        output: The file to write; its ending decides: ``.onnx`` (onnxruntime, trackers) or ``.safetensors`` (timm,
            torch; a model card is written beside it). With ``hub`` a folder.
        encoder: The encoder; without a checkpoint, ``images`` determine the size.
        opset: Version of ONNX's operators (``.onnx``).
        float16: Weights and arithmetic of the trunk in half precision (``.onnx``).
        for_tracker: Take what trackers give: images that are already normalised (``.onnx``).
        images: Images to compare onnxruntime with torch on, 128 at most (``.onnx``); empty: rendered ones.
        overwrite: Replace a file that is there.
        source: Options of finding ``images``.
        hub: Write a folder in the format of the Hugging Face hub, which plain timm loads.
        push: Repository of the hub, ``OWNER/NAME``, that the folder is uploaded to; empty: none.
    """

    output: str | Path
    encoder: EncoderChoice
    opset: int = DEFAULT_OPSET
    float16: bool = False
    for_tracker: bool = False
    images: str | Path = ""
    overwrite: bool = False
    source: SourceOptions = field(default_factory=SourceOptions)
    hub: bool = False
    push: str = ""

    def __post_init__(self) -> None:
        """Raise an ``InputError`` where the ending and the settings do not go together."""
        output, suffix = Path(self.output), self.suffix
        if self.push and not self.hub:
            raise InputError("--push is for a folder of the hub: add --hub FOLDER", code="option-does-not-apply")
        if self.push and (self.push.count("/") != 1 or not all(self.push.split("/"))):
            raise InputError(f"--push is {self.push!r}; expected OWNER/NAME", code="invalid-name")
        if not self.hub and suffix not in (ONNX, WEIGHTS):
            raise InputError(
                f"{output} ends in {suffix or 'nothing'}; expected {ONNX} or {WEIGHTS}", code="wrong-file-kind"
            )
        if not self.encoder.checkpoint and not self.images:
            raise InputError(
                "no encoder is given; give a checkpoint first, or --encoder imagenet and --images FOLDER, whose shape "
                "decides the size of the input",
                code="no-encoder",
            )
        if suffix == ONNX and not self.hub:
            return
        given = {
            "--float16": self.float16,
            "--for-tracker": self.for_tracker,
            "--images": bool(self.images and self.encoder.checkpoint),
            "--opset": self.opset != DEFAULT_OPSET,
        }
        unfit = [flag for flag, is_given in given.items() if is_given]
        if unfit:
            raise InputError(f"{', '.join(unfit)} is for {ONNX} files; {output} is none", code="option-does-not-apply")

    @property
    def suffix(self) -> str:
        """The ending of the file, in small letters."""
        return Path(self.output).suffix.lower()


@dataclass(frozen=True)
class ExportResult:
    """What was written.

    Attributes:
        path: The file.
        num_bytes: Size of the file in bytes.
        arch: The network.
        domain: Domain whose batch norm was folded in.
        fingerprint: Fingerprint of the encoder.
        feature_length: ``D``.
        image_size: Height and width in pixels of the images that the encoder sees.
        card: The model card beside a ``.safetensors`` file; None for ``.onnx``.
        onnx: Input, metadata and agreement with torch of an ``.onnx`` file; None for ``.safetensors``.
        hub: Agreement of timm's model with the encoder, and address, of a folder of the hub; None for files.
        warnings: Warnings, in sentences.
    """

    path: Path
    num_bytes: int
    arch: str
    domain: str
    fingerprint: str
    feature_length: int
    image_size: tuple[int, int]
    card: Path | None = None
    onnx: OnnxFile | None = None
    hub: HubFolder | None = None
    warnings: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON: for ``.onnx`` the file's metadata and the figures of its comparison with torch."""
        plain: dict[str, Any] = {"path": str(self.path)}
        if self.onnx is None:
            plain |= {
                **({"card": str(self.card)} if self.card else {}),
                "bytes": self.num_bytes,
                "arch": self.arch,
                "domain": self.domain,
                "fingerprint": self.fingerprint,
                "feature_length": self.feature_length,
                "size": list(self.image_size),
            }
        else:
            plain |= {"bytes": self.num_bytes} | self.onnx.metadata | self.onnx.agreement.to_row()
            if self.onnx.own_preparation is not None:
                plain["own_preparation"] = self.onnx.own_preparation
        if self.hub is not None:
            plain |= {"least_cosine": self.hub.least_cosine, "pushed": self.hub.pushed}
        return plain | ({"warnings": list(self.warnings)} if self.warnings else {})


def export_encoder(request: ExportRequest, *, report: Reporter | None = None) -> ExportResult:
    """Write an encoder for other programs: ``.onnx`` for onnxruntime and trackers, ``.safetensors`` for timm and torch.

    Args:
        request: The encoder and the options of the export.
        report: Receives progress, notes and warnings; None: nothing is shown.

    Returns:
        ExportResult.

    Raises:
        InputError: If something cannot be used, a file is there already, or the ONNX file does not give the encoder's
            features; then there is no file.

    Example::

        choice = spcl.EncoderChoice(checkpoint="runs/mine/model_best.pth.tar")
        written = spcl.export_encoder(spcl.ExportRequest("encoder.onnx", choice, images="my_crops"))
        print(written.path, written.onnx.agreement.least_cosine)
    """
    output = Path(request.output)
    # Weights without their card may be those of a killed export of this encoder, which is known below.
    may_be_unfinished = request.suffix == WEIGHTS and not output.with_suffix(".md").exists()
    if not request.hub and not may_be_unfinished:
        refuse_existing(output, overwrite=request.overwrite)

    from spcl.data.image_sources import images_of
    from spcl.inference.encoder_choice import chosen_encoder

    kept = WarningsKept(report)
    encoder = chosen_encoder(
        request.encoder, lambda: images_of(str(request.images), request.source).records, report=kept
    )
    card, onnx, hub = None, None, None
    if request.hub:
        from spcl.export.hub_folder import export_hub

        hub = export_hub(encoder, output, overwrite=request.overwrite, push=request.push)
        card = output / "README.md"
    elif request.suffix == WEIGHTS:
        from spcl.export.weights import export_weights

        card = export_weights(encoder, output, overwrite=request.overwrite)
    else:
        onnx = _onnx(request, encoder, kept)
    return ExportResult(
        path=output,
        num_bytes=sum(file.stat().st_size for file in output.iterdir()) if hub else output.stat().st_size,
        arch=encoder.network.settings.arch,
        domain=encoder.domain,
        fingerprint=encoder.fingerprint,
        feature_length=encoder.feature_dim,
        image_size=encoder.size,
        card=card,
        onnx=onnx,
        hub=hub,
        warnings=tuple(kept.warnings),
    )


def _onnx(request: ExportRequest, encoder: Encoder, report: Reporter) -> OnnxFile:
    from spcl.data.image_sources import images_of
    from spcl.export.onnx_file import export_onnx

    images: list[Path] | None = None
    if request.images:
        found = images_of(str(request.images), request.source)
        say_notes(report, found.notes)
        images = [record.path for record in found.records]
    return export_onnx(
        encoder,
        request.output,
        opset=request.opset,
        float16=request.float16,
        for_tracker=request.for_tracker,
        images=images,
        overwrite=request.overwrite,
        report=report,
    )
