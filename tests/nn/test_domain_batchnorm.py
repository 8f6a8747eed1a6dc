"""Batch norm per domain and group: equal to plain layers on the parts, and folded back to one."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from timm.layers import BatchNormAct2d
from torch import nn
from torch.nn import functional as F

from spcl.nn import domain_batchnorm
from spcl.nn.domain_batchnorm import DomainBatchNorm, DomainRouting, convert, fold


def routing(domains=("source", "target"), sizes=()) -> DomainRouting:
    return DomainRouting(tuple(domains), evaluation=domains[-1], sizes=tuple(sizes))


def plain_norm(features=5) -> nn.BatchNorm2d:
    norm = nn.BatchNorm2d(features)
    nn.init.uniform_(norm.weight)
    nn.init.normal_(norm.bias)
    return norm


def images(num, seed=0, shape=(5, 4, 3)):
    return torch.randn(num, *shape, generator=torch.Generator().manual_seed(seed))


def test_one_domain_and_one_group_is_plain_batch_norm():
    plain = plain_norm()
    ours = convert(copy.deepcopy(plain), routing(["target"]))
    for seed in range(3):
        torch.testing.assert_close(ours(images(8, seed)), plain(images(8, seed)))
    norm = ours.norms["target"]
    torch.testing.assert_close(norm.running_mean, plain.running_mean)
    torch.testing.assert_close(norm.running_var, plain.running_var)
    assert norm.num_batches_tracked == plain.num_batches_tracked
    torch.testing.assert_close(ours.eval()(images(3)), plain.eval()(images(3)))


@pytest.mark.parametrize("sizes", [(6, 6), (2, 10), (0, 12)])
@pytest.mark.parametrize("group", [0, 2, 4])
def test_equals_plain_layers_on_each_group(sizes, group):
    plain = plain_norm()
    ours = convert(copy.deepcopy(plain), routing(sizes=sizes), group)
    batch = images(12)
    expected, states = [], {}
    for domain, part in zip(("source", "target"), batch.split(list(sizes)), strict=True):
        states[domain] = (plain.running_mean, plain.running_var, 0)
        if not len(part):
            continue
        layers = [copy.deepcopy(plain) for _ in range(max(1, len(part) // group) if group else 1)]
        expected += [layer(rows) for layer, rows in zip(layers, part.tensor_split(len(layers)), strict=True)]
        running = [[layer.running_mean for layer in layers], [layer.running_var for layer in layers]]
        states[domain] = (*(torch.stack(seen).mean(0) for seen in running), 1)
    outputs = ours(batch)
    torch.testing.assert_close(outputs, torch.cat(expected))
    for domain, (mean, variance, num_batches) in states.items():
        norm = ours.norms[domain]
        torch.testing.assert_close(norm.running_mean, mean)
        torch.testing.assert_close(norm.running_var, variance)
        assert norm.num_batches_tracked == num_batches


def test_gradients_are_those_of_the_groups():
    plain = plain_norm()
    ours = convert(copy.deepcopy(plain), routing(sizes=(4, 4)), 2)
    first, second = images(8).requires_grad_(), images(8).requires_grad_()
    weight = images(8, 1)
    (ours(first) * weight).sum().backward()
    layers = [copy.deepcopy(plain) for _ in range(4)]
    parts = [layer(rows) for layer, rows in zip(layers, second.split(2), strict=True)]
    (torch.cat(parts) * weight).sum().backward()
    torch.testing.assert_close(first.grad, second.grad)
    for domain, own in (("source", layers[:2]), ("target", layers[2:])):
        for name in ("weight", "bias"):
            summed = sum(getattr(layer, name).grad for layer in own)
            torch.testing.assert_close(getattr(ours.norms[domain], name).grad, summed)


def test_a_domain_does_not_touch_another():
    ours = convert(plain_norm(), routing(sizes=(0, 6)))
    before = copy.deepcopy(ours.norms["source"].state_dict())
    ours(images(6)).sum().backward()
    assert all(torch.equal(value, before[name]) for name, value in ours.norms["source"].state_dict().items())
    assert ours.norms["source"].weight.grad is None


def test_any_number_of_domains():
    shared = routing(("a", "b", "c"), (2, 3, 4))
    ours = convert(plain_norm(), shared)
    assert ours(images(9)).shape == (9, 5, 4, 3)
    assert [int(norm.num_batches_tracked) for norm in ours.norms.values()] == [1, 1, 1]


@pytest.mark.parametrize("kind", [nn.BatchNorm2d, BatchNormAct2d])
def test_folding_gives_back_the_plain_layer(kind):
    network = nn.Sequential(nn.Conv2d(3, 5, 3), kind(5), nn.Conv2d(5, 2, 1), kind(2))
    shared = routing(sizes=(4, 4))
    converted = convert(copy.deepcopy(network), shared)
    converted.train()
    for seed in range(3):
        converted(images(8, seed, (3, 8, 8)) * (1 + seed))
    converted.eval()
    for domain in shared.domains:
        shared.evaluation = domain
        expected = converted(images(2, 9, (3, 8, 8)))
        folded = fold(copy.deepcopy(converted), domain)
        assert type(folded[1]) is kind
        assert not any(isinstance(module, DomainBatchNorm) for module in folded.modules())
        assert list(folded.state_dict()) == list(network.state_dict())
        torch.testing.assert_close(folded.eval()(images(2, 9, (3, 8, 8))), expected)


def test_an_activation_of_timm_is_kept():
    assert (convert(BatchNormAct2d(5), routing(sizes=(3, 3)))(images(6)) >= 0).all()


def test_a_frozen_bias_stays_frozen_with_one_domain_and_is_trained_with_two():
    neck = nn.BatchNorm1d(4)
    neck.bias.requires_grad_(False)
    one = convert(copy.deepcopy(neck), routing(["target"]))
    two = convert(copy.deepcopy(neck), routing())
    assert [p.requires_grad for p in one.parameters()] == [True, False]
    assert all(p.requires_grad for p in two.parameters())


def test_copies_share_one_routing_of_their_own():
    shared = routing(sizes=(2, 2))
    network = convert(nn.Sequential(plain_norm(), plain_norm()), shared)
    for copied in (copy.deepcopy(network), pickle.loads(pickle.dumps(network))):
        assert copied[0].routing is copied[1].routing
        assert copied[0].routing is not shared


@pytest.mark.parametrize("sizes", [(8,), (4, 8)])
def test_groups_are_of_images_where_a_layer_sees_their_tokens(sizes):
    domains = ("source", "target")[-len(sizes) :]
    layer = convert(nn.BatchNorm1d(5), routing(domains, sizes), 4)
    tokens = torch.randn(3 * sum(sizes), 5, generator=torch.Generator().manual_seed(0))
    # Three tokens an image, one image after the other.
    expected = [F.batch_norm(group, None, None, training=True) for group in tokens.split(12)]
    torch.testing.assert_close(layer(tokens), torch.cat(expected))


def test_sizes_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match=r"a batch of 5 images does not split into \(2, 2\)"):
        convert(plain_norm(), routing(sizes=(2, 2)))(images(5))


def test_a_view_of_tokens_in_used_memory():
    """The first token of each image is a view with gaps; whatever memory held before, nothing of it comes through."""
    routing = DomainRouting(("source", "target"), "target", sizes=(4, 4))
    layer = DomainBatchNorm(nn.BatchNorm1d(64), routing, 2).train()
    tokens = torch.randn(8, 9, 64, generator=torch.Generator().manual_seed(0))
    first = tokens[:, 0]
    expected = torch.cat(
        [nn.functional.batch_norm(first[at : at + 2], None, None, training=True) for at in range(0, 8, 2)]
    )
    for _ in range(20):
        used = [torch.full((size,), torch.nan) for size in (16, 64, 128, 512)]
        del used
        torch.testing.assert_close(layer(first), expected)


@pytest.mark.parametrize("sizes", [(8, 8), (3, 9), (0, 12)])
def test_ordinary_operations_equal_the_custom_function(monkeypatch, sizes):
    """What other devices and compiled networks run: outputs, gradients and statistics are those of the host."""
    results = []
    for forward in (domain_batchnorm.GroupNorms.apply, domain_batchnorm.norm_group_by_group):
        monkeypatch.setattr(domain_batchnorm.GroupNorms, "apply", forward)
        torch.manual_seed(0)
        layer = convert(plain_norm(), routing(sizes=sizes), 3)
        inputs = images(sum(sizes)).to(memory_format=torch.channels_last).requires_grad_()
        outputs = layer(inputs)
        (outputs * images(sum(sizes), 1)).sum().backward()
        gradients = [parameter.grad for parameter in layer.parameters() if parameter.grad is not None]
        results.append([outputs, inputs.grad, *gradients, *layer.buffers()])
    assert len(results[0]) >= 9
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("devices", [1, 2, 4])
def test_groups_of_sixteen_are_the_same_on_any_number_of_devices(devices):
    """Each device normalises its share of 64 + 64 images; joined, outputs and statistics are those of one device."""
    plain, batch, size = plain_norm(), images(128), 64
    whole = convert(copy.deepcopy(plain), routing(sizes=(size, size)), 16)
    expected = whole(batch)
    share, layers = size // devices, []
    outputs = torch.empty_like(expected)
    for rank in range(devices):
        rows = torch.cat([torch.arange(start + rank * share, start + (rank + 1) * share) for start in (0, size)])
        layer = convert(copy.deepcopy(plain), routing(sizes=(share, share)), 16)
        outputs[rows] = layer(batch[rows])
        layers.append(layer)
    torch.testing.assert_close(outputs, expected)
    for domain in ("source", "target"):
        for name in ("running_mean", "running_var"):
            # What ``Runtime.average`` does at the end of an epoch.
            mean = torch.stack([getattr(layer.norms[domain], name) for layer in layers]).mean(dim=0)
            torch.testing.assert_close(mean, getattr(whole.norms[domain], name))
