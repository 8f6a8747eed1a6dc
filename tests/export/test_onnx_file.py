"""An ONNX file gives the encoder's features in onnxruntime alone, or it is not there."""

from __future__ import annotations

import json
import sys
from contextlib import contextmanager

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from PIL import Image

from spcl.export import onnx_graph
from spcl.export.onnx_check import Agreement, agreement_of
from spcl.export.onnx_file import export_onnx
from spcl.export.tracker import resized_as_trackers_do
from spcl.reporting.console import SilentReporter
from tests.export.test_weights import encoder_of
from tests.fakes import draw
from tests.input_errors import input_error


def run(path, values: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (given,), (output,) = session.get_inputs(), session.get_outputs()
    return session.run([output.name], {given.name: values})[0]


def pixels(images, size) -> np.ndarray:
    """As the documentation says: RGB, bicubic, 0 to 255, channels first."""
    height, width = size
    resized = [image.resize((width, height), Image.Resampling.BICUBIC) for image in images]
    return np.stack([np.asarray(image) for image in resized]).transpose(0, 3, 1, 2).astype(np.float32)


@pytest.fixture
def crops(tmp_path):
    paths = [draw(tmp_path / "crops" / f"{number}.png", number % 4, number, size=(40, 70)) for number in range(12)]
    return [Image.open(path).convert("RGB") for path in paths]


def test_pixels_to_features_with_onnxruntime_alone(tmp_path, crops):
    encoder = encoder_of(pooling="gem", features=16)
    written = export_onnx(encoder, tmp_path / "model.onnx", images=tmp_path / "crops")
    assert written.agreement.num_images == 12
    assert written.agreement.least_cosine > 0.99999
    assert written.agreement.equal_top10 == 1.0
    expected = encoder.embed(crops)
    for size in (1, 2, 7, 12):
        features = run(written.path, pixels(crops[:size], encoder.size))
        assert features.dtype == np.float32
        assert np.abs(features - expected[:size]).max() < 1e-5
    assert sorted(path.name for path in tmp_path.iterdir()) == ["crops", "model.onnx"]


@pytest.mark.slow
def test_what_the_file_says_of_itself(tmp_path):
    encoder = encoder_of()
    export_onnx(encoder, tmp_path / "model.onnx")
    model = onnx.load(tmp_path / "model.onnx")
    facts = {entry.key: entry.value for entry in model.metadata_props}
    assert facts["fingerprint"] == encoder.fingerprint
    assert json.loads(facts["input_size"]) == [64, 32]
    assert facts["feature_length"] == str(encoder.feature_dim)
    assert facts["arch"] == "timm/test_resnet"
    # With torch 2.6 the first exporter fails (seen with onnxscript 0.7), and the other one is taken.
    is_old = tuple(map(int, torch.__version__.split(".")[:2])) < (2, 7)
    assert facts["exporter"] in ("torch.export", "torch.jit.trace" if is_old else "torch.export")
    assert facts["input"] == "float32 [batch, 3, 64, 32], RGB, pixels from 0 to 255"
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 18)]
    assert model.ir_version == 8
    (given,), (output,) = model.graph.input, model.graph.output
    assert (given.name, output.name) == ("images", "features")
    assert given.type.tensor_type.shape.dim[0].dim_param
    assert [dim.dim_value for dim in given.type.tensor_type.shape.dim[1:]] == [3, 64, 32]
    # Exporters note the files and lines of the machine that they run on.
    assert b"site-packages" not in model.SerializeToString()
    assert b".py" not in model.SerializeToString()


def test_the_stages_are_shown(tmp_path):
    class Listening(SilentReporter):
        def __init__(self):
            super().__init__()
            self.stages: dict[str, list[tuple[int, int]]] = {}

        @contextmanager
        def progress(self, name):
            yield lambda done, total: self.stages.setdefault(name, []).append((done, total))

    report = Listening()
    export_onnx(encoder_of(), tmp_path / "model.onnx", opset=17, report=report)
    assert report.stages["writing the graph"] == [(0, 3), (1, 3), (2, 3), (3, 3)]
    assert report.stages["comparing with torch"]


