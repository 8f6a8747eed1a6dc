"""Weights: found, checked, or an error that says what to do. Never random in silence."""

from __future__ import annotations

import io
import pickle
import zipfile
from argparse import Namespace
from collections import Counter, defaultdict
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file
from timm.layers import resample_abs_pos_embed

from spcl.errors import InputError
from spcl.inference.official_checkpoints import load_safely
from spcl.nn.backbones import build_trunk
from spcl.nn.imagenet_weights import find_weights
from spcl.nn.trunk_weights import load_weights
from spcl.nn.weight_names import UsedWeights, some_names
from tests.input_errors import input_error
from tests.shared import slow_but


def test_random_weights_only_on_purpose():
    found = find_weights("timm/test_resnet", "none")
    assert "random" in found.source
    assert load_weights(build_trunk("timm/test_resnet"), found) == UsedWeights()


def wrapped(state, prefix):
    return {prefix + name: value for name, value in state.items()}


def as_half(state):
    return {name: value.half() if value.is_floating_point() else value for name, value in state.items()}


NUMPY = {"rank1": np.float64(0.93), "lrs": [np.float32(1e-4)], "curve": np.arange(3.0), "steps": np.int64(4)}
SCHEDULER = {"last_epoch": 60, "_last_lr": [np.float64(1e-4)], "milestones": Counter({20: 1})}
MOMENTA = {"state": {0: {"exp_avg": torch.ones(3)}}, "param_groups": [{"lr": 3e-4, "betas": (0.9, 0.999)}]}
FORMATS = {
    "plain.pth": lambda state: state,
    "plain.safetensors": lambda state: state,
    "safetensors-by-another-name.bin": lambda state: state,
    "module.pth": lambda state: wrapped(state, "module."),
    "torchreid.pth.tar": lambda state: {
        "state_dict": state,
        "epoch": 60,
        "optimizer": MOMENTA,
        "scheduler": SCHEDULER,
        **NUMPY,
    },
    "parallel.pth.tar": lambda state: {"state_dict": wrapped(state, "module."), "rank1": 0.9},
    "fastreid.pth": lambda state: {
        "model": wrapped(state, "backbone.") | {"heads.bottleneck.0.weight": torch.ones(5)},
        "iteration": 9,
    },
    "strong-baseline.pth": lambda state: wrapped(state, "base.") | {"bottleneck.weight": torch.ones(5)},
    "lightning.ckpt": lambda state: {"state_dict": wrapped(state, "model."), "hyper_parameters": {"lr": 0.1}},
    "lightning-nested.ckpt": lambda state: {"state_dict": wrapped(state, "net.student.backbone.")},
    "timm-with-arguments.pth.tar": lambda state: {
        "arch": "test_resnet",
        "state_dict": wrapped(state, "module."),
        "args": Namespace(lr=0.1),
    },
    "compiled.pth": lambda state: {"model": wrapped(state, "module._orig_mod.")},
    "moco.pth": lambda state: {
        "state_dict": wrapped(state, "module.encoder_q.")
        | wrapped({name: torch.zeros_like(value) for name, value in state.items()}, "module.encoder_k.")
    },
    "nested.pth": lambda state: {"run": {"network": {"weights": state}, "epoch": 3}},
    "of-arrays.pth": lambda state: {"model": {name: value.numpy() for name, value in state.items()}},
    "half.pth": as_half,
    "double.pth": lambda state: {"net": {name: value.double() for name, value in state.items()}},
    "without-counters.pth": lambda state: {
        name: value for name, value in state.items() if not name.endswith("num_batches_tracked")
    },
}


@pytest.mark.parametrize("name", FORMATS)
def test_weights_as_other_projects_save_them(tmp_path, name):
    torch.manual_seed(0)
    model = timm.create_model("test_resnet", num_classes=7)
    state = model.state_dict()
    content = FORMATS[name](state)
    (save_file if "safetensors" in name else torch.save)(content, tmp_path / name)
    trunk = build_trunk("timm/test_resnet")
    used = load_weights(trunk, find_weights("timm/test_resnet", str(tmp_path / name)))
    assert any(unused.endswith("fc.weight") for unused in used.unused)
    assert used.num_given - len(used.unused) >= len(trunk.state_dict()) * 2 // 3
    expected = as_half(state) if name == "half.pth" else state
    for key, value in trunk.model.state_dict().items():
        if not key.endswith("num_batches_tracked"):
            assert torch.equal(value, expected[key].to(value.dtype)), key


