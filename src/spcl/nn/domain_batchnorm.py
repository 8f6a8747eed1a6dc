"""Batch norm per domain, in groups of images.

Paper: domain-specific batch norm (Chang et al., CVPR 2019), as section 4.1 uses it. Each domain has separate statistics
and affine parameters. In training, statistics are taken over groups of a fixed number of images, so that the
result does not depend on how many devices share a batch; the official code sees 16 images of a domain at a time only
because four GPUs split the batch. In evaluation, and after ``fold``, it is plain batch norm of one domain.

The encoder sets how a batch is split into domains, in one ``DomainRouting`` that all layers of a network share.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from spcl.nn.group_norms import GroupNorms, NormGroups, norm_group_by_group


@dataclass
class DomainRouting:
    """The parts of a batch that belong to each domain; one object for all the layers of a network.

    Attributes:
        domains: Names of the domains, in the order of their parts in a batch.
        sizes: Number of images of each domain in the current batch.
        evaluation: The domain whose statistics are used in evaluation mode.
        part: Number of the current part of the step's batch, from 1, and the number of parts. Parts are encoded one
            after the other, and the running statistics move by the mean over them, as with one part.
    """

    domains: tuple[str, ...]
    evaluation: str
    sizes: tuple[int, ...] = field(default=())
    part: tuple[int, int] = (1, 1)


def _lengths(size: int, count: int) -> list[int]:
    """Give the sizes of ``count`` nearly equal groups."""
    return [size // count + (at < size % count) for at in range(count)]


class DomainBatchNorm(nn.Module):
    """Batch norm with parameters and statistics per domain, over groups of images in training.

    Args:
        norm: Plain layer that is replaced; every domain starts from its values, and its activation (timm) is kept.
        routing: The parts of a batch that belong to each domain.
        group_size: Number of images in a group in training; 0: the domain's whole part of the batch. A part that does
            not divide is cut into nearly equal groups, none smaller than this.
    """

    def __init__(self, norm: _BatchNorm, routing: DomainRouting, group_size: int = 0) -> None:
        super().__init__()
        self.routing = routing
        self.group_size = group_size
        self.norms = nn.ModuleDict({domain: _plain(norm) for domain in routing.domains})
        # timm includes dropout and activation in its batch norm; here they are applied after it.
        self.after = nn.Sequential(*[getattr(norm, name) for name in ("drop", "act") if hasattr(norm, name)])
        # A tuple, so that the layer is not registered: it only gives the kind of layer that ``folded`` returns.
        self._original = (norm,)

    def forward(self, inputs: Tensor) -> Tensor:
        """Normalise ``[B, C, ...]``, each domain's part by its layer; the shape is kept."""
        if not self.training:
            return self._after(self._norm(self.routing.evaluation)(inputs))
        return self._after(self._in_groups(inputs))

    def folded(self, domain: str) -> nn.Module:
        """Give the plain layer of one domain, of the kind that was replaced."""
        plain = copy.deepcopy(self._original[0]).to(self._norm(domain).weight.device)
        plain.load_state_dict(self._norm(domain).state_dict(), strict=False)
        return plain.train(self.training)

    def _in_groups(self, inputs: Tensor) -> Tensor:
        """Normalise each group with its own statistics, and move the running ones."""
        norms = [self._norm(domain) for domain in self.routing.domains]
        groups = self._groups(len(inputs))
        running_mean, _ = _running(norms[0])
        # Means and unbiased variances of all groups, written by the forward pass.
        statistics = running_mean.new_zeros(2, len(groups.lengths), len(running_mean))
        parameters = [parameter for norm in norms for parameter in (norm.weight, norm.bias)]
        # The custom function is faster on the host; on devices, and compiled, ordinary operations are used.
        if torch.compiler.is_compiling() or inputs.device.type != "cpu":
            outputs = norm_group_by_group(inputs, groups, statistics, norms[0].eps, *parameters)
        else:
            outputs = GroupNorms.apply(inputs, groups, statistics, norms[0].eps, *parameters)
        for number, norm in enumerate(norms):
            if number in groups.domains:
                self._move_running(norm, statistics[:, groups.of_domain(number)])
        return outputs

    def _groups(self, rows: int) -> NormGroups:
        """Give the groups of a layer's input, whose rows are images, or equally many tokens or windows of each."""
        sizes = self._sizes(rows)
        of_an_image = rows // max(1, sum(sizes))
        groups = NormGroups([], [])
        for number, size in enumerate(sizes):
            count = max(1, size // self.group_size) if self.group_size else 1
            lengths = [of_an_image * length for length in _lengths(size, count)] if size else []
            groups.lengths.extend(lengths)
            groups.domains.extend([number] * len(lengths))
        return groups

    @torch.no_grad()
    def _move_running(self, norm: _BatchNorm, statistics: Tensor) -> None:
        """Move the running statistics once a step, towards the mean over the groups: one group is plain batch norm.

        In a step of A parts, part p moves them by ``w / (A - (A - p) w)``: after the last one, each part has the weight
        ``w / A`` and the old value ``1 - w``.

        Args:
            norm: The layer whose running statistics are moved.
            statistics: ``[2, G, C]``, mean and unbiased variance of each of its groups.
        """
        part, of = self.routing.part
        if norm.num_batches_tracked is not None and part == of:
            norm.num_batches_tracked.add_(1)
        weight = 0.1 if norm.momentum is None else norm.momentum
        weight = weight / (of - (of - part) * weight)
        for running, seen in zip(_running(norm), statistics.mean(dim=1), strict=True):
            running.lerp_(seen, weight)

    def _sizes(self, rows: int) -> tuple[int, ...]:
        """Give the number of images of each domain."""
        domains, sizes = self.routing.domains, self.routing.sizes
        if len(domains) == 1 and not sizes:
            return (rows,)
        if len(sizes) != len(domains) or rows % max(1, sum(sizes)):
            raise ValueError(
                f"a batch of {rows} images does not split into {sizes} for the domains {', '.join(domains)}; give the "
                "encoder their sizes"
            )
        return sizes

    def _norm(self, domain: str) -> _BatchNorm:
        norm = self.norms[domain]
        if not isinstance(norm, _BatchNorm):
            raise TypeError(f"{type(norm).__name__} is not a batch norm")
        return norm

    def _after(self, outputs: Tensor) -> Tensor:
        normalised: Tensor = self.after(outputs)
        return normalised


def convert(module: nn.Module, routing: DomainRouting, group_size: int = 0) -> nn.Module:
    """Replace every batch norm of a network, in place, by one per domain that starts from its values.

    With several domains every parameter is trained, the neck's bias included, as the official conversion does
    (method: row 11), but for a layer of which none is; with one, what was frozen stays frozen.

    Returns:
        The module itself, or its replacement where it is a batch norm.
    """
    if isinstance(module, _BatchNorm):
        replaced = DomainBatchNorm(module, routing, group_size)
        if len(routing.domains) > 1 and any(parameter.requires_grad for parameter in module.parameters()):
            replaced.requires_grad_(True)
        return replaced
    for name, child in module.named_children():
        if not isinstance(child, DomainBatchNorm):
            setattr(module, name, convert(child, routing, group_size))
    return module


def fold(module: nn.Module, domain: str) -> nn.Module:
    """Replace every ``DomainBatchNorm``, in place, by the plain layer of one domain.

    Returns:
        The module itself, or its replacement where it is a ``DomainBatchNorm``.

    Raises:
        KeyError: If a layer has no such domain.
    """
    if isinstance(module, DomainBatchNorm):
        return module.folded(domain)
    for name, child in module.named_children():
        setattr(module, name, fold(child, domain))
    return module


def running_statistics(module: nn.Module) -> list[Tensor]:
    """Give the running means and variances of every batch norm of a network."""
    norms = [layer for layer in module.modules() if isinstance(layer, _BatchNorm)]
    return [buffer for norm in norms if norm.running_mean is not None for buffer in _running(norm)]


def _running(norm: _BatchNorm) -> tuple[Tensor, Tensor]:
    if norm.running_mean is None or norm.running_var is None:
        raise ValueError("a batch norm without running statistics cannot be made domain-specific")
    return norm.running_mean, norm.running_var


def _plain(norm: _BatchNorm) -> _BatchNorm:
    """The same layer, without the dropout and activation that timm includes in it."""
    kind = nn.BatchNorm1d if isinstance(norm, nn.BatchNorm1d) else nn.BatchNorm2d
    plain = kind(norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats)
    plain.load_state_dict({name: value for name, value in norm.state_dict().items() if name in plain.state_dict()})
    for name, parameter in plain.named_parameters():
        parameter.requires_grad_(getattr(norm, name).requires_grad)
    return plain.train(norm.training)
