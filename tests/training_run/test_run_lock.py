"""One program trains in a folder at a time; a killed one does not keep others out."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from spcl.reporting.console import SilentReporter
from spcl.training_run import run_lock
from spcl.training_run.run_files import check_log_folder, prepare_log_folder, stops_in_order
from spcl.training_run.run_lock import LOCK_FILE, hold_run, refuse_run_in_use, release_run
from tests.input_errors import input_error
from tests.shared import IMPORT_PATH

_HOLDS = """
import sys, time
from pathlib import Path
from spcl.training_run.run_lock import hold_run
hold_run(Path(sys.argv[1]))
print("held", flush=True)
time.sleep(600)
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the lock of a folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", _HOLDS, str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": IMPORT_PATH},
    )
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()


@pytest.mark.parametrize("has_locks", [True, False])
def test_the_second_program_is_refused_and_reads_who_is_the_first(tmp_path, holder, monkeypatch, has_locks):
    if not has_locks:
        monkeypatch.setattr(run_lock, "fcntl", None)
    (tmp_path / "config.toml").touch()
    for refused in (
        lambda: hold_run(tmp_path),
        lambda: refuse_run_in_use(tmp_path),
        lambda: check_log_folder(tmp_path, resume=True),
        lambda: prepare_log_folder(tmp_path, resume=True),
    ):
        with input_error("run-in-use", f"process {holder.pid}", str(tmp_path), "wait until it has ended"):
            refused()
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert (tmp_path / LOCK_FILE).exists()
    prepare_log_folder(tmp_path, resume=True)
    # A process that holds it already keeps it.
    prepare_log_folder(tmp_path, resume=True)
    release_run(tmp_path)
    assert not (tmp_path / LOCK_FILE).exists()


@pytest.mark.parametrize("fails", [False, True])
def test_a_run_that_ends_releases_its_folder(tmp_path, fails):
    (tmp_path / "config.toml").touch()

    def run():
        with stops_in_order(tmp_path, SilentReporter()):
            prepare_log_folder(tmp_path, resume=True)
            assert (tmp_path / LOCK_FILE).exists()
            if fails:
                raise KeyboardInterrupt

    if fails:
        with pytest.raises(KeyboardInterrupt):
            run()
    else:
        run()
    assert [entry.name for entry in tmp_path.iterdir()] == ["config.toml"]


def test_a_damaged_file_of_a_dead_owner_keeps_no_one_out(tmp_path):
    for text in ("", "[1", "[" * 100_000, '{"process": "x"}', "\0" * 10):
        (tmp_path / LOCK_FILE).write_text(text)
        refuse_run_in_use(tmp_path)
        hold_run(tmp_path)
        release_run(tmp_path)
