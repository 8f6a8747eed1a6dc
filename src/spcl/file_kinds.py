"""The kind of a file that was given as weights, by its first bytes: often a pointer, a web page or a part of a file.

torch is not imported.
"""

from __future__ import annotations

import struct
import zipfile
from pathlib import Path

from spcl.nested_text import json_of

_HEAD = 1024
_MOST_UNFOLDED, _RATIO = 2**28, 4
_TAR_MARK = slice(257, 262)
# First bytes of a file, and the description of its kind.
_MARKS: tuple[tuple[bytes, str], ...] = (
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"\x89PNG", "a PNG image"),
    (b"\x89HDF", "an HDF5 file, as Keras writes them"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"PAR1", "a Parquet table"),
    (b"\x1f\x8b", "a gzip archive: unpack it"),
    (b"7z\xbc\xaf", "a 7-Zip archive: unpack it"),
    (b"Rar!", "a RAR archive: unpack it"),
    (b"%PDF", "a PDF document"),
)


def what_it_is(path: Path) -> str | None:
    """Describe a file that was given as weights, with the next step.

    Returns:
        None if the file may contain weights: a zip file or pickle of torch, or safetensors.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD)
    if not head:
        return "an empty file: the download or the copy of it failed; get the file again"
    if head.startswith(b"PK\x03\x04"):
        return _kind_of_zip(path)
    if head[_TAR_MARK] == b"ustar":
        return "a tar archive: unpack it"
    if is_safetensors(path):
        return None
    return next((kind for mark, kind in _MARKS if head.startswith(mark)), None) or _kind_of_text(head)


def is_safetensors(path: Path) -> bool:
    """Whether a file begins like safetensors, whatever its name: with the length of a JSON header, and the header."""
    with path.open("rb") as file:
        head = file.read(9)
    return len(head) == 9 and head[8:] == b"{" and 2 <= int.from_bytes(head[:8], "little") < 2**27


def is_zip(path: Path) -> bool:
    """Whether a file has the directory of a zip archive at its end."""
    try:
        return zipfile.is_zipfile(path)
    except (zipfile.BadZipFile, struct.error):
        # Its end has the mark of a part of an archive of several disks: changed bytes.
        return False


def check_unfolded(path: Path) -> None:
    """Raise a ``ValueError`` if a zip archive unfolds to many times its size: torch and NumPy write theirs as they are.

    The message is a description, as that of ``what_it_is``.
    """
    with zipfile.ZipFile(path) as archive:
        unfolded = sum(member.file_size for member in archive.infolist())
    if unfolded > _MOST_UNFOLDED + _RATIO * path.stat().st_size:
        raise ValueError(f"a zip archive that unfolds to {unfolded / 1e9:.1f} GB")


def _kind_of_zip(path: Path) -> str | None:
    """Describe a zip archive; None where it may be a file of torch."""
    if not is_zip(path):
        return "cut short (its end is missing): fetch or copy the file again"
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, ValueError, OSError):
        return None
    try:
        check_unfolded(path)
    except ValueError as error:
        return f"{error}: get the file again"
    # All members of a file of torch are in one folder.
    parts = {name.partition("/")[2] for name in names}
    if "constants.pkl" in parts:
        return (
            "a TorchScript program. Save its tensors alone: "
            f'torch.save(torch.jit.load("{path.name}").state_dict(), "weights.pth")'
        )
    if "data.pkl" in parts:
        return None
    if names and all(name.endswith(".npy") for name in names):
        return (
            "a file of NumPy arrays. Save them as tensors: torch.save({name: torch.as_tensor(array) for name, array in "
            f'np.load("{path.name}").items()}}, "weights.pth")'
        )
    return f"a zip archive of {', '.join(names[:3]) or 'nothing'}{' and more' if len(names) > 3 else ''}: unpack it"


def _kind_of_text(head: bytes) -> str | None:
    """Describe a text file; None where the bytes are not text."""
    encoding = "utf-16" if head.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8"
    text = head.decode(encoding, "ignore").lstrip("\ufeff \t\r\n")
    start = text[:_HEAD].lower()
    if start.startswith("version https://git-lfs"):
        return "a Git LFS pointer, not the file itself: run git lfs pull in the repository, or download the file"
    if start.startswith(("<!doctype html", "<html", "<head", "<?xml", "<error", "<script")):
        return (
            "a web page, not the file itself: the download gave a page (a login, a quota, an error); open the address "
            "in a browser and save the file"
        )
    if not text or any(ord(letter) < 32 and letter not in "\t\r\n\f" for letter in text):
        return None
    if start.startswith(("{", "[")):
        return f"JSON text{_keys_of(text)}, not weights: give the file with the tensors"
    # A pickle of protocol 0 is printable too, but begins with an opcode, not with a word.
    return f"a text that begins with {text[:40].splitlines()[0]!r}, not weights" if text[:2].isalnum() else None


def _keys_of(text: str) -> str:
    try:
        content = json_of(text)
    except ValueError:
        return ""
    return f" with the keys {', '.join(list(map(str, content))[:4])}" if isinstance(content, dict) else ""


HUB_HEAD, HUB_PREFIX = "reid_head.safetensors", "hf-hub:"
"""The file that marks a folder of ``spcl export --hub``, and the beginning of the name of one on the hub."""


def is_hub(path: Path) -> bool:
    """Whether a path is a folder of ``spcl export --hub``, or the name of one on the hub (``hf-hub:OWNER/NAME``)."""
    return str(path).startswith(HUB_PREFIX) or (path / HUB_HEAD).is_file()