@pytest.mark.parametrize("opset", [13, 17])
def test_older_operators_are_traced(tmp_path, crops, opset):
    encoder = encoder_of()
    written = export_onnx(encoder, tmp_path / "model.onnx", opset=opset)
    assert written.metadata["exporter"] == "torch.jit.trace"
    assert onnx.load(written.path).opset_import[0].version == opset
    assert np.abs(run(written.path, pixels(crops, encoder.size)) - encoder.embed(crops)).max() < 1e-5


def test_the_other_exporter_where_one_fails(tmp_path, crops, monkeypatch, capfd):
    def fails(*arguments):
        sys.stdout.write("a page of graph")
        raise KeyError("unknown")

    encoder = encoder_of()
    monkeypatch.setattr(onnx_graph, "_from_exported_program", fails)
    written = export_onnx(encoder, tmp_path / "model.onnx")
    assert written.metadata["exporter"] == "torch.jit.trace"
    assert np.abs(run(written.path, pixels(crops, encoder.size)) - encoder.embed(crops)).max() < 1e-5
    monkeypatch.setattr(onnx_graph, "_from_trace", fails)
    with input_error("onnx-not-possible", "timm/test_resnet", "opset 18", "KeyError: 'unknown'; Key"):
        export_onnx(encoder, tmp_path / "other.onnx")
    assert not (tmp_path / "other.onnx").exists()
    assert "page of graph" not in capfd.readouterr().out


def test_tokens_with_other_normalisation(tmp_path, crops):
    encoder = encoder_of(arch="timm/test_vit")
    encoder.network.mean, encoder.network.std = (0.5, 0.4, 0.3), (0.5, 0.25, 0.2)
    written = export_onnx(encoder, tmp_path / "model.onnx", opset=17)
    assert np.abs(run(written.path, pixels(crops, encoder.size)) - encoder.embed(crops)).max() < 1e-5


@pytest.mark.slow
def test_half_precision(tmp_path, crops):
    encoder = encoder_of()
    whole = export_onnx(encoder, tmp_path / "whole.onnx", opset=17)
    half = export_onnx(encoder, tmp_path / "half.onnx", float16=True)
    assert half.num_bytes < 0.6 * whole.num_bytes
    assert half.agreement.least_cosine > 0.999
    assert half.metadata["precision"].startswith("float16 trunk")
    features = run(half.path, pixels(crops, encoder.size))
    assert features.dtype == np.float32
    difference = np.abs(features - encoder.embed(crops)).max()
    assert 1e-6 < difference < 1e-2
    # The encoder itself stays as it is.
    assert {value.dtype for value in encoder.network.parameters()} == {torch.float32}


