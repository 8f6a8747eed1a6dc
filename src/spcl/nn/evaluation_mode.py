"""A network as it is used: in evaluation mode, with the floating type of its own weights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@contextmanager
def evaluation_mode(module: nn.Module) -> Iterator[None]:
    """Put a module in evaluation mode, and each of its parts back in the mode it was in."""
    was = {part: part.training for part in module.modules()}
    if not any(was.values()):
        yield
        return
    module.eval()
    try:
        yield
    finally:
        module.train(was[module])
        for part, is_training in was.items():
            part.training = is_training


def encoded_rows(network: nn.Module, images: Tensor) -> Tensor:
    """Features of normalised images by a network whose weights may be of any floating type.

    Args:
        network: Gives unit rows; used in the mode it is in.
        images: ``[B, 3, H, W]``; brought to the type and the device of the weights.

    Returns:
        ``[B, D]`` float32, unit rows.
    """
    weight = next(network.parameters())
    is_single = weight.dtype == torch.float32
    # A chosen precision is for weights of single precision: others say themselves what is computed in.
    with nullcontext() if is_single else torch.autocast(weight.device.type, enabled=False):
        features: Tensor = network(images.to(weight.device, weight.dtype))
    # Half precision leaves lengths that differ from one by a thousandth.
    is_coarse = features.dtype in (torch.float16, torch.bfloat16)
    return F.normalize(features.float(), dim=1) if is_coarse else features.float()
