import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from spcl import threads
from spcl.data.image_decoding import check_images
from spcl.data.image_store import ImageStore
from spcl.records import Record
from tests.fakes import draw
from tests.input_errors import input_error
from tests.shared import IMPORT_PATH

NUMBERS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
NAMES = (*NUMBERS, "OMP_WAIT_POLICY", "KMP_BLOCKTIME", "LOCAL_WORLD_SIZE")


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """Six cores, no limit of time, nothing in the environment, nothing loaded."""
    for name in NAMES:
        monkeypatch.setenv(name, "")  # so that it is put back
        monkeypatch.delenv(name)
    monkeypatch.setattr(threads, "_cores_to_run_on", lambda: 6)
    monkeypatch.setattr(threads, "_CGROUPS", tmp_path / "cgroup")
    monkeypatch.setattr(threads, "_OWN_CGROUP", tmp_path / "own")
    monkeypatch.setattr(threads, "_chosen", None)
    monkeypatch.setattr(threads, "sys", SimpleNamespace(modules={}))
    return tmp_path


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, 6),
        ({"OMP_NUM_THREADS": "2"}, 2),
        ({"OMP_NUM_THREADS": " 4,2"}, 4),
        ({"OMP_NUM_THREADS": "64"}, 6),
        ({"OMP_NUM_THREADS": "0"}, 6),
        ({"OMP_NUM_THREADS": "many"}, 6),
        ({"LOCAL_WORLD_SIZE": "2"}, 3),
        ({"LOCAL_WORLD_SIZE": "50"}, 1),
        ({"LOCAL_WORLD_SIZE": "2", "OMP_NUM_THREADS": "5"}, 5),
    ],
)
def test_the_number_without_a_flag(machine, monkeypatch, environment, expected):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert threads.num_threads() == threads.decoding_threads("auto") == threads.use_threads() == expected


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"cgroup/cpu.max": "max 100000\n"}, 6),
        ({"cgroup/cpu.max": "200000 100000\n"}, 2),
        ({"cgroup/cpu.max": "150000 100000\n"}, 2),
        ({"cgroup/cpu.max": "1000 100000\n"}, 1),
        ({"cgroup/cpu.max": "900000 100000\n"}, 6),
        ({"cgroup/cpu.max": "what is this"}, 6),
        ({"own": "0::/a/b\n", "cgroup/a/cpu.max": "300000 100000\n", "cgroup/a/b/cpu.max": "max 100000\n"}, 3),
        ({"own": "0::/../..\n"}, 6),
        ({"cgroup/cpu/cpu.cfs_quota_us": "-1\n", "cgroup/cpu/cpu.cfs_period_us": "100000\n"}, 6),
        ({"cgroup/cpu/cpu.cfs_quota_us": "400000\n", "cgroup/cpu/cpu.cfs_period_us": "100000\n"}, 4),
        (
            {
                "own": "3:cpuset:/z\n4:cpu,cpuacct:/job\n",
                "cgroup/cpu/job/cpu.cfs_quota_us": "100000\n",
                "cgroup/cpu/job/cpu.cfs_period_us": "100000\n",
            },
            1,
        ),
    ],
)
def test_a_container_with_a_share_of_time_has_fewer_cores(machine, files, expected):
    for name, text in files.items():
        write(machine / name, text)
    assert threads.usable_cores() == threads.num_threads() == expected


def test_what_is_set_for_libraries(machine):
    threads.prepare_libraries()
    assert {name: os.environ.get(name) for name in NAMES[:5]} == {
        "OMP_NUM_THREADS": None, "MKL_NUM_THREADS": None, "NUMBA_NUM_THREADS": None,
        "OMP_WAIT_POLICY": "PASSIVE", "KMP_BLOCKTIME": "0",
    }  # fmt: skip
    os.environ["OMP_NUM_THREADS"] = "1"
    threads.prepare_libraries()
    assert (os.environ["OMP_NUM_THREADS"], os.environ["NUMBA_NUM_THREADS"]) == ("1", "1")
    # What the user has set stays.
    os.environ |= {"OMP_WAIT_POLICY": "ACTIVE", "NUMBA_NUM_THREADS": "3"}
    threads.prepare_libraries()
    assert (os.environ["OMP_WAIT_POLICY"], os.environ["NUMBA_NUM_THREADS"]) == ("ACTIVE", "3")
    # But never more threads than cores; a flag governs everything.
    os.environ["OMP_NUM_THREADS"] = "99"
    threads.prepare_libraries()
    assert os.environ["OMP_NUM_THREADS"] == "6"
    assert threads.use_threads(2) == threads.num_threads() == threads.decoding_threads("auto") == 2
    assert {os.environ[name] for name in NUMBERS} == {"2"}
    assert threads.use_threads(99) == 6


@pytest.mark.parametrize(("given", "expected"), [("0", "6"), ("1000", "6"), ("abc", "6"), ("-2", "6"), ("", "")])
def test_numbers_that_numba_cannot_use_are_replaced(machine, monkeypatch, given, expected):
    monkeypatch.setenv("NUMBA_NUM_THREADS", given)
    threads.prepare_libraries()
    assert os.environ["NUMBA_NUM_THREADS"] == expected
    os.environ |= {"OMP_NUM_THREADS": "2", "NUMBA_NUM_THREADS": given}
    threads.prepare_libraries()
    assert os.environ["NUMBA_NUM_THREADS"] == "2"


@pytest.mark.parametrize("number", [0, -3])
def test_no_threads_at_all_are_refused(machine, number):
    with input_error("setting-out-of-range", number):
        threads.use_threads(number)
    assert threads.decoding_threads(0) == 0
    with input_error("setting-out-of-range", "-1"):
        threads.decoding_threads(-1)


_LOADED = """
from spcl.threads import use_threads
use_threads(1)
import numba, torch
print(torch.get_num_threads(), numba.get_num_threads(), numba.config.NUMBA_NUM_THREADS)
"""


@pytest.mark.slow
def test_one_number_reaches_the_libraries():
    given = {name: value for name, value in os.environ.items() if name not in NAMES}
    given |= {"OMP_NUM_THREADS": "2", "PYTHONPATH": IMPORT_PATH}
    done = subprocess.run([sys.executable, "-c", _LOADED], env=given, capture_output=True, text=True)
    assert done.stdout == "1 1 1\n", done.stderr


def test_images_are_decoded_in_the_calling_thread(tmp_path, monkeypatch):
    records = [Record(draw(tmp_path / f"{number}.png", number, number)) for number in range(3)]
    expected = ImageStore(records, size=(8, 4), num_threads=2).read(np.arange(3))

    def none(*_, **__):
        raise AssertionError("a thread is started")

    monkeypatch.setattr("threading.Thread.start", none)
    for memory in (0, 2**20):
        found = ImageStore(records, size=(8, 4), num_threads=0, memory=memory).read(np.arange(3))
        assert np.array_equal(found, expected)
    assert check_images([*records, Record(tmp_path / "gone.png")], sample=None, num_threads=0)[0][0].name == "gone.png"
