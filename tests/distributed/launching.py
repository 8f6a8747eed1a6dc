"""Starts programs on two processes of this machine, over gloo."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.shared import IMPORT_PATH


def two_processes(*arguments: str, cwd: Path | None = None) -> list[str]:
    """The command that runs ``python ARGUMENTS`` on two processes."""
    return [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--nproc-per-node=2",
        "--master-addr=127.0.0.1",
        "--master-port=0",
        "--rdzv-backend=c10d",
        "--rdzv-endpoint=localhost:0",
        *arguments,
    ]


def environment() -> dict[str, str]:
    """One thread each: two processes share two cores."""
    return os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": IMPORT_PATH, "CUDA_VISIBLE_DEVICES": ""}


def run(command: list[str], cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run to the end; standard output and error as text."""
    return subprocess.run(command, capture_output=True, text=True, env=environment(), cwd=cwd, check=False)
