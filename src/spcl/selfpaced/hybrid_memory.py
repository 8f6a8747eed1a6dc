"""The hybrid memory: one row per source class and per target instance.

Paper: section 3.2 and equations 2 and 3. Rows are filled once, relabelled each epoch and moved after each step,
``m <- momentum * m + (1 - momentum) * f``, re-normalised. Beside the rows it keeps the mean of each class, because the
loss needs only these (``contrastive_loss.py``): C means in place of K rows, updated when rows move.

Reading and writing are separate: the loss reads, ``update`` writes, after the backward pass.

Memory: 4 K D bytes, and 4 C D more once rows have classes, at most twice the rows in all; nothing here makes a copy.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from spcl.arrays import real_tensor, unit_rows, whole_tensor
from spcl.settings_checks import check_count, check_range

_ROWS_AT_ONCE = 16384
_LEAST_SQUARE = 1e-20


class NotFiniteError(ValueError):
    """A feature is NaN or infinite."""


class HybridMemory(nn.Module):
    """A memory of ``num_slots`` unit rows of length ``dim``, float32 whatever the network's precision.

    Attributes:
        features: ``[K, D]`` float32.
        labels: ``[K]`` int64, the class of each row.
        class_means: ``[C, D]`` float32, the un-normalised mean of the rows of each class (zero for an empty class).
        class_sizes: ``[C]`` int64.
    """

    features: Tensor
    labels: Tensor
    class_means: Tensor
    class_sizes: Tensor

    def __init__(self, num_slots: int, dim: int, *, momentum: float = 0.2) -> None:
        super().__init__()
        check_count(num_slots, "num_slots", 0)
        check_count(dim, "dim")
        # 0: only the new feature counts; 1: only the old row.
        self.momentum = check_range(momentum, "momentum", 0, 1)
        self.register_buffer("features", torch.zeros(num_slots, dim))
        self.register_buffer("labels", torch.arange(num_slots))
        # No row has a class before ``relabel``: means of K classes, which are not read, would double the memory.
        self.register_buffer("class_means", torch.zeros(0, dim))
        self.register_buffer("class_sizes", torch.zeros(0, dtype=torch.int64))

    @classmethod
    def from_rows(cls, features: Tensor, labels: Tensor, *, momentum: float = 0.2) -> HybridMemory:
        """Make a memory from given rows ``[K, D]`` and their classes ``[K]``.

        Rows of unit length are not changed, others are normalised. A class number that no row has is an empty class,
        which the loss leaves out.

        Raises:
            ValueError: If rows are zero, NaN or infinite, or labels are not one class from 0 for each row.
        """
        features = unit_rows(features)
        labels = whole_tensor(labels, "labels")
        memory = cls(*features.shape, momentum=momentum).to(features.device)
        memory.features.copy_(features)
        memory.relabel(labels)
        return memory

    def rows(self) -> Tensor:
        """Give all rows, ``[K, D]``, from which the next pseudo labels are computed."""
        return self.features

    @torch.no_grad()
    def fill(self, features: Tensor) -> None:
        """Set all rows, ``[K, D]``, normalised here. Every row is a separate class until ``relabel``."""
        features = real_tensor(features, "rows")
        if features.shape != self.features.shape:
            raise ValueError(f"rows have shape {tuple(features.shape)}; the memory {tuple(self.features.shape)}")
        self.put(0, features)
        self.relabel(torch.arange(len(self.features)))

    @torch.no_grad()
    def put(self, start: int, features: Tensor) -> None:
        """Set rows from ``start`` on, ``[n, D]``, normalised here, in place. No row has a class until ``relabel``."""
        features = checked_rows(start, features, tuple(self.features.shape))
        self.class_means, self.class_sizes = self.class_means[:0].clone(), self.class_sizes[:0].clone()
        normalised_into(self.features[start : start + len(features)], features)

    @torch.no_grad()
    def relabel(self, labels: Tensor) -> None:
        """Give each row its class, ``[K]`` int from 0, and recompute the class means."""
        labels = whole_tensor(labels, "labels").to(self.features.device)
        if labels.shape != (len(self.features),):
            raise ValueError(
                f"labels have shape {tuple(labels.shape)}; expected one for each of {len(self.features)} rows"
            )
        if len(labels) and int(labels.min()) < 0:
            raise ValueError("labels must not be negative: an un-clustered instance is a class of its own")
        num_classes = int(labels.max()) + 1 if len(labels) else 0
        self.labels = labels.clone()
        self.class_sizes = torch.bincount(labels, minlength=num_classes)
        # The old means are freed before the new ones are made, to keep memory low.
        self.class_means = self.class_means[:0].clone()
        sums = torch.zeros(num_classes, self.features.shape[1], device=self.features.device)
        sums.index_add_(0, labels, self.features)
        self.class_means = sums.div_(self.class_sizes.clamp(min=1).unsqueeze(1))

    @torch.no_grad()
    def update(self, inputs: Tensor, slots: Tensor) -> None:
        """Move the rows of the batch towards their new features.

        A row that occurs several times in the batch moves several times, in batch order.

        Args:
            inputs: ``[B, D]`` features of the batch, of unit length.
            slots: ``[B]`` int64, the memory rows of the batch; on the host, so that no step waits for the device.

        Raises:
            ValueError: If shapes do not fit, a slot on the host is out of range, or rows have no classes yet.
            NotFiniteError: If a feature on the host is NaN or infinite; the memory is unchanged.

        Paper: equations 2 and 3. Reference: ``spcl/models/hm.py: HM.backward``.
        """
        require_classes(self.class_sizes)
        inputs, slots = checked_batch(inputs, slots, tuple(self.features.shape))
        device = self.features.device
        inputs = inputs.detach().to(self.features.dtype)
        for positions, rows in in_turns(slots):
            positions, rows = positions.to(device, non_blocking=True), rows.to(device, non_blocking=True)
            old = self.features[rows]
            moved = F.normalize(self.momentum * old + (1.0 - self.momentum) * inputs[positions], dim=1)
            self.features[rows] = moved
            classes = self.labels[rows]
            self.class_means.index_add_(0, classes, (moved - old) / self.class_sizes[classes].unsqueeze(1))

    def _load_from_state_dict(self, state_dict, prefix, *args, **kwargs):  # type: ignore[no-untyped-def]
        # The number of classes changes each epoch: take the saved size instead of raising an error.
        for name in ("class_means", "class_sizes"):
            saved = state_dict.get(prefix + name)
            if saved is not None:
                setattr(self, name, torch.empty_like(saved, device=self.features.device))
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)


def checked_rows(start: int, features: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Give rows as a tensor.

    Raises:
        ValueError: If they are not real numbers, or do not fit into a memory of this shape from ``start`` on.
    """
    check_count(start, "start", 0)
    features = real_tensor(features, "rows")
    if features.ndim != 2 or features.shape[1] != shape[1] or not 0 <= start <= shape[0] - len(features):
        raise ValueError(f"rows from {start} on have shape {tuple(features.shape)}; the memory {shape}")
    return features


