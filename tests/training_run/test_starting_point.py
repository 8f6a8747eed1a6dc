"""A run starts from the whole encoder of a checkpoint: ours, with one domain or two, or an official one."""

from __future__ import annotations

import pytest
import torch

import spcl
from spcl.cli.train import parsed_recipe
from spcl.inference.checkpoint import checkpoint_of, load_network, save_atomically
from spcl.nn.encoder_network import EncoderNetwork, EncoderSettings
from spcl.training_run.first_pass import fill_memory
from tests.fakes import draw, write_fake
from tests.shared import input_error, slow_but
from tests.training_run.small_runs import assert_bit_equal, prepared, small_config, trained


def used_encoder(*domains: str, seed: int = 0, **settings) -> EncoderNetwork:
    """An encoder whose statistics and norms have moved, each domain's in its own way."""
    torch.manual_seed(seed)
    given = {"arch": "timm/test_resnet", "height": 32, "width": 16} | settings
    encoder = EncoderNetwork(EncoderSettings(domains=domains, **given))
    state = encoder.state_dict()
    for name, value in state.items():
        if ".norms." in name and value.is_floating_point():
            state[name] = value + 0.3 * torch.rand_like(value)
    encoder.load_state_dict(state)
    return encoder.eval()


def written(encoder: EncoderNetwork, path, official: bool = False):
    content = checkpoint_of(encoder, epoch=3, best_mean_ap=0.4, facts={})
    save_atomically({"state_dict": content["state_dict"], "epoch": 3} if official else content, path)
    return path


@pytest.fixture
def data(tmp_path):
    return write_fake("personx", tmp_path), write_fake("market1501", tmp_path)


def started(target, tmp_path, checkpoint, source="", **network):
    changed = {"from_checkpoint": str(checkpoint), "pretrained": "auto"} | network
    return prepared(small_config(target, tmp_path / "run", source, network=changed))


PIXELS = torch.rand(3, 3, 32, 16)


@pytest.mark.parametrize("with_source", slow_but([False, True], True))
@pytest.mark.parametrize(("domains", "wanted", "taken"), [
    (("target",), "auto", "target"),
    (("source",), "auto", "source"),
    (("source", "target"), "auto", "target"),
    (("source", "target"), "source", "source"),
])  # fmt: skip
def test_the_first_features_are_the_checkpoints(data, tmp_path, domains, wanted, taken, with_source):
    checkpoint = written(used_encoder(*domains), tmp_path / "c.pth.tar")
    expected = load_network(checkpoint).folded(taken)(PIXELS)
    source, target = data
    run = started(target, tmp_path, checkpoint, source if with_source else "", from_domain=wanted)
    assert torch.allclose(run.encoder.eval()(PIXELS), expected, atol=1e-6)
    if with_source:
        run.encoder.evaluation_domain = "source"
        own = "source" if "source" in domains else taken
        assert torch.allclose(run.encoder(PIXELS), load_network(checkpoint).folded(own)(PIXELS), atol=1e-6)
    fill_memory(run)
    assert torch.isfinite(run.parts.memory.features).all()


def test_the_memory_begins_with_the_checkpoints_features(data, tmp_path):
    checkpoint = written(used_encoder("target"), tmp_path / "c.pth.tar")
    run = started(data[1], tmp_path, checkpoint)
    fill_memory(run)
    expected = spcl.load_encoder(checkpoint).embed([record.path for record in run.target.train])
    assert torch.allclose(run.parts.memory.features, torch.from_numpy(expected), atol=1e-5)


def test_an_official_file_with_an_embedding_layer_and_any_size(data, tmp_path):
    encoder = used_encoder("source", "target", arch="resnet18", features=16)
    checkpoint = written(encoder, tmp_path / "model_best.pth.tar", official=True)
    run = started(data[1], tmp_path, checkpoint, arch="resnet18", features=16)
    assert torch.allclose(run.encoder.eval()(PIXELS), encoder.folded("target")(PIXELS), atol=1e-6)


