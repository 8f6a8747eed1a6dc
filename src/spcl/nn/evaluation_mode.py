"""Use of a network after training: in evaluation mode, with the floating-point type of its weights."""

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
    """Encode normalised images with a network whose weights may be of any floating-point type.

    Args:
        network: Network that gives unit rows; its mode is not changed.
        images: ``[B, 3, H, W]`` normalised images; converted to the type and the device of the weights.

    Returns:
        ``[B, D]`` float32, unit rows.
    """
    weight = next(network.parameters())
    is_single = weight.dtype == torch.float32
    # A chosen precision applies to weights of single precision; other weights compute in their own type.
    with nullcontext() if is_single else torch.autocast(weight.device.type, enabled=False):
        features: Tensor = network(images.to(weight.device, weight.dtype))
    # In half precision, lengths differ from 1 by a thousandth.
    is_coarse = features.dtype in (torch.float16, torch.bfloat16)
    return F.normalize(features.float(), dim=1) if is_coarse else features.float()
