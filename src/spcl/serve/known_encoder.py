"""What a server needs to know of the gallery's encoder, kept beside its ONNX file.

The file is written once the checkpoint was loaded and the ONNX file was found to hold its encoder. Later starts read it
in place of the checkpoint, as long as neither file has changed, so that neither torch nor the network is loaded.
"""

from __future__ import annotations

import json
import platform
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spcl._version import __version__
from spcl.atomic_files import written_aside
from spcl.errors import InputError
from spcl.inference.encoder_origin import EncoderOrigin
from spcl.nested_text import json_of
from spcl.serve.engines import KEPT_FILE, ChosenEngine, OnnxEngine, measured_reason
from spcl.serve.settings import ServeRequest
from spcl.threads import num_threads
from spcl.verification.stored_calibration import FACT

if TYPE_CHECKING:
    from spcl.inference.embedding import Encoder

_FILE = "encoder.json"
# Increase it when a file of before must not be used any more.
_LAYOUT = 1


@dataclass
class KnownEncoder:
    """What a server has stored about the encoder of its gallery.

    Attributes:
        fingerprint: Fingerprint of the encoder.
        size: Height and width of its images in pixels.
        pixel_range: Value range of images of more than 8 bits.
        facts: Plain values of the checkpoint: its calibration, if it has one.
        origin: How the encoder was made; None: unknown.
    """

    fingerprint: str
    size: tuple[int, int]
    pixel_range: str
    facts: dict[str, Any]
    origin: EncoderOrigin | None

    @classmethod
    def of(cls, encoder: Encoder) -> KnownEncoder:
        """Describe an encoder that is loaded."""
        facts = {FACT: encoder.facts[FACT]} if FACT in encoder.facts else {}
        return cls(encoder.fingerprint, encoder.size, encoder.network.settings.pixel_range, facts, encoder.origin)


def keep(folder: Path, request: ServeRequest, known: KnownEncoder, chosen: ChosenEngine) -> None:
    """Keep what is known of an encoder whose exported file runs; what cannot be kept is found again at each start."""
    source = _source(request, known.origin)
    if not chosen.is_exported or request.onnx_file or source is None:
        return
    values = asdict(known) | {
        "layout": _LAYOUT,
        "spcl": __version__,
        "source": source,
        "exported": _stamp(folder / KEPT_FILE),
        "milliseconds": chosen.milliseconds,
        "measured_on": _machine(request),
    }
    with suppress(InputError, TypeError), written_aside(folder / _FILE) as aside:
        aside.write_text(json.dumps(values), encoding="utf-8")


def read_known(folder: Path, request: ServeRequest, facts: dict[str, Any]) -> tuple[KnownEncoder, ChosenEngine] | None:
    """Give what was kept of the encoder that a request asks for, and the engine of its exported file.

    Args:
        folder: Folder for files that are computed from the gallery.
        request: What is to be served.
        facts: Facts of the gallery.

    Returns:
        None if another engine, device or precision is asked for, if nothing was kept, or if the checkpoint, the
            exported file, the gallery's encoder, this package or, for the engine ``auto``, the machine is another one.
    """
    is_plain = request.encoding.precision == "fp32" and request.encoding.device in ("auto", "cpu")
    if request.engine == "torch" or request.onnx_file or not is_plain or find_spec("onnxruntime") is None:
        return None
    # What is kept may be damaged in any way: it is then found again.
    with suppress(Exception):
        # Whether there is a GPU is for torch to say.
        if request.encoding.device == "auto" and _has_gpu_package():
            return None
        values = dict(json_of((folder / _FILE).read_text(encoding="utf-8")))
        origin = None if values["origin"] is None else EncoderOrigin(**values["origin"])
        kept = {name: values[name] for name in ("layout", "spcl", "source", "exported", "fingerprint")}
        expected = {
            "layout": _LAYOUT,
            "spcl": __version__,
            "source": _source(request, origin),
            "exported": _stamp(folder / KEPT_FILE),
            "fingerprint": facts.get("fingerprint"),
        }
        if kept != expected or (not request.encoding.encoder.checkpoint and origin != EncoderOrigin.of_facts(facts)):
            return None
        reason = _reason(request, values)
        if reason is None:
            return None
        height, width = values["size"]
        known = KnownEncoder(
            values["fingerprint"], (height, width), values["pixel_range"], dict(values["facts"]), origin
        )
        engine = OnnxEngine(folder / KEPT_FILE, flip=bool(facts.get("flip", False)))
        return (known, ChosenEngine(engine, reason)) if engine.why_not(known) is None else None
    return None


def _reason(request: ServeRequest, values: dict[str, Any]) -> str | None:
    """Why the exported file runs; None: that is to be measured."""
    if request.engine == "onnx":
        return "as asked for"
    if values["milliseconds"] is None or values["measured_on"] != _machine(request):
        return None
    return f"{measured_reason(*values['milliseconds'])}, measured at an earlier start"


def _source(request: ServeRequest, origin: EncoderOrigin | None) -> list[Any] | None:
    """What the encoder is made of: the choice of the user, and the state of the checkpoint; None: not a local file."""
    choice = request.encoding.encoder
    if not choice.checkpoint and (not choice.is_open or origin is None):
        return None
    chosen = [choice.arch, choice.domain] if choice.checkpoint else []
    checkpoint = choice.checkpoint or (origin.checkpoint if origin is not None else "")
    stamp = _stamp(Path(checkpoint)) if checkpoint else []
    return None if stamp is None else [*chosen, *stamp]


def _stamp(path: Path) -> list[Any] | None:
    """Path, size and times of a file: they change when it is written; None: there is no such file."""
    if not path.is_file():
        return None
    state = path.stat()
    return [str(path.absolute()), state.st_size, state.st_mtime_ns, state.st_ctime_ns, state.st_ino]


def _machine(request: ServeRequest) -> list[Any]:
    """What the times of the engines depend on."""
    import onnxruntime

    return [platform.node(), num_threads(), request.encoding.device, version("torch"), onnxruntime.__version__]


def _has_gpu_package() -> bool:
    import onnxruntime

    return "CUDAExecutionProvider" in onnxruntime.get_available_providers()
