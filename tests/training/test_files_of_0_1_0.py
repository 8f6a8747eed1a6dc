"""Files that version 0.1.0 wrote open with this version, and give the same numbers for ever.

``tests/fixtures/0.1.0/make.py`` says how they were made. ``answers.json`` holds what 0.1.0 itself answered.
"""

from __future__ import annotations

import json
import lzma
import shutil
from pathlib import Path

import numpy as np
import pytest

import spcl
from spcl.corrections.corrected_groups import read_groups
from spcl.gallery.features_file import FeaturesFile
from spcl.verification.stored_calibration import read_calibration, stored_calibration
from tests.shared import PROJECT_ROOT

FILES = PROJECT_ROOT / "tests/fixtures/0.1.0"
ANSWERS = json.loads((FILES / "answers.json").read_text())
TOLERANCE = 1e-4  # of a unit vector: other versions of torch round otherwise


@pytest.fixture(scope="module")
def old(tmp_path_factory) -> Path:
    """A copy of the files, unpacked; the code under test must not change those of the project."""
    folder = tmp_path_factory.mktemp("0.1.0")
    shutil.copytree(FILES, folder, dirs_exist_ok=True)
    for packed in folder.glob("*.xz"):
        packed.with_suffix("").write_bytes(lzma.decompress(packed.read_bytes()))
    return folder


@pytest.fixture
def there(old, monkeypatch) -> Path:
    monkeypatch.chdir(old)
    return old


def test_the_checkpoint_embeds_as_it_did(there):
    encoder = spcl.load_encoder("model.pth.tar")
    assert encoder.fingerprint == ANSWERS["fingerprint"]
    paths = (there / "features.paths.txt").read_text().splitlines()
    features = encoder.embed(paths)
    assert np.abs(features - np.load("features.npy")).max() < TOLERANCE


def test_the_calibration_in_it_says_the_same(there):
    encoder = spcl.load_encoder("model.pth.tar")
    found = stored_calibration(encoder)
    assert found is not None
    assert found == read_calibration(Path("calibration.json"))[0]
    result = spcl.compare(encoder, ANSWERS["pair"][0], ANSWERS["pair"][1], false_match_rate=0.1)
    assert result.similarity == pytest.approx(ANSWERS["same"]["similarity"], abs=TOLERANCE)
    assert result.probability == pytest.approx(ANSWERS["same"]["probability"], abs=5e-3)


def test_the_safetensors_file_is_the_same_encoder(there):
    first = spcl.load_encoder("model.pth.tar").embed([ANSWERS["pair"][0]])
    second = spcl.load_encoder("model.safetensors").embed([ANSWERS["pair"][0]])
    assert np.abs(first - second).max() < TOLERANCE


def test_the_onnx_file_gives_the_features(there):
    runtime = pytest.importorskip("onnxruntime")
    from PIL import Image

    session = runtime.InferenceSession("model.onnx", providers=["CPUExecutionProvider"])
    (wanted,) = session.get_inputs()
    pixels = np.asarray(Image.open(ANSWERS["pair"][0]).convert("RGB"), dtype=np.float32).transpose(2, 0, 1)[None]
    (found,) = session.run(None, {wanted.name: pixels})
    assert np.abs(found - spcl.load_encoder("model.pth.tar").embed([ANSWERS["pair"][0]])).max() < 1e-3


def test_the_features_files_are_read(there):
    file = FeaturesFile(Path("features.parquet"))
    rows = np.concatenate([features for _, features in file.parts()])
    assert file.facts["fingerprint"] == ANSWERS["fingerprint"]
    assert np.array_equal(rows, np.load("features.npy"))


def test_the_gallery_is_searched_as_it_is_and_after_its_conversion(there):
    queries = np.load("features.npy")[ANSWERS["queries"]]
    gallery = spcl.Gallery.open("gallery")
    _check_hits(gallery.search(queries, k=4))
    before = len(gallery)
    added = gallery.add_features(-queries[:1], ["new.png"])
    assert "0.1.0" in added.note
    _check_hits(spcl.Gallery.open("gallery").search(queries, k=4))
    assert len(spcl.Gallery.open("gallery")) == before + 1


def _check_hits(found) -> None:
    for row, expected in zip(found, ANSWERS["hits"], strict=True):
        assert [Path(hit.path).name for hit in row] == [Path(path).name for path, _ in expected]
        assert [hit.similarity for hit in row] == pytest.approx([value for _, value in expected], abs=TOLERANCE)


def test_the_groups_are_read_and_found_again(there):
    read = read_groups(there / "groups")
    found = spcl.cluster(np.load("features.npy"), eps=0.5, k1=6, k2=2)
    assert read.table.group.tolist() == found.group.tolist()
    assert json.loads((there / "groups/summary.json").read_text())["groups"] == len(found.sizes)
