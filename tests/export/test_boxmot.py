"""BoxMOT gives the encoder's features with an exported file; it runs where BoxMOT is installed (BOXMOT_PYTHON).

BoxMOT pins another onnxruntime, so that it lives in an environment of its own: its Python is named in BOXMOT_PYTHON.
"""

from __future__ import annotations

import json
import os
import subprocess

import numpy as np
import pytest
from PIL import Image

from spcl.export.onnx_file import export_onnx
from tests.export.test_weights import encoder_of
from tests.fakes import draw

PYTHON = os.environ.get("BOXMOT_PYTHON", "")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not PYTHON, reason="BOXMOT_PYTHON does not name a Python with BoxMOT (pip install boxmot)"),
]

SCRIPT = """
import json, sys
from pathlib import Path
import numpy as np, torch
from boxmot import StrongSort
from boxmot.reid.backends.onnx_backend import ONNXBackend
weights, half = Path(sys.argv[1]), sys.argv[2] == "half"
frame, boxes = np.load("frame.npy"), np.load("boxes.npy")
features = ONNXBackend(weights, torch.device("cpu"), half).get_features(boxes, frame)
tracker = StrongSort(reid_weights=weights, device=torch.device("cpu"), half=half)
detections = np.concatenate([boxes, np.tile([0.9, 0], (len(boxes), 1))], axis=1).astype(np.float32)
tracks = [tracker.update(detections, frame) for _ in range(4)][-1]
np.save("features.npy", features)
print("RESULT" + json.dumps(sorted({int(row[4]) for row in tracks})))
"""


@pytest.mark.parametrize("size", [(256, 128), (64, 32), (96, 96)])
@pytest.mark.parametrize("half", ["half", "whole"])
def test_boxmot_gives_the_features(tmp_path, size, half):
    encoder = encoder_of(height=size[0], width=size[1])
    written = export_onnx(encoder, tmp_path / "any_name.onnx", opset=17, for_tracker=True)
    images = [Image.open(draw(tmp_path / f"{n}.png", n, size=(size[1], size[0]))).convert("RGB") for n in range(6)]
    frame = np.concatenate([np.asarray(image) for image in images], axis=1)[:, :, ::-1]
    edges = np.arange(len(images)) * size[1]
    boxes = np.stack([edges, 0 * edges, edges + size[1], 0 * edges + size[0]], axis=1).astype(np.float32)
    np.save(tmp_path / "frame.npy", np.ascontiguousarray(frame))
    np.save(tmp_path / "boxes.npy", boxes)
    # The tracker's environment is its own: no path of ours.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    ran = subprocess.run(
        [PYTHON, "-c", SCRIPT, str(written.path), half],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    tracks = json.loads(ran.stdout.rpartition("RESULT")[2])
    assert len(tracks) == len(images)
    cosine = (np.load(tmp_path / "features.npy") * encoder.embed(images)).sum(axis=1)
    assert cosine.min() > (0.999 if half == "half" else 0.99999)
