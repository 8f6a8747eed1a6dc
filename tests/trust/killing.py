"""Kill a piece of a program before its n-th change of the disk.

Python reports each change of the disk before it happens (``sys.addaudithook``): opening for writing, renaming,
removing, linking, making and removing folders. The piece runs in a forked process, which SIGKILL ends: nothing of it is
cleaned up.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator

_CHANGES = (
    "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.truncate", "shutil.copyfile",
)  # fmt: skip
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC


def is_change(event: str, arguments: tuple[object, ...]) -> bool:
    """Whether an audit event is a change of the disk."""
    if event == "open":
        flags = arguments[2] if len(arguments) > 2 else 0
        return isinstance(flags, int) and bool(flags & _WRITING) and not str(arguments[0]).startswith("/dev/")
    return event in _CHANGES


def changes_of(piece: Callable[[], object]) -> list[str]:
    """Run a piece in a forked process, and list its changes of the disk."""
    reading, writing = os.pipe()

    def listed() -> None:
        found: list[str] = []
        sys.addaudithook(lambda event, args: found.append(f"{event} {args[:2]}") if is_change(event, args) else None)
        piece()
        os.write(writing, "\n".join(text.replace("\n", " ") for text in found)[:60000].encode())

    code = _forked(listed)
    os.close(writing)
    with os.fdopen(reading) as file:
        text = file.read()
    assert code == 0, f"the piece ends with {code}"
    return text.splitlines()


def killed_before(piece: Callable[[], object], number: int) -> None:
    """Run a piece in a forked process, and kill the process before its change ``number``, from 0."""
    count = [0]

    def kill(event: str, arguments: tuple[object, ...]) -> None:
        if is_change(event, arguments):
            if count[0] == number:
                os.kill(os.getpid(), signal.SIGKILL)
            count[0] += 1

    def run() -> None:
        sys.addaudithook(kill)
        piece()

    assert _forked(run) == -signal.SIGKILL


def each_kill(
    piece: Callable[[], object],
    *,
    prepare: Callable[[], object],
    most: int | None = None,
    spread: int | None = None,
) -> Iterator[int]:
    """Prepare, kill the piece before each of its changes, and give the number of the change each time.

    With ``most``, only before so many of the last changes, among which are the renames; with ``spread``, before so many
    at equal distances.
    """
    prepare()
    num = len(changes_of(piece))
    numbers: Iterable[int] = range(0 if most is None else max(0, num - most), num)
    if spread is not None and spread < num:
        numbers = sorted({round(at * (num - 1) / (spread - 1)) for at in range(spread)})
    for number in numbers:
        prepare()
        killed_before(piece, number)
        yield number


def _forked(piece: Callable[[], object]) -> int:
    process = os.fork()
    if process == 0:
        code = 1
        try:
            piece()
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
