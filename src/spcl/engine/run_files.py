"""The folder of a run: whose it is, what is written into it, how a run is continued from it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spcl.data.files import what_is_there
from spcl.engine.checkpoint import checkpoint_of, save_atomically
from spcl.engine.journal import write_metrics
from spcl.engine.official_checkpoints import load_safely
from spcl.engine.state import RunState
from spcl.engine.whole_files import written_aside
from spcl.errors import InputError
from spcl.nn.encoder import Encoder

CHECKPOINT_FILE, BEST_FILE = "checkpoint.pth.tar", "model_best.pth.tar"
RESUME_FILE, CONFIG_FILE, METRICS_FILE = "resume.pt", "config.toml", "metrics.jsonl"

# What may differ between a run and its continuation: none of it changes a number of the epochs already made.
_MAY_CHANGE = {
    ("data", "data_dir"),
    ("data", "workers"),
    ("data", "image_memory"),
    ("data", "cache_dir"),
    ("data", "check"),
    ("network", "pretrained"),
    ("schedule", "epochs"),
    ("schedule", "eval_step"),
    ("run", "logs_dir"),
    ("run", "device"),
    ("run", "checkpoint_iters"),
    ("run", "compile"),
    ("run", "memory"),
}


@dataclass(frozen=True)
class RunIdentity:
    """What must be the same when a run is continued.

    Attributes:
        settings: All settings, by section.
        images: A number for the training images of each domain.
        defaults: All settings as they are where nobody sets them.
    """

    settings: Mapping[str, Any]
    images: list[int]
    defaults: Mapping[str, Any]


def prepare_log_folder(folder: Path, *, resume: bool) -> bool:
    """Make the folder of a run, and make sure that it is this run's.

    Returns:
        Whether there is a state to continue from.

    Raises:
        InputError: If it holds a run and ``resume`` is not asked for, or no run and it is, or weights without the state
            that goes with them, or cannot be written to.
    """
    if folder.exists() and not folder.is_dir():
        raise InputError(f"the log folder {folder} is a file; give another --logs-dir")
    holds_run = any((folder / name).exists() for name in (RESUME_FILE, CONFIG_FILE, CHECKPOINT_FILE, BEST_FILE))
    if resume and not holds_run:
        raise InputError(
            f"there is no run to continue in {folder}: {what_is_there(folder)}. Give the --logs-dir of the run, or "
            "leave --resume out to start one"
        )
    if holds_run and not resume:
        raise InputError(
            f"{folder} holds a run already; continue it with --resume, or give another --logs-dir. "
            "Nothing is ever overwritten in silence"
        )
    weights = next((name for name in (CHECKPOINT_FILE, BEST_FILE) if (folder / name).exists()), None)
    if weights is not None and not (folder / RESUME_FILE).exists():
        raise InputError(
            f"{folder} holds {weights} and no {RESUME_FILE}: there is nothing to continue, and a new run would "
            f"overwrite it. Give another --logs-dir (--from-checkpoint {folder / weights} starts from these weights)"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise InputError(f"cannot write to the log folder {folder}: {error.strerror or error}") from error
    return (folder / RESUME_FILE).exists()


def write_settings(folder: Path, text: str) -> None:
    """Write the resolved settings: aside, flushed, renamed.

    Raises:
        InputError: If they cannot be written.
    """
    with written_aside(folder / CONFIG_FILE, next_step="free some space, or give another --logs-dir") as aside:
        aside.write_text(text, encoding="utf-8")


def save(folder: Path, state: RunState, identity: RunIdentity, *, epoch_ended: bool, is_best: bool) -> None:
    """Save a run; called by every process, written by one.

    The state comes last: when it says that an epoch is done, that epoch's other files are there.
    """
    content = {"state": state.state_dict(), "config": dict(identity.settings), "images": identity.images}

    def write() -> None:
        if epoch_ended:
            if not isinstance(state.encoder, Encoder):
                raise TypeError(f"a run trains an Encoder, not a {type(state.encoder).__name__}")
            facts = {"config": dict(identity.settings)}
            weights = checkpoint_of(state.encoder, epoch=state.epoch, best_mean_ap=state.best_mean_ap, facts=facts)
            save_atomically(weights, folder / CHECKPOINT_FILE)
            if is_best:
                save_atomically(weights, folder / BEST_FILE)
            write_metrics(folder / METRICS_FILE, state.history)
        save_atomically(content, folder / RESUME_FILE)

    state.runtime.on_main(write)


def restore(folder: Path, state: RunState, identity: RunIdentity) -> None:
    """Continue a state from what a run saved.

    Raises:
        InputError: If the run was made with other settings or other images; names them.
    """
    # Every process reads the file, and needs its part of the memory's rows: a mapped file is not in memory twice. (On
    # Windows a mapped file could not be replaced by the next save.)
    try:
        saved = load_safely(folder / RESUME_FILE, mapped=os.name == "posix")
    except InputError as error:
        raise InputError(f"{error}. {_what_is_left(folder)}") from error
    if not {"state", "config", "images"} <= set(saved):
        raise InputError(f"{folder / RESUME_FILE} is not the state of a run. {_what_is_left(folder)}")
    _require_same_settings(saved["config"], identity, folder)
    if saved["images"] != identity.images:
        raise InputError(
            f"the images are not those that the run in {folder} began with; bring them back, or give another --logs-dir"
        )
    # The memory copies what it keeps. Of the rest, nothing may go on lying in the file.
    state.load_state_dict({name: part if name == "memory" else deepcopy(part) for name, part in saved["state"].items()})


def _what_is_left(folder: Path) -> str:
    """What a user can go on from where the state of a run cannot be read."""
    for name in (CHECKPOINT_FILE, BEST_FILE):
        try:
            epoch = load_safely(folder / name).get("epoch")
        except InputError:
            continue
        return (
            f"The run cannot be continued to the same bits; its weights after epoch {epoch} are whole: start a new run "
            f"from them with --from-checkpoint {folder / name} and another --logs-dir"
        )
    return "Nothing else of the run is left to continue from: start it again with another --logs-dir"


def _require_same_settings(saved: Mapping[str, Any], identity: RunIdentity, folder: Path) -> None:
    # A run of an older version lacks the settings that are newer: it was made as their defaults are.
    known = {section: values | saved.get(section, {}) for section, values in identity.defaults.items()}
    changed = [
        f"{name} was {known[section][name]!r} and is {value!r}"
        for section, values in identity.settings.items()
        for name, value in values.items()
        if (section, name) not in _MAY_CHANGE and known[section][name] != value
    ]
    if changed:
        raise InputError(
            f"cannot continue the run in {folder} with other settings: {'; '.join(changed)}. "
            "Give the same ones, or another --logs-dir"
        )
