"""Ctrl-C and SIGTERM while a command works: exit code 130 or 143, one line, nothing half-written.

The stop comes inside this process, when a file is written and not yet in its place. Tests marked slow press Ctrl-C on a
terminal of another process.
"""

from __future__ import annotations

import io
import os
import re
import shlex
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
from spcl.grouping import group_folders
from spcl.grouping import groups_folder as groups
from spcl.inference.extraction import _read_ahead
from spcl.records import Record
from spcl.reporting.console import ConsoleReporter
from tests.fakes import draw
from tests.shared import slow_but
from tests.verification.test_calibrate import write_checkpoint

SMALL_NETWORK = "--arch timm/test_resnet --pretrained none"
SMALL_STEPS = "--batch-size 8 --k1 6 --k2 2"
STOPPED = "\nstopped; give the same command again to finish\n"
STOPPED_RUN = f"\n{STOPPED.strip()}, with --resume if the run has been saved\n"
RUN_FILES = {"adaptation.json", "adapted.pth.tar", "checkpoint.pth.tar", "config.toml", "metrics.jsonl", "resume.pt"}


@pytest.fixture(scope="module")
def crops(tmp_path_factory):
    """A small folder of crops, in folders by identity, and a checkpoint."""
    folder = tmp_path_factory.mktemp("interrupt")
    write_checkpoint(folder / "c.pth.tar")
    for number in range(24):
        draw(folder / "small" / f"{number:02d}.png", number // 6, number)
    return folder


@pytest.fixture(scope="module")
def large(crops):
    """A large folder of crops, which keeps a command busy for many seconds."""
    shutil.copytree(crops / "small", crops / "large")
    noise = np.random.default_rng(0).integers(0, 256, (800, 800, 3), dtype=np.uint8)
    Image.fromarray(noise).save(crops / "large/slow000.png", compress_level=1)
    for number in range(1, 1000):
        os.link(crops / "large/slow000.png", crops / f"large/slow{number:03d}.png")
    return crops / "large"


@pytest.fixture
def folder(crops, large, tmp_path, monkeypatch):
    """A folder to work in, whose ``crops`` are the large ones."""
    shutil.copy(crops / "c.pth.tar", tmp_path)
    (tmp_path / "crops").symlink_to(large)
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


@slow
@pytest.mark.parametrize(
    ("command", "begun", "written"),
    [
        ("embed c.pth.tar crops -o out/f.parquet --workers 1", "images", {"out/f.parquet"}),
        ("embed c.pth.tar crops -o out/f.npy --workers 1", "images", {"out/f.npy", "out/f.paths.txt"}),
        (
            f"cluster crops -o out {SMALL_NETWORK} --workers 1",
            "features",
            {"out/groups.csv", "out/groups.png", "out/summary.json"},
        ),
        (f"suggest crops --picture out/p.png {SMALL_NETWORK} --workers 1", "features", {"out/p.png"}),
        ("export c.pth.tar out/e.onnx --images small", "writing", {"out/e.onnx"}),
    ],
)
def test_nothing_half_written(crops, folder, command, begun, written):
    (folder / "small").symlink_to(crops / "small")
    before = files_below(folder)
    code, shown, error = interrupted(command, begun)
    assert (code, error) == (130, STOPPED)
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
    assert (code, error) == (130, STOPPED)
    assert "Traceback" not in shown
    use_the_small_crops(crops, folder)
    main(command.split())
    assert re.search(r"gallery: g, \d+ added, \d+ replaced, 24 in all", capsys.readouterr().out)


@slow
@pytest.mark.parametrize(
    "command",
    [
        f"adapt c.pth.tar small --recipe spcl --logs-dir run --epochs 1 --iters 400 {SMALL_STEPS}",
        f"train small --recipe spcl --logs-dir run --height 32 --width 16 --epochs 1 --iters 400 {SMALL_NETWORK} "
        f"{SMALL_STEPS}",
    ],
)
def test_a_run_continues(crops, folder, capsys, command):
    (folder / "small").symlink_to(crops / "small")
    before = files_below(folder)
    checkpoint = (folder / "c.pth.tar").read_bytes()
    code, shown, error = interrupted(command, "epoch 1 of 1: training")
    assert (code, error) == (130, STOPPED_RUN)
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


@pytest.mark.parametrize(("room", "stops_in"), [(groups, "contact_sheet"), (group_folders, "_place")])
def test_groups_that_were_not_finished_are_replaced(crops, tmp_path, monkeypatch, room, stops_in):
    monkeypatch.chdir(tmp_path)
    command = ["cluster", str(crops / "small"), *f"-o out --folders link {SMALL_NETWORK}".split()]
    with monkeypatch.context() as patched:
        original, calls = getattr(room, stops_in), []

        def stopped(*arguments, **named):
            calls.append(arguments)
            if stops_in == "contact_sheet" or len(calls) > 5:
                raise KeyboardInterrupt
            return original(*arguments, **named)

        patched.setattr(room, stops_in, stopped)
        with pytest.raises(SystemExit) as ended:
            main(command)
    assert ended.value.code == 130
    assert files_below(tmp_path) == set()
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

    monkeypatch.setattr("spcl.grouping.own_images.cluster", stopped)
    with pytest.raises(SystemExit) as ended:
        main(["cluster", str(crops / "small"), "-o", str(tmp_path / "new/out"), *SMALL_NETWORK.split()])
    assert ended.value.code == 130
    assert not list(tmp_path.iterdir())


TRAINING = f"--epochs 1 --iters 2 {SMALL_STEPS}"
WRITERS = {
    "embed c.pth.tar labelled.csv -o out/f.parquet": 0,
    "embed c.pth.tar labelled.csv -o out/f.npy": 0,
    "embed c.pth.tar labelled.csv --gallery out/g": 0,
    "search c.pth.tar labelled.csv small/00.png -o out/s.csv": 0,
    "identify c.pth.tar labelled.csv small/00.png -o out/i.csv --false-match-rate 0.5": 0,
    "evaluate c.pth.tar labelled.csv --per-query out/q.csv": 0,
    f"suggest small --picture out/p.png {SMALL_NETWORK}": 0,
    f"cluster small -o out/groups {SMALL_NETWORK}": 0,
    "calibrate c.pth.tar labelled.csv --labels -o out/c.json": 0,
    "export c.pth.tar out/e.safetensors": 0,
    f"train small --recipe spcl --logs-dir out/run --height 32 --width 16 {SMALL_NETWORK} {TRAINING}": 1,
    f"adapt c.pth.tar small --recipe spcl --logs-dir out/run {TRAINING}": 1,
    "sweep quick small --seed 1 2 --logs-dir out/s --set network.arch=timm/test_resnet network.pretrained=none "
    "data.height=32 data.width=16 schedule.epochs=1 schedule.iters=2 schedule.batch_size=8 labels.k1=6": 1,
}
"""Commands that write, and how many files are in their place when the stop comes; the next one is complete."""


@pytest.fixture
def small_folder(crops, tmp_path, monkeypatch):
    """A folder to work in: the small crops, and a table of them with identities."""
    shutil.copy(crops / "c.pth.tar", tmp_path)
    (tmp_path / "small").symlink_to(crops / "small")
    rows = [f"small/{number:02d}.png,{number // 6}" for number in range(24)]
    (tmp_path / "labelled.csv").write_text("\n".join(["path,identity", *rows]))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def stop_at(monkeypatch, number: int, stop) -> list[Path]:
    """Call a function when file ``number`` (from 0) is complete beside its place; the files that were put there."""
    replaced: list[Path] = []
    original = Path.replace

    def replace(self, target):
        if len(replaced) == number:
            stop()
        replaced.append(Path(target))
        return original(self, target)

    monkeypatch.setattr(Path, "replace", replace)
    return replaced


def press_ctrl_c() -> None:
    raise KeyboardInterrupt


def terminate() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


QUICK_WRITERS = [command for command in WRITERS if command.split()[0] in ("embed", "train", "export")]


@pytest.mark.parametrize("command", slow_but(WRITERS, *QUICK_WRITERS))
def test_a_stop_leaves_whole_files_only(small_folder, monkeypatch, capsys, command):
    before = files_below(small_folder)
    checkpoint = (small_folder / "c.pth.tar").read_bytes()
    with monkeypatch.context() as patched:
        replaced = stop_at(patched, WRITERS[command], press_ctrl_c)
        with pytest.raises(SystemExit) as ended:
            main(shlex.split(command))
    assert ended.value.code == 130
    shown = capsys.readouterr()
    assert shown.err.endswith(STOPPED_RUN if command.startswith(("train", "adapt")) else STOPPED)
    assert "Traceback" not in shown.out + shown.err
    left = files_below(small_folder) - before
    assert not [name for name in left if name.endswith(".tmp")]
    # A gallery and the metrics of a run are added to in place, row by row.
    whole = {str(path.absolute()) for path in replaced}
    assert all(str(small_folder / name) in whole or "/g/" in name or "metrics" in name for name in left)
    assert (small_folder / "c.pth.tar").read_bytes() == checkpoint


def test_sigterm_stops_as_ctrl_c_does(small_folder, monkeypatch, capsys):
    before, handler = files_below(small_folder), signal.getsignal(signal.SIGTERM)
    with monkeypatch.context() as patched:
        stop_at(patched, 0, terminate)
        with pytest.raises(SystemExit) as ended:
            main(["search", "c.pth.tar", "labelled.csv", "small/00.png", "-o", "out/s.csv"])
    assert ended.value.code == 143
    assert capsys.readouterr().err == STOPPED
    assert files_below(small_folder) == before
    assert signal.getsignal(signal.SIGTERM) is handler


def test_sigterm_in_training_saves_the_step(small_folder, monkeypatch, capsys):
    """As Ctrl-C: the step is finished and saved, and --resume goes on from it."""
    from spcl.training import loop

    command = f"train small --recipe spcl --logs-dir run --height 32 --width 16 {SMALL_NETWORK} {TRAINING}".split()
    original = loop.step

    def step(*arguments, **named):
        terminate()
        return original(*arguments, **named)

    with monkeypatch.context() as patched:
        patched.setattr(loop, "step", step)
        with pytest.raises(SystemExit) as ended:
            main(command)
    assert ended.value.code == 143
    assert "the same command with --resume continues" in capsys.readouterr().out
    assert (small_folder / "run/resume.pt").exists()
    main([*command, "--resume"])
    assert (small_folder / "run/checkpoint.pth.tar").exists()


_PRESSED_TWICE = """
import os, signal, threading, time
from spcl.cli.main import run_guarded

def program():
    threading.Thread(target=time.sleep, args=(60,)).start()
    raise KeyboardInterrupt

def again():
    time.sleep(0.5)
    os.kill(os.getpid(), signal.SIGINT)

threading.Thread(target=again).start()
run_guarded(program, ends_process=True)
"""


def test_a_second_ctrl_c_ends_at_once():
    """Also while threads that work are waited for."""
    done = subprocess.run(
        [sys.executable, "-c", _PRESSED_TWICE],
        capture_output=True,
        text=True,
        timeout=50,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert (done.returncode, done.stderr) == (130, "\nstopped\n")