def test_the_number_of_used_tensors_is_reported(tmp_path):
    model = timm.create_model("test_resnet", num_classes=7)
    torch.save({"model": wrapped(model.state_dict(), "backbone.")}, tmp_path / "w.pth")
    used = load_weights(build_trunk("timm/test_resnet"), find_weights("timm/test_resnet", str(tmp_path / "w.pth")))
    count = len(model.state_dict())
    assert str(used) == (
        f"{count - 2} of {count} tensors used (of its 'model', under names that begin with 'backbone.'); "
        "not used: backbone.fc.weight, backbone.fc.bias"
    )
    assert some_names(["a", "b", "c", "d", "e", "f"]) == "a, b, c, d and 2 more"


@pytest.mark.parametrize("name", ["state_dict_ema", "model_ema", "teacher"])
def test_averaged_weights_come_first(tmp_path, name):
    models = [timm.create_model("test_resnet", num_classes=0) for _ in range(2)]
    torch.save({"state_dict": models[0].state_dict(), name: models[1].state_dict()}, tmp_path / "w.pth")
    trunk = build_trunk("timm/test_resnet")
    used = load_weights(trunk, find_weights("timm/test_resnet", str(tmp_path / "w.pth")))
    assert used.where == name
    assert torch.equal(trunk.model.conv1[0].weight, models[1].conv1[0].weight)


@pytest.mark.parametrize("prefix", ["", "module.base.", "features.0."])
def test_a_resnet_that_was_made_a_list_of_its_parts(tmp_path, prefix):
    network = torchvision.models.resnet18(num_classes=4)
    listed = torch.nn.Sequential(*list(network.children())[:-2])
    torch.save({"state_dict": wrapped(listed.state_dict(), prefix)}, tmp_path / "w.pth")
    trunk = build_trunk("resnet18")
    used = load_weights(trunk, find_weights("resnet18", str(tmp_path / "w.pth")))
    assert not used.unused
    assert torch.equal(trunk.layer4[1].conv2.weight, network.layer4[1].conv2.weight)


def test_a_safetensors_file_of_ours(tmp_path):
    model = timm.create_model("test_resnet", num_classes=0)
    # As spcl export writes them: with what is re-identification's own.
    save_file(model.state_dict() | {"reid.neck.weight": torch.ones(3)}, tmp_path / "w.safetensors")
    used = load_weights(
        build_trunk("timm/test_resnet"), find_weights("timm/test_resnet", str(tmp_path / "w.safetensors"))
    )
    assert used.unused == ("reid.neck.weight",)


def zipped(*names: str) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name in names:
            archive.writestr(name, "x")
    return content.getvalue()


NOT_WEIGHTS = {
    "lfs.pth": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n",
        "Git LFS pointer.*git lfs pull",
    ),
    "page.pth": (b"\n<!DOCTYPE html><html>quota exceeded</html>", "a web page, not the file itself"),
    "denied.pth": (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "a web page"),
    "empty.pth": (b"", "an empty file"),
    "list.pth": (b'{"model": "resnet50", "lr": 1}', "JSON text with the keys model, lr"),
    "words.safetensors": (b"no weights", "a text that begins with 'no weights'"),
    "image.pth": (b"\xff\xd8\xff\xe0" + bytes(40), "a JPEG image"),
    "packed.pth": (b"\x1f\x8b" + bytes(40), "a gzip archive: unpack it"),
    "keras.h5": (b"\x89HDF\r\n" + bytes(40), "an HDF5 file"),
    "archive.pth": (bytes(257) + b"ustar" + bytes(300), "a tar archive"),
    "noise.pth": (bytes(range(200, 256)), "not written by torch.save"),
    "zeros.pth": (bytes(4096), "not written by torch.save; get the file again"),
    "pickled.pkl": (
        pickle.dumps({"model": {"conv1.weight": np.ones(3)}}, 4),
        "not written by torch.save, or is damaged",
    ),
    "packed.zip": (zipped("a.pth", "b/c.txt"), r"a zip archive of a\.pth, b/c\.txt: unpack it"),
    "arrays.npz": (zipped("conv1.weight.npy"), r"a file of NumPy arrays.*torch\.save"),
}


