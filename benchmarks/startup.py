"""Processor time of the commands that people wait for: help, a wrong flag, a wrong table, and queries by one image.

A small random network stands in for a trained one, so that what is measured is the start. The best of some
repetitions, in which ``import torch`` alone takes its turn: that depends on the machine, and is most of a command.

python benchmarks/startup.py
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from spcl.inference.checkpoint import checkpoint_of, save_atomically
from spcl.nn.encoder_network import EncoderNetwork, EncoderSettings

REPEAT = 5
COMMANDS = {
    "help": ("train --help", 0.7),
    "wrong flag": ("search c.pth.tar g.parquet a.png --topp 3", 0.7),
    "wrong table": ("embed c.pth.tar wrong.csv -o f.parquet", 0.7),
    "compare": ("compare c.pth.tar a.png b.png", 2.5),
    "search": ("search c.pth.tar g.parquet a.png", 2.5),
    "search gallery": ("search c.pth.tar gallery a.png", 2.5),
    "identify": ("identify c.pth.tar g.parquet a.png", 2.5),
    "identify gallery": ("identify c.pth.tar gallery a.png", 2.5),
}


def write_inputs(folder: Path) -> None:
    network = EncoderNetwork(EncoderSettings(arch="timm/test_resnet", height=64, width=32))
    save_atomically(checkpoint_of(network, epoch=0, best_mean_ap=None, facts={}), folder / "c.pth.tar")
    rng = np.random.default_rng(0)
    lines = ["path,identity"]
    for number in range(120):
        pixels = rng.integers(0, 256, (64, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
        lines.append(f"{number}.png,{number // 4}")
    (folder / "images.csv").write_text("\n".join(lines))
    (folder / "wrong.csv").write_text("file_name,who\na.png,1\n")
    for name in ("a.png", "b.png"):
        Image.fromarray(rng.integers(0, 256, (64, 32, 3), dtype=np.uint8)).save(folder / name)
    run("embed c.pth.tar images.csv -o g.parquet", folder)
    run("embed c.pth.tar images.csv --gallery gallery", folder)


def run(words: str, folder: Path) -> tuple[float, int]:
    """Processor seconds of a command of spcl, and exit code."""
    return run_python(["-m", "spcl", *words.split()], folder)


def run_python(arguments: list[str], folder: Path) -> tuple[float, int]:
    """Processor seconds of a process of Python, and exit code."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, *arguments]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    code = subprocess.run(command, cwd=folder, env=environment, capture_output=True, check=False).returncode
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, code


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_inputs(folder)
        torch: list[float] = []
        found: dict[str, list[tuple[float, int]]] = {title: [] for title in COMMANDS}
        for _ in range(REPEAT):
            torch.append(run_python(["-c", "import torch"], folder)[0])
            for title, (words, _most) in COMMANDS.items():
                found[title].append(run(words, folder))
        print(f"import torch alone: {min(torch):.2f} s")
        print(f"{'command':<16} {'seconds':>8} {'beyond torch':>13} {'at most':>8}  exit code")
        for title, (_words, most) in COMMANDS.items():
            seconds, code = min(found[title])
            print(f"{title:<16} {seconds:8.2f} {seconds - min(torch):13.2f} {most:8.1f}  {code}")


if __name__ == "__main__":
    main()
