"""Batch norm in training over groups of images: each group is normalised by its own mean and variance.

``domain_batchnorm.py`` chooses the groups and keeps the running statistics.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

_AS_SEEN = 1.0
"""Momentum with which running statistics become the group's own mean and unbiased variance."""


class NormGroups(NamedTuple):
    """The groups of a batch; images of a group share statistics.

    Attributes:
        lengths: Number of images in each group, in the order of the batch.
        domains: Number of each group's domain, ascending.
    """

    lengths: list[int]
    domains: list[int]

    def of_domain(self, domain: int) -> slice:
        """Give the groups of a domain, which are adjacent."""
        start = self.domains.index(domain) if domain in self.domains else 0
        return slice(start, start + self.domains.count(domain))


class GroupNorms(torch.autograd.Function):
    """Batch norm of each group, written into one output: three times as fast as concatenating outputs."""

    @staticmethod
    def forward(
        ctx: Any, inputs: Tensor, groups: NormGroups, statistics: Tensor, eps: float, *parameters: Tensor | None
    ) -> Tensor:
        """Normalise ``[B, C, ...]``; write mean and unbiased variance of each group into ``statistics``."""
        outputs = torch.empty_like(inputs)
        saved = []
        parts = zip(
            torch.split(inputs, groups.lengths), torch.split(outputs, groups.lengths), groups.domains, strict=True
        )
        for number, (given, written, domain) in enumerate(parts):
            weight, bias = parameters[2 * domain : 2 * domain + 2]
            normalised, mean, inverse = torch.ops.aten.native_batch_norm(
                given, weight, bias, statistics[0, number], statistics[1, number], True, _AS_SEEN, eps
            )
            written.copy_(normalised)
            saved += [mean, inverse]
        ctx.groups, ctx.eps = groups, eps
        ctx.save_for_backward(inputs, *saved, *parameters)
        return outputs

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Give the gradients of the inputs and of each domain's weight and bias."""
        inputs, *saved = ctx.saved_tensors
        lengths, domains = ctx.groups
        count = 2 * len(lengths)
        statistics, parameters = saved[:count], saved[count:]
        given = gradients[0]
        if given.stride() != inputs.stride():
            given = torch.empty_like(inputs).copy_(given)
        to_inputs = torch.empty_like(inputs)
        to_parameters: list[Tensor | None] = [None] * len(parameters)
        parts = zip(
            torch.split(given, lengths),
            torch.split(inputs, lengths),
            torch.split(to_inputs, lengths),
            domains,
            strict=True,
        )
        for number, (given_part, inputs_part, written, domain) in enumerate(parts):
            here, *own = torch.ops.aten.native_batch_norm_backward(
                given_part,
                inputs_part,
                parameters[2 * domain],
                None,
                None,
                *statistics[2 * number : 2 * number + 2],
                True,
                ctx.eps,
                [True, parameters[2 * domain] is not None, parameters[2 * domain + 1] is not None],
            )
            written.copy_(here)
            for place, gradient in zip((2 * domain, 2 * domain + 1), own, strict=True):
                if parameters[place] is not None:
                    before = to_parameters[place]
                    to_parameters[place] = gradient if before is None else before + gradient
        return (to_inputs, None, None, None, *to_parameters)


def norm_group_by_group(
    inputs: Tensor, groups: NormGroups, statistics: Tensor, eps: float, *parameters: Tensor | None
) -> Tensor:
    """Compute the same as ``GroupNorms`` with ordinary operations, which ``torch.compile`` can fuse.

    The batch is split by one operation: the gradient of each separate slice would be as large as the batch.
    """
    parts = zip(torch.split(inputs, groups.lengths), groups.domains, strict=True)
    return torch.cat(
        [
            F.batch_norm(
                part,
                statistics[0, number],
                statistics[1, number],
                parameters[2 * domain],
                parameters[2 * domain + 1],
                True,
                _AS_SEEN,
                eps,
            )
            for number, (part, domain) in enumerate(parts)
        ]
    )
