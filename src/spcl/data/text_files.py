"""Reading of text files of other programs: the encoding is recognised, and reported where it is not UTF-8."""

from __future__ import annotations

import codecs
import re
from pathlib import Path

from spcl.errors import InputError

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig", ""),
    # Before UTF-16, whose mark is the beginning of this mark.
    (codecs.BOM_UTF32_LE, "utf-32", "UTF-32"),
    (codecs.BOM_UTF32_BE, "utf-32", "UTF-32"),
    (codecs.BOM_UTF16_LE, "utf-16", "UTF-16"),
    (codecs.BOM_UTF16_BE, "utf-16", "UTF-16"),
)
_OTHER_FILES = (
    (b"PK\x03\x04", "a spreadsheet or an archive (xlsx, zip)", "save it as CSV with UTF-8"),
    (b"\xd0\xcf\x11\xe0", "a spreadsheet (xls)", "save it as CSV with UTF-8"),
    (b"PAR1", "a Parquet file", "let its name end in .parquet"),
    (b"\x1f\x8b", "a compressed file (gzip)", "unpack it"),
    (b"SQLite format 3\x00", "an SQLite database", "export the table as CSV"),
)
_NO_TEXT = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_BYTES_OF_A_GUESS = 4096


def as_readable(cell: str) -> str:
    r"""Replace what ``read_text`` takes for no text, control characters in the name of a file, by escapes: ``\x1b``."""
    return _NO_TEXT.sub(lambda found: f"\\x{ord(found[0]):02x}", cell)


def read_text(path: Path) -> tuple[str, tuple[str, ...]]:
    """Read a text file without its byte-order mark, with a note if its encoding is not UTF-8.

    UTF-8, UTF-16 and UTF-32 are recognised; other files are read as Windows-1252, which contains Latin-1.

    Raises:
        InputError: If the file cannot be read or is not text in these encodings; the message has the next step.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(
            f"the table {path} cannot be read: {error.strerror or error}", code="unreadable-file"
        ) from error
    for beginning, kind, step in _OTHER_FILES:
        if content.startswith(beginning):
            raise InputError(f"{path} is {kind}, not the text of a table: {step}", code="wrong-file-kind")
    encoding, name = _encoding(content)
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        raise _unreadable(path, content, error.start) from error
    if found := _NO_TEXT.search(text):
        raise _unreadable(path, content, len(text[: found.start()].encode(encoding, "replace")))
    note = f"{path} is read as {name}; if names look wrong, save it as UTF-8"
    return text.removeprefix("\ufeff"), (note,) if name else ()


def _encoding(content: bytes) -> tuple[str, str]:
    """Python's name of the encoding, and its name in messages (empty for UTF-8)."""
    for mark, encoding, name in _MARKS:
        if content.startswith(mark):
            return encoding, name
    beginning = content[:_BYTES_OF_A_GUESS]
    # In UTF-16 without a mark, every second byte is 0 for most letters of names.
    for first, encoding in ((1, "utf-16-le"), (0, "utf-16-be")):
        if beginning[first::2].count(0) > len(beginning) / 4 and beginning[1 - first :: 2].count(0) == 0:
            return encoding, "UTF-16"
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        return "cp1252", "Windows-1252 (Latin-1)"
    return "utf-8", ""


def _unreadable(path: Path, content: bytes, at: int) -> InputError:
    line = content.count(b"\n", 0, at) + 1
    return InputError(
        f"the table {path} is neither UTF-8, UTF-16 nor Latin-1 text: {content[at : at + 8]!r} in line {line}. "
        "Save it as UTF-8 (in a spreadsheet: CSV UTF-8), or convert it: iconv -f ENCODING -t UTF-8",
        code="unknown-encoding",
    )
