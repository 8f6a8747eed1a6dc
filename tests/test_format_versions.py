"""Each kind of file has the number of its format; a file of a newer version is refused with the advice to upgrade."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from spcl import format_versions
from spcl.corrections.folder_state import read_summary
from spcl.format_versions import KEY, check_format
from spcl.gallery.features_file import FeaturesFile
from spcl.gallery.gallery import Gallery
from spcl.inference.checkpoint import add_facts, checkpoint_of, load_network, save_atomically
from spcl.nn.encoder_network import EncoderNetwork, EncoderSettings
from spcl.pages.page_groups import _summary
from spcl.training_run.run_files import RESUME_FILE, saved_epochs
from spcl.verification.stored_calibration import EncoderCalibration, read_calibration
from tests.input_errors import input_error

NEWER = 99


def test_a_file_without_a_number_has_format_1():
    assert check_format(None, 1, "x") == 1
    assert check_format(2, 2, "x") == 2


@pytest.mark.parametrize("value", [0, -1, True, "2", 1.0, [1], float("nan")])
def test_what_is_no_number_of_a_format_is_damaged(value):
    with input_error("damaged-file", "model.pth.tar"):
        check_format(value, 2, "model.pth.tar")


def test_a_newer_format_says_what_to_do():
    with input_error("version-not-supported") as caught:
        check_format(3, 2, "model.pth.tar")
    assert "written by a newer spcl (format 3)" in str(caught.value)
    assert "reads up to 2: upgrade" in str(caught.value)


@pytest.fixture(scope="module")
def content():
    network = EncoderNetwork(EncoderSettings("timm/test_efficientnet", 32, 16))
    return checkpoint_of(network, epoch=1, best_mean_ap=None, facts={})


def test_checkpoints(content, tmp_path):
    assert content["spcl"][KEY] == format_versions.CHECKPOINT
    path = tmp_path / "newer.pth.tar"
    save_atomically(content | {"spcl": content["spcl"] | {KEY: NEWER, "encoder": "of another form"}}, path)
    with input_error("version-not-supported", "format 99"):
        load_network(path)
    before = path.read_bytes()
    with input_error("version-not-supported", "format 99"):
        add_facts(path, {"more": 1})
    assert path.read_bytes() == before


def test_weights_files(content, tmp_path):
    from spcl.inference.weights_file import write_weights_file

    path = tmp_path / "newer.safetensors"
    write_weights_file(content | {"spcl": content["spcl"] | {KEY: NEWER}}, path, {})
    with input_error("version-not-supported", "format 99"):
        load_network(path)


def test_runs(tmp_path):
    torch.save({KEY: NEWER, "anything": 1}, tmp_path / RESUME_FILE)
    with input_error("version-not-supported", "format 99"):
        saved_epochs(tmp_path)


def test_galleries_and_features(tmp_path, monkeypatch):
    Gallery.create(tmp_path / "gallery", fingerprint="x", dim=4)
    assert Gallery.open(tmp_path / "gallery")._store.facts[KEY] == format_versions.GALLERY
    rows = pa.table({"path": ["a"], "vector": pa.array([[1.0, 0, 0, 0]], pa.list_(pa.float32(), 4))})
    facts = {b"spcl": json.dumps({"fingerprint": "x", KEY: NEWER}).encode()}
    pq.write_table(rows.replace_schema_metadata(facts), tmp_path / "newer.parquet")
    with input_error("version-not-supported", "format 99"):
        FeaturesFile(tmp_path / "newer.parquet")


def test_folders_of_groups(tmp_path):
    (tmp_path / "summary.json").write_text(json.dumps({KEY: NEWER, "made_by": "spcl cluster"}))
    for read in (read_summary, _summary):
        with input_error("version-not-supported", "format 99"):
            read(tmp_path)


def test_calibrations(tmp_path):
    (tmp_path / "newer.json").write_text(json.dumps({KEY: NEWER, "of": "another form"}))
    with input_error("version-not-supported", "format 99"):
        read_calibration(tmp_path / "newer.json")
    with input_error("version-not-supported", "format 99"):
        EncoderCalibration.from_dict({KEY: NEWER})


def test_what_is_written_has_its_number(tmp_path):
    from spcl.gallery.features_file import features_writer
    from spcl.grouping.groups import Groups
    from spcl.grouping.groups_folder import write_groups
    from spcl.records import Record

    with features_writer(tmp_path / "f.parquet", 4, {"fingerprint": "x"}) as writer:
        writer.write(pa.table({"path": ["a"]}), np.eye(4, dtype=np.float32)[:1])
    assert FeaturesFile(tmp_path / "f.parquet").facts[KEY] == format_versions.FEATURES
    groups = Groups(np.array([0, 0, 1, 1]), np.ones(4), 0.5, 4, 2, 0.02, 4, None, None)
    records = [Record(tmp_path / f"{number}.png") for number in range(4)]
    write_groups(tmp_path / "groups", records, groups)
    assert read_summary(tmp_path / "groups")[KEY] == format_versions.GROUPS
