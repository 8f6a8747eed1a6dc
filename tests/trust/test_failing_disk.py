"""Every job that writes, on disks that fail: nothing old is lost, exit code 2, one clear line, nothing of ours is left.

The disk is full from a call on, one call fails (an error of the device, of the network, of rights), or all calls fail
from one on. A job that does not need what failed goes on; then its results must be complete.
"""

from __future__ import annotations

import errno
import random
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from spcl.inference.checkpoint import checkpoint_of, save_atomically
from spcl.nn.encoder_network import EncoderNetwork, EncoderSettings
from tests.fakes import draw
from tests.trust.failing_disk import ALONE, FULL_FROM, GONE_FROM, FailingDisk, compiled
from tests.trust.tally import record, tries

SECTION = "Full disks, lost rights, files that vanish"
NETWORK = "--arch timm/test_resnet --pretrained none"
SMALL = "--height 32 --width 16 --batch-size 8 --k1 6 --k2 2 --workers 0"
TRAIN = f"train crops --recipe spcl --logs-dir run --epochs 1 --iters 2 --device cpu {SMALL} {NETWORK}"
CLUSTER = f"cluster crops -o out --workers 0 --k1 6 --k2 2 --eps 0.6 {NETWORK}"
INPUTS = ("c.pth.tar", "crops", "more", "labelled.csv", "query.png")

pytestmark = pytest.mark.trust


@dataclass(frozen=True)
class Job:
    """A job: its command, the commands before it, and whether its results grow instead of being replaced."""

    words: str
    first: tuple[str, ...] = ()
    grows: bool = False


EMBEDDED = "embed c.pth.tar crops --gallery g --workers 0"
JOBS = {
    "train": Job(TRAIN, grows=True),
    "adapt": Job(
        "adapt c.pth.tar crops --logs-dir run --epochs 1 --iters 2 --batch-size 8 --recipe spcl --k1 6 --k2 2 "
        "--workers 0",
        grows=True,
    ),
    "train with an image cache": Job(f"{TRAIN} --image-memory 0 --cache-dir cache", grows=True),
    "embed to Parquet": Job(
        "embed c.pth.tar crops -o f.parquet --overwrite --workers 0", ("embed c.pth.tar more -o f.parquet",)
    ),
    "embed to a matrix": Job(
        "embed c.pth.tar crops -o f.npy --overwrite --workers 0", ("embed c.pth.tar more -o f.npy",)
    ),
    "make a gallery": Job(EMBEDDED, grows=True),
    "add to a gallery": Job("embed c.pth.tar more --gallery g --workers 0", (EMBEDDED,), grows=True),
    "cluster with links": Job(f"{CLUSTER} --folders link"),
    "cluster with copies, again": Job(f"{CLUSTER} --folders copy --overwrite", (f"{CLUSTER} --folders copy",)),
    "calibrate": Job("calibrate c.pth.tar labelled.csv --labels -o c.json --workers 0"),
    "export to safetensors": Job("export c.pth.tar e.safetensors --overwrite", ("export c.pth.tar e.safetensors",)),
    "export to a hub folder": Job("export c.pth.tar --hub hub"),
    "report": Job("report out -o r.html", (CLUSTER, "report c.pth.tar labelled.csv -o r.html")),
    "correct": Job("correct out split 1 crops/00.png", (CLUSTER,)),
    "identify to a table": Job(
        "identify c.pth.tar g query.png --overwrite -o names.csv --workers 0",
        ("embed c.pth.tar labelled.csv --gallery g", "identify c.pth.tar g query.png -o names.csv"),
    ),
    "search to a table": Job("search c.pth.tar g query.png -o hits.parquet --workers 0", (EMBEDDED,)),
}  # fmt: skip


