"""Follow the changes of the disk that a forked process asks the system for, and kill it before one of them.

A filter (seccomp) stops the process at these system calls alone, and the process that forked it (ptrace) reads which
they are. What libraries in other languages write is seen, too. Linux only, on x86-64 and on ARM of 64 bits.
"""

from __future__ import annotations

import ctypes
import os
import platform
import signal
import stat
import struct
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

_X86 = {
    "write": 1, "pwrite": 18, "writev": 20, "sendfile": 40, "truncate": 76, "ftruncate": 77, "rename": 82, "mkdir": 83,
    "rmdir": 84, "creat": 85, "link": 86, "unlink": 87, "symlink": 88, "openat": 257, "mkdirat": 258, "unlinkat": 263,
    "renameat": 264, "linkat": 265, "symlinkat": 266, "fallocate": 285, "pwritev": 296, "renameat2": 316,
    "copy_file_range": 326, "pwritev2": 328, "open": 2,
}  # fmt: skip
_ARM = {
    "symlinkat": 36, "mkdirat": 34, "unlinkat": 35, "linkat": 37, "renameat": 38, "truncate": 45, "ftruncate": 46,
    "fallocate": 47, "openat": 56, "write": 64, "writev": 66, "pwrite": 68, "pwritev": 70, "sendfile": 71,
    "renameat2": 276, "copy_file_range": 285, "pwritev2": 287,
}  # fmt: skip
_CALLS = {"x86_64": _X86, "aarch64": _ARM}.get(platform.machine(), {})
_NAMES = {number: name for name, number in _CALLS.items()}
_OPENING = {"open": 1, "openat": 2}
"""Which argument holds the flags."""
_ON_OPEN_FILES = ("write", "pwrite", "writev", "pwritev", "pwritev2", "ftruncate", "fallocate")
_FIRST_PATH = {"openat": 1, "unlinkat": 1, "mkdirat": 1, "renameat": 1, "renameat2": 1, "linkat": 1, "symlinkat": 0}
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC

_TRACEME, _CONT, _SETOPTIONS, _CALL_INFO = 0, 7, 0x4200, 0x420E
_FORK, _VFORK, _CLONE, _SECCOMP, _EXIT_KILL = 1 << 1, 1 << 2, 1 << 3, 1 << 7, 1 << 20
_EVENT_OF_SECCOMP, _ALL_THREADS = 7, 0x40000000
_ALLOW, _TRACE = 0x7FFF0000, 0x7FF00000


class InForkedProcessError(Exception):
    """Raised by ``follow`` in a forked process that goes on from there."""


@dataclass
class Followed:
    """What came of the processes of one job.

    Attributes:
        codes: Exit code of each process, negative for a signal.
        changes: Each change of the disk that was asked for: the call, and the file.
        killed: Whether a process was killed at the moment that was asked for.
        timed_out: Whether the processes were ended because they took too long.
        seconds: How long it took.
        seconds_after: How long it took after it was killed or Ctrl-C was pressed.
        processor_seconds: Processor time of the processes.
    """

    codes: list[int] = field(default_factory=list)
    changes: list[str] = field(default_factory=list)
    killed: bool = False
    timed_out: bool = False
    seconds: float = 0.0
    seconds_after: float = 0.0
    processor_seconds: float = 0.0


def can_follow() -> bool:
    """Whether system calls can be followed here."""
    if sys.platform != "linux" or not _CALLS:
        return False
    try:
        followed = follow([lambda: (Path(os.devnull).parent / "null").write_text("") and None], limit=10)
    except OSError:
        return False
    return followed.codes == [0]


def follow(
    pieces: Sequence[Callable[[], object] | None],
    *,
    kill_before: int | None = None,
    kill_after: float | None = None,
    interrupt_after: float | None = None,
    killed: Sequence[int] | None = None,
    limit: float = 120.0,
    listed: bool = True,
    within: Path | None = None,
) -> Followed:
    """Run pieces of a program in a forked process each, at the same time.

    Args:
        pieces: What is run; each ends its process with an exit code of its own, or returns. None: what follows the
            call of this function, where ``InForkedProcessError`` is raised in the forked process.
        kill_before: Kill before the change of the disk with this number, from 0, of all processes together.
        kill_after: Kill after so many seconds.
        interrupt_after: Press Ctrl-C after so many seconds.
        killed: Which processes are killed; None: all.
        limit: Seconds after which all are ended.
        listed: Follow the changes of the disk; always done with ``kill_before``.
        within: Folder outside of which changes are not counted; None: all are.
    """
    traced = listed or kill_before is not None
    start, result = time.monotonic(), Followed()
    processes = [_forked(piece, traced=traced) for piece in pieces]
    doomed = processes if killed is None else [processes[number] for number in killed]
    codes: dict[int, int] = {}
    after = kill_after if interrupt_after is None else interrupt_after
    stopped_at = [start]

    def kill(numbers: Sequence[int], how: signal.Signals = signal.SIGKILL) -> None:
        for number in numbers:
            if number not in codes:
                with suppress(ProcessLookupError):
                    os.kill(number, how)

    def on_alarm(*_: object) -> None:
        if after is not None and not result.killed and time.monotonic() - start < limit:
            result.killed, stopped_at[0] = True, time.monotonic()
            kill(doomed, signal.SIGKILL if interrupt_after is None else signal.SIGINT)
            signal.setitimer(signal.ITIMER_REAL, limit)
        else:
            result.timed_out = True
            kill(processes)

    before = signal.signal(signal.SIGALRM, on_alarm)
    signal.setitimer(signal.ITIMER_REAL, limit if after is None else max(after, 1e-4))
    try:
        while len(codes) < len(processes):
            number, status, used = os.wait4(-1, _ALL_THREADS)
            if os.WIFEXITED(status) or os.WIFSIGNALED(status):
                if number in processes:
                    codes[number] = os.waitstatus_to_exitcode(status)
                    result.processor_seconds += used.ru_utime + used.ru_stime
            elif os.WIFSTOPPED(status):
                if status >> 16 == _EVENT_OF_SECCOMP and (change := _change(number, within)):
                    if kill_before == len(result.changes):
                        result.killed = True
                        kill(doomed)
                    result.changes.append(change)
                _go_on(number, status)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    result.codes = [codes[number] for number in processes]
    end = time.monotonic()
    result.seconds, result.seconds_after = end - start, end - stopped_at[0]
    return result