@pytest.mark.parametrize("name", NOT_WEIGHTS)
def test_what_is_no_file_of_weights_is_called_what_it_is(tmp_path, name):
    content, message = NOT_WEIGHTS[name]
    (tmp_path / name).write_bytes(content)
    for read in (lambda: find_weights("resnet18", str(tmp_path / name)), lambda: load_safely(tmp_path / name)):
        with pytest.raises(InputError, match=message) as caught:
            read()
        assert str(caught.value).count(str(tmp_path / name)) == 1


@pytest.mark.parametrize("kind", ["zip", "safetensors"])
def test_a_truncated_file_is_reported(tmp_path, kind):
    path = tmp_path / f"w.{kind}"
    (save_file if kind == "safetensors" else torch.save)({"a": torch.ones(500)}, path)
    path.write_bytes(path.read_bytes()[:1200])
    with pytest.raises(InputError, match=r"cut short|get the file again"):
        find_weights("resnet18", str(path))


@pytest.mark.parametrize("content", [torch.nn.Linear(2, 2), {"state_dict": {}, "model": torch.nn.Linear(2, 2)}])
def test_a_pickled_network_is_refused_with_the_next_step(tmp_path, content):
    torch.save(content, tmp_path / "whole.pth")
    with input_error("unsafe-file", "torch.nn.modules.linear.Linear", "net.state_dict()"):
        find_weights("resnet18", str(tmp_path / "whole.pth"))


@pytest.mark.filterwarnings("ignore:.*torch.jit")
def test_a_program_of_torchscript_is_refused_with_the_next_step(tmp_path):
    torch.jit.script(torch.nn.Linear(2, 2)).save(str(tmp_path / "script.pt"))
    with input_error("wrong-file-kind", "TorchScript", "torch.jit.load"):
        find_weights("resnet18", str(tmp_path / "script.pt"))


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("layer1.0.conv2.weight", float("nan"), r"not finite .* in layer1\.0\.conv2\.weight"),
        ("bn1.running_mean", float("inf"), r"not finite .* in bn1\.running_mean"),
        ("layer2.0.bn1.running_var", -1.0, r"variances below 0 in layer2\.0\.bn1\.running_var"),
        ("bn1.bias", 1e300, r"not finite .* in bn1\.bias"),
    ],
)
def test_weights_that_no_network_can_have_are_refused(tmp_path, name, value, message):
    state = timm.create_model("test_resnet", num_classes=0).state_dict()
    torch.save(state | {name: torch.full_like(state[name].double(), value)}, tmp_path / "w.pth")
    with pytest.raises(InputError, match=message):
        load_weights(build_trunk("timm/test_resnet"), find_weights("timm/test_resnet", str(tmp_path / "w.pth")))


@pytest.mark.slow
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
    with input_error("weights-mismatch"):
        load_weights(wide, find_weights(f"timm/{name}", str(tmp_path / "w.pth")))


def test_names_of_the_authors_of_a_network_are_converted(tmp_path):
    """DINOv2 with registers as its authors save it: one position more, and registers and the mask by other names."""
    torch.manual_seed(0)
    made = {"depth": 1, "embed_dim": 24, "num_heads": 2, "num_classes": 0}
    model = timm.create_model("vit_small_patch14_reg4_dinov2", img_size=(56, 42), **made)
    state = {name: torch.randn_like(value) for name, value in model.state_dict().items()}
    position = torch.randn(1, 1, 24)
    original = dict(state) | {
        "register_tokens": state["reg_token"],
        "mask_token": torch.randn(1, 24),
        "cls_token": state["cls_token"] - position,
        "pos_embed": torch.cat([position, state["pos_embed"]], dim=1),
    }
    del original["reg_token"]
    torch.save(original, tmp_path / "dinov2.pth")
    trunk = build_trunk("timm/test_vit", size=(160, 160))
    trunk.model = model
    used = load_weights(trunk, find_weights("timm/test_vit", str(tmp_path / "dinov2.pth")))
    assert used.num_given == len(state)
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value, state[name], msg=name)
    with input_error("weights-mismatch"):
        load_weights(build_trunk("timm/test_vit"), find_weights("timm/test_vit", str(tmp_path / "dinov2.pth")))


