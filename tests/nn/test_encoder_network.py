"""Encoders: every kind of trunk builds, gives unit rows and folds; what does not go together is named."""

from __future__ import annotations

import pytest
import timm
import torch
from torch.nn import functional as F

from spcl.nn.backbones import build_trunk, check_arch, check_patches, patch_size
from spcl.nn.encoder_network import EncoderNetwork, EncoderSettings
from spcl.nn.pooling import GeneralisedMeanPooling
from tests.input_errors import input_error

DOMAINS = ("source", "target")


def encoder(arch="timm/test_resnet", **changed) -> EncoderNetwork:
    torch.manual_seed(0)
    return EncoderNetwork(EncoderSettings(arch=arch, **({"height": 64, "width": 32, "domains": DOMAINS} | changed)))


def images(num=8):
    return torch.randn(num, 3, 64, 32, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("arch", ["resnet18", "timm/test_resnet", "timm/test_efficientnet", "timm/test_vit"])
def test_trains_evaluates_and_folds(arch):
    made = encoder(arch, group_size=2)
    features = made.train()(images(), (4, 4))
    torch.testing.assert_close(features.norm(dim=1), torch.ones(8))
    features.sum().backward()
    made.eval()
    for domain in DOMAINS:
        made.evaluation_domain = domain
        folded = made.folded(domain)
        assert folded.domains == (domain,)
        torch.testing.assert_close(folded(images()), made(images()))
    assert features.shape[1] == made.feature_dim


@pytest.mark.parametrize("arch", ["resnet18", "resnet34", "resnet50"])
def test_the_last_stage_keeps_its_resolution(arch):
    shape = build_trunk(arch)(torch.zeros(1, 3, 64, 32)).shape[2:]
    own = build_trunk(arch, last_stride=2)(torch.zeros(1, 3, 64, 32)).shape[2:]
    assert tuple(shape) == (4, 2)
    assert tuple(own) == (2, 1)


def test_ibn_replaces_the_first_norm_of_three_stages():
    names = [name for name, _ in build_trunk("resnet_ibn50a").named_modules() if name.endswith("bn1.IN")]
    assert len(names) == 3 + 4 + 6
    assert not any(name.startswith("layer4") for name in names)


def test_an_embedding_layer_and_dropout():
    made = encoder(features=24, dropout=0.5)
    assert made.feature_dim == 24
    assert (made.train()(images(), (4, 4)) == 0).any()
    torch.testing.assert_close(made.eval()(images()).norm(dim=1), torch.ones(8))


def test_generalised_mean_pooling():
    maps = torch.rand(2, 3, 4, 4)
    pooling = GeneralisedMeanPooling(exponent=1.0)
    torch.testing.assert_close(pooling(maps), maps.mean(dim=(2, 3)))
    torch.testing.assert_close(GeneralisedMeanPooling(200.0)(maps), maps.amax(dim=(2, 3)), atol=0.03, rtol=0)
    assert encoder(pooling="gem").train()(images(), (4, 4)).requires_grad


def test_the_neck_bias_is_frozen_with_one_domain():
    assert not encoder(domains=("target",)).neck.norms["target"].bias.requires_grad
    assert encoder().neck.norms["target"].bias.requires_grad


@pytest.mark.parametrize(
    ("arch", "hint"),
    [
        ("resnet5", "resnet50"),
        ("resnet10t", "timm/resnet10t"),
        ("timm/test_resne", "timm/test_resnet"),
        ("banana", "timm/NAME"),
    ],
)
def test_an_unknown_network_is_named_with_the_nearest(arch, hint):
    with input_error("no-such-network", hint):
        check_arch(arch)


@pytest.mark.parametrize("domains", [DOMAINS, ("target",)])
@pytest.mark.parametrize("arch", ["timm/test_convnext", "timm/mobilenetv3_small_050", "timm/test_vit"])
def test_every_trained_parameter_takes_part_in_the_feature(arch, domains):
    """Several processes would wait for the gradients of others, of a head that gives classes, say."""
    made = encoder(arch, domains=domains, last_stride=0)
    made.train()(images())[:, 0].sum().backward()
    untouched = [name for name, value in made.named_parameters() if value.requires_grad and value.grad is None]
    assert untouched == []
    if arch != "timm/test_vit":
        assert any("head" in name for name, value in made.named_parameters() if not value.requires_grad)


def test_building_leaves_statistics_and_drawn_numbers_alone():
    torch.manual_seed(0)
    plain = timm.create_model("levit_128s", num_classes=0, img_size=(64, 64))
    drawn = torch.rand(3)
    torch.manual_seed(0)
    trunk = build_trunk("timm/levit_128s", size=(64, 64))
    assert torch.equal(torch.rand(3), drawn)
    assert trunk.training
    for name, value in plain.state_dict().items():
        assert torch.equal(trunk.model.state_dict()[name], value), name


@pytest.mark.parametrize(
    ("arch", "size"),
    [
        ("timm/test_vit", (100, 60)),
        ("timm/botnet26t_256", (128, 64)),
        ("timm/coatnet_pico_rw_224", (250, 120)),
    ],
)
def test_a_size_that_a_network_cannot_take_is_named(arch, size):
    with input_error("image-size-not-supported", arch, f"{size[0]} x {size[1]}", "--height"):
        build_trunk(arch, size=size)


def test_the_nearest_sizes_of_whole_patches_are_named():
    with input_error("image-size-not-supported", "--height 96 --width 48 or --height 112 --width 64"):
        build_trunk("timm/test_vit", size=(100, 60))
    # A network that is built without an error would leave out the last pixels of each row.
    trunk = build_trunk("timm/eva02_tiny_patch14_224", size=(64, 28))
    assert patch_size(trunk) == (14, 14)
    with input_error("image-size-not-supported", "--height 56 --width 28 or --height 70 --width 28"):
        check_patches("timm/eva02_tiny_patch14_224", trunk, (64, 28))
    check_patches("timm/eva02_tiny_patch14_224", trunk, (70, 28))
    # These have no patches.
    for arch in ("timm/test_resnet", "resnet18"):
        check_patches(arch, build_trunk(arch, size=(100, 60)), (100, 60))


@pytest.mark.parametrize("arch", ["timm/deit_tiny_patch16_224", "timm/vit_tiny_r_s16_p8_224"])
def test_transformers_of_other_modules_take_the_size_of_the_images(arch):
    made = encoder(arch, height=128, width=64).eval()
    assert made(torch.randn(2, 3, 128, 64)).shape == (2, 192)


@pytest.mark.parametrize(("arch", "pooling"), [("test_vit", "token"), ("test_vit2", "avg"), ("test_vit3", "map")])
def test_a_transformer_pools_in_its_own_way(arch, pooling):
    made = encoder(f"timm/{arch}", domains=("target",), height=64, width=32, features=0).eval()
    assert made.trunk.model.global_pool == pooling and isinstance(made.pooling, torch.nn.Identity)
    plain = timm.create_model(arch, num_classes=0, img_size=(64, 32)).eval()
    plain.load_state_dict(made.trunk.model.state_dict())
    pixels = torch.randn(2, 3, 64, 32)
    torch.testing.assert_close(made(pixels), F.normalize(made.neck(plain(pixels)), dim=1))


def test_unknown_weights_of_a_network_are_named():
    with input_error("no-such-network", "resnet10t.badtag", "resnet10t.c3_in1k"):
        check_arch("timm/resnet10t.badtag")
    check_arch("timm/resnet10t.c3_in1k")


def test_what_does_not_go_together_is_named():
    with input_error("option-does-not-apply", "--pooling gem"):
        encoder("timm/test_vit", pooling="gem")
    with input_error("option-does-not-apply", "--last-stride"):
        encoder("timm/test_vit", last_stride=1)
    with input_error("batch-too-small"):
        encoder().train()(images(3), (2, 1))
    with input_error("batch-not-divisible"):
        encoder().train()(images(3))
    with input_error("no-such-domain", "'moon'"):
        encoder().folded("moon")
