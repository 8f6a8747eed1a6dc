"""``corrections.csv``: reading it, and appending whole lines to it while other programs do the same.

The file is append-only: what a person said is taken back by a further line (``undo``). A spreadsheet may edit and save
it; another separator, encoding or line end is read. The file gets our form again before the next line is added.
"""

from __future__ import annotations

import csv
import getpass
import io
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from spcl.atomic_files import written_aside
from spcl.corrections.correction import ACTIONS, HEADER, Correction, subjects_of
from spcl.data.table_files import Table
from spcl.data.table_paths import paths_of
from spcl.data.text_files import read_text
from spcl.data.text_tables import cells_of_text
from spcl.errors import InputError
from spcl.file_lock import held_lock

CORRECTIONS, CUT = "corrections.csv", "corrections.cut.txt"
"""Names of the file of corrections, and of the file that keeps lines that were cut."""

_LOCK = ".corrections.lock"
_LONGEST_WAIT = 60.0
_FIRST_LINE = (",".join(HEADER) + "\n").encode()


@dataclass(frozen=True)
class CorrectionLog:
    """The content of a file of corrections.

    Attributes:
        corrections: All lines in their order, those that were taken back included.
        notes: Remarks about the reading, in sentences.
        cut: The last line, if it has no end; it is not used. Empty: there is none.
    """

    corrections: tuple[Correction, ...] = ()
    notes: tuple[str, ...] = ()
    cut: str = ""

    @property
    def next_number(self) -> int:
        """The number of the next correction."""
        return max((each.number for each in self.corrections), default=0) + 1

    @property
    def undone(self) -> frozenset[int]:
        """The numbers of the corrections that are taken back; an ``undo`` can itself be taken back."""
        found: set[int] = set()
        for each in reversed(self.corrections):
            if each.action == "undo" and each.number not in found:
                found.add(int(each.argument))
        return frozenset(found)

    @property
    def active(self) -> tuple[Correction, ...]:
        """The lines that count, in their order, without ``undo``."""
        undone = self.undone
        return tuple(each for each in self.corrections if each.action != "undo" and each.number not in undone)


def read_corrections(path: Path) -> CorrectionLog:
    """Read a file of corrections; a missing file has none.

    A last line without an end was cut by a stop, or is being written. It is not used, and reported in ``notes``.

    Raises:
        InputError: If the file cannot be read, has other columns, or a line is not understood.
    """
    if not path.exists():
        return CorrectionLog()
    text, notes = read_text(path)
    whole, cut = _without_cut_line(text)
    if cut:
        notes += (
            f"the last line of {path} has no end and is not used: {cut[:80]!r}. If it is complete, add a line break "
            "after it",
        )
    if not whole.strip():
        return CorrectionLog((), notes, cut)
    names, columns, lines, more = cells_of_text(path, whole, notes, {"path": "action"})
    cells = {name.strip().lower(): column for name, column in zip(names, columns, strict=True)}
    missing = [name for name in ("action", "subjects") if name not in cells]
    if missing:
        raise InputError(
            f"{path} is no file of corrections: it has no column {missing[0]!r}; expected {', '.join(HEADER)}",
            code="no-such-column",
        )
    return CorrectionLog(tuple(_understood(path, cells, lines)), more, cut)


