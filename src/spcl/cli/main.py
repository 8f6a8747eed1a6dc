"""``spcl COMMAND ...``: finds the command, and turns every error of the user's into one clear message.

Exit codes: 0 done; 1 another process of the run is gone; 2 the input cannot be used (the message says what to do); 3
``spcl monitor`` has found drift; 130 stopped with Ctrl-C; 143 stopped by SIGTERM.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from importlib import import_module
from io import TextIOWrapper, UnsupportedOperation
from types import FrameType

from spcl._version import __version__
from spcl.cli.quick_start import start_quickly
from spcl.errors import InputError, first_line
from spcl.launched import launched
from spcl.printable import printable

GROUPS: dict[str, dict[str, str]] = {
    "train": {
        "train": "train an encoder: from unlabelled images alone, or with a labelled source as well",
        "adapt": "adapt an encoder to your own cameras, from crops without labels; the better one is kept",
    },
    "use an encoder": {
        "embed": "compute features of images, into a file or a gallery",
        "search": "find the images of a gallery that are most similar to a query",
        "identify": "give an image the name of an identity in a gallery, or answer unknown",
        "compare": "decide whether two images show one object",
        "serve": "answer programs and people over HTTP, from a gallery",
        "monitor": "find cameras whose new images differ from those of a gallery",
        "calibrate": "measure which similarity means the same object, on images like yours",
        "export": "write an encoder for other programs: ONNX, or weights for timm and torch",
    },
    "look at your images": {
        "crops": "cut the crops of a tracker's boxes from a video, with a table of them",
        "link": "give the tracks of one object one identity, over cameras and time",
        "cluster": "group the images of a folder by the object they show",
        "correct": "correct groups by hand: merge, split, move, confirm, name, undo",
        "review": "correct groups in a browser, with a mouse or by keyboard alone",
        "ask": "choose the pairs of images whose answer improves groups the most",
        "suggest": "suggest settings that fit a folder of crops, with the reasons",
        "report": "make one HTML file about runs, groups, a gallery, or an encoder on images",
        "datasets": "list the registered data sets, and the folder of each",
    },
    "run and compare experiments": {
        "live": "follow running trainings in a browser",
        "evaluate": "measure mAP and top-k of a checkpoint on a data set",
        "sweep": "train over seeds and settings, and compare the runs in a table",
        "runs": "compare finished runs in a table: mean and standard deviation over seeds",
    },
    "other": {
        "doctor": "examine the installation and this machine, and name what to do where something does not work",
        "demo": "run the main task on built-in images",
    },
}
"""The commands, as the overview shows them."""

COMMANDS = {name: text for group in GROUPS.values() for name, text in group.items()}

_ANSWER_AT_ONCE = ("compare", "search", "identify", "serve")
"""Commands whose start takes longer than their work."""

_LONGEST_MESSAGE = 4000
_RUNS = ("train", "adapt")
_SERVERS = ("serve", "live", "review")

_PATIENCE = 10.0
"""Seconds that a process waits for the first process of its machine to print an error that both found."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command of the command line; exits the process."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if arguments is None and words and words[0] in _ANSWER_AT_ONCE:
        start_quickly()
    # Loading a command takes seconds, in which Ctrl-C is no error either.
    run_guarded(lambda: _run(words), ends_process=arguments is None, advice=_advice(words[0] if words else ""))


