"""Random files of weights: checkpoints, safetensors, folders of the hub, ONNX, the state of a run."""

from __future__ import annotations

import copy
import io
import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save

from spcl.inference.checkpoint import checkpoint_of, load_network_and_facts
from spcl.inference.weights_file import file_tensors, read_weights_file, write_weights_file
from spcl.nn.encoder_network import EncoderNetwork, EncoderSettings
from spcl.nn.trunk_weights import load_weights, read_weights
from spcl.reporting.console import SilentReporter
from tests.fakes import draw
from tests.training_run.small_runs import prepared, small_config, trained
from tests.trust.inputs_of_settings import calibration_values
from tests.trust.mutations import VALUES, damaged_bytes, damaged_value
from tests.trust.workers import EntryPoint, TryInput

_SETTINGS = EncoderSettings(arch="timm/test_resnet", height=32, width=16)


def _network() -> EncoderNetwork:
    torch.manual_seed(0)
    return EncoderNetwork(_SETTINGS)


def _content() -> dict[str, Any]:
    return checkpoint_of(
        _network(), epoch=1, best_mean_ap=0.5, facts={"data": "x", "calibration": calibration_values()}
    )


def _tensor(rng: random.Random) -> torch.Tensor:
    """A tensor as another program could have written it."""
    shape = rng.choice(((), (0,), (1,), (3,), (16, 3, 3, 3), (64,), (2, 2, 2)))
    kind = rng.choice(
        (torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.bool, torch.complex64)
    )
    made = torch.zeros(shape, dtype=kind)
    if kind.is_floating_point and rng.random() < 0.5:
        made = made + rng.choice((float("nan"), float("inf"), -1.0, 1e30))
    if rng.random() < 0.1 and made.ndim == 2:
        made = made.to_sparse()
    return made


def damaged_content(rng: random.Random, content: dict[str, Any]) -> Any:
    """The content of a torch file with other values, keys or tensors."""
    holder = copy.deepcopy(content)
    for _ in range(rng.choice((1, 1, 2, 3))):
        places = [(where, key) for where in _dictionaries(holder) for key in where]
        where, key = rng.choice(places)
        what = rng.randrange(6)
        if what == 0:
            del where[key]
        elif what == 1:
            where[rng.choice(("x", 3, "module.feat.weight", "state_dict", "neck.weight"))] = where[key]
        elif what in (2, 3) or isinstance(where[key], torch.Tensor):
            where[key] = _tensor(rng)
        else:
            where[key] = damaged_value(rng, where[key]) if rng.random() < 0.5 else rng.choice(VALUES)
    return holder if rng.random() < 0.98 else rng.choice((list(holder), None, 3, "x", holder.get("state_dict")))


def _dictionaries(value: Any) -> list[dict[Any, Any]]:
    if not isinstance(value, dict):
        return []
    return [value] * bool(value) + [found for inner in value.values() for found in _dictionaries(inner)]


def _written(content: Any, *, zipped: bool = True) -> bytes:
    held = io.BytesIO()
    torch.save(content, held, _use_new_zipfile_serialization=zipped)
    return held.getvalue()


def _forward(network: EncoderNetwork) -> None:
    """What is accepted must give features."""
    size = network.settings.height, network.settings.width
    if size[0] * size[1] <= 128 * 128:
        with torch.inference_mode():
            network(torch.zeros(1, 3, *size), network.domains[0])


def _checkpoint_bytes(folder: Path) -> TryInput:
    path = folder / "checkpoint.pth.tar"
    content = _content()
    samples = [_written(content), _written(content, zipped=False), _written(content["state_dict"])]

    def try_input(rng: random.Random) -> None:
        path.write_bytes(damaged_bytes(rng, samples))
        load_network_and_facts(path)

    return try_input


def _checkpoint_values(folder: Path) -> TryInput:
    path, content = folder / "checkpoint.pth.tar", _content()
    del content["spcl"]["calibration"]

    def try_input(rng: random.Random) -> None:
        changed = damaged_content(rng, content)
        if rng.random() < 0.5 and isinstance(changed, dict):
            changed["spcl"] = damaged_value(rng, content["spcl"])
        path.write_bytes(_written(changed, zipped=rng.random() < 0.5))
        _forward(load_network_and_facts(path)[0])

    return try_input


