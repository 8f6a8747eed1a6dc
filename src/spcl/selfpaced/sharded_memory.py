"""A hybrid memory larger than one device: rows and class means are spread over the processes of a run.

It is the algorithm of ``hybrid_memory.py`` and ``contrastive_loss.py``, with equal results within rounding. Each
process owns a part of the rows and a part of the class means. All rows are gathered on a process only while labels are
computed, and on the host of one process while a run is saved. The loss is a log-sum-exp whose partial sums are added
over the processes; its gradient with respect to the features is computed with it, so that the backward pass needs no
communication.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from spcl.arrays import real_tensor, whole_tensor
from spcl.runtime import Runtime
from spcl.selfpaced.hybrid_memory import (
    checked_batch,
    checked_rows,
    in_turns,
    normalised_into,
    require_classes,
)
from spcl.settings_checks import check_count, check_positive, check_range


class ShardedMemory:
    """A memory of ``num_slots`` unit rows of length ``dim`` over all processes; all of them call every method.

    Attributes:
        features: This process's rows, ``runtime.part(num_slots)`` of them.
        labels: ``[K]`` int64, the class of each row, of all rows.
        class_means: This process's class means, ``runtime.part(number of classes)`` of them.
        class_sizes: ``[C]`` int64, of all classes.
    """

    def __init__(self, num_slots: int, dim: int, *, runtime: Runtime, momentum: float = 0.2) -> None:
        check_count(num_slots, "num_slots", 0)
        check_count(dim, "dim")
        self.momentum, self.runtime = check_range(momentum, "momentum", 0, 1), runtime
        self._own = runtime.part(num_slots)
        device = runtime.device
        self.features = torch.zeros(len(self._own), dim, device=device)
        self.labels = torch.arange(num_slots, device=device)
        # No row has a class before ``relabel``.
        self.class_sizes = torch.zeros(0, dtype=torch.int64, device=device)
        self.class_means = torch.zeros(0, dim, device=device)

    def rows(self) -> Tensor:
        """Give a copy of all rows, ``[K, D]``, on every process, for the neighbour search.

        The copy is on the device if they fit, otherwise on the host.
        """
        num_rows, dim = len(self.labels), self.features.shape[1]
        own = self.features if self.runtime.has_room(4 * num_rows * dim) else self.features.cpu()
        return self.runtime.gather_parts(own, num_rows)

    @torch.no_grad()
    def fill(self, features: Tensor) -> None:
        """Set all rows as ``HybridMemory.fill`` does: ``[K, D]``, the same on every process."""
        features = real_tensor(features, "rows")
        if features.shape != (len(self.labels), self.features.shape[1]):
            raise ValueError(
                f"rows have shape {tuple(features.shape)}; the memory {(len(self.labels), self.features.shape[1])}"
            )
        self.put(0, features)
        self.relabel(torch.arange(len(self.labels)))

    @torch.no_grad()
    def put(self, start: int, features: Tensor) -> None:
        """Set rows as ``HybridMemory.put`` does: ``[n, D]``, the same on every process, which keeps its part."""
        features = checked_rows(start, features, (len(self.labels), self.features.shape[1]))
        self.class_means, self.class_sizes = self.class_means[:0].clone(), self.class_sizes[:0].clone()
        first, stop = max(start, self._own.start), min(start + len(features), self._own.stop)
        if first < stop:
            own = self.features[first - self._own.start : stop - self._own.start]
            normalised_into(own, features[first - start : stop - start])

    @torch.no_grad()
    def relabel(self, labels: Tensor) -> None:
        """Set classes as ``HybridMemory.relabel`` does: ``[K]``, the same on every process."""
        labels = whole_tensor(labels, "labels").to(self.labels.device)
        if labels.shape != self.labels.shape:
            raise ValueError(
                f"labels have shape {tuple(labels.shape)}; expected one for each of {len(self.labels)} rows"
            )
        if len(labels) and int(labels.min()) < 0:
            raise ValueError("labels must not be negative: an un-clustered instance is a class of its own")
        num_classes = int(labels.max()) + 1 if len(labels) else 0
        self.labels = labels.clone()
        self.class_sizes = torch.bincount(labels, minlength=num_classes)
        # The old means are freed before the new ones are made, to keep memory low.
        self.class_means = self.class_means[:0].clone()
        mine = labels[self._own.start : self._own.stop]
        for rank in range(self.runtime.num_processes):
            # One process's classes at a time: the sums of all classes may not fit on a device.
            part = self.runtime.part(num_classes, rank)
            sums = torch.zeros(len(part), self.features.shape[1], device=self.features.device)
            here = (mine >= part.start) & (mine < part.stop)
            sums.index_add_(0, mine[here] - part.start, self.features[here])
            self.runtime.sum(sums)
            if rank == self.runtime.rank:
                sizes = self.class_sizes[part.start : part.stop].clamp(min=1)
                self.class_means = sums.div_(sizes.unsqueeze(1))

    @torch.no_grad()
    def update(self, inputs: Tensor, slots: Tensor) -> None:
        """Move rows as ``HybridMemory.update`` does; inputs and slots of the whole batch, the same on every process.

        Raises:
            ValueError: As ``HybridMemory.update`` does.
        """
        require_classes(self.class_sizes)
        inputs, slots = checked_batch(inputs, slots, (len(self.labels), self.features.shape[1]))
        device = self.features.device
        inputs = inputs.detach().to(device=device, dtype=self.features.dtype)
        classes_here = self.runtime.part(len(self.class_sizes))
        for positions, rows in in_turns(slots.cpu()):
            owned = (rows >= self._own.start) & (rows < self._own.stop)
            own_rows, own_positions = (rows[owned] - self._own.start).to(device), positions[owned].to(device)
            old = self.features[own_rows]
            moved = F.normalize(self.momentum * old + (1.0 - self.momentum) * inputs[own_positions], dim=1)
            self.features[own_rows] = moved
            # The change of each row is sent from its owner to the owner of its class.
            shifts = torch.zeros(len(rows), inputs.shape[1], device=device)
            shifts[owned.to(device)] = moved - old
            self.runtime.sum(shifts)
            classes = self.labels[rows.to(device)]
            here = (classes >= classes_here.start) & (classes < classes_here.stop)
            sizes = self.class_sizes[classes[here]].unsqueeze(1)
            self.class_means.index_add_(0, classes[here] - classes_here.start, shifts[here] / sizes)

    def state_dict(self) -> dict[str, Tensor]:
        """Give the whole memory on the host of the main process, which saves it; an empty dictionary in the others.

        It equals ``HybridMemory.state_dict``: a run may be resumed on another number of devices.
        """
        features = self.runtime.gather_to_main(self.features, len(self.labels))
        class_means = self.runtime.gather_to_main(self.class_means, len(self.class_sizes))
        if features is None or class_means is None:
            return {}
        return {
            "features": features,
            "labels": self.labels.cpu(),
            "class_means": class_means,
            "class_sizes": self.class_sizes.cpu(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Copy this process's part of a whole memory, so that the rest can be freed."""
        device = self.features.device
        classes = self.runtime.part(len(state["class_sizes"]))
        self.features.copy_(state["features"][self._own.start : self._own.stop])
        self.labels = state["labels"].clone().to(device)
        self.class_sizes = state["class_sizes"].clone().to(device)
        self.class_means = state["class_means"][classes.start : classes.stop].clone().to(device)


