"""An encoder as an ONNX graph: from pixels to unit rows, with everything that is part of the model inside.

What is in the graph: normalisation, trunk, pooling, embedding layer, neck, unit length. What is not: decoding and
resizing to the size of the input. Whether the graph agrees with the encoder is checked in ``onnx_check.py``.
"""

from __future__ import annotations

import contextlib
import copy
import io
import json
import tempfile
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from spcl._version import __version__
from spcl.errors import InputError, first_line
from spcl.export.files import DEFAULT_OPSET
from spcl.inference.embedding import Encoder
from spcl.nn.backbones import IMAGENET_MEAN, IMAGENET_STD
from spcl.reporting.console import Advance

OPSETS = range(13, 24)
_FIRST_OPSET_OF_EXPORTED_PROGRAMS = 18
_STAGES = 3
_MOST_BYTES = 2**31 - 2**24
"""Largest number of bytes of the weights in one ONNX file: a protocol buffer is limited to 2 GiB."""


@dataclass(frozen=True)
class GraphInput:
    """Input and output of a graph.

    Attributes:
        size: Height and width of the images, pixels.
        is_normalised: The images are normalised by ImageNet's mean and deviation, as trackers do; otherwise they are
            pixels from 0 to 255.
        name: Name of the input.
        output_name: Name of the output.
    """

    size: tuple[int, int]
    is_normalised: bool = False
    name: str = "images"
    output_name: str = "features"

    @property
    def description(self) -> str:
        """Describe the input for the file's metadata."""
        height, width = self.size
        values = "normalised by ImageNet mean and std" if self.is_normalised else "pixels from 0 to 255"
        return f"float32 [batch, 3, {height}, {width}], RGB, {values}"


