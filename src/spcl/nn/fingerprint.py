"""The fingerprint of a network's weights, and a quick way to see whether they have changed."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import torch
from torch import Tensor

from spcl.nn.weight_names import COUNTER

_INTEGERS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def weights_fingerprint(state: Mapping[str, Tensor], preparation: str) -> str:
    """16 hex digits over weights and the preparation of images.

    Weights of double precision that hold the values of single ones have the same fingerprint. Cost: 0.1 s for a
    ResNet-50.

    Args:
        state: A ``state_dict``.
        preparation: Whatever else decides the features, as text.
    """
    digest = hashlib.sha256(preparation.encode())
    for name, value in sorted(state.items()):
        if not name.endswith(COUNTER):
            digest.update(name.encode())
            plain = value.detach().float() if value.is_floating_point() else value.detach()
            digest.update(plain.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def weights_checksum(state: Mapping[str, Tensor]) -> tuple[object, ...]:
    """What differs as soon as a weight differs, however it was written (``load_state_dict``, ``.data``, ``half()``).

    A third of the time of the fingerprint; it says nothing beyond this process.
    """
    values = [value.detach() for name, value in state.items() if not name.endswith(COUNTER)]
    sums = [value.view(_INTEGERS[value.element_size()]).sum(dtype=torch.int64).cpu() for value in values]
    # A write that only changes places inside a tensor leaves its sum; torch counts writes, too.
    versions = tuple(0 if value.is_inference() else value._version for value in values)
    kinds = tuple((value.dtype, value.shape) for value in values)
    return tuple(int(value) for value in sums), versions, kinds
