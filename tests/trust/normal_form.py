"""What a command has left on the disk, without what differs from run to run: times, names of temporary files."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open

from spcl.gallery.gallery import Gallery

_TEMPORARY = re.compile(
    r"\..*\.[0-9a-f]{8}-\d+-[0-9a-f]+-\d+\.\w+|.*\.(tmp|part|old)|\..*\.spcl-old|tmp\w{8}|\.unfinished"
)
_LOCKS = re.compile(r"\..*(lock|running)|.*\.lock")
_TIMES = re.compile(r"second|time|date|memory|speed|version|duration|images_per|began|ended|start|gb$")


def files_of(folder: Path, *, left_out: tuple[str, ...] = ()) -> dict[str, str]:
    """The results below a folder: the path of each file, and a number of its content; a gallery is one entry.

    Args:
        folder: The folder.
        left_out: First parts of paths that are no results, such as the images.
    """
    found = {}
    for path in _files_below(folder):
        name = path.relative_to(folder).as_posix()
        if not name.startswith(left_out) and not is_temporary(name) and not _LOCKS.fullmatch(path.name):
            found[name] = content_of(path)
    return found


def is_temporary(name: str) -> bool:
    """Whether a path is that of a temporary file, or is in a temporary folder."""
    return any(_TEMPORARY.fullmatch(part) for part in name.split("/"))


def temporary_in(folder: Path) -> list[str]:
    """Paths of temporary files and folders below a folder, outside of the tables of galleries."""
    names = (path.relative_to(folder).as_posix() for path in folder.rglob("*"))
    return sorted(name for name in names if is_temporary(name) and ".lance/" not in name)


def state_of(folder: Path, *, left_out: tuple[str, ...] = ()) -> tuple[tuple[str, str], ...]:
    """All that a kill has left below a folder, for finding that two kills left the same."""
    rows = []
    for path in _files_below(folder):
        name = path.relative_to(folder).as_posix()
        if not name.startswith(left_out):
            parts = [re.sub(r"[0-9a-f]{8}-\d+-[0-9a-f]+-\d+|tmp\w{8}|\d{4,}", "N", part) for part in name.split("/")]
            rows.append(("/".join(parts), content_of(path)))
    return tuple(sorted(rows))


def _files_below(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.is_dir() and not path.is_symlink():
            if path.name == "g":
                yield path
            else:
                yield from _files_below(path)
        else:
            yield path


def content_of(path: Path) -> str:
    """A number of the content of a file or a gallery; begins with ``damaged`` if it cannot be read as what it is."""
    if path.is_symlink():
        return f"link to {path.readlink()}"
    if path.is_dir():
        return _number(rows_of(path))
    try:
        return _number(_plain(path))
    except Exception as error:
        raw = hashlib.sha256(path.read_bytes()).hexdigest()[:12]
        return f"damaged ({type(error).__name__}) {raw}"


def rows_of(folder: Path) -> dict[str, Any]:
    """The rows of a gallery by the names of their files: features and columns."""
    rows: dict[str, Any] = {}
    for part in Gallery.open(folder).read():
        columns = {name: values for name, values in part.columns.items() if name != "path"}
        for at, path in enumerate(part.columns["path"]):
            name = Path(path).name
            assert name not in rows, f"{name} is there twice"
            rows[name] = (part.features[at].tobytes().hex(), {key: str(values[at]) for key, values in columns.items()})
    return rows


def _plain(path: Path) -> Any:
    if path.suffix in (".pt", ".tar"):
        return _without_times(torch.load(path, weights_only=True))
    if path.suffix == ".safetensors":  # its facts have no order
        with safe_open(path, "np") as file:
            tensors = {name: _plain_value(file.get_tensor(name)) for name in file.keys()}  # noqa: SIM118
            return tensors | {"facts": file.metadata()}
    if path.suffix == ".json":
        return _without_times(json.loads(path.read_text()))
    if path.suffix == ".jsonl":
        return [_without_times(json.loads(line)) for line in path.read_text().splitlines()]
    if path.suffix == ".npy":
        return _plain_value(np.load(path))
    if path.suffix in (".html", ".md", ".tex"):
        return re.sub(r"\d+([.:]\d+)*( (s|ms|min|seconds)\b)?", "0", path.read_text())
    if path.suffix == ".csv":
        return re.sub(r"\d{4}-\d\d-\d\d[ T][\d:.+]+", "TIME", path.read_text(errors="surrogateescape"))
    return path.read_bytes().hex()


def _without_times(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _without_times(each) for key, each in value.items() if not _TIMES.search(str(key).lower())}
    if isinstance(value, list | tuple):
        return [_without_times(each) for each in value]
    return _plain_value(value)


def _plain_value(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        value = value.numpy()
    if isinstance(value, np.ndarray):
        return f"{value.dtype} {value.shape} {hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()}"
    return value


def _number(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:12]
