"""The networks give the official features, and their state has the official names, shapes and order."""

from __future__ import annotations

import json
import zlib
from functools import lru_cache
from math import prod, sqrt

import numpy as np
import pytest
import torch

from spcl.inference.official_checkpoints import from_official, official_facts, to_official
from spcl.nn.encoder_network import EncoderNetwork, EncoderSettings
from tests.shared import shared_path, slow_but

ARCHS = ["resnet50", "resnet_ibn50a"]


def made_from_names(shapes: dict[str, list[int]]) -> dict[str, torch.Tensor]:
    """Weights as the reference arrays' page makes them: from each tensor's name."""
    state = {}
    for full_name, shape in shapes.items():
        name = full_name.removeprefix("module.")
        rng = np.random.default_rng(zlib.crc32(name.encode()))
        if name.endswith("num_batches_tracked"):
            value = np.zeros(shape, dtype=np.int64)
        elif name.endswith("running_var"):
            value = rng.uniform(0.5, 1.5, shape)
        elif name.endswith(("running_mean", "bias")):
            value = 0.1 * rng.standard_normal(shape)
        elif len(shape) == 1:
            value = rng.uniform(0.5, 1.5, shape)
        else:
            value = rng.standard_normal(shape) / sqrt(prod(shape[1:]))
        state[full_name] = torch.as_tensor(value if value.dtype == np.int64 else value.astype(np.float32))
    return state


def official_shapes(key: str) -> dict[str, list[int]]:
    return json.loads(shared_path("reference", "network_keys.json").read_text())[key]


@lru_cache(maxsize=1)
def images() -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).standard_normal((4, 3, 256, 128)).astype(np.float32))


def built(arch: str, suffix: str = "") -> EncoderNetwork:
    state = made_from_names(official_shapes(arch + suffix))
    facts = official_facts(state)
    assert facts.arch == arch
    encoder = EncoderNetwork(EncoderSettings(arch=arch, domains=facts.domains))
    encoder.load_state_dict(from_official(state))
    return encoder.eval()


@pytest.mark.parametrize("arch", ARCHS)
def test_plain_network(arch):
    expected = np.load(shared_path("reference", f"network_{arch}.npz"))["usl_eval"]
    with torch.no_grad():
        features = built(arch, ":usl")(images()).numpy()
    assert np.abs(features - expected).max() <= 1e-4


@pytest.mark.parametrize("arch", slow_but(ARCHS, "resnet_ibn50a"))
def test_domain_specific_network(arch):
    expected = np.load(shared_path("reference", f"network_{arch}.npz"))
    encoder = built(arch)
    with torch.no_grad():
        for domain in ("target", "source"):
            encoder.evaluation_domain = domain
            assert np.abs(encoder(images()).numpy() - expected[f"eval_{domain}"]).max() <= 1e-4
            folded = encoder.folded(domain).eval()
            assert np.abs(folded(images()).numpy() - expected[f"eval_{domain}"]).max() <= 1e-4
        encoder.train()
        features = encoder(images(), (2, 2)).numpy()
    assert np.abs(features - expected["train_mode_2source_2target"]).max() <= 1e-4


@pytest.mark.parametrize("arch", ARCHS)
@pytest.mark.parametrize(("suffix", "domains"), [("", ("source", "target")), (":usl", ("target",))])
def test_state_has_the_official_names_shapes_and_order(arch, suffix, domains):
    ours = to_official(EncoderNetwork(EncoderSettings(arch=arch, domains=domains)).state_dict())
    assert [(name, list(value.shape)) for name, value in ours.items()] == list(official_shapes(arch + suffix).items())
