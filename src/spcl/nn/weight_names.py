"""Weights of other projects: the dictionary in a file, and the prefix of its names, that fit a network.

A file may hold one dictionary of tensors or several (``state_dict``, ``model``, ``state_dict_ema``) with other
values, and its names may have the prefix of a wrapping module (``module.``, ``model.``, ``backbone.``). The dictionary
and the prefix that fit most of the network's tensors, in name and shape, are taken.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

COUNTER = "num_batches_tracked"

_DEEPEST = 4
# Parts that torch inserts into the names of a network that is compiled, or spread over devices.
_WRAPPERS = re.compile(r"_(?:orig_mod|fsdp_wrapped_module|checkpoint_wrapped_module)\.")
# Averaged weights are the better ones; timm's own loader prefers them too.
_AVERAGED = re.compile(r"ema|teacher|averag|swa", re.IGNORECASE)
_NAMED = 4


@dataclass(frozen=True)
class UsedWeights:
    """The tensors of a file that a network took.

    Attributes:
        num_given: Number of tensors in the dictionary that was taken.
        unused: Names of the tensors that the network lacks, usually of a classifier.
        where: The dictionary's name inside the file; empty: the file is the dictionary.
        prefix: Prefix of the names of the used tensors in the file.
        deeper: Names in ``unused`` that continue a row of the network's layers: ``layer1.2`` where the network has
            ``layer1.0`` and ``layer1.1``. They belong to a deeper network.
    """

    num_given: int = 0
    unused: tuple[str, ...] = ()
    where: str = ""
    prefix: str = ""
    deeper: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Describe as text: ``318 of 320 tensors used; not used: fc.weight, fc.bias``."""
        origin = [f"of its {self.where!r}"] if self.where else []
        origin += [f"under names that begin with {self.prefix!r}"] if self.prefix else []
        used = f"{self.num_given - len(self.unused)} of {self.num_given} tensors used"
        used += f" ({', '.join(origin)})" if origin else ""
        return used + (f"; not used: {some_names(self.unused)}" if self.unused else "")


@dataclass(frozen=True)
class FoundTensors:
    """The tensors of a file that have a network's names, with its shapes or other ones.

    Attributes:
        values: The tensors by the network's names.
        used: The tensors of the file, and where they were found.
        num_fitting: Number of tensors that also have the network's shapes.
    """

    values: dict[str, Tensor]
    used: UsedWeights
    num_fitting: int


def plain_name(name: str) -> str:
    """Give a tensor's name without the parts that torch inserts for a compiled or distributed network."""
    return _WRAPPERS.sub("", name)


def some_names(names: Sequence[str]) -> str:
    """List the first names of many, and the number of the others."""
    return ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")


def dictionaries_of_tensors(content: Any) -> dict[str, dict[str, Tensor]]:
    """Collect all dictionaries of tensors in a file's content, by their place in it (``model``, ``ema/state_dict``)."""
    return dict(_dictionaries(content, "", 0))


def _dictionaries(content: Any, where: str, depth: int) -> Iterator[tuple[str, dict[str, Tensor]]]:
    if not isinstance(content, Mapping) or depth > _DEEPEST:
        return
    named = {name: value for name, value in content.items() if isinstance(name, str)}
    tensors = {name: tensor for name, value in named.items() if (tensor := _tensor(value)) is not None}
    if tensors:
        yield where, tensors
    for name, value in named.items():
        yield from _dictionaries(value, f"{where}/{name}" if where else name, depth + 1)


def _tensor(value: Any) -> Tensor | None:
    if isinstance(value, np.ndarray) and value.dtype.kind in "fiu":
        return torch.from_numpy(value)
    return value if isinstance(value, Tensor) and value.layout == torch.strided else None


def best_fit(
    wanted: Mapping[str, Tensor],
    dictionaries: Mapping[str, Mapping[str, Tensor]],
    other_names: Sequence[Mapping[str, str]] = (),
) -> FoundTensors:
    """Find the tensors of a file that fit a network best.

    Args:
        wanted: The network's ``state_dict``.
        dictionaries: The dictionaries of the file, from ``dictionaries_of_tensors``.
        other_names: Other names that the network's tensors may have in a file, by the network's names.

    Returns:
        FoundTensors; empty if no tensor has a name of the network. Of equally good dictionaries, averaged weights
            (EMA, teacher) are taken, otherwise the first.
    """
    everything = tuple(name for given in dictionaries.values() for name in given)
    best, best_key = FoundTensors({}, UsedWeights(len(everything), everything), 0), (0, 0, False)
    for where, given in dictionaries.items():
        for names in ({name: name for name in wanted}, *other_names):
            own_names = {there: own for own, there in names.items()}
            fitting, named = _beginnings(wanted, given, own_names)
            for prefix in named:
                key = (fitting[prefix], named[prefix], _AVERAGED.search(f"{where} {prefix}") is not None)
                if key > best_key:
                    best, best_key = _found(given, own_names, where, prefix, fitting[prefix]), key
    return best


def _beginnings(
    wanted: Mapping[str, Tensor], given: Mapping[str, Tensor], own_names: Mapping[str, str]
) -> tuple[Counter[str], Counter[str]]:
    """Give for each prefix the tensors that fit in name and shape, and those that fit in name only."""
    fitting: Counter[str] = Counter()
    named: Counter[str] = Counter()
    for name, value in given.items():
        parts = plain_name(name).split(".")
        if parts[-1] == COUNTER:
            continue
        for at in range(len(parts)):
            own = own_names.get(".".join(parts[at:]))
            if own is not None:
                prefix = "".join(f"{part}." for part in parts[:at])
                named[prefix] += 1
                fitting[prefix] += value.shape == wanted[own].shape
    return fitting, named


def _found(
    given: Mapping[str, Tensor], own_names: Mapping[str, str], where: str, prefix: str, num_fitting: int
) -> FoundTensors:
    values, unused, deeper = {}, [], []
    layers = {layer for name in own_names for layer in _numbered_layers(name)}
    rows = {row for row, _ in layers}
    for name, value in given.items():
        plain = plain_name(name)
        own = own_names.get(plain.removeprefix(prefix)) if plain.startswith(prefix) else None
        if own is None:
            unused.append(name)
            beyond = _numbered_layers(plain.removeprefix(prefix)) if plain.startswith(prefix) else []
            if any(row in rows and (row, number) not in layers for row, number in beyond):
                deeper.append(name)
        else:
            values[own] = value
    return FoundTensors(values, UsedWeights(len(given), tuple(unused), where, prefix, tuple(deeper)), num_fitting)


def _numbered_layers(name: str) -> list[tuple[str, str]]:
    """The rows of layers that a tensor lies in, and the number of its layer in each: ``blocks`` and ``3``."""
    parts = name.split(".")
    return [(".".join(parts[:at]), parts[at]) for at in range(1, len(parts) - 1) if parts[at].isdigit()]
