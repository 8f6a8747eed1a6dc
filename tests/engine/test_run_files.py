"""Whose a run's folder is, and what a continued run may change."""

from __future__ import annotations

from dataclasses import asdict

import pytest

from spcl.config import Config
from spcl.engine import run_files
from spcl.errors import InputError


def test_weights_without_their_state_are_not_overwritten(tmp_path):
    (tmp_path / run_files.BEST_FILE).write_bytes(b"weights of days")
    for resume in (False, True):
        with pytest.raises(InputError, match=r"another --logs-dir"):
            run_files.prepare_log_folder(tmp_path, resume=resume)
    (tmp_path / run_files.RESUME_FILE).write_bytes(b"state")
    assert run_files.prepare_log_folder(tmp_path, resume=True)


def test_settings_alone_can_be_continued(tmp_path):
    """A run that was stopped before its first epoch ended."""
    (tmp_path / run_files.CONFIG_FILE).write_text("")
    assert not run_files.prepare_log_folder(tmp_path, resume=True)


def test_a_setting_that_an_older_run_lacks_was_its_default(tmp_path):
    saved, wanted = asdict(Config()), asdict(Config())
    del saved["labels"]["min_samples"], saved["memory"]
    identity = run_files.RunIdentity(wanted, images=[], defaults=asdict(Config()))
    run_files._require_same_settings(saved, identity, tmp_path)
    default = wanted["labels"]["min_samples"]
    wanted["labels"]["min_samples"] = default + 1
    with pytest.raises(InputError, match=f"min_samples was {default} and is {default + 1}"):
        run_files._require_same_settings(saved, identity, tmp_path)
