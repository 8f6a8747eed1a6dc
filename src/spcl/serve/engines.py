"""What runs the network: torch, or onnxruntime with an exported file; which one is used, and why.

Importing this module does not load torch: a server that runs an exported file starts without it.
"""

from __future__ import annotations

import importlib.util
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from spcl.errors import InputError, first_line
from spcl.reporting.console import Reporter
from spcl.serve.settings import EngineName
from spcl.threads import num_threads

if TYPE_CHECKING:
    from spcl.inference.embedding import Encoder
    from spcl.runtime import Runtime

KEPT_FILE = "encoder.onnx"
"""Name of the ONNX file in the gallery's folder."""

_TIMED = 3


class Engine(Protocol):
    """A network that is ready to encode.

    Attributes:
        name: ``torch`` or ``onnxruntime``.
    """

    name: str

    def encode(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Encode ``[B, H, W, 3]`` images of the encoder's size to ``[B, D]`` unit rows."""


class Described(Protocol):
    """An encoder, or what is known of one.

    Attributes:
        size: Height and width of its images in pixels.
    """

    size: tuple[int, int]

    @property
    def fingerprint(self) -> str:
        """Fingerprint of the encoder."""


@dataclass(frozen=True)
class ChosenEngine:
    """The engine of a server.

    Attributes:
        engine: The engine.
        reason: Why this one is used, as a sentence without its end.
        milliseconds: Time of an image in onnxruntime and in torch, where both were measured.
    """

    engine: Engine
    reason: str
    milliseconds: tuple[float, float] | None = None

    @property
    def is_exported(self) -> bool:
        """Whether an exported file runs."""
        return isinstance(self.engine, OnnxEngine)


class OnnxEngine:
    """An exported file, run by onnxruntime on the CPU, or on a GPU where its package for GPUs is installed."""

    name = "onnxruntime"

    def __init__(self, file: Path, *, flip: bool, device: str = "cpu") -> None:
        """Open the file.

        Raises:
            InputError: If onnxruntime is not installed, or cannot open the file.
        """
        try:
            import onnxruntime
        except ImportError as error:
            raise InputError(
                'the engine onnx needs the package onnxruntime: pip install "spcl[export]"',
                code="package-not-installed",
            ) from error
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = num_threads()
        # Waiting threads would take the cores from those that decode images.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        wanted = ["CUDAExecutionProvider"] if device.startswith("cuda") else []
        providers = [name for name in wanted if name in onnxruntime.get_available_providers()]
        try:
            self._session = onnxruntime.InferenceSession(
                str(file), options, providers=[*providers, "CPUExecutionProvider"]
            )
        # Its errors have no common class of their own.
        except Exception as error:
            raise InputError(
                f"onnxruntime cannot open {file}: {first_line(error)}; remove it, and spcl serve --engine onnx writes "
                "it again",
                code="damaged-file",
            ) from error
        self.facts: dict[str, str] = dict(self._session.get_modelmeta().custom_metadata_map)
        self._input, self._flip = self._session.get_inputs()[0].name, flip

    def encode(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Encode ``[B, H, W, 3]`` images of the encoder's size to ``[B, D]`` unit rows.

        Raises:
            InputError: If a feature is NaN or infinite.
        """
        values = np.ascontiguousarray(pixels.transpose(0, 3, 1, 2), dtype=np.float32)
        features = self._run(values)
        if self._flip:
            features = features + self._run(np.ascontiguousarray(values[..., ::-1]))
            features /= np.linalg.norm(features, axis=1, keepdims=True)
        if not np.isfinite(features).all():
            import torch

            from spcl.inference.extraction import finite_features

            finite_features(torch.from_numpy(features))
        return features

    def _run(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        features: NDArray[np.float32] = self._session.run(None, {self._input: values})[0]
        return features

    def why_not(self, encoder: Described) -> str | None:
        """Why the file does not hold this encoder, as a part of a sentence; None: it holds it."""
        expected = {
            "fingerprint": encoder.fingerprint,
            "input_size": json.dumps(list(encoder.size)),
            "normalisation": "in the graph",
            "precision": "float32",
        }
        for name, value in expected.items():
            if self.facts.get(name) != value:
                return f"its {name.replace('_', ' ')} is {self.facts.get(name)!r}, and the encoder needs {value!r}"
        return None


def chosen_engine(
    encoder: Encoder,
    runtime: Runtime,
    *,
    wanted: EngineName,
    file: Path,
    is_given: bool,
    flip: bool,
    report: Reporter,
) -> ChosenEngine:
    """Choose what runs the network.

    ``auto`` takes the faster one, by three images each, where the ONNX file of the encoder is there; otherwise torch,
    because writing the file takes longer than a start may take.

    Args:
        encoder: The encoder.
        runtime: Device and precision.
        wanted: ``torch``, ``onnx`` or ``auto``.
        file: The ONNX file; ``onnx`` writes it where it is missing or is of another encoder.
        is_given: Whether the user named the file: then it is never written, and must fit.
        flip: Whether features are averaged with those of mirror images.
        report: Receives the progress of writing the file.

    Raises:
        InputError: If onnxruntime is asked for and cannot be used.
    """
    from spcl.serve.torch_engine import TorchEngine

    in_torch = TorchEngine(encoder, runtime, flip=flip)
    if wanted == "torch":
        return ChosenEngine(in_torch, "as asked for")
    if runtime.precision != "fp32":
        if wanted == "onnx" or is_given:
            raise InputError(
                f"the engine onnx computes in fp32, and --precision {runtime.precision} is given; leave one of both "
                "out",
                code="option-contradiction",
            )
        return ChosenEngine(in_torch, f"the precision is {runtime.precision}")
    if wanted == "onnx":
        return ChosenEngine(_made(encoder, runtime, file, is_given=is_given, flip=flip, report=report), "as asked for")
    if not is_given and (importlib.util.find_spec("onnxruntime") is None or not file.is_file()):
        return ChosenEngine(in_torch, "there is no ONNX file; --engine onnx writes it once, and is often faster")
    found = OnnxEngine(file, flip=flip, device=str(runtime.device))
    if (fault := found.why_not(encoder)) is not None:
        if is_given:
            raise _does_not_fit(file, fault)
        return ChosenEngine(in_torch, f"{file} does not fit: {fault}; --engine onnx writes it again")
    onnx, in_other = 1000 * _seconds(found, encoder.size), 1000 * _seconds(in_torch, encoder.size)
    return ChosenEngine(found if onnx < in_other else in_torch, measured_reason(onnx, in_other), (onnx, in_other))


def measured_reason(onnx: float, in_torch: float) -> str:
    """Why an engine is used whose time was measured, by the milliseconds of an image in both."""
    return f"an image takes {onnx:.1f} ms in onnxruntime, {in_torch:.1f} ms in torch"


def _made(
    encoder: Encoder, runtime: Runtime, file: Path, *, is_given: bool, flip: bool, report: Reporter
) -> OnnxEngine:
    """The engine of the file, which is written first where it is missing or is of another encoder."""
    if file.is_file():
        found = OnnxEngine(file, flip=flip, device=str(runtime.device))
        fault = found.why_not(encoder)
        if fault is None:
            return found
        if is_given:
            raise _does_not_fit(file, fault)
    elif is_given:
        raise InputError(f"there is no ONNX file {file}; spcl export CHECKPOINT {file} writes one", code="no-such-file")

    # Not imported where the file is there: the exporter takes seconds to load.
    from spcl.export.onnx_file import export_onnx

    export_onnx(encoder, file, overwrite=True, report=report)
    encoder.to(runtime.device)
    return OnnxEngine(file, flip=flip, device=str(runtime.device))


def _does_not_fit(file: Path, fault: str) -> InputError:
    return InputError(
        f"{file} cannot be used: {fault}. Write it with spcl export from the gallery's encoder, without --float16 and "
        "--for-tracker",
        code="encoder-mismatch",
    )


def _seconds(engine: Any, size: tuple[int, int]) -> float:
    """The shortest time of one image, after one that is not counted."""
    image = np.full((1, *size, 3), 127, dtype=np.uint8)
    engine.encode(image)
    times = []
    for _ in range(_TIMED):
        started = time.perf_counter()
        engine.encode(image)
        times.append(time.perf_counter() - started)
    return min(times)
