"""Programs of the command line, each in a process that is forked from one that has loaded all libraries.

A process of its own for each try would need seconds to start, and there are thousands of tries. Nothing that makes
threads is called before the fork: no gallery is opened, nothing is trained, no compiled loop runs.
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import signal
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout, suppress
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from tests.shared import IMPORT_PATH, PROJECT_ROOT
from tests.trust.killing import is_change
from tests.trust.system_calls import Followed, InForkedProcessError, follow
from tests.trust.tally import FULL

_LIBRARIES = (
    "accelerate",
    "pyarrow.parquet",
    "lancedb",
    "scipy.sparse.csgraph",
    "safetensors.torch",
    "spcl.gallery.gallery",
)
_FURTHER_LIBRARIES = (
    "torch._dynamo", "torch.onnx", "onnx", "onnxruntime", "onnxscript", "uvicorn", "fastapi", "matplotlib.pyplot",
    "sklearn.cluster", "av", "pandas", "spcl.serve.app", "spcl.serve.server", "spcl.review.app",
    "spcl.training_run.train", "spcl.adaptation.adapt", "spcl.pages.write_report", "spcl.linking.link_tracks",
    "spcl.footage.cut_crops",
)  # fmt: skip
"""Loaded once, with ``make trust``; a few tries load what they need."""


_ENDED_STOPPED = 77


@dataclass(frozen=True)
class Ended:
    """A program that has ended.

    Attributes:
        followed: Exit codes and changes of the disk.
        output: What it wrote to both streams, all processes together.
    """

    followed: Followed
    output: str

    @property
    def code(self) -> int:
        """The exit code of the first process."""
        return self.followed.codes[0]


class Zygote:
    """Forks programs on request; close it at the end."""

    def __init__(self) -> None:
        """Start the process; it loads the libraries while this one goes on."""
        environment = os.environ | {
            "PYTHONPATH": IMPORT_PATH, "OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore",
            "SPCL_TOKEN": "a-token-of-more-than-16-characters",
        }  # fmt: skip
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.trust.zygote"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=PROJECT_ROOT,
            env=environment,
        )

    def begin(self, words: Sequence[Sequence[str]] | Sequence[str], folder: Path, **how: Any) -> None:
        """Start a program of the command line, or several processes of one, without waiting for their end.

        Args:
            words: Words of the command line without ``spcl``; a list of them for several processes that join.
            folder: Working folder.
            **how: Arguments of ``follow``; ``within`` is the working folder.
        """
        self._ask({"words": list(words), "folder": str(folder), "how": how})

    def end(self) -> Ended:
        """Wait for the end of the program that was begun."""
        return self._ended()

    def run(self, words: Sequence[Any], folder: Path, **how: Any) -> Ended:
        """Run a program to its end; see ``begin``."""
        self.begin(words, folder, **how)
        return self.end()

    def stop_before_first_change(self, words: Sequence[str], folder: Path) -> bool:
        """Run a program up to its first change of the disk, from which ``go_on`` starts it as often as needed.

        Returns:
            Whether it came to a change; otherwise it has ended.
        """
        self._ask({"words": list(words), "folder": str(folder), "stops": True})
        return bool(self._answer()["stopped"])

    def go_on(self, **how: Any) -> Ended:
        """Let the stopped program go on, in a process of its own, in the working folder as it is now."""
        self._ask({"how": how})
        return self._ended()

    def end_stopped(self) -> None:
        """End the stopped program."""
        self._ask({"end": True})
        self._answer()

    def _ask(self, request: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        print(json.dumps(request), file=self._process.stdin, flush=True)

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the process that forks has ended"
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _ended(self) -> Ended:
        answer = self._answer()
        return Ended(Followed(**answer["followed"]), answer["output"])

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=60)


def output_file(folder: Path) -> Path:
    """The file of what a program writes to its streams, outside of its working folder."""
    return folder.with_name(f"{folder.name}.output")


def _program(words: Sequence[str], folder: Path, rank: int, size: int, port: int) -> Callable[[], int]:
    def run() -> int:
        os.chdir(folder)
        with output_file(folder).open("ab") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        with Path(os.devnull).open("rb") as nothing:
            os.dup2(nothing.fileno(), 0)
        sys.stdin, sys.stdout, sys.stderr = (os.fdopen(number, mode) for number, mode in ((0, "r"), (1, "w"), (2, "w")))
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        if size > 1:
            os.environ |= {
                "WORLD_SIZE": str(size), "RANK": str(rank), "LOCAL_RANK": str(rank), "LOCAL_WORLD_SIZE": str(size),
                "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
            }  # fmt: skip
        return _exit_code(words)

    return run


def _exit_code(words: Sequence[str]) -> int:
    from importlib import import_module

    from spcl.cli.main import main, run_guarded

    code: object = 0
    try:
        if words[0] == "piece":
            module, _, name = words[1].partition(":")
            run_guarded(lambda: getattr(import_module(module), name)(*words[2:]))
        else:
            main(list(words))
    except SystemExit as ended:
        code = ended.code
    except BaseException:
        import traceback

        traceback.print_exc()
        code = 1
    # As the interpreter does at its end, for what began after the fork.
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    return code if isinstance(code, int) else int(code is not None)


def _load() -> None:
    """Load everything that a program loads, and call nothing that starts threads."""
    from importlib import import_module

    import numpy as np
    import torch

    from spcl.nn.encoder_network import EncoderNetwork, EncoderSettings

    for name in _LIBRARIES + (_FURTHER_LIBRARIES if FULL else ()):
        with suppress(ImportError):
            import_module(name)
    torch.manual_seed(0)
    network = EncoderNetwork(EncoderSettings(arch="timm/test_resnet", height=32, width=16)).eval()
    with torch.no_grad():
        network(torch.zeros(2, 3, 32, 16))
    np.linalg.norm(np.zeros(3))
    if FULL:
        _warm_up()
    # What these libraries do when a process ends takes longer than many a try.
    weakref.finalize._registry.clear()  # type: ignore[attr-defined]
    weakref.finalize._registered_with_atexit = False  # type: ignore[attr-defined]
    atexit._clear()
    # A collection in a forked process would copy the memory of everything that is loaded.
    gc.collect()
    gc.freeze()


def _warm_up() -> None:
    """Load compiled loops that are not parallel, and draw a picture: once here takes a second less of each try."""
    import io
    import sys

    import numba
    from matplotlib.figure import Figure
    from PIL import Image

    Image.init()
    figure = Figure()
    figure.subplots(2)
    figure.savefig(io.BytesIO())
    numba.njit(lambda value: value + 1)(1)
    for module in [module for name, module in sys.modules.items() if name.startswith("spcl.")]:
        for kernel in vars(module).values():
            index = getattr(getattr(kernel, "_cache", None), "_cache_file", None)
            if index is not None and not kernel.targetoptions.get("parallel"):
                for signature, *_ in index._load_index():
                    kernel.compile(signature)


@cache
def _load_command(name: str) -> None:
    """Load a command and let it parse flags once: what this finds in sources and docstrings is kept."""
    from spcl.cli.main import main

    if name != "piece":
        with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere), suppress(SystemExit):
            main([name, "--help"])


class _Server:
    """Reads requests, and answers them; a program that is stopped does so in place of the process that forked it."""

    def __init__(self) -> None:
        self._requests, self._answers = os.fdopen(os.dup(0), "r"), os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)

    def serve(self) -> None:
        """Answer until there are no more requests."""
        for line in iter(self._requests.readline, ""):
            request = json.loads(line)
            folder = Path(request["folder"])
            words = request["words"] if isinstance(request["words"][0], list) else [request["words"]]
            _load_command(words[0][0])
            output_file(folder).write_bytes(b"")
            port = _free_port() if len(words) > 1 else 0
            programs = [_program(each, folder, rank, len(words), port) for rank, each in enumerate(words)]
            if request.get("stops"):
                if follow(
                    [lambda each=programs[0], at=folder: self._stopped(each, at)], listed=False, limit=1e6
                ).codes != [77]:
                    self._say({"stopped": False})
                continue
            self._say_end(follow(programs, within=folder, **request["how"]), folder)

    def _stopped(self, program: Callable[[], int], folder: Path) -> int:
        main_thread, begun = threading.get_ident(), []

        def hook(event: str, arguments: tuple[Any, ...]) -> None:
            if begun or threading.get_ident() != main_thread or not is_change(event, arguments):
                return
            path = Path(os.fsdecode(arguments[0])) if isinstance(arguments[0], str | bytes | Path) else Path("/dev")
            if not (folder / path).is_relative_to(folder):
                return
            begun.append(event)
            self._answer_stopped(folder)

        sys.addaudithook(hook)
        return program()

    def _answer_stopped(self, folder: Path) -> None:
        """Serve from within a program that is about to change the disk; comes back in forked processes only."""
        self._say({"stopped": True})
        for line in iter(self._requests.readline, ""):
            request = json.loads(line)
            if request.get("end"):
                self._say({})
                os._exit(_ENDED_STOPPED)
            output_file(folder).write_bytes(b"")
            try:
                followed = follow([None], within=folder, **request["how"])
            except InForkedProcessError:
                signal.signal(signal.SIGALRM, signal.SIG_DFL)
                os.chdir(folder)
                return
            self._say_end(followed, folder)
        os._exit(_ENDED_STOPPED)

    def _say_end(self, followed: Followed, folder: Path) -> None:
        output = output_file(folder).read_text(errors="backslashreplace")
        self._say({"followed": asdict(followed), "output": output})

    def _say(self, answer: dict[str, Any]) -> None:
        print(json.dumps(answer), file=self._answers, flush=True)


def _free_port() -> int:
    import socket

    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


if __name__ == "__main__":
    server = _Server()
    _load()
    server.serve()
