"""Checkpoints of the official project: the names of their tensors, read and written, and safe loading.

A checkpoint of the official scripts is ``{"state_dict": ..., "epoch": int, "best_mAP": numpy.float64}``. Its names are
``module.base.N...`` for the trunk (a ResNet as a list of its parts), ``module.feat`` for the embedding layer,
``module.feat_bn`` for the neck, and ``BN_S`` / ``BN_T`` inside each batch norm of a network with two domains.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from spcl.errors import InputError
from spcl.nn.torch_files import load_torch_file

_RESNET_PARTS = {"conv1": "0", "bn1": "1", "layer1": "4", "layer2": "5", "layer3": "6", "layer4": "7"}
_OFFICIAL_DOMAINS = {"source": "BN_S", "target": "BN_T"}
_BLOCKS: dict[tuple[str, tuple[int, ...]], str] = {
    ("basic", (2, 2, 2, 2)): "resnet18",
    ("basic", (3, 4, 6, 3)): "resnet34",
    ("bottleneck", (3, 4, 6, 3)): "resnet50",
    ("bottleneck", (3, 4, 23, 3)): "resnet101",
    ("bottleneck", (3, 8, 36, 3)): "resnet152",
    ("ibn", (3, 4, 6, 3)): "resnet_ibn50a",
    ("ibn", (3, 4, 23, 3)): "resnet_ibn101a",
}


@dataclass(frozen=True)
class OfficialFacts:
    """The settings that follow from the names and shapes of an official ``state_dict``.

    Attributes:
        arch: Architecture; None if it is not an official one.
        domains: ``("source", "target")`` or ``("target",)``.
        features: Length of the embedding layer; 0: no such layer.
    """

    arch: str | None
    domains: tuple[str, ...]
    features: int


def to_official(state: Mapping[str, Tensor]) -> OrderedDict[str, Tensor]:
    """Give the ``state_dict`` of an encoder under the official names, in the official order."""
    several = len({found[1] for name in state if (found := re.search(r"\.norms\.(\w+)\.", name))}) > 1
    return OrderedDict((_official_name(name, several), value) for name, value in state.items())


def from_official(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Give an official ``state_dict`` (with or without ``module.``) under the names of spcl."""
    names = [name.removeprefix("module.") for name in state]
    domain_specific = any(".BN_T." in name for name in names)
    return {
        _spcl_name(name, domain_specific, is_norm): value
        for (name, is_norm), value in zip(_with_norms(names), state.values(), strict=True)
    }


def official_facts(state: Mapping[str, Tensor]) -> OfficialFacts:
    """Read architecture, domains and embedding length from the names and shapes of an official ``state_dict``."""
    names = {name.removeprefix("module."): value for name, value in state.items()}
    counts = []
    for stage in "4567":
        blocks = {int(found[1]) for name in names if (found := re.match(rf"base\.{stage}\.(\d{{1,4}})\.", name))}
        counts.append(max(blocks) + 1 if blocks else 0)
    kind = "bottleneck" if "base.4.0.conv3.weight" in names else "basic"
    if any(name.startswith("base.4.0.bn1.IN.") for name in names):
        kind = "ibn"
    domains = ("source", "target") if any(".BN_T." in name for name in names) else ("target",)
    embedding = names.get("feat.weight")
    return OfficialFacts(
        _BLOCKS.get((kind, tuple(counts))), domains, 0 if embedding is None else int(embedding.shape[0])
    )


def load_safely(path: Path, *, mapped: bool = False) -> dict[str, Any]:
    """Load a checkpoint without running its code: tensors, plain values, and the NumPy scalar of official checkpoints.

    Args:
        path: The checkpoint.
        mapped: Whether tensors stay in the file and are read when they are used; copy those that are kept.

    Raises:
        InputError: If it does not exist, is no checkpoint, or contains other objects.
    """
    if not path.is_file():
        folder = path if path.is_dir() else path.parent
        found = sorted(entry.name for entry in folder.glob("*.pth*")) if folder.is_dir() else []
        hint = f"; in {folder} there are {', '.join(found)}" if found else ""
        if path.is_dir():
            raise InputError(f"{path} is a folder{hint or '; give a checkpoint'}", code="not-a-file")
        raise InputError(f"there is no checkpoint {path}{hint}", code="no-such-checkpoint")
    content = load_torch_file(path, "a checkpoint", mapped=mapped)
    if not isinstance(content, dict):
        raise InputError(
            f"{path} holds a {type(content).__name__}; expected a checkpoint with a state_dict", code="not-a-checkpoint"
        )
    return content


def _official_name(name: str, several_domains: bool) -> str:
    def layer_of(found: re.Match[str]) -> str:
        return f".{_OFFICIAL_DOMAINS.get(found[1], found[1])}." if several_domains else "."

    name = re.sub(r"\.norms\.(\w+)\.", layer_of, name)
    first, _, rest = name.partition(".")
    if first == "neck":
        return f"module.feat_bn.{rest}"
    if first == "embedding":
        return f"module.feat.{rest}"
    if first == "trunk":
        part, _, inside = rest.partition(".")
        return f"module.base.{_RESNET_PARTS.get(part, part)}.{inside}"
    return f"module.{name}"


def _spcl_name(name: str, domain_specific: bool, is_norm: bool) -> str:
    if domain_specific:
        for domain, official in _OFFICIAL_DOMAINS.items():
            name = name.replace(f".{official}.", f".norms.{domain}.")
    elif is_norm:
        layer, _, value = name.rpartition(".")
        name = f"{layer}.norms.target.{value}"
    first, _, rest = name.partition(".")
    if first == "feat_bn":
        return f"neck.{rest}"
    if first == "feat":
        return f"embedding.{rest}"
    if first == "base":
        part, _, inside = rest.partition(".")
        ours = {number: part_name for part_name, number in _RESNET_PARTS.items()}
        return f"trunk.{ours.get(part, part)}.{inside}"
    return name


def _with_norms(names: list[str]) -> Iterator[tuple[str, bool]]:
    """Give each name, and whether it belongs to a batch norm, which is a layer with running statistics."""
    norms = {name.rpartition(".")[0] for name in names if name.endswith(".running_mean")}
    for name in names:
        yield name, name.rpartition(".")[0] in norms
