"""The unified contrastive loss: one softmax over source classes, clusters and un-clustered instances.

Paper: equation 1. The logit of a class is the mean of its rows' similarities, which is the similarity with the
un-normalised mean of its rows: so C class means stand for K rows. It reads the memory and changes nothing.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from spcl.selfpaced.hybrid_memory import HybridMemory, checked_batch, require_classes
from spcl.settings_checks import check_positive


def contrastive_loss(inputs: Tensor, slots: Tensor, memory: HybridMemory, *, temperature: float = 0.05) -> Tensor:
    """Compute the unified contrastive loss of each input.

    Args:
        inputs: ``[B, D]`` features, of unit length except for dropout, not normalised here; the gradient flows into
            them.
        slots: ``[B]`` int64, the memory row of each input: the row's class is the positive one.
        memory: The hybrid memory; it is only read, and its empty classes are left out.
        temperature: Positive divisor of the similarities.

    Returns:
        ``[B]`` float32, always computed in float32.

    Raises:
        ValueError: If the temperature is not positive, shapes do not fit, a slot on the host is out of range, or the
            memory's rows have no classes yet.
        NotFiniteError: If a feature on the host is NaN or infinite. On a device, the loss is NaN or infinite then.

    Paper: equation 1. Reference: ``spcl/models/hm.py: HybridMemory.forward``, which adds 1e-6 twice where this
    subtracts the maximum.
    """
    temperature = check_positive(temperature, "temperature")
    require_classes(memory.class_sizes)
    inputs, slots = checked_batch(inputs, slots, tuple(memory.features.shape))
    # Under autocast the product would be rounded to half precision: the loss stays in float32.
    with torch.autocast(device_type=inputs.device.type, enabled=False):
        logits = inputs.float() @ memory.class_means.T / temperature
        logits = logits.masked_fill(memory.class_sizes == 0, -torch.inf)
        # Copied without waiting: the host continues while the device encodes.
        here = slots.to(memory.labels.device, non_blocking=True)
        return F.cross_entropy(logits, memory.labels[here], reduction="none")
