"""Commands on a disk that fails at a chosen call, each in a process forked from one that has loaded the libraries.

``failing_disk.c`` is compiled and loaded before the C library, so that what Rust and C++ write fails as well.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import sysconfig
import traceback
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from tests.shared import IMPORT_PATH, PROJECT_ROOT

SOURCE = Path(__file__).with_suffix(".c")
ALONE, FULL_FROM, GONE_FROM = 0, 1, 2
"""How calls fail, as in ``failing_disk.c``."""

_LIBRARIES = (
    "torch", "accelerate", "pyarrow.parquet", "lancedb", "scipy.sparse.csgraph", "safetensors.torch", "filelock",
    "spcl.gallery.gallery", "spcl.training_run.train", "spcl.adaptation.adapt", "spcl.grouping.group_images",
)  # fmt: skip
_SECONDS = 600


def compiled(folder: Path) -> Path | None:
    """The compiled library; None where it cannot be made."""
    compiler = shutil.which(sysconfig.get_config_var("CC").split()[0]) or shutil.which("cc")
    if sys.platform != "linux" or compiler is None:
        return None
    library = folder / "failing_disk.so"
    words = [compiler, "-shared", "-fPIC", "-O1", "-o", str(library), str(SOURCE), "-ldl"]
    done = subprocess.run(words, capture_output=True, check=False)
    return library if done.returncode == 0 else None


@dataclass(frozen=True)
class Ended:
    """A command that has ended: its exit code, negative for a signal, what it printed, and its calls that count."""

    code: int
    output: str
    num_calls: int

    def faults(self) -> list[str]:
        """What is wrong with the way it ended, where it could not do its work: exit code 2 and one line are right."""
        errors = [line for line in self.output.splitlines() if line.startswith("error: ")]
        if self.code != 2 or "Traceback" in self.output or len(errors) != 1 or not errors[0].endswith("]"):
            return [f"ends with {self.code}: {self.output[-700:]}"]
        return []


class FailingDisk:
    """Runs commands; close it at the end."""

    def __init__(self, library: Path | None) -> None:
        """Start the process that forks.

        Args:
            library: From ``compiled``; None: calls cannot be made to fail, limits of the size of files can be set.
        """
        environment = os.environ | {
            "PYTHONPATH": IMPORT_PATH, "OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore",
        }  # fmt: skip
        if library is not None:
            environment |= {"LD_PRELOAD": str(library), "SPCL_FAILING_DISK": str(library)}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.trust.failing_disk"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=PROJECT_ROOT,
            env=environment,
        )

    def run(
        self,
        words: Sequence[str],
        folder: Path,
        *,
        fails: tuple[int, int, int] = (-1, 0, ALONE),
        most_bytes: int | None = None,
        below: Path | None = None,
    ) -> Ended:
        """Run a command.

        Args:
            words: Words of the command line, without ``spcl``.
            folder: Working folder.
            fails: Number of the first call that fails, error of the system, how calls fail.
            most_bytes: Largest size of a file.
            below: Folder whose calls count; None: the working folder.
        """
        request = {
            "words": list(words), "folder": str(folder), "fails": fails, "most_bytes": most_bytes,
            "below": str(below or folder),
        }  # fmt: skip
        assert self._process.stdin is not None and self._process.stdout is not None
        print(json.dumps(request), file=self._process.stdin, flush=True)
        line = self._process.stdout.readline()
        assert line, "the process that forks has ended"
        return Ended(**json.loads(line))

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=60)


def _forked(request: dict[str, Any]) -> dict[str, Any]:
    # Outside of the folder: what is printed is not written to the disk that fails.
    printed = Path(f"{request['folder']}.printed")
    printed.write_bytes(b"")
    printed.chmod(0o666)
    reading, writing = os.pipe()
    process = os.fork()
    if process == 0:
        os.close(reading)
        code = 1
        try:
            code = _command(request, printed, writing)
        finally:
            os._exit(code)
    os.close(writing)
    with os.fdopen(reading) as file:
        counted = file.read()
    code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    output = printed.read_text(errors="backslashreplace")
    return {"code": code, "output": output, "num_calls": int(counted or 0)}


def _command(request: dict[str, Any], printed: Path, writing: int) -> int:
    """Run the command in this process, and give its exit code."""
    from spcl.cli.main import main

    signal.alarm(_SECONDS)
    os.chdir(request["folder"])
    with printed.open("ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    sys.stdout, sys.stderr = os.fdopen(1, "w", buffering=1), os.fdopen(2, "w", buffering=1)
    if request["most_bytes"] is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (request["most_bytes"], resource.RLIM_INFINITY))
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    failing = os.environ.get("SPCL_FAILING_DISK")
    library = ctypes.CDLL(failing) if failing else None
    if library is not None:
        number, error, how = request["fails"]
        library.failing_begin(os.fsencode(request["below"]), ctypes.c_long(number), error, how)
    code: object = 0
    try:
        main(request["words"])
    except SystemExit as ended:
        code = ended.code
    except BaseException:
        traceback.print_exc()
        code = 1
    finally:
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):
                stream.flush()
        if library is not None:
            counted = library.failing_count()
            library.failing_begin(b"", ctypes.c_long(-1), 0, 0)
            os.write(writing, str(counted).encode())
    return code if isinstance(code, int) else int(code is not None)


def _serve() -> None:
    requests, answers = os.fdopen(os.dup(0), "r"), os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for name in _LIBRARIES:
        import_module(name)
    for line in iter(requests.readline, ""):
        print(json.dumps(_forked(json.loads(line))), file=answers, flush=True)


if __name__ == "__main__":
    _serve()