def normalised_into(rows: Tensor, features: Tensor) -> None:
    """Write ``features`` into ``rows``, both ``[n, D]``, each of unit length: some at a time, so that no copy of all is
    made.

    Raises:
        ValueError: If features are zero or not finite.
    """
    for at in range(0, len(rows), _ROWS_AT_ONCE):
        part = slice(at, at + _ROWS_AT_ONCE)
        given = features[part].to(rows)
        squares = torch.linalg.vecdot(given, given)
        if not bool(((squares > _LEAST_SQUARE) & (squares < torch.inf)).all()):
            # Without a direction, or out of the range of single precision.
            given = unit_rows(features[part], f"rows from {at} on" if at else "rows", warns=False).to(rows)
        rows[part] = F.normalize(given, dim=1)


def checked_batch(inputs: Tensor, slots: Tensor, shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Give the features of a batch and their memory rows as tensors, checked.

    Values on a device are not checked: no step waits for them.

    Raises:
        ValueError: If types or shapes do not fit, or a slot on the host is out of range.
        NotFiniteError: If a feature on the host is NaN or infinite.
    """
    inputs = real_tensor(inputs, "inputs")
    slots = slots if isinstance(slots, Tensor) else whole_tensor(slots, "slots")
    if inputs.ndim != 2 or inputs.shape[1] != shape[1] or not inputs.is_floating_point():
        raise ValueError(
            f"inputs are {inputs.dtype} of shape {tuple(inputs.shape)}; expected floating-point [B, {shape[1]}]"
        )
    if slots.shape != inputs.shape[:1] or slots.dtype not in (torch.int64, torch.int32):
        raise ValueError(f"slots are {slots.dtype} of shape {tuple(slots.shape)}; expected int64 [{len(inputs)}]")
    if slots.device.type == "cpu" and len(slots) and not 0 <= int(slots.min()) <= int(slots.max()) < shape[0]:
        raise ValueError(
            f"slots lie from {int(slots.min())} to {int(slots.max())}; the memory has rows 0 to {shape[0] - 1}"
        )
    if inputs.device.type == "cpu":
        is_finite = inputs.detach().isfinite().all(dim=1)
        if not bool(is_finite.all()):
            wrong = (~is_finite).nonzero()[:, 0].tolist()
            raise NotFiniteError(f"inputs hold values that are NaN or infinite in the rows {wrong[:5]}")
    return inputs, slots


def require_classes(class_sizes: Tensor) -> None:
    """Raise a ``ValueError`` if rows have no classes yet."""
    if not len(class_sizes):
        raise ValueError("the rows of the memory have no classes yet; call relabel(labels) first")


def in_turns(slots: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Split a batch into turns: the first occurrence of each slot, then the second, and so on.

    Args:
        slots: ``[B]`` int64, the memory rows of the batch.

    Returns:
        For each turn, positions in the batch and their slots; no slot occurs twice in a turn.
    """
    if not len(slots):
        return []
    order = torch.argsort(slots, stable=True)
    ordered = slots[order]
    positions = torch.arange(len(slots), device=slots.device)
    is_first = torch.ones_like(ordered, dtype=torch.bool)
    is_first[1:] = ordered[1:] != ordered[:-1]
    if bool(is_first.all()):
        return [(positions, slots)]
    first = torch.cummax(torch.where(is_first, positions, 0), dim=0).values
    turn = torch.empty_like(positions)
    turn[order] = positions - first
    turns = [(turn == number).nonzero()[:, 0] for number in range(int(turn.max()) + 1)]
    return [(at, slots[at]) for at in turns]
