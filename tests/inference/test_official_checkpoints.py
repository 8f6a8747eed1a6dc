"""Official checkpoints come and go: names both ways, facts read off them, nothing executed."""

from __future__ import annotations

import os
import pickle

import numpy as np
import pytest
import torch
import torchvision

import spcl
from spcl.errors import InputError
from spcl.inference.checkpoint import checkpoint_of, load_network, save_atomically, settings_of
from spcl.inference.official_checkpoints import from_official, load_safely, official_facts, to_official
from spcl.nn.encoder_network import EncoderNetwork, EncoderSettings
from tests.input_errors import input_error
from tests.nn.test_reference_networks import images, made_from_names, official_shapes
from tests.shared import shared_path, slow_but


@pytest.mark.parametrize("arch", ["resnet18", "resnet34", "resnet101", "resnet_ibn50a", "resnet_ibn101a"])
@pytest.mark.parametrize(("domains", "features"), [(("target",), 0), (("source", "target"), 32)])
def test_names_go_both_ways_and_tell_what_they_are(arch, domains, features):
    with torch.device("meta"):
        state = EncoderNetwork(EncoderSettings(arch=arch, domains=domains, features=features)).state_dict()
    official = to_official(state)
    assert list(from_official(official)) == list(state)
    facts = official_facts(official)
    assert (facts.arch, facts.domains, facts.features) == (arch, domains, features)


@pytest.mark.parametrize("key", slow_but(["resnet50", "resnet50:usl"], "resnet50"))
def test_an_official_file_with_its_numpy_scalar(key, tmp_path):
    state = made_from_names(official_shapes(key))
    path = tmp_path / "model_best.pth.tar"
    torch.save({"state_dict": state, "epoch": 50, "best_mAP": np.float64(0.77)}, path)
    expected = np.load(shared_path("reference", "network_resnet50.npz"))
    content = load_safely(path)
    assert float(content["best_mAP"]) == 0.77
    names = {"target": "usl_eval"} if key.endswith("usl") else {"target": "eval_target", "source": "eval_source"}
    for domain, name in names.items():
        encoder = spcl.load_encoder(path, domain=domain)
        with torch.no_grad():
            assert np.abs(encoder(images()).numpy() - expected[name]).max() <= 1e-4
    if key.endswith("usl"):
        with input_error("no-such-domain", "'source'"):
            spcl.load_encoder(path, domain="source")


class Malicious:
    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.system, (f"touch {self.mark}",)


@pytest.mark.parametrize("legacy", [False, True])
def test_nothing_is_executed(tmp_path, legacy):
    mark, path = tmp_path / "executed", tmp_path / "bad.pth.tar"
    content = {"state_dict": {}, "epoch": Malicious(mark)}
    if legacy:
        path.write_bytes(pickle.dumps(content, protocol=2))
    else:
        torch.save(content, path)
    with input_error("unsafe-file", ".system"):
        load_safely(path)
    assert not mark.exists()


def small() -> EncoderNetwork:
    settings = EncoderSettings(arch="timm/test_resnet", height=32, width=16, domains=("source", "target"))
    return EncoderNetwork(settings).eval()


def test_checkpoints_of_spcl_load_without_arguments(tmp_path):
    encoder = small()
    save_atomically(checkpoint_of(encoder, epoch=3, best_mean_ap=0.5, facts={}), tmp_path / "c.pth.tar")
    again = load_network(tmp_path / "c.pth.tar")
    assert again.settings == encoder.settings
    pixels = torch.randn(2, 3, 32, 16)
    assert torch.equal(again(pixels), encoder(pixels))
    content = torch.load(tmp_path / "c.pth.tar", weights_only=True)
    assert (content["epoch"], content["best_mAP"]) == (3, 0.5)
    with input_error("checkpoint-mismatch", "timm/test_resnet", "resnet50"):
        load_network(tmp_path / "c.pth.tar", arch="resnet50")


def test_what_does_not_fit_is_named(tmp_path):
    path = tmp_path / "c.pth.tar"
    content = checkpoint_of(small(), epoch=1, best_mean_ap=None, facts={})
    state = dict(content["state_dict"])
    first = next(iter(state))
    for changed, named in (
        ({name: value for name, value in state.items() if name != first}, "trunk.model.conv1"),
        (state | {"module.classifier.weight": torch.zeros(2)}, "classifier.weight"),
        (state | {first: torch.zeros(2)}, "trunk"),
    ):
        torch.save(content | {"state_dict": changed}, path)
        with input_error("weights-mismatch", named):
            load_network(path)
    torch.save({"weights": 3}, path)
    with input_error("not-a-checkpoint", "weights"):
        load_network(path)
    with input_error("no-such-checkpoint", tmp_path / "d.pth.tar", "c.pth.tar"):
        load_network(tmp_path / "d.pth.tar")
    path.write_bytes(b"")
    with input_error("wrong-file-kind", path):
        load_network(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (lambda state: state, r"\(conv1\.weight, .*give it to --pretrained, with --arch resnet18 "),
        (lambda state: {"state_dict": {f"module.{name}": value for name, value in state.items()}}, "--arch resnet18 "),
        pytest.param(
            lambda state: {"model": {f"backbone.{name}": value for name, value in state.items()}},
            "--arch resnet18 ",
            marks=pytest.mark.slow,
        ),
        (lambda state: {"net": {"weight": torch.ones(3)}, "arch": "test_vit"}, "--arch timm/test_vit "),
        # What it is of cannot be seen: the user's word counts.
        (lambda state: {"weight": torch.ones(3)}, "--arch resnet18 "),
    ],
)
def test_weights_alone_are_no_checkpoint(tmp_path, content, message):
    torch.save(content(torchvision.models.resnet18(num_classes=3).state_dict()), tmp_path / "w.pth")
    for read in (load_network, settings_of):
        with pytest.raises(InputError, match=message) as error:
            read(tmp_path / "w.pth", arch="resnet18")
        assert error.value.code == "not-a-checkpoint"
    torch.save({"weight": torch.ones(3)}, tmp_path / "w.pth")
    with input_error("not-a-checkpoint", "--arch NAME"):
        load_network(tmp_path / "w.pth")


@pytest.mark.parametrize("name", ["module.feat_bn.running_var", "module.base.model.conv1.0.weight"])
def test_a_checkpoint_of_values_that_are_not_finite_is_refused(tmp_path, name):
    content = checkpoint_of(
        EncoderNetwork(EncoderSettings(arch="timm/test_resnet", height=32, width=16)),
        epoch=1,
        best_mean_ap=None,
        facts={},
    )
    content["state_dict"][name][0] = float("nan")
    torch.save(content, tmp_path / "c.pth.tar")
    with input_error("invalid-weights", "c.pth.tar"):
        load_network(tmp_path / "c.pth.tar")


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "c.pth.tar"
    save_atomically({"epoch": 1}, path)

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with input_error("cannot-write", "--resume"):
        save_atomically({"epoch": 2}, path)

    def full_for_torch(*_, **__):
        raise RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 47104 vs 47000")

    monkeypatch.setattr(torch, "save", full_for_torch)
    with input_error("cannot-write", "try again"):
        save_atomically({"epoch": 2}, path, next_step="try again")
    monkeypatch.undo()
    assert load_safely(path) == {"epoch": 1}
    assert [entry.name for entry in tmp_path.iterdir()] == ["c.pth.tar"]
