"""Whose a run's folder is, and what a continued run may change."""

from __future__ import annotations

import pytest
import torch

from spcl.config import DataConfig, Recipe, RunConfig, in_new_places, to_values
from spcl.runtime import Runtime
from spcl.selfpaced.slots import Slots
from spcl.training_run import run_files
from spcl.training_run.run_identity import RunIdentity, require_same_settings
from tests.shared import input_error
from tests.training_run.small_runs import prepared


def test_weights_without_their_state_are_not_overwritten(tmp_path):
    (tmp_path / run_files.BEST_FILE).write_bytes(b"weights of days")
    for resume in (False, True):
        with input_error("state-missing", run_files.BEST_FILE):
            run_files.prepare_log_folder(tmp_path, resume=resume)
    (tmp_path / run_files.RESUME_FILE).write_bytes(b"state")
    assert run_files.prepare_log_folder(tmp_path, resume=True)


def test_settings_alone_can_be_continued(tmp_path):
    """A run that was stopped before its first epoch ended."""
    (tmp_path / run_files.CONFIG_FILE).write_text("")
    assert not run_files.prepare_log_folder(tmp_path, resume=True)


@pytest.mark.parametrize("kind", ["missing", "empty", "foreign"])
def test_there_is_nothing_to_resume_where_no_run_is(tmp_path, kind):
    folder = tmp_path / "run"
    if kind != "missing":
        folder.mkdir()
    if kind == "foreign":
        (folder / "notes.txt").write_text("hi")
    with input_error("no-such-run", str(folder)):
        run_files.prepare_log_folder(folder, resume=True)
    assert folder.exists() == (kind != "missing")
    assert not run_files.prepare_log_folder(folder, resume=False)


def test_a_run_that_is_not_there_is_said_before_images_and_weights_are_looked_for(tmp_path):
    recipe = Recipe(data=DataConfig(target=str(tmp_path / "gone")), run=RunConfig(logs_dir=str(tmp_path / "run")))
    with input_error("no-such-run", str(tmp_path / "run")):
        prepared(recipe, resume=True)
    assert not (tmp_path / "run").exists()


def test_a_state_that_is_cut_short_says_what_is_left(tmp_path):
    torch.save({"state": {"weights": torch.ones(5000)}, "config": {}, "images": []}, tmp_path / "whole")
    (tmp_path / run_files.RESUME_FILE).write_bytes((tmp_path / "whole").read_bytes()[:9000])
    identity = RunIdentity(to_values(Recipe()), images=[], defaults=to_values(Recipe()))
    run = run_files.RunFolder(tmp_path, identity, Runtime("cpu"), Slots(0, 0))
    with input_error("damaged-file", run_files.RESUME_FILE) as error:
        run.restore(None)
    assert "fetch or copy" not in str(error.value)
    torch.save({"epoch": 7, "state_dict": {}}, tmp_path / run_files.CHECKPOINT_FILE)
    next_step = f"--from-checkpoint {tmp_path / run_files.CHECKPOINT_FILE}"
    with input_error("damaged-file", next_step):
        run.restore(None)
    torch.save({"epoch": 7}, tmp_path / run_files.RESUME_FILE)
    with input_error("damaged-file", next_step):
        run.restore(None)


def test_a_setting_that_an_older_run_lacks_was_its_default(tmp_path):
    saved, wanted = to_values(Recipe()), to_values(Recipe())
    del saved["labels"]["min_samples"], saved["memory"]
    identity = RunIdentity(wanted, images=[], defaults=to_values(Recipe()), read=in_new_places)
    require_same_settings(saved, identity, tmp_path)
    default = wanted["labels"]["min_samples"]
    wanted["labels"]["min_samples"] = default + 1
    with input_error("settings-changed", f"min_samples was {default} and is {default + 1}"):
        require_same_settings(saved, identity, tmp_path)