@pytest.mark.slow
def test_another_networks_weights_are_refused(tmp_path):
    torch.save(timm.create_model("test_efficientnet").state_dict(), tmp_path / "w.pth")
    # The names of both sides are shown.
    with input_error("weights-mismatch", "conv1.0.weight", "conv_stem"):
        load_weights(build_trunk("timm/test_resnet"), find_weights("timm/test_resnet", str(tmp_path / "w.pth")))
    torch.save({"state_dict": wrapped(torchvision.models.resnet18().state_dict(), "module.")}, tmp_path / "18.pth")
    with input_error("weights-mismatch", "77 of its 265", "--arch resnet18"):
        load_weights(build_trunk("resnet50"), find_weights("resnet50", str(tmp_path / "18.pth")))
    torch.save(torchvision.models.resnet50().state_dict(), tmp_path / "50.pth")
    with input_error("weights-mismatch", "layer1", "--arch resnet50"):
        load_weights(build_trunk("resnet18"), find_weights("resnet18", str(tmp_path / "50.pth")))
    state = timm.create_model("test_vit").state_dict()
    torch.save({"arch": "test_vit", "state_dict": state}, tmp_path / "vit.pth")
    with input_error("weights-mismatch", "timm/test_vit"):
        load_weights(build_trunk("timm/test_resnet"), find_weights("timm/test_resnet", str(tmp_path / "vit.pth")))
    wide = timm.create_model("resnet10t").state_dict()
    torch.save(wide | {"conv1.0.weight": torch.zeros(1)}, tmp_path / "shape.pth")
    with input_error("weights-mismatch", "conv1.0.weight"):
        load_weights(build_trunk("timm/resnet10t"), find_weights("timm/resnet10t", str(tmp_path / "shape.pth")))


@pytest.mark.parametrize("prefix", slow_but(["", "module.base.", "_orig_mod."], "module.base."))
def test_weights_of_a_deeper_network_are_refused(tmp_path, prefix):
    """All tensors of the shallower one have a name and a shape in it; the features would be wrong in silence."""
    state = torchvision.models.resnet34().state_dict()
    torch.save({"state_dict": wrapped(state, prefix)}, tmp_path / "34.pth")
    with input_error("weights-mismatch", "layer1.2.conv1.weight", "--arch resnet34"):
        load_weights(build_trunk("resnet18"), find_weights("resnet18", str(tmp_path / "34.pth")))
    vit = timm.create_model("test_vit", num_classes=0).state_dict()
    block = {name.replace(".0.", ".11."): value for name, value in vit.items() if name.startswith("blocks.0.")}
    torch.save(vit | block, tmp_path / "vit.pth")
    trunk, weights = (
        build_trunk("timm/test_vit", size=(160, 160)),
        find_weights("timm/test_vit", str(tmp_path / "vit.pth")),
    )
    with input_error("weights-mismatch", "blocks.11."):
        load_weights(trunk, weights)


def test_plain_values_beside_the_weights_are_read(tmp_path):
    state = torchvision.models.resnet18().state_dict()
    others = {"path": Path("a/b"), "time": datetime.now(timezone.utc), "counts": defaultdict(int), "names": {"a"}}
    torch.save({"state_dict": state} | others, tmp_path / "w.pth")
    assert load_weights(build_trunk("resnet18"), find_weights("resnet18", str(tmp_path / "w.pth"))).num_given == 122
    # torch reads it where it is empty only.
    torch.save({"state_dict": state, "counts": defaultdict(int, a=1)}, tmp_path / "w.pth")
    with input_error("unsafe-file", "collections.defaultdict"):
        find_weights("resnet18", str(tmp_path / "w.pth"))


def test_whole_numbers_are_no_weights(tmp_path):
    state = torchvision.models.resnet18().state_dict()
    torch.save({name: value.to(torch.int8) for name, value in state.items()}, tmp_path / "w.pth")
    with input_error("weights-mismatch", "int8") as caught:
        load_weights(build_trunk("resnet18"), find_weights("resnet18", str(tmp_path / "w.pth")))
    assert "give --arch" not in str(caught.value)


def test_a_missing_or_broken_file_is_named(tmp_path):
    with input_error("no-such-file", tmp_path / "w.pth"):
        find_weights("resnet50", str(tmp_path / "w.pth"))
    (tmp_path / "w.pth").write_text("no weights")
    with input_error("wrong-file-kind"):
        find_weights("resnet50", str(tmp_path / "w.pth"))
    torch.save({"state_dict": [1]}, tmp_path / "w.pth")
    with input_error("no-tensors"):
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