class EncoderGraph(nn.Module):
    """The exported module: the missing preparation of the input, then the encoder.

    Args:
        encoder: Encoder whose network is copied.
        given: Input of the graph.
        float16: The trunk computes in half precision; what comes after it, and input and output, stay float32.
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, encoder: Encoder, given: GraphInput, *, float16: bool = False) -> None:
        super().__init__()
        network = copy.deepcopy(encoder.network).cpu().float()
        mean, std = (torch.tensor(list(values)).view(1, 3, 1, 1) for values in (network.mean, network.std))
        # Both are one multiplication and one addition on the values given.
        scale, shift = 1 / (255 * std), -mean / std
        if given.is_normalised:
            their_mean, their_std = (torch.tensor(list(v)).view(1, 3, 1, 1) for v in (IMAGENET_MEAN, IMAGENET_STD))
            scale, shift = their_std / std, (their_mean - mean) / std
        self.register_buffer("scale", scale)
        self.register_buffer("shift", shift)
        self.size = encoder.size
        self.needs_resizing = given.size != encoder.size
        if float16:
            network.trunk = _InHalfPrecision(network.trunk)
        self.network = network.eval()
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        """``[B, 3, H, W]`` as described to ``[B, D]`` unit rows."""
        if self.needs_resizing:
            images = F.interpolate(images, size=self.size, mode="bilinear", align_corners=False)
        features: Tensor = self.network(images * self.scale + self.shift)
        return features


class _InHalfPrecision(nn.Module):
    def __init__(self, trunk: nn.Module) -> None:
        super().__init__()
        self.trunk = trunk.half()

    def forward(self, images: Tensor) -> Tensor:
        maps: Tensor = self.trunk(images.half())
        return maps.float()


def onnx_model(
    encoder: Encoder,
    given: GraphInput,
    *,
    opset: int = DEFAULT_OPSET,
    float16: bool = False,
    progress: Advance | None = None,
) -> Any:
    """An encoder as an ``onnx.ModelProto`` with a dynamic batch and metadata.

    Args:
        encoder: The encoder.
        given: Input and output of the graph.
        opset: Version of ONNX's operators.
        float16: The trunk's weights and its arithmetic in half precision.
        progress: Called with (stages done, all stages): network prepared, graph made, graph checked.

    Raises:
        InputError: If it cannot be written as ONNX, or not with this opset.
    """
    if opset not in OPSETS:
        raise InputError(
            f"opset is {opset}; expected {OPSETS.start} to {OPSETS.stop - 1}, {DEFAULT_OPSET} by default",
            code="setting-out-of-range",
        )
    advance = progress or (lambda done, total: None)
    advance(0, _STAGES)
    graph = EncoderGraph(encoder, given, float16=float16)
    num_bytes = sum(value.numel() * value.element_size() for value in graph.state_dict().values())
    if num_bytes > _MOST_BYTES:
        raise InputError(
            f"the weights take {num_bytes / 2**30:.1f} GiB, and one ONNX file holds 2; export them as .safetensors",
            code="weights-too-large",
        )
    example = torch.zeros(2, 3, *given.size)
    writers: list[Callable[..., Any]] = [_from_trace]
    if opset >= _FIRST_OPSET_OF_EXPORTED_PROGRAMS:
        writers.insert(0, _from_exported_program)
    failures = []
    advance(1, _STAGES)
    for write in writers:
        try:
            # The messages of torch's exporters are of no use to the user of this command.
            with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), torch.no_grad():
                warnings.simplefilter("ignore")
                model = write(graph, example, given, opset)
        # Exporters raise exceptions of any type for an unknown network: then the other exporter is tried.
        except Exception as error:
            failures.append(f"{type(error).__name__}: {first_line(error)}")
            continue
        found = next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), None)
        if found == opset:
            advance(2, _STAGES)
            finished = _finished(model, encoder, given, float16=float16, exporter=write.__name__)
            advance(_STAGES, _STAGES)
            return finished
        failures.append(f"it became opset {found}")
    raise InputError(
        f"torch {torch.__version__} cannot write {encoder.network.settings.arch} as ONNX with opset {opset}: "
        f"{'; '.join(failures)}. Try another --opset, or export the weights as .safetensors",
        code="onnx-not-possible",
    )


def _from_exported_program(graph: EncoderGraph, example: Tensor, given: GraphInput, opset: int) -> Any:
    program = torch.onnx.export(
        graph,
        (example,),
        input_names=[given.name],
        output_names=[given.output_name],
        dynamic_shapes={"images": {0: torch.export.Dim("batch")}},
        opset_version=opset,
        dynamo=True,
        verbose=False,
    )
    if program is None:
        raise RuntimeError("the exporter gave nothing")
    return program.model_proto


def _from_trace(graph: EncoderGraph, example: Tensor, given: GraphInput, opset: int) -> Any:
    import onnx

    with tempfile.TemporaryDirectory() as folder:
        written = Path(folder) / "traced.onnx"
        torch.onnx.export(
            graph,
            (example,),
            written,
            input_names=[given.name],
            output_names=[given.output_name],
            dynamic_axes={given.name: {0: "batch"}, given.output_name: {0: "batch"}},
            opset_version=opset,
            dynamo=False,
        )
        return onnx.load(written)


_EXPORTERS = {"_from_exported_program": "torch.export", "_from_trace": "torch.jit.trace"}


def _finished(model: Any, encoder: Encoder, given: GraphInput, *, float16: bool, exporter: str) -> Any:
    """Without the exporter's notes (they name files of this machine), with ours, for as old readers as can be."""
    import onnx

    for holder in (model, model.graph, *model.graph.node, *model.graph.input, *model.graph.output):
        del holder.metadata_props[:]
        holder.doc_string = ""
    for holder in (*model.graph.value_info, *model.graph.initializer):
        if hasattr(holder, "metadata_props"):
            del holder.metadata_props[:]
        holder.doc_string = ""
    model.ir_version = onnx.helper.find_min_ir_version_for(list(model.opset_import), ignore_unknown=True)
    model.producer_name, model.producer_version = "spcl", __version__
    facts = metadata_of(encoder, given, float16=float16) | {"exporter": _EXPORTERS[exporter]}
    onnx.helper.set_model_props(model, facts)
    onnx.checker.check_model(model)
    return model


def metadata_of(encoder: Encoder, given: GraphInput, *, float16: bool) -> dict[str, str]:
    """Give the metadata of the file: text values by name."""
    settings = encoder.network.settings
    facts: Mapping[str, Any] = {
        "spcl_version": __version__,
        "arch": settings.arch,
        "domain": encoder.domain,
        "fingerprint": encoder.fingerprint,
        "feature_length": encoder.feature_dim,
        "input": given.description,
        "input_size": json.dumps(list(given.size)),
        "encoder_size": json.dumps(list(encoder.size)),
        "normalisation": "outside, then adapted in the graph" if given.is_normalised else "in the graph",
        "mean": json.dumps(list(encoder.network.mean)),
        "std": json.dumps(list(encoder.network.std)),
        "resize": "bicubic to input_size, outside",
        "output": f"float32 [batch, {encoder.feature_dim}], rows of length 1",
        "precision": "float16 trunk, float32 head, input and output" if float16 else "float32",
    }
    return {name: str(value) for name, value in facts.items()}
