"""Ctrl-C at random moments: each command ends within two seconds with exit code 130 and a line that says what to do."""

from __future__ import annotations

import os
import random
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.trust.jobs import NETWORK, SMALL, write_inputs
from tests.trust.killed import zygote  # noqa: F401
from tests.trust.tally import record, tries
from tests.trust.zygote import Zygote

pytestmark = pytest.mark.trust

CLUSTERING = f"{NETWORK} --workers 1 --k1 6 --k2 2"
COMMANDS = (
    f"train many --recipe spcl --logs-dir run --epochs 50 --iters 20 {SMALL}",
    "adapt c.pth.tar many --recipe spcl --logs-dir run --epochs 50 --iters 20 --batch-size 8 --k1 6 --k2 2",
    "sweep spcl many --seed 1 2 --logs-dir s --set network.arch=timm/test_resnet network.pretrained=none "
    "schedule.epochs=50 schedule.iters=20 schedule.batch_size=8 labels.k1=6",
    "embed c.pth.tar many -o f.npy",
    "embed c.pth.tar many -o f.parquet",
    "embed c.pth.tar many --gallery g",
    f"cluster many -o out --folders copy {CLUSTERING}",
    f"suggest many --picture p.png --workers 0 {NETWORK}",
    "calibrate c.pth.tar many -o c.json",
    "search c.pth.tar many crops/00.png -o s.csv",
    "report c.pth.tar many -o r.html",
)
MOMENTS = (0.3, 6.0)
"""Seconds after the start; each command takes longer on one core."""


def allowed() -> float:
    """Two seconds; more where other programs want the processor."""
    return 2.0 * max(1.0, 1.5 * os.getloadavg()[0] / (os.cpu_count() or 1))


@pytest.fixture(scope="module")
def template(tmp_path_factory) -> Path:
    """Encoders, some images, and many large ones that are one file with several names."""
    folder = tmp_path_factory.mktemp("interrupts") / "template"
    folder.mkdir()
    write_inputs(folder)
    shutil.copytree(folder / "crops", folder / "many")
    noise = np.random.default_rng(0).integers(0, 256, (800, 800, 3), dtype=np.uint8)
    Image.fromarray(noise).save(folder / "many/large000.png", compress_level=1)
    for number in range(1, 1000):
        os.link(folder / "many/large000.png", folder / f"many/large{number:03d}.png")
    return folder


@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: " ".join(words.split()[:4]))
def test_ctrl_c_ends_a_command(words: str, zygote: Zygote, template: Path):  # noqa: F811
    drawn, faults, slowest, work = random.Random(7), [], 0.0, template.with_name("work")
    number = tries(10, 1)
    for _ in range(number):
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir()
        for entry in template.iterdir():
            (work / entry.name).symlink_to(entry)
        moment = drawn.uniform(*MOMENTS)
        ended = zygote.run(words.split(), work, listed=False, interrupt_after=moment)
        slowest = max(slowest, ended.followed.seconds_after)
        if not ended.followed.killed or ended.code != 130 or "Traceback" in ended.output:
            faults.append(f"after {moment:.2f} s: exit code {ended.code}: {ended.output[-300:]}")
        elif ended.followed.seconds_after > allowed():
            faults.append(f"after {moment:.2f} s: it took {ended.followed.seconds_after:.1f} s")
        elif "the same command" not in ended.output:
            faults.append(f"after {moment:.2f} s: no line says what to do: {ended.output[-300:]}")
    record("Kills", f"Ctrl-C: {' '.join(words.split()[:2])}", number, number - len(faults), f"at most {slowest:.1f} s")
    assert not faults, "\n".join(faults)