def test_pooling_and_its_exponent(data, tmp_path):
    encoder = used_encoder("target", pooling="gem")
    with torch.no_grad():
        next(encoder.pooling.parameters()).fill_(1.7)
    checkpoint = written(encoder, tmp_path / "c.pth.tar")
    run = started(data[1], tmp_path, checkpoint, pooling="gem")
    assert torch.allclose(run.encoder.eval()(PIXELS), encoder(PIXELS), atol=1e-6)


@pytest.mark.parametrize(
    ("network", "size", "code", "named"),
    [
        ({"features": 8}, {}, "checkpoint-mismatch", "has features 0"),
        ({"pooling": "gem"}, {}, "checkpoint-mismatch", "has pooling 'avg'"),
        ({"arch": "resnet18"}, {}, "checkpoint-mismatch", "timm/test_resnet, not of resnet18"),
        ({"from_domain": "source"}, {}, "no-such-domain", "'source'"),
        ({}, {"height": 64}, "checkpoint-mismatch", "leave --height out"),
        ({}, {"height": 64, "width": 8}, "checkpoint-mismatch", "leave --height and --width out"),
        ({"from_checkpoint": "no.pth.tar"}, {}, "no-such-checkpoint", "no.pth.tar"),
    ],
)
def test_contradictions_are_named(data, tmp_path, network, size, code, named):
    given = {"from_checkpoint": str(written(used_encoder("target"), tmp_path / "c.pth.tar"))} | network
    config = small_config(data[1], tmp_path / "run", network=given, data=size)
    with input_error(code, named):
        prepared(config)
    assert not (tmp_path / "run").exists()


def test_the_command_line_uses_the_settings_of_the_checkpoint(tmp_path):
    path = written(used_encoder("target", pooling="gem", features=8), tmp_path / "c.pth.tar")
    settings = parsed_recipe(["crops", "--from-checkpoint", str(path), "--recipe", "person"])[1]
    assert (settings.network.arch, settings.network.features, settings.network.pooling) == (
        "timm/test_resnet",
        8,
        "gem",
    )
    assert (settings.data.height, settings.data.width) == (32, 16)
    file = tmp_path / "mine.toml"
    file.write_text(f'[network]\nfrom_checkpoint = "{path.as_posix()}"\n')
    assert parsed_recipe(["crops", "--config", str(file)])[1].network.features == 8
    # What the user says himself stays, and is refused later where it contradicts.
    assert parsed_recipe(["crops", "--config", str(file), "--features", "4"])[1].network.features == 4
    official = written(used_encoder("target", arch="resnet18"), tmp_path / "o.pth.tar", official=True)
    settings = parsed_recipe(["crops", "--from-checkpoint", str(official), "--recipe", "vehicle"])[1]
    assert (settings.network.arch, settings.data.height, settings.data.width) == ("resnet18", 224, 224)


def test_such_a_run_is_resumed_to_the_same_bits(tmp_path):
    for number in range(16):
        draw(tmp_path / "crops" / f"{number:03d}.png", number % 4, number)
    path = written(used_encoder("target"), tmp_path / "c.pth.tar")
    network = {"from_checkpoint": str(path)}
    whole = trained(small_config(tmp_path / "crops", tmp_path / "a", network=network))
    trained(small_config(tmp_path / "crops", tmp_path / "b", network=network, schedule={"epochs": 1}))
    again = trained(small_config(tmp_path / "crops", tmp_path / "b", network=network), resume=True)
    assert_bit_equal(whole, again)


def test_a_checkpoint_of_the_source_alone_loads(tmp_path):
    encoder = used_encoder("source")
    path = written(encoder, tmp_path / "c.pth.tar")
    assert torch.equal(load_network(path)(PIXELS), encoder(PIXELS))
    assert spcl.load_encoder(path, domain="source").domain == "source"
