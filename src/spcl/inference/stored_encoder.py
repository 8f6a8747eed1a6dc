"""The encoder's settings in a checkpoint of spcl, checked before anything of their size is allocated."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from spcl._version import __version__
from spcl.errors import InputError
from spcl.format_versions import CHECKPOINT, KEY, check_format
from spcl.nn.encoder_network import EncoderSettings
from spcl.pixel_range import PixelRange
from spcl.settings_checks import number_of

_LONGEST_SIDE = 4096
_MOST_DOMAINS = 16
_POOLING = ("avg", "gem")
_RANGES: dict[str, tuple[int, int]] = {
    "height": (1, _LONGEST_SIDE),
    "width": (1, _LONGEST_SIDE),
    "features": (0, 2**20),
    "last_stride": (0, 2),
    "group_size": (0, 2**20),
}
"""Smallest and largest value of each whole number."""


def stored_encoder(facts: Any, state: Mapping[str, torch.Tensor], path: Path) -> dict[str, Any]:
    """Read and check the encoder settings in a checkpoint of spcl: each is known, of its type, and in its range.

    Args:
        facts: Entry ``spcl`` of the checkpoint.
        state: Weights of the checkpoint, under official names.
        path: Path of the checkpoint, for messages.

    Raises:
        InputError: If a newer version wrote the file; if a setting is missing, of another type or out of range; if
            it is unknown, as from another version.
    """
    if isinstance(facts, Mapping):
        check_format(facts.get(KEY), CHECKPOINT, path)
    values = facts.get("encoder") if isinstance(facts, Mapping) else None
    if not isinstance(values, Mapping) or not {"arch", "height", "width", "domains"} <= set(values):
        raise InputError(
            f"{path} does not contain all settings of its encoder; get the file again", code="damaged-file"
        )
    version = facts.get("version", "unknown")
    defaults = EncoderSettings().to_dict()
    for name, value in values.items():
        is_new = name not in defaults or (name == "pooling" and isinstance(value, str) and value not in _POOLING)
        if is_new and version == __version__:
            raise _wrong(path, f"an encoder with {name} {_shown(value)}", "the settings of this version")
        if is_new:
            raise InputError(
                f"{path} was written by another version of spcl ({version}; this is {__version__}), whose encoders "
                f"have {name} {_shown(value)}: load it with that version",
                code="version-not-supported",
            )
        kind = type(defaults[name])
        is_kind = isinstance(value, (int, float) if kind is float else kind)
        if not is_kind or (isinstance(value, bool) and kind is not bool):
            raise _wrong(path, f"an encoder with {name} {_shown(value)}", kind.__name__)
    _check_ranges(defaults | dict(values), state, path)
    for name in ("mean", "std"):
        if name in facts:
            _check_normalisation(facts[name], name, path)
    return dict(values)


def check_progress(content: Mapping[str, Any], path: Path) -> None:
    """Check the epoch and the best mAP in a checkpoint of spcl.

    Raises:
        InputError: If one of them is no number, or out of range.
    """
    epoch, best = content.get("epoch", 0), content.get("best_mAP", 0.0)
    if isinstance(epoch, bool) or not isinstance(epoch, int) or not 0 <= epoch < 2**53:
        raise _wrong(path, f"the epoch {_shown(epoch)}", "a whole number, 0 or more")
    if not 0 <= number_of(best) <= 1:
        raise _wrong(path, f"the best mAP {_shown(best)}", "a number from 0 to 1")


def _check_ranges(values: Mapping[str, Any], state: Mapping[str, torch.Tensor], path: Path) -> None:
    for name, (low, high) in _RANGES.items():
        if not low <= values[name] <= high:
            raise _wrong(path, f"an encoder with {name} {_shown(values[name])}", f"{low} to {high}")
    if values["group_size"] == 1:
        raise _wrong(path, "an encoder with group_size 1", "0 or at least 2 images")
    if not 0 <= values["dropout"] < 1:
        raise _wrong(path, f"an encoder with dropout {values['dropout']!r}", "a rate from 0 to below 1")
    domains = values["domains"]
    are_names = all(isinstance(domain, str) and domain.isidentifier() for domain in domains[: _MOST_DOMAINS + 1])
    if not (0 < len(domains) <= _MOST_DOMAINS and are_names and len(set(domains)) == len(domains)):
        raise _wrong(path, f"the domains {_shown(domains)}", f"a list of 1 to {_MOST_DOMAINS} different names")
    length = values["features"]
    if length and not any(tensor.ndim == 2 and len(tensor) == length for tensor in state.values()):
        raise _wrong(path, f"an encoder with features {length}", "the length of an embedding layer in its weights")
    try:
        PixelRange.parse(values["pixel_range"])
    except InputError as error:
        raise _wrong(
            path, f"an encoder with pixel_range {_shown(values['pixel_range'])}", "auto or LOW:HIGH"
        ) from error


def _check_normalisation(values: Any, name: str, path: Path) -> None:
    """Check the mean or the standard deviation of the image normalisation: a number for each of three channels."""
    are_numbers = (
        isinstance(values, Sequence)
        and len(values) == 3
        and all(
            isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) for value in values
        )
    )
    if not are_numbers or (name == "std" and min(values) <= 0):
        positive = " above 0" if name == "std" else ""
        raise _wrong(path, f"a normalisation with {name} {_shown(values)}", f"three finite numbers{positive}")


def _wrong(path: Path, what: str, expected: str) -> InputError:
    return InputError(f"{path} has {what}; expected {expected}; get the file again", code="damaged-file")


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:60] + " ..."
