"""An encoder as an ONNX file, which is kept only if it gives the encoder's features."""

from __future__ import annotations

import copy
import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from spcl.atomic_files import written_aside
from spcl.data.image_decoding import open_image
from spcl.data.image_key import shown_path
from spcl.data.image_sources import images_of
from spcl.data.image_store import ImageStore
from spcl.data.synthetic import SyntheticSpec, render_image
from spcl.errors import InputError
from spcl.export.files import DEFAULT_OPSET, refuse_existing
from spcl.export.onnx_check import Agreement, compare_with_encoder
from spcl.export.onnx_graph import GraphInput, onnx_model
from spcl.export.tracker import resized_as_trackers_do, tracker_input
from spcl.inference.embedding import Encoder
from spcl.randomness import generator
from spcl.reporting.console import Reporter
from spcl.reporting.quiet_reporters import LoggingReporter

_MOST_IMAGES = 128
_PACKAGES = ("onnx", "onnxruntime", "onnxscript")


@dataclass(frozen=True)
class OnnxFile:
    """An ONNX file that was written and checked.

    Attributes:
        path: Path of the file.
        given: Input and output of the graph.
        metadata: Metadata in the file, text values by name.
        agreement: Agreement with the encoder in torch, on the same values.
        num_bytes: Size of the file in bytes.
        own_preparation: For a tracker: mean cosine of the features of images that are resized as trackers do, and
            those of ``Encoder.embed``; None otherwise.
    """

    path: Path
    given: GraphInput
    metadata: dict[str, str]
    agreement: Agreement
    num_bytes: int
    own_preparation: float | None = None


def export_onnx(
    encoder: Encoder,
    path: str | Path,
    *,
    opset: int = DEFAULT_OPSET,
    float16: bool = False,
    for_tracker: bool = False,
    images: str | Path | Sequence[str | Path] | None = None,
    overwrite: bool = False,
    report: Reporter | None = None,
) -> OnnxFile:
    """Write an encoder as ONNX: input ``images [batch, 3, H, W]`` float32 RGB from 0 to 255, output unit rows.

    The file is written aside, run by onnxruntime on images in batches of several sizes, compared with the encoder, and
    renamed only if it agrees: each cosine above 0.9999 (float16: 0.999) and, in float32, the same ten nearest others
    for every image.

    Args:
        encoder: Moved to the CPU. Of weights of another floating type, the file has their values as float32.
        path: Path of the file; ends in ``.onnx``.
        opset: Version of ONNX's operators.
        float16: Weights and arithmetic of the trunk in half precision; input, output and head stay float32.
        for_tracker: Take what trackers give instead: images normalised by ImageNet's mean and deviation
            (``tracker.py``).
        images: Images to compare with: a folder or anything ``images_of`` takes; None: built-in rendered ones.
        overwrite: Replace a file that is there.
        report: Receives progress and warnings.

    Raises:
        InputError: If it cannot be written, or does not agree; then there is no file, and the message has the numbers.
    """
    path, report = Path(path), report or LoggingReporter()
    _require_packages()
    refuse_existing(path, overwrite=overwrite)
    given = tracker_input(encoder.size) if for_tracker else GraphInput(size=encoder.size)
    encoder.cpu()
    if any(weight.dtype != torch.float32 for weight in encoder.parameters()):
        encoder = copy.deepcopy(encoder).float()
    pixels, records = _images_to_compare(images, given.size, report)
    with written_aside(path) as aside:
        report.say(f"writing {encoder.network.settings.arch} as ONNX, opset {opset}")
        with report.progress("writing the graph") as advance:
            model = onnx_model(encoder, given, opset=opset, float16=float16, progress=advance)
        aside.write_bytes(model.SerializeToString())
        with report.progress("comparing with torch") as advance:
            agreement, _ = compare_with_encoder(aside, encoder, given, pixels, progress=advance)
        problem = agreement.problem(float16=float16)
        if problem is not None:
            raise InputError(
                f"{path} was not written: the exported graph does not give the encoder's features on "
                f"{agreement.num_images} images: {problem}"
                + (". Export in float32, without --float16" if float16 else ". Try another --opset"),
                code="onnx-disagrees",
            )
    own = None
    if for_tracker:
        as_given = encoder.embed(list(resized_as_trackers_do(_opened(records), encoder.size)))
        own = float(np.mean((as_given * encoder.embed(records)).sum(axis=1)))
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    return OnnxFile(path, given, metadata, agreement, path.stat().st_size, own)


def _require_packages() -> None:
    for name in _PACKAGES:
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise InputError(
                f'ONNX needs the package {name}: pip install "spcl[export]"', code="package-not-installed"
            ) from error


def _opened(records: Sequence[Any]) -> list[Image.Image]:
    """Open files; images are as they are."""
    return [open_image(Path(each)) if isinstance(each, str | Path) else each for each in records]


def _images_to_compare(
    images: str | Path | Sequence[str | Path] | None, size: tuple[int, int], report: Reporter
) -> tuple[NDArray[np.uint8], list[Any]]:
    """``[N, height, width, 3]`` of the graph's size, and what ``Encoder.embed`` takes for the same images."""
    height, width = size
    if images is None:
        kind = "pedestrian" if height > width else "vehicle"
        spec = SyntheticSpec(kind=kind, cameras=2, height=height, width=width)
        rendered = [render_image(spec, identity, camera, 0) for identity in range(16) for camera in range(2)]
        return np.stack([np.asarray(image) for image in rendered]), list(rendered)
    records = images_of(images).records
    rows = generator(0, "images to compare").permutation(len(records))[:_MOST_IMAGES]
    chosen = [records[row] for row in np.sort(rows).tolist()]
    store = ImageStore(chosen, size=(height, width), on_broken="skip", memory=0)
    pixels = store.read(np.arange(len(chosen)))
    good = [row for row in range(len(chosen)) if row not in store.broken]
    for row, reason in sorted(store.broken.items())[:5]:
        report.warn(f"{shown_path(chosen[row].path)} is left out of the comparison: {reason}")
    if not good:
        raise InputError(
            f"none of the {len(chosen)} images of {images} can be read; the file is checked on images",
            code="unreadable-image",
        )
    return pixels[good], [chosen[row].path for row in good]
