"""The fingerprint of a network's weights, and a fast check whether they have changed."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Mapping

import torch
from torch import Tensor

from spcl.nn.weight_names import COUNTER, plain_name

_INTEGERS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def weights_fingerprint(state: Mapping[str, Tensor], preparation: str) -> str:
    """Give 16 hex digits of a hash of weights and image preparation.

    Weights in double precision with values of single precision have the same fingerprint, and so has a network after
    ``torch.compile``. Cost: 0.1 s for a ResNet-50.

    Args:
        state: A ``state_dict``.
        preparation: Text of all other settings that determine the features.
    """
    digest = hashlib.sha256(preparation.encode())
    for name, value in sorted((plain_name(name), value) for name, value in state.items()):
        if not name.endswith(COUNTER):
            digest.update(name.encode())
            plain = value.detach().float() if value.is_floating_point() else value.detach()
            digest.update(plain.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def weights_checksum(state: Mapping[str, Tensor]) -> tuple[object, ...]:
    """Give a value that differs if a weight has changed in any way (``load_state_dict``, ``.data``, ``half()``).

    It takes a third of the time of the fingerprint, and is valid only in this process.
    """
    values = [value.detach() for name, value in state.items() if not name.endswith(COUNTER)]
    sums = tuple(_checksum(value) for value in values)
    # torch counts its own writes to a tensor; writes by other means are found by the sums.
    versions = tuple(0 if value.is_inference() else value._version for value in values)
    kinds = tuple((value.dtype, value.shape, value.stride()) for value in values)
    return sums, versions, kinds


def _checksum(value: Tensor) -> int:
    """A checksum of the bytes in the order of memory, without a copy, which would cost more than the sum."""
    integers = value.view(_INTEGERS[value.element_size()])
    strides = value.stride()
    order = sorted(range(value.ndim), key=lambda axis: -strides[axis])
    flat = integers.permute(order).reshape(-1)
    if flat.device.type == "cpu":
        return zlib.crc32(flat.numpy().data)
    places = torch.arange(1, 2 * flat.numel(), 2, device=flat.device)
    return int((flat.to(torch.int64) * places).sum())