def _run(words: list[str]) -> None:
    if not words or words[0] in ("-h", "--help", "help"):
        print(_overview())
        raise SystemExit(0 if words else 2)
    if words[0] in ("-V", "--version", "version"):
        print(f"spcl {__version__}")
        raise SystemExit(0)
    if words[0] not in COMMANDS:
        near = get_close_matches(words[0], COMMANDS, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"expected one of: {', '.join(COMMANDS)}"
        raise InputError(f"there is no command {words[0]!r}; {hint}", code="no-such-command")
    import_module(f"spcl.cli.{words[0]}").main(words[1:])


def _advice(command: str) -> str:
    """What is printed behind "stopped" after Ctrl-C."""
    if command not in COMMANDS or command in _SERVERS:
        return ""
    again = "; give the same command again to finish"
    return f"{again}, with --resume if the run has been saved" if command in _RUNS else again


@contextmanager
def _sigterm_as_ctrl_c() -> Iterator[list[bool]]:
    """A block that SIGTERM stops as Ctrl-C does, training after its step; the list is not empty then."""
    terminated: list[bool] = []

    def stop(signum: int, frame: FrameType | None) -> None:
        terminated.append(True)
        on_ctrl_c = signal.getsignal(signal.SIGINT)
        # Where Ctrl-C is ignored, in the background of a shell, SIGTERM is not.
        if not callable(on_ctrl_c):
            raise KeyboardInterrupt
        on_ctrl_c(signum, frame)

    if threading.current_thread() is not threading.main_thread():
        yield terminated
        return
    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield terminated
    finally:
        signal.signal(signal.SIGTERM, before)


def run_guarded(program: Callable[[], None], *, ends_process: bool = False, advice: str = "") -> None:
    """Run a program; the user's errors become a message and exit code 2, Ctrl-C becomes exit code 130.

    If a process of a distributed run is terminated, or another process has ended, it prints how to resume.

    Args:
        program: What is run.
        ends_process: The process ends with the program, so that a second Ctrl-C may end it at once.
        advice: What is printed behind "stopped" after Ctrl-C.
    """
    if launched().size > 1:
        _run_guarded(program, ends_process=ends_process, advice=advice)
        return
    with _sigterm_as_ctrl_c() as terminated:
        try:
            _run_guarded(program, ends_process=ends_process, advice=advice)
        except SystemExit as ended:
            if terminated and ended.code == 130:
                raise SystemExit(143) from None
            raise


def _run_guarded(program: Callable[[], None], *, ends_process: bool, advice: str) -> None:
    size, rank, _ = launched()
    has_others = size > 1
    if has_others:
        signal.signal(signal.SIGTERM, _end_with_the_others)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            # A file's name that the terminal cannot show, or that is no text at all, is shown with escapes.
            stream.reconfigure(errors="backslashreplace")
    try:
        try:
            program()
        finally:
            # Here, not on exit: a reader that has gone is met below.
            if sys.stdout is not None:  # it is, where it was closed beforehand
                sys.stdout.flush()
    except InputError as error:
        _fail_in_one_process(error)
    except SystemExit as ended:
        # The parser of flags prints its errors in the process of rank 0 alone, and exits in all of them: without a wait
        # the launcher could end that process before it has printed.
        if ended.code not in (None, 0) and rank != 0 and not _are_joined():
            _wait_to_be_ended()
        raise
    except KeyboardInterrupt:
        if ends_process and threading.current_thread() is threading.main_thread():
            # Threads that still work are waited for on exit.
            signal.signal(signal.SIGINT, lambda *_: os._exit(130))
        print(f"\nstopped{advice}", file=sys.stderr)
        raise SystemExit(130) from None
    except BrokenPipeError:
        # The reader (head, less) has gone: that is no error.
        _write_no_more()
        raise SystemExit(0) from None
    except OSError as error:
        _fail_for_file(error)
    except RuntimeError as error:
        if has_others and import_module("spcl.runtime").lost_another_process(error):
            _end_with_the_others()
        raise


def _fail_in_one_process(error: InputError) -> None:
    """Print an error of the user's once, by the process that has to, and end this process."""
    size, rank, local_rank = launched()
    if _are_joined():
        if error.is_shared and rank != 0:
            _wait_to_be_ended()
            raise SystemExit(2) from None
        # An error that only this process found is printed by this process, whatever its rank.
        alone = size > 1 and not error.is_shared
    else:
        # Processes of one machine usually find the same error: the first prints it, and the launcher ends the others.
        alone = local_rank != 0
        if alone:
            _wait_to_be_ended()
    where = f"process {rank} of {size}: " if alone else ""
    _fail(f"{where}{error}", error.code)


def _fail_for_file(error: OSError) -> None:
    """Print what cannot be read or written, and end this process."""
    if isinstance(error, PermissionError):
        place = f" {error.filename}" if error.filename else f": {first_line(error)}"
        _fail(f"no permission to read or write{place}; give another place, or change who may", "no-permission")
    # What is written with care says so itself; this is for the rest: a full disk, one that is gone.
    place = f" {error.filename}" if error.filename else ""
    reason = error.strerror or first_line(error)
    if not error.filename and not _can_print():
        _write_no_more()
        _fail(f"cannot write to the standard output: {reason}; free some space, or send it elsewhere", "no-space")
    _fail(f"cannot read or write{place}: {reason}; free some space, or give another place", "file-system")


def _are_joined() -> bool:
    """Whether a group of processes has been set up; torch is not loaded for the answer."""
    processes = sys.modules.get("spcl.processes")
    return processes is not None and bool(processes.are_joined())


def _can_print() -> bool:
    """Whether the standard output takes a line; flushing would not say it, for what failed is thrown away."""
    try:
        os.write(sys.stdout.fileno(), b"\n")
    except UnsupportedOperation:
        return True
    except OSError:
        return False
    return True


def _write_no_more() -> None:
    """Let what is still to be printed vanish: the interpreter would fail on it when it ends."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(nowhere, stream.fileno())


def _end_with_the_others(*_: object) -> None:
    print(
        "error: another process of this run has ended, so this one ends too; start it again (spcl train and "
        "spcl adapt go on with --resume)",
        file=sys.stderr,
        flush=True,
    )
    # At once: leaving in order would wait for a process that is gone.
    os._exit(1)


def _wait_to_be_ended() -> None:
    """Give the launcher time to end this process in silence; come back where it does not."""
    signal.signal(signal.SIGTERM, lambda *_: os._exit(2))
    signal.signal(signal.SIGINT, lambda *_: os._exit(130))
    time.sleep(_PATIENCE)


def _fail(message: str, code: str) -> None:
    # A name with an end of line cannot begin a line that looks like one of the program.
    shown = printable(message).replace("\n", "\n  ")
    if len(shown) > _LONGEST_MESSAGE:
        # A name in a damaged file may be of any length.
        shown = f"{shown[: _LONGEST_MESSAGE // 2]} ... {shown[-_LONGEST_MESSAGE // 2 :]}"
    print(f"error: {shown} [{code}]", file=sys.stderr)
    raise SystemExit(2)


def _overview() -> str:
    lines = [
        "usage: spcl COMMAND ...",
        "",
        "Find the same object again in images of several cameras, without identity labels.",
        "",
    ]
    for title, commands in GROUPS.items():
        lines += [f"{title}:", *(f"  {name:<10} {text}" for name, text in commands.items()), ""]
    lines += ["Begin with: spcl cluster crops -o groups"]
    lines += ["spcl COMMAND --help explains a command; docs/glossary.md explains the words."]
    return "\n".join([*lines, "spcl --version prints the version."])