def write_inputs(folder: Path) -> None:
    torch.manual_seed(0)
    network = EncoderNetwork(EncoderSettings(arch="timm/test_resnet", height=32, width=16))
    save_atomically(checkpoint_of(network, epoch=1, best_mean_ap=None, facts={}), folder / "c.pth.tar")
    for number in range(16):
        draw(folder / "crops" / f"{number:02d}.png", number // 4, number)
        draw(folder / "more" / f"{number:02d}m.png", number // 4, 20 + number)
    shutil.copy(folder / "more/00m.png", folder / "query.png")
    rows = [f"crops/{number:02d}.png,{number // 4}" for number in range(12)]
    (folder / "labelled.csv").write_text("\n".join(["path,identity", *rows]))


@pytest.fixture(scope="module")
def disk(tmp_path_factory):
    library = compiled(tmp_path_factory.mktemp("library"))
    if library is None:
        pytest.skip("calls are made to fail by a small library, which needs Linux and a C compiler")
    made = FailingDisk(library)
    yield made
    made.close()


@pytest.fixture
def tried(disk, tmp_path):
    return Tried(disk, tmp_path)


def content_of(folder: Path) -> dict[str, bytes]:
    """The files below a folder, and where links lead."""
    return {
        str(path.relative_to(folder)): str(path.readlink()).encode() if path.is_symlink() else path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if (path.is_symlink() or path.is_file()) and path.relative_to(folder).parts[0] not in INPUTS
    }


def leftovers(names: set[str]) -> list[str]:
    """Names that only temporary files have."""
    return sorted(name for name in names if any(part.endswith((".tmp", ".part")) for part in Path(name).parts))


class Tried:
    """Tries of one job."""

    def __init__(self, disk: FailingDisk, folder: Path) -> None:
        self.disk, self.folder = disk, folder
        self.template, self.work = folder / "template", folder / "work"

    def prepare(self, job: Job) -> None:
        self.template.mkdir()
        write_inputs(self.template)
        for words in job.first:
            done = self.disk.run(words.split(), self.template)
            assert done.code == 0, done.output
        self.before = content_of(self.template)
        whole = self.once(job)
        assert whole.code == 0, whole.output
        self.after = content_of(self.work)
        self.num_calls = whole.num_calls

    def once(self, job: Job, **how):
        shutil.rmtree(self.work, ignore_errors=True)
        shutil.copytree(self.template, self.work, symlinks=True)
        return self.disk.run(job.words.split(), self.work, **how)

    def faults(self, job: Job, ended) -> list[str]:
        found = content_of(self.work)
        faults = [f"left: {left}" for left in leftovers(set(found))[:3]]
        if ended.code == 0:
            lost = sorted(set(self.after) - set(found))[:3]
            return faults + ([] if job.grows or not lost else [f"ends with 0 without {lost}"])
        faults += ended.faults()
        if not job.grows:
            changed = [
                name for name, content in self.before.items() if found.get(name) not in (content, self.after.get(name))
            ]
            faults += [f"{name} is neither the old nor the new one" for name in changed[:3]]
            faults += [
                f"new after an error: {name}" for name in sorted(set(found) - set(self.before) - set(self.after))[:3]
            ]
        return faults


FAILURES: tuple[tuple[int, int], ...] = (
    (errno.ENOSPC, FULL_FROM),
    (errno.EIO, ALONE),
    (errno.ENOSPC, ALONE),
    (errno.EACCES, ALONE),
    (errno.ESTALE, GONE_FROM),
)


@pytest.mark.parametrize("name", JOBS)
def test_a_disk_that_fails(tried, name):
    job = JOBS[name]
    tried.prepare(job)
    drawn = random.Random(name)
    wrong, num, finished = [], 0, 0
    for number in range(tries(15, 5)):
        code, how = FAILURES[number % len(FAILURES)]
        at = drawn.randrange(max(1, tried.num_calls // (2 if how == FULL_FROM else 1)))
        ended = tried.once(job, fails=(at, code, how))
        faults = tried.faults(job, ended)
        finished += ended.code == 0
        num += 1
        if faults:
            wrong.append(f"call {at} of {tried.num_calls}, {errno.errorcode[code]}, how {how}: {faults}")
    # What an error left does not stop the next try.
    again = tried.disk.run(job.words.split(), tried.work)
    done = ("[already-exists]", "[folder-not-empty]", "[other-group]")
    if again.code != 0 and not any(mark in again.output for mark in done):
        wrong.append(f"the same command then ends with {again.code}: {again.output[-500:]}")
    record(SECTION, f"{name}: one call, or all from one on, fail", num, num - len(wrong), f"{finished} went on")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("name", JOBS)
def test_files_that_may_not_grow(tried, name):
    job = JOBS[name]
    tried.prepare(job)
    wrong, num = [], 0
    for most in (3000, 20_000):
        ended = tried.once(job, most_bytes=most)
        num += 1
        wrong += [f"files of at most {most} bytes: {fault}" for fault in tried.faults(job, ended)]
    check = f"{name}: files of at most 3,000 and 20,000 bytes"
    record(SECTION, check, num, num - len(wrong))
    assert not wrong, "\n".join(wrong)
