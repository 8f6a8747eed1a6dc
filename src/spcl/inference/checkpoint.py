"""Checkpoints: written atomically, and read back as encoders, those of spcl and of the official project.

A checkpoint (``checkpoint.pth.tar``, ``model_best.pth.tar``) has the entries of an official one, ``state_dict`` under
the official names, ``epoch`` and ``best_mAP``, and an entry ``spcl`` with the encoder's settings, so that it loads
without arguments. The state of a run (``resume.pt``) is another file, with the memory and the optimiser.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import torch

from spcl._version import __version__
from spcl.atomic_files import cannot_write, written_aside
from spcl.errors import InputError
from spcl.file_kinds import is_hub
from spcl.format_versions import CHECKPOINT, KEY, check_format
from spcl.inference.hub_files import add_hub_facts, read_hub
from spcl.inference.official_checkpoints import from_official, load_safely, official_facts, to_official
from spcl.inference.stored_encoder import check_progress, stored_encoder
from spcl.inference.weights_file import is_weights_file, read_weights_file, write_weights_file
from spcl.nn.encoder_network import EncoderNetwork, EncoderSettings
from spcl.nn.trunk_weights import check_values, known_arch, weights_in
from spcl.nn.weight_names import some_names


def save_atomically(
    content: Mapping[str, Any], path: Path, *, next_step: str = "free some space, then use --resume"
) -> None:
    """Write to a temporary file, flush, rename: after any failure, ``path`` is the complete old or new file.

    ``next_step`` is the advice of the error if the file cannot be written.
    """
    with written_aside(path, next_step=next_step) as aside, aside.open("wb") as file:
        noted: Any = _NotesErrors(file)
        try:
            torch.save(dict(content), noted)
        except RuntimeError as error:
            # Torch raises an error of its own in place of that of the file, which is a full disk if none was noted.
            cause = noted.error or OSError(errno.ENOSPC, "the file could not be completed")
            raise cannot_write(path, cause, next_step) from error


class _NotesErrors:
    """A file that keeps the first error of writing."""

    def __init__(self, file: BinaryIO) -> None:
        self.error: OSError | None = None
        self._file = file

    def write(self, part: Any) -> int:
        """Write to the file."""
        try:
            return self._file.write(part)
        except OSError as error:
            self.error = self.error or error
            raise

    def flush(self) -> None:
        """Flush the file."""
        self._file.flush()


def checkpoint_of(
    encoder: EncoderNetwork, *, epoch: int, best_mean_ap: float | None, facts: Mapping[str, Any]
) -> dict[str, Any]:
    """Make the content of a checkpoint from an encoder.

    Args:
        encoder: EncoderNetwork with all its domains, not folded.
        epoch: Number of finished epochs.
        best_mean_ap: Best mAP so far, as a fraction.
        facts: Further facts (data, recipe) as plain values.
    """
    state = {name: value.detach().cpu() for name, value in encoder.state_dict().items()}
    return {
        "state_dict": to_official(state),
        "epoch": epoch,
        "best_mAP": 0.0 if best_mean_ap is None else best_mean_ap,
        "spcl": {
            KEY: CHECKPOINT,
            "version": __version__,
            "encoder": encoder.settings.to_dict(),
            "mean": list(encoder.mean),
            "std": list(encoder.std),
        }
        | dict(facts),
    }


def load_network(
    path: Path,
    *,
    arch: str | None = None,
    size: tuple[int, int] | None = None,
    features: int | None = None,
) -> EncoderNetwork:
    """Load an encoder with all its domains, in evaluation mode.

    Args:
        path: A checkpoint of spcl or of the official scripts.
        arch: Architecture; needed only for a checkpoint that does not contain it, and otherwise must agree with it.
        size: Height and width of the images in pixels; None: the checkpoint's, 256 x 128 for official ones.
        features: Expected length of the embedding layer; None: not checked.

    Raises:
        InputError: If the file is no checkpoint, or of another network than requested; the message names the keys.
    """
    return load_network_and_facts(path, arch=arch, size=size, features=features)[0]


def load_network_and_facts(
    path: Path,
    *,
    arch: str | None = None,
    size: tuple[int, int] | None = None,
    features: int | None = None,
) -> tuple[EncoderNetwork, dict[str, Any]]:
    """Load what ``load_network`` and ``load_facts`` give, and read the file once."""
    content, state = _content(path, arch)
    settings = _settings(content, state, path, arch, size)
    if features is not None and features != settings.features:
        raise InputError(
            f"{path} has an embedding layer of {settings.features}, not {features} (0: none)",
            code="checkpoint-mismatch",
        )
    # The random weights that are replaced below must not move the caller's generator.
    with torch.random.fork_rng(devices=[]):
        encoder = EncoderNetwork(settings)
    values = from_official(state)
    if len(settings.domains) == 1:
        # With one domain, official names contain no domain; they are read as the target's.
        values = {name.replace(".norms.target.", f".norms.{settings.domains[0]}."): v for name, v in values.items()}
    _load_strictly(encoder, values, path, is_ours="spcl" in content)
    return encoder.eval(), _facts_of(content)


def settings_of(path: Path, *, arch: str | None = None) -> EncoderSettings:
    """Read the settings of a checkpoint's encoder without building it.

    Args:
        path: A checkpoint of spcl or of the official scripts.
        arch: Architecture; needed only for a checkpoint that does not contain it, and otherwise must agree with it.

    Raises:
        InputError: If the file is no checkpoint, or of another network than requested.
    """
    content, state = _content(path, arch)
    return _settings(content, state, path, arch, None)


def load_facts(path: Path) -> dict[str, Any]:
    """Read the facts of a checkpoint of spcl as plain values; empty for an official one."""
    return _facts_of(_read(path))


def _facts_of(content: Mapping[str, Any]) -> dict[str, Any]:
    facts = content.get("spcl", {})
    return dict(facts) if isinstance(facts, Mapping) else {}


def add_facts(path: Path, facts: Mapping[str, Any], *, arch: str | None = None) -> None:
    """Add facts to a checkpoint as plain values; an official checkpoint becomes one of spcl.

    The weights are not changed, and the file is replaced atomically.

    Args:
        path: The checkpoint.
        facts: Facts to write; they replace those of the same name.
        arch: Architecture; needed only for a checkpoint that does not contain it.
    """
    if is_hub(path):
        add_hub_facts(path, facts)
        return
    if is_weights_file(path):
        content, header = read_weights_file(path)
        write_weights_file(content | {"spcl": content["spcl"] | dict(facts)}, path, header)
        return
    content = load_safely(path)
    if "spcl" not in content:
        network = load_network(path, arch=arch)
        ours = checkpoint_of(network, epoch=0, best_mean_ap=None, facts={})["spcl"]
        state = content.get("state_dict", content)
        content = (content if "state_dict" in content else {"state_dict": state}) | {"spcl": ours}
    check_format(content["spcl"].get(KEY), CHECKPOINT, path)
    completed = content | {"spcl": content["spcl"] | dict(facts)}
    save_atomically(completed, path, next_step="free some space, then try again: the checkpoint is as it was")


def _content(path: Path, arch: str | None) -> tuple[dict[str, Any], Mapping[str, torch.Tensor]]:
    """Read a checkpoint and its weights; ``arch`` is the architecture that the user gave."""
    content = _read(path)
    state = content.get("state_dict", content)
    is_state = isinstance(state, Mapping) and all(
        isinstance(name, str) and isinstance(value, torch.Tensor) and _is_plain(value) for name, value in state.items()
    )
    if "spcl" not in content:
        _require_official(content, state if is_state else {}, path, arch)
    if not is_state or not len(state):
        keys = f"it has the keys {some_names([str(key) for key in content])}" if content else "it is empty"
        empty = ", and its state_dict is empty" if is_state and content else ""
        raise InputError(f"{path} has no state_dict of tensors; {keys}{empty}", code="not-a-checkpoint")
    return content, state


def _is_plain(value: torch.Tensor) -> bool:
    return value.layout is torch.strided and not value.is_complex() and not value.is_quantized


def _require_official(
    content: Mapping[str, Any], state: Mapping[str, torch.Tensor], path: Path, arch: str | None
) -> None:
    """Raise an ``InputError`` for a file of tensors that is no official checkpoint; the message names the next step."""
    if {"state", "config", "images"} <= set(content):
        raise InputError(
            f"{path} has no state_dict of tensors: it is the state of a run, whose encoder is in checkpoint.pth.tar "
            "beside it",
            code="not-a-checkpoint",
        )
    if any(re.match(r"(module\.)?base\.(\d|model\.)", name) for name in state):
        return
    weights = weights_in(content, path)
    if weights.dictionaries:
        names = list(next(iter(weights.dictionaries.values())))
        raise InputError(
            f"{path} holds weights ({some_names(names)}), but no settings of an encoder: give it to --pretrained, with "
            f"--arch {known_arch(weights) or arch or 'NAME'} (docs/checkpoints.md)",
            code="not-a-checkpoint",
        )


def _read(path: Path) -> dict[str, Any]:
    if is_hub(path):
        return read_hub(path)
    return read_weights_file(path)[0] if is_weights_file(path) else load_safely(path)


def _settings(
    content: Mapping[str, Any],
    state: Mapping[str, torch.Tensor],
    path: Path,
    arch: str | None,
    size: tuple[int, int] | None,
) -> EncoderSettings:
    if "spcl" in content:
        check_progress(content, path)
        values = stored_encoder(content["spcl"], state, path)
        if arch is not None and arch != values["arch"]:
            raise InputError(f"{path} is a checkpoint of {values['arch']}, not of {arch}", code="checkpoint-mismatch")
        if size is not None:
            values |= {"height": size[0], "width": size[1]}
        return EncoderSettings.from_dict(values)
    facts = official_facts(state)
    known = facts.arch or arch
    if known is None:
        raise InputError(f"{path} does not contain its architecture; give it with --arch", code="architecture-unknown")
    if arch is not None and arch != known:
        raise InputError(f"{path} is a checkpoint of {known}, not of {arch}", code="checkpoint-mismatch")
    height, width = size or (256, 128)
    return EncoderSettings(arch=known, height=height, width=width, features=facts.features, domains=facts.domains)


def _fits(value: torch.Tensor, wanted: torch.Tensor) -> bool:
    return value.shape == wanted.shape and value.is_floating_point() == wanted.is_floating_point()


def _load_strictly(encoder: EncoderNetwork, state: Mapping[str, torch.Tensor], path: Path, *, is_ours: bool) -> None:
    wanted = encoder.state_dict()
    missing = [name for name in wanted if name not in state]
    unknown = [name for name in state if name not in wanted]
    unfit = [name for name in wanted if name in state and not _fits(state[name], wanted[name])]
    for names, what in ((missing, "lacks"), (unknown, "also holds"), (unfit, "has another shape or type for")):
        if names:
            raise InputError(
                f"{path} is not a checkpoint of {encoder.settings.arch} with domains {', '.join(encoder.domains)}: it "
                f"{what} {some_names(names)}"
                + ("" if is_ours else ". The weights of its trunk may fit: give it to --pretrained, with --arch"),
                code="weights-mismatch",
            )
    check_values(state, path)
    encoder.load_state_dict(dict(state))