def append_corrections(
    path: Path, log: CorrectionLog, lines: Sequence[tuple[str, tuple[Path, ...], str]], who: str = ""
) -> tuple[Correction, ...]:
    """Append one correction, of one or several lines; either all of them are in the file or none. Hold ``alone``.

    Args:
        path: Path of the file, which is made if it is missing.
        log: Content of the file, read while ``alone`` was held.
        lines: Action, subjects and argument of each line, at least one.
        who: Who makes the correction; empty: the user of the system.

    Returns:
        The lines that were written.

    Raises:
        InputError: If the file cannot be written; it is unchanged then.
    """
    now = datetime.now(timezone.utc).isoformat(timespec="seconds")
    writer = " ".join((who or _user()).split())
    made = tuple(
        Correction(log.next_number, action, tuple(subjects), argument, now, writer)
        for action, subjects, argument in lines
    )
    try:
        if log.cut:
            _keep_apart(path.with_name(CUT), log.cut)
        if log.cut or (path.exists() and path.stat().st_size and not path.read_bytes().startswith(_FIRST_LINE)):
            _rewrite(path, log.corrections)
        _append(path, _encoded(made))
    except OSError as error:
        raise InputError(
            f"cannot write {path}: {error.strerror or error}; nothing was added. Free some space, or change who may "
            "write there",
            code="cannot-write",
        ) from error
    return made


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder's corrections; a program that is killed releases it.

    A file system without locks lets every program enter.

    Raises:
        InputError: If another program holds the lock for a minute, or the folder cannot be written to.
    """
    busy = InputError(
        f"another program has been writing corrections to {folder} for a minute; wait for it, or end it",
        code="corrections-busy",
    )
    with held_lock(folder / _LOCK, longest_wait=_LONGEST_WAIT, busy=busy, place=str(folder)):
        yield


def _without_cut_line(text: str) -> tuple[str, str]:
    """The lines that have an end, and the text after the last of them."""
    end = max(text.rfind("\n"), text.rfind("\r")) + 1
    return text[:end], text[end:].strip()


def _understood(path: Path, cells: dict[str, list[str | None]], lines: Sequence[int]) -> Iterator[Correction]:
    """Give the corrections of the rows of a table."""
    subjects = [subjects_of(cells["subjects"][row] or "") for row in range(len(lines))]
    listed = [(row, text) for row, texts in enumerate(subjects) for text in texts]
    table = Table(path, {"path": [text for _, text in listed]}, [lines[row] for row, _ in listed])
    found: list[list[Path]] = [[] for _ in lines]
    for (row, _), where in zip(listed, paths_of(table).paths if listed else [], strict=True):
        found[row].append(where)
    before = 0
    for row, line in enumerate(lines):
        text = {name: (column[row] or "").strip() for name, column in cells.items()}
        number = _whole(path, text.get("number", ""), line) if text.get("number") else before + 1
        before = max(before, number)
        yield _checked(path, Correction(number, text["action"].lower(), tuple(found[row]), *_rest(text), line))


def _rest(text: dict[str, str]) -> tuple[str, str, str]:
    return text.get("argument", ""), text.get("time", ""), text.get("who", "")


def _checked(path: Path, found: Correction) -> Correction:
    """Raise an ``InputError`` for a line that says nothing that can be done."""
    fault = ""
    if found.action not in ACTIONS:
        fault = f"the action {found.action!r}; expected one of {', '.join(ACTIONS)}"
    elif found.action == "undo":
        _whole(path, found.argument, found.line)
    elif not found.subjects:
        fault = f"the action {found.action} and no image in the column subjects"
    elif found.action in ("merge", "deny") and len(found.subjects) < 2:
        fault = f"the action {found.action} and one image; expected two, separated by |"
    elif found.action == "name" and not found.argument:
        fault = "the action name and no name in the column argument"
    elif found.action == "divide" and not found.argument:
        fault = "the action divide and no image in the column argument"
    if fault:
        raise InputError(f"{path} has in line {found.line} {fault}", code="malformed-table")
    return found


def _whole(path: Path, text: str, line: int) -> int:
    digits = text.removesuffix(".0")
    if not digits.isdecimal() or len(digits) > 18:
        raise InputError(
            f"{path} has {text!r} in line {line}, where the number of a correction is expected", code="malformed-table"
        )
    return int(digits)


def _encoded(lines: Sequence[Correction]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(
        [cell.replace("\n", "\\n") for cell in each.cells()] for each in lines
    )
    return text.getvalue().encode("utf-8", "backslashreplace")


def _append(path: Path, lines: bytes) -> None:
    """Write lines at the end of the file in one call; what a full disk has cut is removed again."""
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666)
    try:
        before = os.fstat(file).st_size
        content = lines if before else _FIRST_LINE + lines
        try:
            if os.write(file, content) < len(content):
                raise OSError("the disk is full")
            os.fsync(file)
        except OSError:
            os.ftruncate(file, before)
            raise
    finally:
        os.close(file)


def _rewrite(path: Path, corrections: Sequence[Correction]) -> None:
    """Bring a file that another program has saved into our form: commas, UTF-8, our columns in our order."""
    with written_aside(path) as aside:
        aside.write_bytes(_FIRST_LINE + _encoded(corrections))


def _keep_apart(path: Path, line: str) -> None:
    """Add a line that has no end to a file of its own: the next line must not be written behind it."""
    with path.open("ab") as kept:
        kept.write(line.encode("utf-8", "backslashreplace") + b"\n")
        kept.flush()
        os.fsync(kept.fileno())


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return "unknown"
