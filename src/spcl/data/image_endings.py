"""The endings of image files, and the recognition of files without an ending by their first bytes.

Files that may be images but are not read are counted, so that the user learns of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from functools import cache
from pathlib import Path

IMAGE_SUFFIXES = frozenset(
    {
        *(".jpg", ".jpeg", ".jpe", ".jfif", ".jp2", ".j2k"),
        *(".png", ".bmp", ".dib", ".gif", ".webp", ".tif", ".tiff"),
        *(".heic", ".heif", ".hif", ".avif"),
        *(".ppm", ".pgm", ".pbm", ".pnm"),
    }
)
"""Endings, in lower case, of files that are read as images."""

NO_ENDING = "without ending"

_LONGEST_ENDING = 11

_CLUTTER = frozenset(
    {
        *(".txt", ".md", ".rst", ".csv", ".tsv", ".parquet", ".json", ".jsonl", ".xml", ".yaml", ".yml", ".toml"),
        *(".ini", ".cfg", ".conf", ".log", ".html", ".htm", ".css", ".js", ".pdf", ".doc", ".docx", ".odt"),
        *(".xls", ".xlsx", ".ods", ".db", ".sqlite", ".lnk", ".url", ".xmp", ".aae", ".thm", ".bak", ".lock"),
        *(".py", ".pyc", ".ipynb", ".sh", ".bat", ".r", ".m", ".mat", ".npy", ".npz", ".pkl", ".pt", ".pth", ".onnx"),
        *(".safetensors", ".h5", ".hdf5", ".lmdb", ".mdb", ".zip", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar", ".tar"),
        *(".mp4", ".avi", ".mov", ".mkv", ".wmv", ".mpg", ".mpeg", ".m4v", ".webm", ".wav", ".mp3", ".lance"),
        *(".idx", ".manifest", ".sha256", ".md5", ".names", ".data", ".gpx", ".kml", ".geojson", ".srt"),
        *(".identifier",),  # by which Windows marks downloads
    }
)
"""Endings of files that often lie in folders of images and are not images."""

_HEIF_BRANDS = frozenset({b"heic", b"heix", b"hevc", b"heim", b"mif1", b"msf1"})
_AVIF_BRANDS = frozenset({b"avif", b"avis"})
_FIRST_BYTES = (
    b"\xff\xd8\xff",
    b"\x89PNG\r\n\x1a\n",
    b"GIF87a",
    b"GIF89a",
    b"BM",
    b"II*\x00",
    b"MM\x00*",
    b"\x00\x00\x00\x0cjP  ",
)


def is_image_name(name: str) -> bool:
    """Whether a file's name has the ending of an image."""
    return _ending(name) in IMAGE_SUFFIXES


def is_image_file(path: Path) -> bool:
    """Whether a file is read as an image, by its ending, or by its first bytes if it has no ending."""
    ending = _ending(path.name)
    return ending in IMAGE_SUFFIXES or (ending == "" and _begins_as_image(_first_bytes(path)))


def may_be_image(path: Path) -> bool:
    """Whether a file that is not read may be an image: raw camera files, unknown endings, binary files without ending.

    Tables, texts, archives and films are not counted as possible images.
    """
    ending = _ending(path.name)
    if ending == "":
        head = _first_bytes(path)
        return bool(head) and not _is_text(head)
    return ending not in _CLUTTER and path.name.lower() not in ("thumbs.db", "desktop.ini")


def ending_of(path: Path) -> str:
    """The ending of a file in lower case, for counts: ``.cr2``, or ``without ending``."""
    return _ending(path.name) or NO_ENDING


def counted_by_ending(paths: Iterable[Path]) -> str:
    """Count files by their ending, as text: ``4 .cr2, 2 without ending``; empty if there are no files."""
    counts = Counter(ending_of(path) for path in paths)
    return ", ".join(f"{count} {ending}" for ending, count in sorted(counts.items(), key=lambda kv: (-kv[1], kv[0])))


def is_heif(place: Path | bytes) -> bool:
    """Whether the first bytes of a file are those of HEIC, whatever its ending; or whether this is its brand."""
    return (place if isinstance(place, bytes) else _first_bytes(place)[8:12]) in _HEIF_BRANDS


@cache
def learn_heif() -> bool:
    """Register the HEIC reader of pillow-heif; False: the package is not installed."""
    try:
        import pillow_heif
    except ImportError:
        return False
    pillow_heif.register_heif_opener()
    return True


def missing_reader(path: Path) -> str:
    """The package to install for a file that Pillow cannot read; empty: no package is known to help."""
    from PIL import features

    brand = _first_bytes(path)[8:12]
    if brand in _HEIF_BRANDS and not learn_heif():
        return 'HEIC is read with an extra: pip install "spcl[heic]"'
    if brand in _AVIF_BRANDS and not features.check("avif"):
        return 'AVIF is read by a newer Pillow: pip install "spcl[heic]"'
    return ""


def _ending(name: str) -> str:
    """The ending of a name with its dot, in lower case; empty: the part after the last dot is not an ending.

    "1620000000.123" is a time and "left cam. 2" contains a dot: an ending is a few letters and digits, at least one of
    them a letter.
    """
    stem, _, ending = name.rpartition(".")
    is_ending = bool(stem) and ending.isalnum() and len(ending) <= _LONGEST_ENDING and not ending.isdecimal()
    return f".{ending.lower()}" if is_ending else ""


def _first_bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(64)
    except OSError:
        return b""


def _begins_as_image(head: bytes) -> bool:
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return True
    if head[4:8] == b"ftyp" and head[8:12] in _HEIF_BRANDS | _AVIF_BRANDS:
        return True
    # Many texts begin with these two letters; in a bitmap the length of the header follows.
    if head.startswith(b"BM"):
        return len(head) >= 18 and head[14] in (12, 40, 52, 56, 64, 108, 124)
    return head.startswith(_FIRST_BYTES)


def _is_text(head: bytes) -> bool:
    try:
        text = head.decode("utf-8")
    except UnicodeDecodeError as error:
        # The last letter may consist of several bytes and be cut.
        text = "" if error.start >= len(head) - 3 and b"\x00" not in head else "\x00"
    return "\x00" not in text
