"""Ctrl-C while a command works: exit code 130, one line, nothing half-written, and the command then runs through."""

from __future__ import annotations

import io
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from rich.console import Console
from rich.progress import Progress

from spcl.cli.main import main
from spcl.data.image_decoding import check_images
from spcl.grouping import groups_report as groups
from spcl.inference.extraction import _read_ahead
from spcl.records import Record
from spcl.reporting.console import ConsoleReporter
from tests.fakes import draw
from tests.verification.test_calibrate import write_checkpoint

SMALL_NETWORK = "--arch timm/test_resnet --pretrained none"
SMALL_STEPS = "--batch-size 8 --k1 6 --k2 2"
RUN_FILES = {"adaptation.json", "adapted.pth.tar", "checkpoint.pth.tar", "config.toml", "metrics.jsonl", "resume.pt"}


@pytest.fixture(scope="module")
def crops(tmp_path_factory):
    """A small folder of crops, and a large one that keeps a command busy for many seconds."""
    folder = tmp_path_factory.mktemp("interrupt")
    write_checkpoint(folder / "c.pth.tar")
    for number in range(24):
        draw(folder / "small" / f"{number:02d}.png", number // 6, number)
    shutil.copytree(folder / "small", folder / "large")
    noise = np.random.default_rng(0).integers(0, 256, (800, 800, 3), dtype=np.uint8)
    Image.fromarray(noise).save(folder / "large/slow000.png", compress_level=1)
    for number in range(1, 1000):
        os.link(folder / "large/slow000.png", folder / f"large/slow{number:03d}.png")
    return folder


@pytest.fixture
def folder(crops, tmp_path, monkeypatch):
    """A folder to work in, whose ``crops`` are the large ones."""
    shutil.copy(crops / "c.pth.tar", tmp_path)
    (tmp_path / "crops").symlink_to(crops / "large")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def interrupted(command: str, begun: str) -> tuple[int, str, str]:
    """Run a command on a terminal, press Ctrl-C when it shows a text; its exit code, and what it wrote to both."""
    master, terminal = os.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "spcl", *command.split()],
        stdout=terminal,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "TERM": "xterm", "COLUMNS": "200"},
        # A shell that runs the tests in the background has Ctrl-C ignored, and so would all that it starts.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    os.close(terminal)
    shown: list[str] = []
    reader = threading.Thread(target=_read, args=(master, shown), daemon=True)
    reader.start()
    while begun not in "".join(shown) and process.poll() is None:
        time.sleep(0.02)
    assert process.poll() is None, f"it ended before it showed {begun!r}: {shown} {process.stderr.read()}"
    process.send_signal(signal.SIGINT)
    _, error = process.communicate()
    reader.join()
    assert begun in "".join(shown)
    return process.returncode, "".join(shown), error


def _read(master: int, shown: list[str]) -> None:
    try:
        while data := os.read(master, 4096):
            shown.append(data.decode(errors="replace"))
    except OSError:  # the terminal is closed with the process
        pass
    finally:
        os.close(master)


def files_below(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir()}


def use_the_small_crops(crops: Path, folder: Path) -> None:
    """So that the same command takes a moment."""
    (folder / "crops").unlink()
    (folder / "crops").symlink_to(crops / "small")


slow = pytest.mark.slow


@pytest.mark.parametrize(
    ("command", "begun", "written"),
    [
        ("embed c.pth.tar crops -o out/f.parquet --workers 1", "images", {"out/f.parquet"}),
        pytest.param(
            "embed c.pth.tar crops -o out/f.npy --workers 1",
            "images",
            {"out/f.npy", "out/f.paths.txt"},
            marks=slow,
        ),
        (
            f"cluster crops -o out {SMALL_NETWORK} --workers 1",
            "features",
            {"out/groups.csv", "out/groups.png", "out/summary.json"},
        ),
        pytest.param(
            f"suggest crops --picture out/p.png {SMALL_NETWORK} --workers 1", "features", {"out/p.png"}, marks=slow
        ),
        pytest.param("export c.pth.tar out/e.onnx --images small", "writing", {"out/e.onnx"}, marks=slow),
    ],
)
def test_nothing_half_written(crops, folder, command, begun, written):
    (folder / "small").symlink_to(crops / "small")
    before = files_below(folder)
    code, shown, error = interrupted(command, begun)
    assert (code, error) == (130, "\nstopped\n")
    assert "Traceback" not in shown
    assert files_below(folder) == before
    use_the_small_crops(crops, folder)
    main(command.split())
    assert files_below(folder) - before == written


@slow
def test_a_gallery_goes_on(crops, folder, capsys):
    """What was added stays; the same command adds the rest."""
    command = "embed c.pth.tar crops --gallery g --workers 1"
    code, shown, error = interrupted(command, "images")
    assert (code, error) == (130, "\nstopped\n")
    assert "Traceback" not in shown
    use_the_small_crops(crops, folder)
    main(command.split())
    assert re.search(r"gallery: g, \d+ added, \d+ replaced, 24 in all", capsys.readouterr().out)