def _forked(piece: Callable[[], object] | None, *, traced: bool) -> int:
    process = os.fork()
    if process == 0:
        if piece is None:
            if traced:
                _wait_for_tracer()
            raise InForkedProcessError
        code = 1
        try:
            if traced:
                _wait_for_tracer()
            code = int(piece() or 0)  # type: ignore[call-overload]
        finally:
            os._exit(code)
    if traced:
        os.waitpid(process, os.WUNTRACED)
        _ptrace(_SETOPTIONS, process, 0, _FORK | _VFORK | _CLONE | _SECCOMP | _EXIT_KILL)
        _ptrace(_CONT, process, 0, 0)
    return process


def _wait_for_tracer() -> None:
    _ptrace(_TRACEME, 0, 0, 0)
    os.kill(os.getpid(), signal.SIGSTOP)
    _stop_at_changes()


def _go_on(number: int, status: int) -> None:
    """Let a stopped thread go on, with the signal that stopped it, if it is one."""
    signal_number = os.WSTOPSIG(status)
    is_signal = status >> 16 == 0 and signal_number not in (signal.SIGTRAP, signal.SIGSTOP)
    with suppress(ProcessLookupError):
        _ptrace(_CONT, number, 0, signal_number if is_signal else 0)


def _change(number: int, within: Path | None) -> str | None:
    """The change of the disk at which a thread has stopped; None if it is at another place, or at no file."""
    call, arguments = _call_of(number)
    name = _NAMES.get(call, "")
    try:
        if name in _ON_OPEN_FILES:
            file = Path(f"/proc/{number}/fd/{arguments[0]}")
            path = str(file.readlink()) if stat.S_ISREG(file.stat().st_mode) else "/dev/null"
        else:
            path = (
                "" if name in ("sendfile", "copy_file_range") else _text_at(number, arguments[_FIRST_PATH.get(name, 0)])
            )
    except OSError:  # the process has been killed meanwhile
        return None
    outside = path.startswith("/") and within is not None and not Path(path).is_relative_to(within)
    return None if outside or path.startswith(("/dev/", "/proc/")) else f"{name} {path}"


def _call_of(number: int) -> tuple[int, tuple[int, ...]]:
    """The number and the arguments of the system call at which a thread has stopped."""
    buffer = ctypes.create_string_buffer(128)
    with suppress(ProcessLookupError):
        _ptrace(_CALL_INFO, number, len(buffer), ctypes.addressof(buffer))
    call, *arguments = struct.unpack_from("=7Q", buffer.raw, 24)
    return call, tuple(arguments)


def _text_at(number: int, address: int) -> str:
    """The text with a zero at its end in the memory of a process."""
    with Path(f"/proc/{number}/mem").open("rb", buffering=0) as memory:
        memory.seek(address)
        found = memory.read(256)
        # The rest of the text may be on the next page.
        found += memory.read(3840) if b"\0" not in found and len(found) == 256 else b""
    return os.fsdecode(found.partition(b"\0")[0])


def _stop_at_changes() -> None:
    """Let this process and its threads stop at each call that changes the disk, as seen by its tracer."""
    load, equal, any_bit, give = 0x20, 0x15, 0x45, 0x06
    program: list[tuple[int, int, int, int]] = [(load, 0, 0, 0)]
    for name, argument in _OPENING.items():
        if name in _CALLS:
            flags = 16 + 8 * argument
            program += [(equal, 0, 4, _CALLS[name]), (load, 0, 0, flags), (any_bit, 0, 1, _WRITING)]
            program += [(give, 0, 0, _TRACE), (give, 0, 0, _ALLOW)]
    for name, call in _CALLS.items():
        if name not in _OPENING:
            program += [(equal, 0, 1, call), (give, 0, 0, _TRACE)]
    program.append((give, 0, 0, _ALLOW))
    code = b"".join(struct.pack("=HBBI", *line) for line in program)
    buffer = ctypes.create_string_buffer(code, len(code))
    header = ctypes.create_string_buffer(struct.pack("@HP", len(program), ctypes.addressof(buffer)))
    if _library.prctl(38, 1, 0, 0, 0) or _library.prctl(22, 2, ctypes.c_void_p(ctypes.addressof(header)), 0, 0):
        raise OSError(ctypes.get_errno(), "the filter of system calls was refused")


_library = ctypes.CDLL(None, use_errno=True)


def _ptrace(request: int, number: int, address: int, data: int) -> None:
    function = _library.ptrace
    function.restype = ctypes.c_long
    if function(ctypes.c_long(request), ctypes.c_int(number), ctypes.c_void_p(address), ctypes.c_void_p(data)) < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
