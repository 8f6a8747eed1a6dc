"""Weights for a trunk from the tensors of a file: which of them fit, and why others do not.

Where ImageNet weights come from is in ``imagenet_weights.py``.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from spcl.errors import InputError
from spcl.nn.backbones import RESNETS, TIMM_PREFIX, ResNetTrunk, TimmTrunk
from spcl.nn.deferred_compiler import load_timm
from spcl.nn.torch_files import load_torch_file
from spcl.nn.weight_names import COUNTER, UsedWeights, best_fit, dictionaries_of_tensors, some_names

# Names of a ResNet's parts where it was made a list of them, as the official code does.
_NUMBERS = {"conv1": "0", "bn1": "1", "layer1": "4", "layer2": "5", "layer3": "6", "layer4": "7"}


@dataclass(frozen=True)
class Weights:
    """Weights that were found.

    Attributes:
        source: Origin of the weights, for the report.
        dictionaries: Dictionaries of tensors, by their place in the source (empty: the source is the dictionary),
            under the names of the source. Without any: random weights, on purpose.
        by_order: Whether names are those of another project, so that tensors correspond by their order.
        arch: Architecture that the source names; empty: it names none.
    """

    source: str
    dictionaries: Mapping[str, Mapping[str, Tensor]] = field(default_factory=dict)
    by_order: bool = False
    arch: str = ""


def read_weights(path: Path) -> Weights:
    """Read a file of weights, of torch or safetensors.

    Raises:
        InputError: If there is no such file, it cannot be read, or holds no dictionary of tensors.
    """
    if not path.is_file():
        step = "give --pretrained a file, auto, or none for random weights"
        if path.is_dir():
            raise InputError(f"{path} is a folder; {step}", code="not-a-file")
        raise InputError(f"there is no weights file {path}; {step}", code="no-such-file")
    content = load_torch_file(path, "weights")
    weights = weights_in(content, path)
    if not weights.dictionaries:
        raise InputError(f"{path} does not hold a state_dict of tensors{_what_is_there(content)}", code="no-tensors")
    return weights


def load_weights(trunk: ResNetTrunk | TimmTrunk, weights: Weights) -> UsedWeights:
    """Load all tensors of a trunk from the dictionary of the source that fits it best.

    Names may have the prefix of a wrapping module, and tensors may be of another floating-point type.

    Returns:
        UsedWeights: which tensors of the source were used. Those that the trunk lacks (a classifier) are not used.

    Raises:
        InputError: If the weights are of another network (the message names missing and misfitting tensors), or a value
            is NaN or infinite.
    """
    if not weights.dictionaries:
        return UsedWeights()
    module = trunk.model if isinstance(trunk, TimmTrunk) else trunk
    wanted: dict[str, Tensor] = module.state_dict()
    values, used = _matched(wanted, weights, trunk)
    missing = _missing(wanted, values)
    if missing and isinstance(trunk, TimmTrunk) and (converted := _in_timms_names(weights, trunk)) is not None:
        found = _matched(wanted, converted, trunk)
        if not _missing(wanted, found[0]):
            (values, used), missing = found, []
    if not missing and isinstance(trunk, TimmTrunk):
        values = _resampled(values, _unfit(wanted, values), trunk)
    unfit = _unfit(wanted, values)
    if used.deeper and not missing and not unfit:
        fitting = known_arch(weights)
        raise InputError(
            f"the weights in {weights.source} are of a deeper network than this one, which has no place for "
            f"{some_names(used.deeper)}: " + (f"give --arch {fitting}" if fitting else "give its --arch"),
            code="weights-mismatch",
        )
    if missing or unfit:
        raise InputError(_misfit(wanted, values, missing, unfit, weights), code="weights-mismatch")
    values = {name: value.to(wanted[name].dtype) for name, value in values.items() if name in wanted}
    check_values(values, weights.source)
    module.load_state_dict(values, strict=False)
    return used


def _missing(wanted: Mapping[str, Tensor], values: Mapping[str, Tensor]) -> list[str]:
    return [name for name in wanted if name not in values and not name.endswith(COUNTER)]


def _in_timms_names(weights: Weights, trunk: TimmTrunk) -> Weights | None:
    """Give weights of a network's authors (DINOv2, DINOv3, CLIP) in timm's names, as timm does; None: it cannot."""
    convert = getattr(inspect.getmodule(type(trunk.model)), "checkpoint_filter_fn", None)
    if convert is None:
        return None
    converted = {}
    for where, given in weights.dictionaries.items():
        try:
            # A copy: the function takes tensors out of what it gets.
            converted[where] = convert({name: value.float() for name, value in given.items()}, trunk.model)
        except Exception:
            # Of weights of another network it raises whatever its code meets.
            continue
    return replace(weights, dictionaries=converted) if converted else None


def check_values(values: Mapping[str, Tensor], source: str | Path) -> None:
    """Raise an ``InputError`` that names tensors with impossible values.

    These are NaN, infinity, and a batch norm's variance below zero.
    """
    broken = [name for name, value in values.items() if value.is_floating_point() and not value.isfinite().all()]
    if broken:
        raise InputError(
            f"the weights in {source} are not finite (NaN or infinite) in {some_names(broken)}: the training that "
            "wrote them has diverged. Take an earlier checkpoint, or other weights",
            code="invalid-weights",
        )
    negative = [name for name, value in values.items() if name.endswith("running_var") and (value < 0).any()]
    if negative:
        raise InputError(
            f"the weights in {source} have variances below 0 in {some_names(negative)}; get the file again",
            code="invalid-weights",
        )


def _unfit(wanted: Mapping[str, Tensor], values: Mapping[str, Tensor]) -> list[str]:
    return [
        name
        for name, value in values.items()
        if name in wanted
        and (value.shape != wanted[name].shape or (wanted[name].is_floating_point() and not value.is_floating_point()))
    ]


def _misfit(
    wanted: Mapping[str, Tensor],
    values: Mapping[str, Tensor],
    missing: Sequence[str],
    unfit: Sequence[str],
    weights: Weights,
) -> str:
    """Describe weights of another network: parameter names of both, and which network they may belong to."""
    given = [name for dictionary in weights.dictionaries.values() for name in dictionary]
    what = [f"missing {some_names(missing)}"] if missing else []
    if unfit:
        shapes = [f"{name} {_shape(values[name])} for {_shape(wanted[name])}" for name in unfit[:3]]
        what.append(f"of another shape {', '.join(shapes)}")
    num_wanted = sum(not name.endswith(COUNTER) for name in wanted)
    num_found = sum(not name.endswith(COUNTER) for name in values) - len(unfit)
    what.append(f"{num_found} of its {num_wanted} tensors were found")
    what.append(f"the file has {some_names(given)}")
    if any(".BN_T." in name for name in given):
        hint = ". It is a checkpoint of two domains: give it as a checkpoint (--from-checkpoint, for a training)"
    else:
        # Tensors of whole numbers with the right shapes do not mean another network.
        is_other = missing or any(values[name].shape != wanted[name].shape for name in unfit)
        fitting = known_arch(weights) if is_other else ""
        hint = f". They are weights of {fitting}: give --arch {fitting}" if fitting else ""
    return f"the weights in {weights.source} are not those of this network: {'; '.join(what)}{hint}"


def _shape(value: Tensor) -> str:
    kind = "" if value.is_floating_point() else f" of {str(value.dtype).removeprefix('torch.')}"
    return f"{tuple(value.shape)}{kind}"


def known_arch(weights: Weights) -> str:
    """Give the architecture of weights, from their source or, for a ResNet, their shapes; empty: unknown."""
    if weights.arch:
        return weights.arch
    for arch in RESNETS:
        with torch.device("meta"):
            wanted = ResNetTrunk(arch, 1).state_dict()
        num_wanted = sum(not name.endswith(COUNTER) for name in wanted)
        found = best_fit(wanted, weights.dictionaries, [_numbered(wanted)])
        if found.num_fitting == num_wanted and not found.used.deeper:
            return arch
    return ""


def _resampled(values: dict[str, Tensor], unfit: Sequence[str], trunk: TimmTrunk) -> dict[str, Tensor]:
    """Resample position embeddings and the like, as timm does, from the weights' image size to the trunk's."""
    resample = getattr(inspect.getmodule(type(trunk.model)), "checkpoint_filter_fn", None)
    # Any other difference of shapes means another network.
    if not unfit or resample is None or not all("pos" in name for name in unfit):
        return values
    resampled: dict[str, Tensor] = resample({name: value.float() for name, value in values.items()}, trunk.model)
    return values | {name: resampled[name] for name in unfit if name in resampled}


def _matched(
    wanted: Mapping[str, Tensor], weights: Weights, trunk: ResNetTrunk | TimmTrunk
) -> tuple[dict[str, Tensor], UsedWeights]:
    if weights.by_order:
        names = [name for name in wanted if not name.endswith(COUNTER)]
        (given,) = weights.dictionaries.values()
        found = [(name, value) for name, value in given.items() if not name.endswith(COUNTER)]
        unused = tuple(name for name, _ in found[len(names) :])
        return dict(zip(names, (value for _, value in found), strict=False)), UsedWeights(len(found), unused)
    best = best_fit(wanted, weights.dictionaries, [_numbered(wanted)] if isinstance(trunk, ResNetTrunk) else [])
    return best.values, best.used


def _numbered(wanted: Mapping[str, Tensor]) -> dict[str, str]:
    """Give the names of a ResNet's tensors as a sequence of its parts: ``layer1.0`` is ``4.0``."""
    return {name: re.sub(r"^[^.]+", lambda found: _NUMBERS.get(found[0], found[0]), name) for name in wanted}


def weights_in(content: Any, path: Path) -> Weights:
    """Collect all dictionaries of tensors in the content of a file."""
    return Weights(str(path), dictionaries_of_tensors(content), arch=_arch_in(content))


def _what_is_there(content: Any) -> str:
    if isinstance(content, Mapping):
        return f"; it has the keys {some_names([str(key) for key in content])}" if content else "; it is empty"
    return f"; it holds a {type(content).__name__}"


def _arch_in(content: Any) -> str:
    """Give the architecture that a file of timm's training scripts names; empty: none that can be built."""
    named = content.get("arch") if isinstance(content, Mapping) else None
    if not isinstance(named, str):
        return ""
    return named if named in RESNETS else TIMM_PREFIX + named if load_timm().is_model(named) else ""
