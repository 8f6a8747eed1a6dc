"""Learning rates over epochs and over depth, and the optimisers that use them."""

from __future__ import annotations

import pytest
import torch

from spcl.errors import InputError
from spcl.nn.encoder_network import EncoderNetwork, EncoderSettings
from spcl.training.adamw import AdamWSettings
from spcl.training.learning_rates import RateOverEpochs, rate_groups
from spcl.training.sgd import SgdSettings


def network(arch: str) -> EncoderNetwork:
    size = {"height": 32, "width": 32}
    return EncoderNetwork(EncoderSettings(arch=arch, **size))


def test_each_schedule_by_hand():
    cosine = RateOverEpochs("cosine", epochs=4, warmup_epochs=2, least=0.0)
    assert [cosine(epoch) for epoch in range(5)] == pytest.approx([1 / 3, 2 / 3, 1, 0.5, 0])
    step = RateOverEpochs("step", epochs=5, step_size=2)
    assert [step(epoch) for epoch in range(5)] == pytest.approx([1, 1, 0.1, 0.1, 0.01])
    assert [RateOverEpochs("constant", epochs=2, warmup_epochs=1)(epoch) for epoch in range(3)] == [0.5, 1, 1]
    assert RateOverEpochs("cosine", epochs=2)(7) == pytest.approx(0.01)


@pytest.mark.parametrize("arch", ["timm/test_resnet", "timm/test_vit", "resnet18"])
def test_lower_stages_have_lower_rates(arch):
    model = network(arch)
    groups = rate_groups(model, lr=1.0, layer_decay=0.5)
    rates = [group["lr"] for group in groups]
    assert rates[0] == 1 and rates == sorted(rates, reverse=True) and len(rates) >= 4
    rate_of = {id(value): group["lr"] for group in groups for value in group["params"]}
    named = {name: rate_of[id(value)] for name, value in model.named_parameters() if value.requires_grad}
    assert named["neck.norms.target.weight"] == 1
    assert next(iter(named.values())) == min(rates)
    blocks = [rate for name, rate in named.items() if "blocks." in name or "layer" in name]
    assert blocks == sorted(blocks)


@pytest.mark.parametrize("arch", ["timm/test_vit2", "timm/test_vit3"])
def test_rates_of_a_transformer(arch):
    """Tokens, positions and patches are below the blocks; the network's own pooling is above them."""
    model = network(arch)
    groups = rate_groups(model, lr=1.0, layer_decay=0.5)
    rate_of = {id(value): group["lr"] for group in groups for value in group["params"]}
    named = {name: rate_of[id(value)] for name, value in model.named_parameters() if value.requires_grad}
    num_blocks = 1 + max(int(name.split("blocks.")[1].split(".")[0]) for name in named if "blocks." in name)
    for name, rate in named.items():
        number = int(name.split("blocks.")[1].split(".")[0]) if "blocks." in name else None
        is_low = any(part in name for part in ("patch_embed", "pos_embed", "_token"))
        expected = 0.5 ** (num_blocks - number) if number is not None else 0.5 ** (num_blocks + 1) if is_low else 1.0
        assert rate == expected, name
    assert any("attn_pool" in name for name in named) == (arch == "timm/test_vit3")


def test_without_decay_every_trained_parameter_is_in_one_group():
    model = network("timm/test_resnet")
    (group,) = rate_groups(model, lr=0.1)
    assert len(group["params"]) == sum(value.requires_grad for value in model.parameters())


class Context:
    def __init__(self, epochs):
        self.encoder, self.epochs, self.steps, self.starts_random = network("timm/test_resnet"), epochs, 1000, False
        self.runtime = type("R", (), {"device": torch.device("cpu")})


@pytest.mark.parametrize(
    ("settings", "kind"),
    [
        (AdamWSettings(lr=0.1), torch.optim.AdamW),
        (AdamWSettings(lr=0.1, decoupled=False), torch.optim.Adam),
        (SgdSettings(lr=0.1), torch.optim.SGD),
    ],
)
def test_an_optimiser_follows_its_schedule(settings, kind):
    optimizer, scheduler = settings.build(Context(2))
    assert type(optimizer) is kind
    assert optimizer.param_groups[0]["weight_decay"] == settings.weight_decay
    rates = []
    for _ in range(3):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    assert rates == pytest.approx([0.1, 0.1 * (0.01 + 0.99 / 2), 0.001])


@pytest.mark.parametrize("kind", [AdamWSettings, SgdSettings])
def test_the_rate_from_random_weights(kind):
    context = Context(2)
    settings = kind(lr=0.1, random_weights_factor=3.0)
    assert settings.build(context).optimizer.param_groups[0]["lr"] == pytest.approx(0.1)
    context.starts_random = True
    assert settings.build(context).optimizer.param_groups[0]["lr"] == pytest.approx(0.3)


@pytest.mark.parametrize("kind", [AdamWSettings, SgdSettings])
@pytest.mark.parametrize(("steps", "random", "rate"), [(999, False, 0.2), (1000, False, 0.1), (999, True, 0.3)])
def test_the_rate_of_a_short_run(kind, steps, random, rate):
    context = Context(2)
    context.steps, context.starts_random = steps, random
    settings = kind(lr=0.1, random_weights_factor=3.0, short_run_factor=2.0)
    assert settings.build(context).optimizer.param_groups[0]["lr"] == pytest.approx(rate)


@pytest.mark.parametrize("values", [{"warmup_epochs": -1}, {"layer_decay": 0.0}, {"schedule": "linear"}])
def test_settings_out_of_range(values):
    with pytest.raises(InputError) as error:
        AdamWSettings(**values)
    assert error.value.code == "setting-out-of-range"
