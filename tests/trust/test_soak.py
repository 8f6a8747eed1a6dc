"""A server for 24 simulated hours of 50 seconds: adds, removals by another program, searches, and three restarts.

For as long as an hour of the simulation the gallery keeps old versions, as it does for an hour otherwise.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from spcl.gallery.gallery import Gallery
from tests.serve.served import write_gallery
from tests.shared import IMPORT_PATH, PROJECT_ROOT
from tests.trust.clients import TOKEN, address_in, enrol, picture, post
from tests.trust.tally import record, tries

pytestmark = pytest.mark.trust

SECONDS_AN_HOUR = 50.0
HOURS_A_SERVER = 6
WRITES_AN_HOUR = 60
MOST_FILES = 2000
LARGEST_GROWTH = 1.15

PROGRAM = f"""
import sys
from datetime import timedelta
from spcl.cli import serve
from spcl.cli.main import run_guarded
from spcl.gallery import store

store._KEEP_VERSIONS = timedelta(seconds={SECONDS_AN_HOUR})
run_guarded(lambda: serve.main(sys.argv[1:]), ends_process=True)
"""


class Served:
    """A server in a process of its own."""

    def __init__(self, gallery: Path) -> None:
        self.output = gallery.with_name("server.txt")
        self.output.write_text("")
        words = [
            str(gallery.parent / "c.pth.tar"),
            str(gallery),
            *["--port", "0", "--json", "--threads", "1", "--engine", "torch"],
        ]
        with self.output.open("w") as file:
            self._process = subprocess.Popen(
                [sys.executable, "-c", PROGRAM, *words],
                stdout=file,
                stderr=subprocess.STDOUT,
                cwd=PROJECT_ROOT,
                env=os.environ | {"PYTHONPATH": IMPORT_PATH, "SPCL_TOKEN": TOKEN, "OMP_NUM_THREADS": "1"},
            )
        address = address_in(self.output, seconds=300)
        assert address is not None, self.output.read_text()
        self.url, self._seen = address, psutil.Process(self._process.pid)

    def memory(self) -> int:
        """Bytes of memory that the process uses."""
        return int(self._seen.memory_info().rss)

    def handles(self) -> int:
        """Number of open files and connections."""
        return int(self._seen.num_fds())

    def stop(self) -> int:
        """Stop it as a service manager does; its exit code."""
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(timeout=120)

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()
        self._process.wait()


def files_in(folder: Path) -> int:
    return sum(path.is_file() for path in folder.rglob("*") if "enrolled" not in path.parts)


class Day:
    """The rows that must be there, and how they come and go."""

    def __init__(self, gallery: Path) -> None:
        self.gallery, self.drawn, self.added = gallery, random.Random(5), 0
        self.held = self.names()

    def names(self) -> dict[str, str]:
        """Identity of each path."""
        found: dict[str, str] = {}
        for part in Gallery.open(self.gallery).read():
            found |= zip(part.columns["path"], part.columns["identity"], strict=True)
        return found

    def hour(self, url: str) -> None:
        """Some writes and searches; another program removes as many rows as were added."""
        end, before = time.monotonic() + SECONDS_AN_HOUR, set(self.names())
        for _ in range(WRITES_AN_HOUR):
            enrol(url, self.added)
            self.added += 1
            answer = post(f"{url}/search?top=3", picture(self.drawn.randrange(self.added)), "image/png")
            assert len(answer["queries"][0]["hits"]) == 3
            assert post(f"{url}/identify", picture(self.added - 1), "image/png")
        now = self.names()
        new = {path: name for path, name in now.items() if path not in before}
        assert sorted(new.values()) == sorted(f"p{number}" for number in range(self.added - len(new), self.added))
        assert {path: name for path, name in now.items() if path in before} == self.held
        self.held |= new
        removed = self.drawn.sample(sorted(self.held), WRITES_AN_HOUR)
        assert Gallery.open(self.gallery).remove(paths=removed) == len(removed)
        for path in removed:
            del self.held[path]
        assert self.names() == self.held
        time.sleep(max(0.0, end - time.monotonic()))


def test_a_day_of_a_server(tmp_path):
    gallery = write_gallery(tmp_path, identities=24)
    day, hours = Day(gallery), tries(24, 2)
    growth, handles, most_files = [], [], 0
    for first in range(0, hours, HOURS_A_SERVER):
        server = Served(gallery)
        try:
            seen = []
            for _ in range(min(HOURS_A_SERVER, hours - first)):
                day.hour(server.url)
                seen.append((server.memory(), server.handles()))
                most_files = max(most_files, files_in(gallery))
            growth.append(seen[-1][0] / seen[0][0])
            handles.append(seen[-1][1] - seen[0][1])
            assert server.stop() in (0, 143)
        finally:
            server.kill()
    note = (
        f"{day.added:,} writes and as many removals; memory x {max(growth):.2f} from the first hour of a server to its "
        f"last, {max(handles):+d} handles, at most {most_files} files in the gallery"
    )
    right = max(growth) <= LARGEST_GROWTH and max(handles) <= 4 and most_files <= MOST_FILES
    record("A long time", "hours of a server, with a restart every six", hours, hours if right else 0, note)
    assert right, (growth, handles, most_files)