def _pretrained(folder: Path) -> TryInput:
    """Files of weights for ``--pretrained``."""
    path, network = folder / "weights.pth", _network()
    model = dict(network.trunk.model.state_dict())
    wrapped = {"state_dict": {f"module.{name}": value for name, value in model.items()}, "epoch": 3}
    samples = [_written(model), _written(wrapped, zipped=False), save(model)]

    def try_input(rng: random.Random) -> None:
        if rng.random() < 0.5:
            path.write_bytes(damaged_bytes(rng, samples))
        else:
            path.write_bytes(_written(damaged_content(rng, rng.choice((model, wrapped)))))
        load_weights(network.trunk, read_weights(path))

    return try_input


def _safetensors(folder: Path) -> TryInput:
    whole, path = folder / "whole.safetensors", folder / "encoder.safetensors"
    content = _content()
    write_weights_file(content, whole, {"by": "spcl"})
    data = whole.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header, body = json.loads(data[8 : 8 + length]), data[8 + length :]
    tensors = file_tensors(content)

    def try_input(rng: random.Random) -> None:
        kind = rng.randrange(3)
        if kind == 0:
            path.write_bytes(damaged_bytes(rng, [data]))
        elif kind == 1:
            text = json.dumps(damaged_value(rng, header)).encode()
            path.write_bytes(len(text).to_bytes(8, "little") + text + body)
        else:
            facts = json.dumps(damaged_value(rng, content["spcl"]))
            path.write_bytes(save(tensors, metadata={"format": "pt", "spcl": facts}))
        read_weights_file(path)
        _forward(load_network_and_facts(path)[0])

    return try_input


def _hub(folder: Path) -> TryInput:
    from spcl.export.hub_folder import export_hub
    from spcl.inference.embedding import Encoder

    export_hub(Encoder(_network().eval(), "target"), folder / "whole")
    whole = {path.name: path.read_bytes() for path in (folder / "whole").iterdir() if path.is_file()}
    place = folder / "hub"
    shutil.copytree(folder / "whole", place)

    def try_input(rng: random.Random) -> None:
        for name, data in whole.items():
            (place / name).write_bytes(damaged_bytes(rng, [data]) if rng.random() < 0.5 else data)
        load_network_and_facts(place)

    return try_input


def _onnx(folder: Path) -> TryInput:
    from spcl.export.onnx_file import export_onnx
    from spcl.inference.embedding import Encoder
    from spcl.serve.engines import OnnxEngine

    encoder = Encoder(_network().eval(), "target")
    export_onnx(encoder, folder / "whole.onnx", report=SilentReporter())
    data, path = (folder / "whole.onnx").read_bytes(), folder / "model.onnx"
    images = torch.zeros(2, 32, 16, 3, dtype=torch.uint8).numpy()

    def try_input(rng: random.Random) -> None:
        path.write_bytes(damaged_bytes(rng, [data]))
        engine = OnnxEngine(path, flip=False)
        if engine.why_not(encoder) is None:
            engine.encode(images)

    return try_input


def _resume(*, of_values: bool) -> Callable[[Path], TryInput]:
    def prepare(folder: Path) -> TryInput:
        for number in range(24):
            draw(folder / "crops" / f"{number:02d}.png", number // 6, number)
        config = small_config(folder / "crops", folder / "run", schedule={"epochs": 1, "iters": 1})
        trained(config)
        run = prepared(config, resume=True)
        path = run.folder / "resume.pt"
        data = path.read_bytes()
        content = torch.load(path, weights_only=True)

        def try_input(rng: random.Random) -> None:
            # A new file: the old one may be mapped.
            path.unlink()
            path.write_bytes(_written(damaged_content(rng, content)) if of_values else damaged_bytes(rng, [data]))
            run.files.restore(run.state)

        return try_input

    return prepare


ENTRY_POINTS = (
    EntryPoint("checkpoint, bytes", _checkpoint_bytes),
    EntryPoint("checkpoint, values", _checkpoint_values),
    EntryPoint("weights for --pretrained", _pretrained),
    EntryPoint("safetensors", _safetensors),
    EntryPoint("folder of the hub", _hub),
    EntryPoint("ONNX file", _onnx),
    EntryPoint("state of a run, bytes", _resume(of_values=False)),
    EntryPoint("state of a run, values", _resume(of_values=True)),
)
