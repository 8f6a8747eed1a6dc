"""One step of training: forward, loss, backward, optimiser, memory, teacher.

Paper: Algorithm 1, the inner loop; equations 1 to 3. The step does not depend on the kinds of its parts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from spcl.data.batches import Batch
from spcl.nn.encoder_network import EncoderNetwork
from spcl.runtime import Runtime
from spcl.selfpaced.slots import Slots
from spcl.training.parts import (
    FeatureSource,
    Labeller,
    LossTerm,
    Memory,
    Optimisation,
    StepInputs,
    TargetView,
    Teacher,
)


@dataclass(frozen=True)
class TrainingParts:
    """The parts of a run that the loop uses.

    Attributes:
        runtime: Device, precision and processes.
        encoder: Network in training.
        network: The encoder as a step calls it: compiled, distributed over processes; the same weights.
        optimisation: Optimisation of the encoder.
        memory: Memory that the losses read.
        losses: The terms of the loss.
        label_features: Source of the features from which labels are computed.
        labeller: Computes the pseudo labels.
        teacher: Second network that follows the encoder; None: there is none.
        slots: Layout of the memory.
        target: The view of the target that the labeller may see.
        domains: The names of the domains in a batch, in its order.
    """

    runtime: Runtime
    encoder: EncoderNetwork
    network: nn.Module
    optimisation: Optimisation
    memory: Memory
    losses: tuple[LossTerm, ...]
    label_features: FeatureSource
    labeller: Labeller
    teacher: Teacher | None
    slots: Slots
    target: TargetView
    domains: tuple[str, ...]

    @property
    def evaluated(self) -> EncoderNetwork:
        """The network that is evaluated and saved as the result: the teacher's, or the encoder."""
        return self.encoder if self.teacher is None else self.teacher.network


def step(parts: TrainingParts, batch: Batch, accumulate: int = 1) -> Tensor:
    """Run one step: forward, loss, backward, optimiser, memory, teacher.

    Args:
        parts: Parts of the run.
        batch: This process's share of a batch.
        accumulate: Number of parts in which the share is encoded, one after the other; the result is the same.

    Returns:
        ``[loss terms, domains]`` float32 on the device: the mean loss of each domain's images here, times the weight
        of the term.
    """
    runtime, optimizer = parts.runtime, parts.optimisation.optimizer
    pieces = batch.split(accumulate)
    features: list[Tensor] = []
    totals = torch.zeros(len(parts.losses), len(batch.domain_sizes), device=runtime.device)
    runtime.clear_gradients(optimizer)
    for number, piece in enumerate(pieces, start=1):
        with runtime.without_sync(parts.network, when=number < len(pieces)):
            encoded = _forward(parts, piece, (number, len(pieces)))
            losses = _losses(parts, piece, encoded)
            runtime.backward(losses.sum() / len(pieces))
        features.append(encoded.detach().float())
        totals += losses.detach() / len(pieces)
    runtime.optimise(optimizer)
    parts.memory.update(_of_whole_batch(features, pieces, runtime), batch.all_slots)
    if parts.teacher is not None:
        parts.teacher.follow(parts.encoder)
    return totals


def _forward(parts: TrainingParts, piece: Batch, part: tuple[int, int]) -> Tensor:
    """Encode a part of the batch, ``[B, D]``."""
    with parts.runtime.autocast():
        encoded: Tensor = parts.network(piece.images, piece.domain_sizes, part)
    return encoded


def _losses(parts: TrainingParts, piece: Batch, encoded: Tensor) -> Tensor:
    """Compute the mean loss of each domain by each term, times the weight of the term: ``[terms, domains]``.

    The official objective is the sum of the domains' means: each domain has the same weight, whatever its size.
    """
    teacher = parts.teacher
    encode = None if teacher is None else lambda: _encoded_by(teacher.network, piece, parts)
    inputs = StepInputs(encoded, piece.slots, piece.cameras, parts.memory, encode)
    means = []
    for term in parts.losses:
        each = term(inputs)
        means.append(torch.stack([mine.mean() for mine in torch.split(each, list(piece.domain_sizes))]))
    weights = [term.weight for term in parts.losses]
    return torch.stack([mean if weight == 1 else weight * mean for mean, weight in zip(means, weights, strict=True)])


@torch.no_grad()
def _encoded_by(network: EncoderNetwork, piece: Batch, parts: TrainingParts) -> Tensor:
    """Encode a part of the batch with a network in evaluation mode, each domain with its own batch norm."""
    usual = network.evaluation_domain
    encoded = []
    with parts.runtime.autocast():
        for domain, images in zip(parts.domains, torch.split(piece.images, list(piece.domain_sizes)), strict=True):
            network.evaluation_domain = domain
            encoded.append(network(images))
    network.evaluation_domain = usual
    return torch.cat(encoded).float()


def _of_whole_batch(features: Sequence[Tensor], pieces: Sequence[Batch], runtime: Runtime) -> Tensor:
    """Gather the features of all processes, one domain after the other, in the order of ``Batch.all_slots``."""
    if len(pieces) == 1 and runtime.num_processes == 1:
        return features[0]
    by_domain = zip(
        *(torch.split(encoded, list(piece.domain_sizes)) for encoded, piece in zip(features, pieces, strict=True)),
        strict=True,
    )
    return torch.cat([runtime.gather_equal(torch.cat(mine)).flatten(0, 1) for mine in by_domain])
