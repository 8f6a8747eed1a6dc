"""Weights for others: plain timm, torchvision and torch give the encoder's features with them; so does load_encoder."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from spcl.errors import InputError
from spcl.export.weights import export_weights
from spcl.inference.checkpoint import add_facts, checkpoint_of, load_network, save_atomically
from spcl.inference.embedding import Encoder, load_encoder
from spcl.nn.encoder_network import EncoderNetwork, EncoderSettings
from tests.fakes import draw
from tests.input_errors import input_error

CONFIG = {
    "data": {"target": "/somewhere/secret/crops", "source": "", "data_dir": "/somewhere/data"},
    "schedule": {"epochs": 3, "iters": 5, "batch_size": 8, "lr": 0.001},
    "labels": {"k1": 20, "k2": 6, "eps": 0.6},
    "network": {"pretrained": "/somewhere/weights.pth"},
    "run": {"logs_dir": "/somewhere/runs"},
}


def lively(network: EncoderNetwork) -> EncoderNetwork:
    """As after training: batch norm that is not the identity."""
    generator = torch.Generator().manual_seed(1)
    for name, value in network.state_dict().items():
        if value.dtype.is_floating_point and value.ndim == 1:
            spread = torch.rand(value.shape, generator=generator)
            value.copy_(0.5 + spread if name.endswith(("weight", "running_var")) else 0.2 * (spread - 0.5))
    return network.eval()


def encoder_of(domain: str = "target", **settings) -> Encoder:
    torch.manual_seed(0)
    settings = {"arch": "timm/test_resnet", "height": 64, "width": 32} | settings
    return Encoder(
        lively(EncoderNetwork(EncoderSettings(**settings))), domain, {"config": CONFIG, "calibration": {"a": [1.5]}}
    )


def run_card(folder: Path) -> np.ndarray:
    (code,) = re.findall(r"```python\n(.*?)```", (folder / "encoder.md").read_text(), flags=re.DOTALL)
    assert "spcl" not in code
    names: dict = {}
    exec(compile(code, "encoder.md", "exec"), names)
    return names["features"].numpy()


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"pooling": "gem", "features": 16},
        {"last_stride": 1},
        {"arch": "timm/test_vit", "features": 8},
        {"arch": "timm/test_efficientnet", "pooling": "gem"},
        {"arch": "resnet18"},
        {"arch": "resnet18", "last_stride": 2, "pooling": "gem"},
    ],
    ids=str,
)
def test_the_code_in_the_card_gives_the_features(tmp_path, monkeypatch, settings):
    monkeypatch.chdir(tmp_path)
    encoder = encoder_of(**settings)
    if settings.get("pooling") == "gem":
        encoder.network.pooling.exponent.data.fill_(2.5)
    draw(tmp_path / "image.jpg", 3, size=(50, 90))
    assert export_weights(encoder, "encoder.safetensors") == Path("encoder.md")
    expected = encoder.embed("image.jpg")
    assert np.abs(run_card(tmp_path) - expected).max() < 1e-5
    again = load_encoder("encoder.safetensors")
    assert again.fingerprint == encoder.fingerprint
    assert np.abs(again.embed("image.jpg") - expected).max() < 1e-6


@pytest.mark.slow
@pytest.mark.parametrize("arch", ["resnet_ibn50a", "resnet50"])
def test_the_large_ones(tmp_path, monkeypatch, arch):
    monkeypatch.chdir(tmp_path)
    encoder = encoder_of(arch=arch, height=32, width=16)
    draw(tmp_path / "image.jpg", 3)
    export_weights(encoder, "encoder.safetensors")
    assert np.abs(run_card(tmp_path) - encoder.embed("image.jpg")).max() < 1e-5


def test_names_are_timms_own_and_the_header_tells_the_rest(tmp_path):
    encoder = encoder_of(features=16, pooling="gem")
    export_weights(encoder, tmp_path / "encoder.safetensors")
    names = set(load_file(tmp_path / "encoder.safetensors"))
    own = {name for name in names if name.startswith("reid.")}
    assert names - own == set(timm.create_model("test_resnet", num_classes=0).state_dict())
    assert own == {
        "reid.embedding.bias",
        "reid.embedding.weight",
        "reid.pooling.exponent",
        *(f"reid.neck.{name}" for name in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")),
    }
    with safe_open(tmp_path / "encoder.safetensors", framework="np") as file:
        header = file.metadata()
    assert header["arch"] == "timm/test_resnet"
    assert header["size"] == "[64, 32]"
    assert header["fingerprint"] == encoder.fingerprint
    assert header["pooling"] == "gem"
    card = (tmp_path / "encoder.md").read_text()
    assert "3 epochs of 5 steps" in card
    assert "on `crops` (USL)" in card
    for text in (card, str(header)):
        assert "/home/me" not in text


def test_the_source_of_two_domains_and_calibrated_afterwards(tmp_path):
    torch.manual_seed(0)
    network = lively(
        EncoderNetwork(EncoderSettings(arch="timm/test_resnet", height=32, width=16, domains=("source", "target")))
    )
    save_atomically(
        checkpoint_of(network, epoch=1, best_mean_ap=None, facts={"config": CONFIG}), tmp_path / "c.pth.tar"
    )
    source = load_encoder(tmp_path / "c.pth.tar", domain="source")
    path = tmp_path / "source.safetensors"
    export_weights(source, path)
    with pytest.raises(InputError, match="has no domain 'target'; it has source"):
        load_encoder(path)
    assert 'spcl.load_encoder("source.safetensors", domain="source")' in path.with_suffix(".md").read_text()
    again = load_encoder(path, domain="source")
    assert again.fingerprint == source.fingerprint
    assert again.fingerprint != load_encoder(tmp_path / "c.pth.tar").fingerprint
    add_facts(path, {"calibration": {"threshold": np.float64(0.5)}})
    calibrated = load_encoder(path, domain="source")
    assert calibrated.facts["calibration"] == {"threshold": 0.5}
    assert calibrated.facts["config"]["schedule"] == CONFIG["schedule"]
    assert calibrated.fingerprint == source.fingerprint
    with safe_open(path, framework="np") as file:
        assert file.metadata()["fingerprint"] == source.fingerprint
    with pytest.raises(InputError, match=r"is a checkpoint of timm/test_resnet, not of resnet50"):
        load_network(path, arch="resnet50")


def test_refusals(tmp_path):
    encoder = encoder_of()
    path = tmp_path / "sub" / "encoder.safetensors"
    export_weights(encoder, path)
    with input_error("already-exists", "encoder.safetensors", "--overwrite"):
        export_weights(encoder, path)
    path.unlink()
    with input_error("already-exists", "encoder.md"):
        export_weights(encoder, path)
    export_weights(encoder, path, overwrite=True)
    with input_error("cannot-write", "below"):
        export_weights(encoder, path / "below.safetensors")
    with input_error("wrong-file-kind", "encoder.pt"):
        export_weights(encoder, tmp_path / "encoder.pt")
    assert sorted(entry.name for entry in path.parent.iterdir()) == ["encoder.md", "encoder.safetensors"]
    save_file({"conv1.weight": torch.zeros(2)}, tmp_path / "others.safetensors")
    with pytest.raises(InputError, match=r"give it to --pretrained, with --arch"):
        load_encoder(tmp_path / "others.safetensors")
    cut = path.read_bytes()[:-100]
    path.write_bytes(cut)
    with pytest.raises(InputError, match="cannot be read as safetensors"):
        load_encoder(path)
    with pytest.raises(InputError, match=r"there is no weights file .*; in .* there are encoder\.safetensors"):
        load_encoder(path.with_name("no.safetensors"))


def test_no_path_of_any_fact_leaves(tmp_path):
    encoder = encoder_of()
    place = "/somewhere/secret/"
    encoder.facts = {
        "config": CONFIG
        | {"data": CONFIG["data"] | {"source": "C:\\Users\\me\\secret\\cows"}, "new section": {"at": place}},
        "adaptation": {"path": place + "adapted.pth.tar", "broken": [[place + "a.jpg", "empty"]], "num_trained": 40},
        "calibration": {"a": [1.5], "notes": [f"1 images could not be read; the first, {place}a.jpg: empty", "few"]},
        "a fact of tomorrow": place,
    }
    export_weights(encoder, tmp_path / "encoder.safetensors")
    with safe_open(tmp_path / "encoder.safetensors", framework="np") as file:
        header = str(file.metadata())
    for text in (header, (tmp_path / "encoder.md").read_text()):
        assert "secret" not in text
        assert "a.jpg" not in text
    facts = load_encoder(tmp_path / "encoder.safetensors").facts
    assert facts["adaptation"] == {"num_trained": 40, "num_broken": 1}
    assert facts["calibration"] == {"a": [1.5], "notes": ["1 images could not be read", "few"]}
    assert facts["config"]["data"] == {"source": "cows", "target": "crops"}
    assert not {"run", "new section"} & set(facts["config"])


def test_a_run_whose_settings_were_suggested(tmp_path):
    encoder = encoder_of()
    encoder.facts["config"] = CONFIG | {"labels": {"k1": 30, "k2": 6, "eps": "auto"}}
    export_weights(encoder, tmp_path / "encoder.safetensors")
    card = (tmp_path / "encoder.md").read_text()
    assert "eps, k1 and k2 as the features of the first epoch suggested them (`--eps auto`)" in card


def test_a_card_that_cannot_be_made_leaves_no_weights(tmp_path):
    encoder = encoder_of()
    encoder.facts["config"] = CONFIG | {"labels": {"k1": 30, "k2": 6, "eps": "a word"}}
    with pytest.raises(ValueError):
        export_weights(encoder, tmp_path / "encoder.safetensors")
    assert not list(tmp_path.iterdir())
