"""A trained encoder of one domain as safetensors: a checkpoint that plain timm or torchvision code can load.

The trunk has the names of timm or torchvision. The neck, the embedding layer and the exponent of generalised-mean
pooling have names that begin with ``reid.``. The header has the encoder's settings. This file converts between a
safetensors file and the content of a checkpoint; ``checkpoint.py`` loads both.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from spcl.atomic_files import written_aside
from spcl.errors import InputError, first_line
from spcl.file_kinds import is_safetensors, what_it_is
from spcl.inference.official_checkpoints import from_official, to_official
from spcl.nested_text import json_of

SUFFIX = ".safetensors"
REID_PREFIX = "reid."
"""The beginning of the names of all tensors outside the trunk."""

_FACTS = "spcl"
_PARTS = ("neck.", "embedding.", "pooling.")


def is_weights_file(path: Path) -> bool:
    """Whether a path ends in ``.safetensors``, or is a safetensors file with another name."""
    return path.suffix.lower() == SUFFIX or (path.is_file() and is_safetensors(path))


def write_weights_file(
    content: Mapping[str, Any], path: Path, header: Mapping[str, str], *, before: Callable[[], object] | None = None
) -> None:
    """Write the content of a checkpoint as safetensors; the file is replaced atomically.

    Args:
        content: Content of a checkpoint with one domain, from ``checkpoint.checkpoint_of``.
        path: The file to write.
        header: Further entries of the header, for other programs.
        before: Called when the file is complete, before it takes its place.

    Raises:
        InputError: If it cannot be written.
    """
    write_tensors(file_tensors(content), content["spcl"], path, header, before=before)


def write_tensors(
    tensors: dict[str, torch.Tensor],
    facts: Mapping[str, Any],
    path: Path,
    header: Mapping[str, str],
    *,
    before: Callable[[], object] | None = None,
) -> None:
    """Write tensors as safetensors, with the facts of a checkpoint and further entries in the header; see above."""
    text = json.dumps(facts, default=_plain)
    with written_aside(path) as aside:
        aside.write_bytes(save(tensors, metadata={"format": "pt", **header, _FACTS: text}))
        if before is not None:
            before()


def file_tensors(content: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """Give the weights of a checkpoint with one domain, by their names in a weights file."""
    state = from_official(content["state_dict"])
    return {name_in_file(name): value.detach().cpu().contiguous() for name, value in state.items()}


def read_weights_file(path: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """Read a file of ``write_weights_file``.

    Returns:
        The content of a checkpoint, and the further entries of the header.

    Raises:
        InputError: If the file does not exist, is damaged, or was not written by spcl.
    """
    if not path.is_file():
        found = sorted(entry.name for entry in path.parent.glob(f"*{SUFFIX}")) if path.parent.is_dir() else []
        hint = f"; in {path.parent} there are {', '.join(found)}" if found else ""
        raise InputError(f"there is no weights file {path}{hint}", code="no-such-checkpoint")
    tensors, header = opened_weights(path)
    facts = settings_in_header(header, path)
    return content_of_tensors(tensors, facts), header


def opened_weights(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Read the tensors and the header of a safetensors file.

    Raises:
        InputError: If it is damaged, or another kind of file.
    """
    try:
        kind = what_it_is(path)
        if kind is not None:
            raise InputError(f"{path} cannot be read as safetensors: it is {kind}", code="wrong-file-kind")
        with safe_open(path, framework="pt") as file:
            header = dict(file.metadata() or {})
            tensors: dict[str, torch.Tensor] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except InputError:
        raise
    except (SafetensorError, OSError, ValueError) as error:
        raise InputError(
            f"{path} cannot be read as safetensors: {first_line(error)}; get the file again", code="damaged-file"
        ) from error
    header.pop("format", None)
    return tensors, header


def settings_in_header(header: dict[str, str], path: Path) -> dict[str, Any]:
    """Take the facts of a checkpoint out of a header; the entry is removed.

    Raises:
        InputError: If there are none.
    """
    try:
        facts: dict[str, Any] = json_of(header.pop(_FACTS))
        str(facts["encoder"]["arch"])
    except (KeyError, ValueError, TypeError) as error:
        raise InputError(
            f"{path} holds weights, but no settings of an encoder (entry {_FACTS!r}): give it to --pretrained, with "
            "--arch NAME (docs/checkpoints.md)",
            code="not-a-checkpoint",
        ) from error
    return facts


def content_of_tensors(tensors: Mapping[str, torch.Tensor], facts: dict[str, Any]) -> dict[str, Any]:
    """Give the content of a checkpoint from tensors by their names in a weights file."""
    is_timm = str(facts["encoder"]["arch"]).startswith("timm/")
    state = {_spcl_name(name, is_timm): value for name, value in tensors.items()}
    return {"state_dict": to_official(state), "epoch": 0, "best_mAP": 0.0, "spcl": facts}


def name_in_file(name: str) -> str:
    """Give the name in a weights file of a tensor of an encoder's network."""
    plain = re.sub(r"\.norms\.\w+\.", ".", name)
    if plain.startswith(_PARTS):
        return REID_PREFIX + plain
    return plain.removeprefix("trunk.").removeprefix("model.")


def _spcl_name(name: str, is_timm: bool) -> str:
    if name.startswith(REID_PREFIX):
        return name.removeprefix(REID_PREFIX)
    return f"trunk.model.{name}" if is_timm else f"trunk.{name}"


def _plain(value: Any) -> Any:
    """Convert NumPy scalars and arrays, and tensors, to plain values."""
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"a checkpoint contains {value!r}, which cannot be written as JSON")
