"""The Python blocks of docs/export.md and docs/trackers.md give the encoder's features."""

from __future__ import annotations

import re

import numpy as np
import pytest

from spcl.export.hub_folder import export_hub
from spcl.export.onnx_file import export_onnx
from spcl.export.weights import export_weights
from spcl.reporting.console import SilentReporter
from tests.export.test_weights import encoder_of
from tests.fakes import draw
from tests.shared import PROJECT_ROOT


def features_of_blocks(page: str) -> list[np.ndarray]:
    found = []
    for code in re.findall(r"```python\n(.*?)```", (PROJECT_ROOT / "docs" / page).read_text(), flags=re.DOTALL):
        if code.startswith("import spcl\n"):
            continue  # how to export from Python: run with the page's commands, in tests/journeys
        assert "spcl" not in re.sub(r"#.*", "", code)
        names: dict = {}
        exec(compile(code, page, "exec"), names)
        found.append(np.asarray(names["features"]))
    return found


@pytest.fixture
def crops(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return [draw(tmp_path / "my_crops" / f"{number}.jpg", number, size=(40, 90)) for number in range(2)]


def test_export(crops):
    encoder = encoder_of()
    export_onnx(encoder, "encoder.onnx", opset=17)
    export_weights(encoder, "encoder.safetensors")
    export_hub(encoder, "my-encoder")
    expected = encoder.embed(crops)
    by_onnxruntime, by_timm, by_folder = features_of_blocks("export.md")
    assert np.abs(by_onnxruntime - expected).max() < 1e-5
    assert np.abs(by_timm - expected[:1]).max() < 1e-5
    assert np.abs(by_folder - expected[:1]).max() < 1e-5


@pytest.mark.slow
def test_trackers(crops):
    encoder = encoder_of(height=256, width=128)
    export_onnx(encoder, "tracker.onnx", opset=17, for_tracker=True, report=SilentReporter())
    (features,) = features_of_blocks("trackers.md")
    # The tracker's resizing is bilinear, ours bicubic.
    assert ((features * encoder.embed(crops)).sum(axis=1) > 0.995).all()
    assert np.allclose(np.linalg.norm(features, axis=1), 1, atol=1e-5)
