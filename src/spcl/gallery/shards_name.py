"""Whether the name of an output means a folder of shards; importing this module loads nothing else."""

from __future__ import annotations

from pathlib import Path


def wants_shards(path: str | Path) -> bool:
    """Whether the name of an output means a folder of shards: it has no ending, or ends with a slash."""
    return str(path).endswith("/") or Path(path).suffix == ""