def sharded_contrastive_loss(
    inputs: Tensor, slots: Tensor, memory: ShardedMemory, *, temperature: float = 0.05
) -> Tensor:
    """Compute ``contrastive_loss`` ``[B]`` of this process's inputs ``[B, D]``, with B equal on every process."""
    temperature = check_positive(temperature, "temperature")
    require_classes(memory.class_sizes)
    inputs, slots = checked_batch(inputs, slots, (len(memory.labels), memory.features.shape[1]))
    targets = memory.labels[slots.to(memory.labels.device)]
    losses: Tensor = _ShardedCrossEntropy.apply(inputs, targets, memory, temperature)
    return losses


class _ShardedCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, inputs: Tensor, targets: Tensor, memory: ShardedMemory, temperature: float) -> Tensor:
        runtime = memory.runtime
        classes = runtime.part(len(memory.class_sizes))
        with torch.autocast(device_type=inputs.device.type, enabled=False):
            everyone = runtime.gather_equal(inputs.float()).flatten(0, 1)
            wanted = runtime.gather_equal(targets).flatten()
            logits = everyone @ memory.class_means.T / temperature
            logits.masked_fill_(memory.class_sizes[classes.start : classes.stop] == 0, -torch.inf)
            highest = torch.full((len(everyone),), -torch.inf, device=inputs.device)
            if logits.shape[1]:
                highest = logits.amax(dim=1)
            highest = runtime.largest(highest)
            here = ((wanted >= classes.start) & (wanted < classes.stop)).nonzero()[:, 0]
            places = wanted[here] - classes.start
            positive = torch.zeros_like(highest)
            positive[here] = logits[here, places]
            runtime.sum(positive)
            shares = (logits - highest.unsqueeze(1)).exp_()
            total = runtime.sum(shares.sum(dim=1))
            shares /= total.unsqueeze(1)
            shares[here, places] -= 1
            gradient = runtime.sum(shares @ memory.class_means / temperature)
        own = slice(runtime.rank * len(inputs), (runtime.rank + 1) * len(inputs))
        ctx.save_for_backward(gradient[own].to(inputs.dtype))
        return (total.log() + highest - positive)[own]

    @staticmethod
    def backward(ctx: Any, *outputs: Tensor) -> tuple[Tensor, None, None, None]:
        (gradient,) = ctx.saved_tensors
        return outputs[0].unsqueeze(1) * gradient, None, None, None
