"""The folder of a run: its checks, the files that are written, and how a run is continued from it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spcl.atomic_files import written_aside
from spcl.data.image_files import what_is_there
from spcl.errors import InputError, first_line
from spcl.format_versions import KEY, RUN, check_format
from spcl.inference.checkpoint import checkpoint_of, save_atomically
from spcl.inference.official_checkpoints import load_safely
from spcl.launched import is_main_process
from spcl.nn.encoder_network import EncoderNetwork
from spcl.reporting.console import Reporter
from spcl.runtime import Runtime
from spcl.selfpaced.hybrid_memory import HybridMemory
from spcl.selfpaced.sharded_memory import ShardedMemory
from spcl.selfpaced.slots import Slots
from spcl.training.state import RunState
from spcl.training_run.earlier_runs import in_parts
from spcl.training_run.run_file_names import CONFIG_FILE as CONFIG_FILE
from spcl.training_run.run_file_names import METRICS_FILE as METRICS_FILE
from spcl.training_run.run_identity import RunIdentity, require_same_settings
from spcl.training_run.run_lock import hold_run, refuse_run_in_use, release_run

CHECKPOINT_FILE, BEST_FILE = "checkpoint.pth.tar", "model_best.pth.tar"
RESUME_FILE = "resume.pt"

_UNFIT = (LookupError, TypeError, ValueError, RuntimeError, AttributeError, ArithmeticError)
"""Errors of a state whose values are missing, or of another type or size."""


def holds_run(folder: Path) -> bool:
    """Whether a folder holds a run, or the settings of one that was stopped before its first save."""
    return any((folder / name).exists() for name in (RESUME_FILE, CONFIG_FILE, CHECKPOINT_FILE, BEST_FILE))


def holds_state(folder: Path) -> bool:
    """Whether a run has been saved in a folder, so that it can be continued."""
    return (folder / RESUME_FILE).exists()


@contextmanager
def stops_in_order(folder: Path, report: Reporter) -> Iterator[None]:
    """Give a block in which a run begins and trains; if it is stopped before its first save, its folder is removed.

    Files and folders that existed before are kept. After Ctrl-C the next step is reported.

    Args:
        folder: The log folder.
        report: Receives the message.
    """
    began = holds_run(folder)
    first = next(place for place in (folder.absolute(), *folder.absolute().parents) if place.exists())
    try:
        yield
    except BaseException as error:
        is_saved = holds_state(folder)
        release_run(folder)
        if is_main_process() and not began and not is_saved:
            _remove_settings(folder, first)
        if isinstance(error, KeyboardInterrupt):
            report.say(
                f"stopped; the run is saved in {folder}: the same command with --resume continues it"
                if is_saved
                else "stopped before anything was saved; the same command starts again"
            )
        raise
    finally:
        release_run(folder)


def _remove_settings(folder: Path, first: Path) -> None:
    """Remove the settings of a run that saved nothing, and the folders below ``first`` that hold nothing else."""
    with suppress(OSError):  # the folder contains other files, or the disk is not available
        (folder / CONFIG_FILE).unlink(missing_ok=True)
        for made in (folder.absolute(), *folder.absolute().parents):
            if made == first:
                return
            made.rmdir()


def check_log_folder(folder: Path, *, resume: bool) -> None:
    """Check that a run can start or continue in a folder, before images and weights are searched for.

    Raises:
        InputError: If the folder contains a run and ``resume`` is False, or no run and ``resume`` is True, or weights
            without their saved state.
    """
    if folder.exists() and not folder.is_dir():
        raise InputError(f"the log folder {folder} is a file; give another --logs-dir", code="not-a-folder")
    refuse_run_in_use(folder)
    if resume and not holds_run(folder):
        raise InputError(
            f"there is no run to continue in {folder}: {what_is_there(folder)}. Give the --logs-dir of the run, or "
            "leave --resume out to start one",
            code="no-such-run",
        )
    # Before the advice to continue, which would not help here.
    weights = next((name for name in (CHECKPOINT_FILE, BEST_FILE) if (folder / name).exists()), None)
    if weights is not None and not (folder / RESUME_FILE).exists():
        raise InputError(
            f"{folder} holds {weights} and no {RESUME_FILE}: there is nothing to continue, and a new run would "
            f"overwrite it. Give another --logs-dir (--from-checkpoint {folder / weights} starts from these weights)",
            code="state-missing",
        )
    if holds_run(folder) and not resume:
        raise InputError(
            f"{folder} holds a run already; continue it with --resume, or give another --logs-dir. "
            "A run is never overwritten",
            code="folder-not-empty",
        )


def prepare_log_folder(folder: Path, *, resume: bool) -> bool:
    """Create the folder of a run, or check that the run can be continued in it; this process then holds its lock.

    Returns:
        Whether there is a state to continue from.

    Raises:
        InputError: For the same reasons as in ``check_log_folder``; if the folder cannot be written to.
    """
    check_log_folder(folder, resume=resume)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
        hold_run(folder)
    except OSError as error:
        raise InputError(
            f"cannot write to the log folder {folder}: {error.strerror or error}", code="cannot-write"
        ) from error
    return holds_state(folder)


def write_settings(folder: Path, text: str) -> None:
    """Write the resolved settings to a temporary file that is then renamed.

    Raises:
        InputError: If they cannot be written.
    """
    with written_aside(folder / CONFIG_FILE, next_step="free some space, or give another --logs-dir") as aside:
        aside.write_text(text, encoding="utf-8")


@dataclass(frozen=True)
class RunFolder:
    """The folder to which a run is saved, and from which it is continued.

    Attributes:
        path: The folder.
        identity: Identity of the run.
        runtime: Processes of the run, one of which writes.
        slots: Layout of the memory.
    """

    path: Path
    identity: RunIdentity
    runtime: Runtime
    slots: Slots

    def save(self, state: RunState, result: EncoderNetwork, *, epoch_ended: bool, is_best: bool) -> tuple[Path, ...]:
        """Save a run; called by every process, written by one.

        The state is written last: if it contains a finished epoch, the other files of that epoch are complete.

        Args:
            state: State of the run.
            result: The encoder that is written to the checkpoints.
            epoch_ended: Whether checkpoints are written as well.
            is_best: Whether the best checkpoint is written.

        Returns:
            The files that were written.
        """
        settings = dict(self.identity.settings)
        facts: dict[str, Any] = {"images": self.identity.images, "pairs": self.identity.pairs}
        content = {KEY: RUN, "state": state.state_dict(), "config": settings, **facts}
        names = [CHECKPOINT_FILE, *([BEST_FILE] if is_best else [])] if epoch_ended else []

        def write() -> None:
            if names:
                chosen = {"config": settings} | _selected(state)
                weights = checkpoint_of(result, epoch=state.epoch, best_mean_ap=state.best_mean_ap, facts=chosen)
                for name in names:
                    save_atomically(weights, self.path / name)
            save_atomically(content, self.path / RESUME_FILE)

        self.runtime.on_main(write)
        return tuple(self.path / name for name in (*names, RESUME_FILE))

    def restore(self, state: RunState) -> None:
        """Restore a state from the saved state of the run.

        Raises:
            InputError: If the run was made with other settings, other images or other known pairs; names them.
        """
        saved = _load_state(self.path)
        if not {"state", "config", "images"} <= set(saved):
            raise InputError(
                f"{self.path / RESUME_FILE} is not the state of a run. {_what_is_left(self.path)}", code="damaged-file"
            )
        try:
            self._take(saved, state)
        except InputError:
            raise
        except _UNFIT as error:
            raise InputError(
                f"{self.path / RESUME_FILE} does not fit this run ({first_line(error)[:200]}): it is damaged, or was "
                f"changed. {_what_is_left(self.path)}",
                code="damaged-file",
            ) from error

    def _take(self, saved: dict[str, Any], state: RunState) -> None:
        require_same_settings(saved["config"], self.identity, self.path)
        if saved["images"] != self.identity.images:
            raise InputError(
                f"the images are not those that the run in {self.path} began with; bring them back, or give another "
                "--logs-dir",
                code="images-changed",
            )
        if saved.get("pairs", 0) != self.identity.pairs:
            raise InputError(
                f"the known pairs or tracks of the images are not those that the run in {self.path} began with; bring "
                "the tables back, or give another --logs-dir",
                code="pairs-changed",
            )
        content = in_parts(saved["state"], self.slots)
        # The hybrid memory copies its rows. Other tensors are copied here: they must not stay mapped to the file.
        copies = {name for name, part in state.parts.items() if isinstance(part, HybridMemory | ShardedMemory)}
        parts = {name: part if name in copies else deepcopy(part) for name, part in content["parts"].items()}
        state.load_state_dict({**content, "parts": parts})


def _selected(state: RunState) -> dict[str, Any]:
    """Give the facts of an epoch that was chosen without identities; empty otherwise, as in earlier versions."""
    if state.best_label_score is None:
        return {}
    return {"selection": {"by": "label-free", "epoch": state.best_epoch, "score": state.best_label_score}}


def _load_state(folder: Path) -> dict[str, Any]:
    """Read the saved state of a run.

    Raises:
        InputError: If a newer version wrote it, or it cannot be read; says what the user can continue from.
    """
    path = folder / RESUME_FILE
    try:
        # Every process reads the file, and needs its part of the memory's rows: a mapped file is not in memory twice.
        # (On Windows a mapped file could not be replaced by the next save.)
        saved = load_safely(path, mapped=os.name == "posix")
    except InputError as error:
        raise InputError(
            f"{path}, the saved state of the run, is damaged or cut short. {_what_is_left(folder)}", code="damaged-file"
        ) from error
    check_format(saved.get(KEY), RUN, path)
    return saved


def _what_is_left(folder: Path) -> str:
    """Describe what a user can continue from if the state of a run cannot be read."""
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


def saved_epochs(folder: Path) -> int:
    """Give the number of epochs of a run that are saved; 0 without a saved state.

    Raises:
        InputError: If its state cannot be read.
    """
    if not holds_state(folder):
        return 0
    saved = _load_state(folder)
    try:
        return int(saved["state"]["epoch"])
    except _UNFIT as error:
        raise InputError(
            f"{folder / RESUME_FILE} is not the state of a run. {_what_is_left(folder)}", code="damaged-file"
        ) from error