@slow
@pytest.mark.parametrize(
    "command",
    [
        f"adapt c.pth.tar small --logs-dir run --epochs 1 --iters 60 {SMALL_STEPS}",
        f"train small --logs-dir run --height 32 --width 16 --epochs 1 --iters 60 {SMALL_NETWORK} {SMALL_STEPS}",
    ],
)
def test_a_run_continues(crops, folder, capsys, command):
    (folder / "small").symlink_to(crops / "small")
    before = files_below(folder)
    checkpoint = (folder / "c.pth.tar").read_bytes()
    code, shown, error = interrupted(command, "epoch 1 of 1: training")
    assert (code, error) == (130, "\nstopped\n")
    assert "Traceback" not in shown
    assert "the same command with --resume continues" in shown
    assert (folder / "c.pth.tar").read_bytes() == checkpoint
    left = files_below(folder) - before
    assert left <= {f"run/{name}" for name in RUN_FILES}
    assert "run/checkpoint.pth.tar" not in left
    main([*command.split(), "--resume"])
    done = files_below(folder) - before
    assert "run/checkpoint.pth.tar" in done
    assert done <= {f"run/{name}" for name in RUN_FILES}


@pytest.mark.parametrize("stops_in", ["contact_sheet", "_place"])
def test_groups_that_were_not_finished_are_replaced(crops, tmp_path, monkeypatch, stops_in):
    monkeypatch.chdir(tmp_path)
    command = ["cluster", str(crops / "small"), *f"-o out --folders link {SMALL_NETWORK}".split()]
    with monkeypatch.context() as patched:
        original, calls = getattr(groups, stops_in), []

        def stopped(*arguments, **named):
            calls.append(arguments)
            if stops_in == "contact_sheet" or len(calls) > 5:
                raise KeyboardInterrupt
            return original(*arguments, **named)

        patched.setattr(groups, stops_in, stopped)
        with pytest.raises(SystemExit) as ended:
            main(command)
    assert ended.value.code == 130
    assert files_below(tmp_path) <= {"out/summary.json", "out/groups.csv", "out/groups.png"}
    main(command)
    assert {"out/summary.json", "out/groups.csv", "out/groups.png"} < files_below(tmp_path)
    with pytest.raises(SystemExit) as refused:
        main(command)
    assert refused.value.code == 2


def test_reading_ahead_stops_at_once(monkeypatch):
    """What was read ahead is not read to its end, were it thousands of large images."""
    read, stopped = [], threading.Event()
    monkeypatch.setattr("spcl.inference.extraction.threading", SimpleNamespace(Event=lambda: stopped))

    class Store:
        def __len__(self):
            return 2000

        def read(self, rows):
            if sum(read) >= 1000:
                stopped.wait()
            read.append(len(rows))
            return np.zeros((len(rows), 8, 4, 3), dtype=np.uint8)

    batches = _read_ahead(Store(), range(2000), 1000)
    assert next(batches).shape == (1000, 8, 4, 3)
    batches.close()
    assert sum(read) <= 1000 + max(read)


def test_checking_images_stops_at_once(monkeypatch):
    looked_at, cancelled = [], threading.Event()

    class Pool(ThreadPoolExecutor):
        def shutdown(self, wait=True, **more):
            super().shutdown(wait=False, **more)
            cancelled.set()
            super().shutdown(wait=wait)

    def look(path):
        looked_at.append(path)
        if len(looked_at) > 1:
            cancelled.wait()

    def pressed(done, total):
        raise KeyboardInterrupt

    monkeypatch.setattr("spcl.data.image_decoding.ThreadPoolExecutor", Pool)
    monkeypatch.setattr("spcl.data.image_decoding._reason_unreadable", look)
    records = [Record(Path(str(number))) for number in range(500)]
    with pytest.raises(KeyboardInterrupt):
        check_images(records, sample=None, num_threads=4, progress=pressed)
    assert len(looked_at) <= 6


def test_a_bar_that_is_begun_gives_the_terminal_back(monkeypatch):
    terminal = io.StringIO()
    console = Console(file=terminal, force_terminal=True, width=80)
    streams = sys.stdout, sys.stderr

    def pressed(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(Progress, "add_task", pressed)
    monkeypatch.setattr("spcl.reporting.console._QUIET_SECONDS", 0)
    with pytest.raises(KeyboardInterrupt), ConsoleReporter(console).progress("work") as advance:
        advance(0, 10)
    assert (sys.stdout, sys.stderr) == streams
    assert terminal.getvalue().rfind("\x1b[?25h") > terminal.getvalue().rfind("\x1b[?25l") >= 0


def test_a_stop_before_results_leaves_no_folder(crops, tmp_path, monkeypatch):
    def stopped(*arguments, **named):
        raise KeyboardInterrupt

    monkeypatch.setattr("spcl.grouping.groups.cluster", stopped)
    with pytest.raises(SystemExit) as ended:
        main(["cluster", str(crops / "small"), "-o", str(tmp_path / "new/out"), *SMALL_NETWORK.split()])
    assert ended.value.code == 130
    assert not list(tmp_path.iterdir())
