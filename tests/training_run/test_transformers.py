"""Vision transformers from weights in a file to exported encoders: each with its own pooling, at a size of its own."""

from __future__ import annotations

import numpy as np
import pytest
import timm
import torch
from onnxruntime import InferenceSession

import spcl
from tests.fakes import write_fake
from tests.shared import input_error, slow_but
from tests.training_run.small_runs import assert_bit_equal, prepared, small_config, trained


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_fake("market1501", tmp_path_factory.mktemp("data"), num_identities=4, images_per_camera=2)


def recipe_of(target, logs, arch, **changed):
    network = {"arch": f"timm/{arch}"} | changed.get("network", {})
    size = {"height": 32, "width": 16} | changed.get("data", {})
    decayed = {"optimiser": {"kind": "adamw", "layer_decay": 0.7, "schedule": "constant"}}
    given = spcl.config.overlay(small_config(target, logs, network=network, data=size), decayed, "test")
    return spcl.config.overlay(given, {"schedule": changed.get("schedule", {})}, "test")


@pytest.mark.parametrize("arch", slow_but(["test_vit2", "test_vit3"], "test_vit2"))
def test_a_transformer_trains_resumes_embeds_and_is_exported(data, tmp_path, arch):
    model = timm.create_model(arch, num_classes=0)
    torch.save(model.state_dict(), tmp_path / "own-size.pth")
    network = {"pretrained": str(tmp_path / "own-size.pth")}
    run = trained(recipe_of(data, tmp_path / "run", arch, network=network))
    assert len(run.parts.optimisation.optimizer.param_groups) > 5
    trained(recipe_of(data, tmp_path / "half", arch, network=network, schedule={"epochs": 1}))
    assert_bit_equal(run, trained(recipe_of(data, tmp_path / "half", arch, network=network), resume=True))
    encoder = spcl.load_encoder(tmp_path / "run/checkpoint.pth.tar")
    crops = [str(record.path) for record in run.target.query]
    features = encoder.embed(crops)
    spcl.export_weights(encoder, tmp_path / "encoder.safetensors")
    assert np.abs(spcl.load_encoder(tmp_path / "encoder.safetensors").embed(crops) - features).max() < 1e-6
    written = spcl.export_onnx(encoder, tmp_path / "encoder.onnx", opset=17)
    assert written.agreement.least_cosine > 0.9999
    session = InferenceSession(str(written.path))
    assert session.get_inputs()[0].shape[2:] == [32, 16]


def test_what_a_transformer_cannot_take_is_said_before_the_first_step(data, tmp_path):
    with input_error("image-size-not-supported", "--height 56 --width 42 or --height 70 --width 42"):
        prepared(recipe_of(data, tmp_path / "a", "eva02_tiny_patch14_224", data={"height": 64, "width": 42}))
    with input_error("option-does-not-apply", "pools them by itself"):
        prepared(recipe_of(data, tmp_path / "b", "test_vit", network={"pooling": "gem"}))
    assert not (tmp_path / "a").exists() and not (tmp_path / "b").exists()