def test_for_a_tracker(tmp_path, crops):
    """Fed as trackers feed: ImageNet's mean and deviation taken off, whatever ours are; of any size, under any name."""
    encoder = encoder_of(height=64, width=32)
    encoder.network.mean, encoder.network.std = (0.5, 0.4, 0.3), (0.5, 0.25, 0.2)
    report = SilentReporter()
    options = {"for_tracker": True, "opset": 17, "report": report}
    written = export_onnx(encoder, tmp_path / "clip_mine.onnx", images=tmp_path / "crops", **options)
    assert not report.warnings
    assert (written.given.size, written.given.name, written.given.output_name) == ((64, 32), "images", "output")
    mean, std = (np.array(v, np.float32).reshape(1, 3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    expected = encoder.embed(crops)
    features = run(written.path, (pixels(crops, encoder.size) / 255 - mean) / std)
    assert np.abs(features - expected).max() < 1e-5
    # As the tracker resizes; the crops are larger than the input.
    given = resized_as_trackers_do(crops, encoder.size).transpose(0, 3, 1, 2).astype(np.float32)
    features = run(written.path, (given / 255 - mean) / std)
    cosine = (features * expected).sum(axis=1).mean()
    assert 0.9 < cosine < 0.99999
    assert written.own_preparation == pytest.approx(cosine, abs=1e-5)


def test_resizing_is_that_of_opencv(crops):
    """Each value is the mean of the four nearest pixels, by their distance; written out for one."""
    image = Image.fromarray(np.arange(0, 240, 10, dtype=np.uint8).reshape(2, 4, 3))
    (small,) = resized_as_trackers_do([image], (1, 2))
    assert small.tolist() == [[[75, 85, 95], [135, 145, 155]]]


def test_a_graph_that_disagrees_is_not_kept(tmp_path, monkeypatch):
    encoder = encoder_of()
    right = onnx_graph.EncoderGraph.forward
    monkeypatch.setattr(onnx_graph.EncoderGraph, "forward", lambda self, images: right(self, images / 255))
    (tmp_path / "model.onnx").write_text("the old one")
    with input_error("onnx-disagrees", "on 32 images", "the smallest cosine is 0."):
        export_onnx(encoder, tmp_path / "model.onnx", opset=17, overwrite=True)
    assert (tmp_path / "model.onnx").read_text() == "the old one"
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]


def test_a_graph_of_one_batch_size_is_not_kept(tmp_path, monkeypatch):
    traced = torch.onnx.export
    monkeypatch.setattr(torch.onnx, "export", lambda *given, dynamic_axes, **rest: traced(*given, **rest))
    with input_error("onnx-not-possible", "onnxruntime"):
        export_onnx(encoder_of(), tmp_path / "model.onnx", opset=17)
    assert not list(tmp_path.iterdir())


def test_agreement_by_hand():
    rng = np.random.default_rng(0)
    ours = rng.standard_normal((30, 8)).astype(np.float32)
    ours /= np.linalg.norm(ours, axis=1, keepdims=True)
    same = agreement_of(ours, ours.copy())
    assert same.equal_top10 == same.mean_overlap_top10 == 1.0
    assert same.problem(float16=False) is None
    moved = ours.copy()
    moved[0] = -moved[0]
    found = agreement_of(ours, moved)
    assert found.least_cosine == pytest.approx(-1, abs=1e-6)
    assert found.equal_top10 < 1
    assert "smallest cosine is -1.0" in found.problem(float16=True)
    # Two images change places for some query, and every cosine is fine.
    near = Agreement(30, 0.99999, 1e-3, 29 / 30, 1.0)
    assert near.problem(float16=False) == "the ten nearest others are the same for 96.7% of the images; expected all"
    assert near.problem(float16=True) is None
    assert "cosine is nan" in agreement_of(ours, np.full_like(ours, np.nan)).problem(float16=False)
    # Identical images are ties: their order means nothing.
    twins = np.repeat(ours[:6], 5, axis=0)
    jitter = twins + np.float32(1e-7) * rng.standard_normal(twins.shape).astype(np.float32)
    assert agreement_of(twins, jitter).equal_top10 == 1.0
    assert agreement_of(ours[:1], ours[:1]).problem(float16=False) is None


def test_refusals(tmp_path, monkeypatch, crops):
    encoder = encoder_of()
    (tmp_path / "there.onnx").write_text("x")
    (tmp_path / "none").mkdir()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken/x.jpg").write_bytes(b"")
    for name, options, code, named in (
        ("there.onnx", {}, "already-exists", "there.onnx"),
        ("none", {}, "not-a-file", "none"),
        ("m.onnx", {"opset": 9}, "setting-out-of-range", "opset is 9; expected 13 to 23"),
        ("m.onnx", {"images": tmp_path / "none"}, "no-images", tmp_path / "none"),
        ("m.onnx", {"images": tmp_path / "broken"}, "unreadable-image", tmp_path / "broken"),
        ("there.onnx/m.onnx", {}, "cannot-write", "there.onnx"),
    ):
        with input_error(code, named):
            export_onnx(encoder, tmp_path / name, **options)
    monkeypatch.setattr(onnx_graph, "_MOST_BYTES", 1000)
    with input_error("weights-too-large", ".safetensors"):
        export_onnx(encoder, tmp_path / "m.onnx")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with input_error("package-not-installed", 'onnxruntime: pip install "spcl[export]"'):
        export_onnx(encoder, tmp_path / "m.onnx")
    assert not (tmp_path / "m.onnx").exists()
