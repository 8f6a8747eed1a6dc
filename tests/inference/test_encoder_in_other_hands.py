"""An encoder that a program changes, or leaves in training mode: features stay right, other weights are noticed."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from spcl.data.image_store import ImageStore
from spcl.errors import InputError
from spcl.export.onnx_check import _in_torch
from spcl.gallery.gallery import Gallery
from spcl.inference.embedding import Encoder, embed_records, imagenet_encoder
from spcl.inference.extraction import extract_features
from spcl.nn.encoder_network import EncoderNetwork, EncoderSettings
from spcl.records import Record
from spcl.runtime import Runtime
from tests.fakes import draw
from tests.input_errors import input_error


@pytest.fixture
def encoder() -> Encoder:
    torch.manual_seed(0)
    return Encoder(EncoderNetwork(EncoderSettings(arch="timm/test_resnet", height=32, width=16)).eval(), "target")


@pytest.fixture
def paths(tmp_path):
    for number in range(5):
        draw(tmp_path / f"{number}.jpg", number)
    return [tmp_path / f"{number}.jpg" for number in range(5)]


def in_training(encoder):
    encoder.train()


def partly_in_training(encoder):
    encoder.network.trunk.train()


WAYS = {
    "embed": lambda encoder, paths: encoder.embed(paths),
    "embed flipped": lambda encoder, paths: encoder.embed(paths, flip=True),
    "embed_records": lambda encoder, paths: embed_records(encoder, [Record(path) for path in paths]).features,
    "for an export": lambda encoder, paths: _in_torch(encoder, np.zeros((2, 32, 16, 3), dtype=np.uint8)),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("put", [in_training, partly_in_training])
def test_features_are_those_of_evaluation_mode(encoder, paths, way, put):
    right = WAYS[way](encoder, paths)
    put(encoder)
    modes = [part.training for part in encoder.modules()]
    state = copy.deepcopy(encoder.state_dict())
    np.testing.assert_array_equal(WAYS[way](encoder, paths), right)
    assert [part.training for part in encoder.modules()] == modes
    assert all(torch.equal(value, state[name]) for name, value in encoder.state_dict().items())
    encoder.eval()
    np.testing.assert_array_equal(WAYS[way](encoder, paths), right)


def test_the_mode_comes_back_after_an_error(encoder, tmp_path):
    encoder.train()
    (tmp_path / "x.jpg").write_bytes(b"x")
    with pytest.raises(InputError):
        embed_records(encoder, [Record(tmp_path / "x.jpg")])
    assert all(part.training for part in encoder.modules())


@pytest.mark.parametrize(("change", "least"), [("half", 0.999), ("bfloat16", 0.99), ("double", 0.999999)])
@pytest.mark.parametrize("way", WAYS)
def test_weights_of_other_floating_types(encoder, paths, change, least, way):
    right = WAYS[way](encoder, paths)
    changed = WAYS[way](getattr(encoder, change)(), paths)
    assert changed.dtype == np.float32
    assert (right * changed).sum(axis=1).min() > least
    np.testing.assert_allclose(np.linalg.norm(changed, axis=1), 1, atol=1e-6)


def scaled(encoder):
    with torch.no_grad():
        next(encoder.parameters()).mul_(1.05)


def scaled_behind_the_back_of_torch(encoder):
    next(encoder.parameters()).data[0] += 0.5


def one_statistic(encoder):
    encoder.network.get_buffer("neck.running_mean")[3] = 2.0


def other_weights(encoder):
    torch.manual_seed(1)
    other = EncoderNetwork(EncoderSettings(arch="timm/test_resnet", height=32, width=16)).eval()
    encoder.load_state_dict(Encoder(other, "target").state_dict())


def one_optimiser_step(encoder):
    optimiser = torch.optim.SGD(encoder.parameters(), lr=0.1)
    encoder(torch.randn(2, 3, 32, 16))[:, 0].sum().backward()
    optimiser.step()


def another_tensor(encoder):
    weight = next(encoder.parameters())
    weight.data = weight.data * 2


def a_size(encoder):
    encoder.size = (64, 32)


def other_places(encoder):
    """The same values in other places, written where torch does not count it."""
    weight = next(encoder.parameters()).detach().numpy()
    weight[:] = weight[::-1].copy()


CHANGES = [
    other_places,
    scaled,
    scaled_behind_the_back_of_torch,
    one_statistic,
    other_weights,
    one_optimiser_step,
    another_tensor,
]


@pytest.mark.parametrize("change", [*CHANGES, a_size, Encoder.half])
def test_the_fingerprint_follows_the_weights(encoder, change):
    before, state = encoder.fingerprint, copy.deepcopy(encoder.state_dict())
    assert encoder.fingerprint == before
    change(encoder)
    assert encoder.fingerprint != before
    if change in CHANGES:
        encoder.load_state_dict(state)
        assert encoder.fingerprint == before


def test_the_same_values_have_the_same_fingerprint(encoder):
    before = encoder.fingerprint
    assert copy.deepcopy(encoder).double().fingerprint == before
    assert copy.deepcopy(encoder).train().fingerprint == before
    half = copy.deepcopy(encoder).half()
    assert half.fingerprint == copy.deepcopy(half).float().fingerprint


@pytest.mark.parametrize("change", CHANGES)
def test_a_gallery_refuses_vectors_of_changed_weights(encoder, paths, tmp_path, change):
    gallery = Gallery.create(tmp_path / "g", encoder)
    gallery.add(paths[:2])
    change(encoder)
    with input_error("encoder-mismatch"):
        gallery.add(paths[2:])
    with input_error("encoder-mismatch"):
        gallery.search(paths[2])
    assert len(gallery) == 2


@pytest.mark.slow
def test_a_compiled_network_is_the_same_encoder(encoder, paths):
    before, right = encoder.fingerprint, encoder.embed(paths)
    encoder.network = torch.compile(encoder.network, backend="eager")
    assert encoder.fingerprint == before
    np.testing.assert_allclose(encoder.embed(paths), right, atol=1e-6)


@pytest.mark.parametrize("change", ["float", "half", "bfloat16", "double"])
def test_the_input_follows_the_type_of_the_weights(encoder, change):
    images = torch.randn(2, 3, 32, 16)
    right = encoder(images)
    given = getattr(encoder, change)()(images)
    assert given.dtype == next(encoder.parameters()).dtype
    assert (given.float() * right).sum(dim=1).min() > 0.99


def test_an_encoder_that_was_made_in_inference_mode(paths):
    with torch.inference_mode():
        encoder = imagenet_encoder("timm/test_resnet", pretrained="none", size=(32, 16))
        inside = encoder.embed(paths)
    right = imagenet_encoder("timm/test_resnet", pretrained="none", size=(32, 16))
    assert encoder.fingerprint == right.fingerprint
    np.testing.assert_array_equal(inside, right.embed(paths))
    encoder(torch.randn(2, 3, 32, 16)).sum().backward()


def test_features_that_are_not_finite_are_an_error(encoder, paths):
    with torch.no_grad():
        next(encoder.parameters()).fill_(torch.nan)
    for way in ("embed", "embed_records"):
        with input_error("not-finite"):
            WAYS[way](encoder, paths)


def test_extraction_from_a_network_in_training(encoder, paths):
    """As in a training: the network is in training mode before and after, and its statistics are the same."""
    network = EncoderNetwork(
        EncoderSettings(arch="timm/test_resnet", height=32, width=16, domains=("a", "target"))
    ).train()
    before = copy.deepcopy(network.state_dict())
    store = ImageStore([Record(path) for path in paths], size=(32, 16))
    features = extract_features(network, store, Runtime("cpu"), domain="a")
    torch.testing.assert_close(features.norm(dim=1), torch.ones(5))
    assert network.training
    assert network.evaluation_domain == "target"
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
