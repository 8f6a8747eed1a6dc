"""Every kind of job that writes, as a command on a few small images, and what must hold after a kill."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from spcl.inference.checkpoint import checkpoint_of, save_atomically
from spcl.nn.encoder_network import EncoderNetwork, EncoderSettings
from tests.fakes import draw

NETWORK = "--arch timm/test_resnet --pretrained none"
SMALL = f"--height 32 --width 16 --batch-size 8 --k1 6 --k2 2 --workers 0 --threads 1 {NETWORK}"
INPUTS = ("c.pth.tar", "other.pth.tar", "crops", "more", "tracks", "video", "boxes.txt", "few.txt", "labelled.csv")


@dataclass(frozen=True)
class Job:
    """A kind of job.

    Attributes:
        name: What it does, for the tallies.
        words: Words of its command line; two lists for two processes.
        first: Commands before it, whose results are there when it starts.
        make: Makes further input in the folder.
        again: Words of the command that is given after a kill; None: the same. ``--resume`` at its end is left out
            where nothing was saved.
        is_whole: The results are replaced all at once; otherwise each file is, at its own time.
        adds: The results grow: what a kill leaves is a part of the new ones.
        if_kept: Words of the command that follows where the same one is refused because its work has been kept.
        is_native: Its threads write in an order of their own.
    """

    name: str
    words: str | tuple[str, str]
    first: tuple[str, ...] = ()
    make: Callable[[Path], object] | None = None
    again: str | tuple[str, str] | None = None
    is_whole: bool = False
    adds: bool = False
    if_kept: str = ""
    is_native: bool = False


def write_inputs(folder: Path) -> None:
    """Two encoders and a few images, of which some have identities."""
    for name, seed in (("c.pth.tar", 0), ("other.pth.tar", 1)):
        torch.manual_seed(seed)
        network = EncoderNetwork(EncoderSettings(arch="timm/test_resnet", height=32, width=16))
        save_atomically(checkpoint_of(network, epoch=1, best_mean_ap=None, facts={"data": "x"}), folder / name)
    for number in range(12):
        draw(folder / "crops" / f"{number:02d}.png", number // 4, number)
        draw(folder / "more" / f"{number:02d}m.png", number // 4, 20 + number)
    rows = [f"crops/{number:02d}.png,{number // 4}" for number in range(12)]
    (folder / "labelled.csv").write_text("\n".join(["path,identity", *rows]))


def write_tracks(folder: Path) -> None:
    """A table of six tracks in two cameras."""
    rows = []
    for number in range(6):
        for shot in range(2):
            path = draw(folder / "tracks" / f"{number}_{shot}.png", number % 3, shot)
            time = f"2026-03-01 08:0{number}:0{shot}"
            rows.append([path.name, "ab"[number // 3], number, 10 * number + shot, time, 8 * shot, 4, 16, 32])
    with (folder / "tracks/crops.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["path", "camera", "track", "frame", "time", "x", "y", "w", "h"], *rows])


def write_frames(folder: Path) -> None:
    """Two frames of a video with three boxes."""
    for number in (1, 2):
        draw(folder / "video" / f"{number:06d}.jpg", number, size=(64, 48))
    boxes = ["1,1,2,2,16,32,1,-1,-1,-1", "2,1,4,2,16,32,1,-1,-1,-1", "2,2,30,8,16,32,1,-1,-1,-1"]
    (folder / "boxes.txt").write_text("\n".join(boxes) + "\n")
    (folder / "few.txt").write_text(boxes[0] + "\n")


def remove_rows(folder: str) -> None:
    """Remove half of the images of a gallery; it names them by their files."""
    from spcl.gallery.gallery import Gallery

    gallery = Gallery.open(folder)
    paths = [path for part in gallery.paths() for path in part]
    gallery.remove(paths=[path for path in paths if int(Path(path).stem) % 2])


def build_index(folder: str) -> None:
    """Build the index of a gallery that is larger than the images; then merge its files."""
    from spcl.gallery import index
    from spcl.gallery.gallery import Gallery

    gallery = Gallery.open(folder)
    index.build_index(gallery._store)
    gallery.tidy()


def make_large(folder: str) -> None:
    """A gallery of 300 rows."""
    import numpy as np

    from spcl.gallery.gallery import Gallery

    rows = np.random.default_rng(0).standard_normal((300, 16)).astype(np.float32)
    gallery = Gallery.create(folder, fingerprint="x", dim=16)
    gallery.add_features(rows / np.linalg.norm(rows, axis=1, keepdims=True), [f"{n:03d}.png" for n in range(300)])


_TRAIN = f"train crops --recipe spcl --logs-dir run --epochs 2 --iters 2 --checkpoint-iters 1 {SMALL}"
_CACHED = f"{_TRAIN} --image-memory 0 --cache-dir cache"
_TOGETHER = f"{_TRAIN} --device cpu --batch-norm-group 4"
_ADAPT = (
    "adapt c.pth.tar both --recipe spcl --logs-dir run --epochs 1 --iters 2 --batch-size 8 --k1 6 --k2 2 --workers 0"
)
_SWEEP = """sweep spcl crops --seed 1 2 --logs-dir s --set network.arch=timm/test_resnet network.pretrained=none
data.height=32 data.width=16 schedule.epochs=1 schedule.iters=2 schedule.batch_size=8 labels.k1=6 labels.k2=2"""
_CLUSTER = f"cluster crops -o out {NETWORK} --workers 0 --k1 6 --k2 2 --eps 0.6"
_OTHERS = f"cluster more -o out --folders link --workers 0 --k1 6 --k2 2 --eps 0.6 {NETWORK}"
_REPORT, _CUT = "report c.pth.tar labelled.csv -o r.html", "crops video boxes.txt -o cut --camera"
_FEW = "crops video few.txt -o cut --camera"
_LINK = f"link tracks/crops.csv -o links {NETWORK} --workers 0"
_PIECE = "piece tests.trust.jobs:"
_HELD = "embed c.pth.tar crops --gallery g"


def _copy_encoder(folder: Path) -> None:
    (folder / "mine").mkdir()
    shutil.copy(folder / "c.pth.tar", folder / "mine")


def _write_both(folder: Path) -> None:
    """All images in one folder: an adaptation needs sixteen."""
    for name in ("crops", "more"):
        shutil.copytree(folder / name, folder / "both", dirs_exist_ok=True)


def _whole(name: str, words: str, *first: str, make: Callable[[Path], object] | None = None) -> Job:
    """A job whose results are replaced all at once."""
    return Job(name, words, first, make, is_whole=True)


FILES = (
    _whole("embed to a new .npy pair", "embed c.pth.tar crops -o f.npy --workers 0"),
    _whole(
        "embed --overwrite to a .npy pair",
        "embed c.pth.tar crops -o f.npy --overwrite --workers 0",
        "embed other.pth.tar more -o f.npy",
    ),
    _whole(
        "embed --overwrite to Parquet",
        "embed c.pth.tar crops -o f.parquet --overwrite --workers 0",
        "embed other.pth.tar more -o f.parquet",
    ),
    _whole(
        "calibrate into the checkpoint",
        "calibrate mine/c.pth.tar labelled.csv --labels --workers 0",
        make=_copy_encoder,
    ),
    _whole("calibrate to a file", "calibrate c.pth.tar labelled.csv --labels -o c.json --workers 0"),
    Job(
        "export --overwrite to safetensors",
        "export c.pth.tar e.safetensors --overwrite",
        ("export other.pth.tar e.safetensors",),
    ),
    Job("export to new safetensors", "export c.pth.tar e.safetensors"),
    _whole(
        "export --overwrite to a hub folder",
        "export c.pth.tar --hub hub --overwrite",
        "export other.pth.tar --hub hub",
    ),
    _whole(
        "export --overwrite to ONNX",
        "export c.pth.tar e.onnx --overwrite --images crops",
        "export other.pth.tar e.onnx --images crops",
    ),
    _whole("report over an earlier one", "report out -o r.html", _CLUSTER, _REPORT),
)

FOLDERS = (
    _whole("cluster into a new folder with copies", f"{_CLUSTER} --folders copy"),
    _whole("cluster --overwrite with links", f"{_CLUSTER} --folders link --overwrite", _OTHERS),
    # A correction that was kept cannot be made again: the table is written again in its place.
    Job("correct", "correct out merge 0 1", (_CLUSTER,), if_kept="correct out apply"),
    Job("ask", f"ask out -n 3 {NETWORK} --workers 0", (_CLUSTER,)),
    _whole("crops --overwrite of a camera", f"{_CUT} a --overwrite", f"{_FEW} a", f"{_CUT} b", make=write_frames),
    Job("crops of a further camera", f"{_CUT} b", (f"{_CUT} a",), write_frames),
    _whole("link", f"{_LINK} --threshold 0.8", make=write_tracks),
    _whole("link --overwrite", f"{_LINK} --threshold 0.8 --overwrite", f"{_LINK} --threshold -0.9", make=write_tracks),
)

GALLERIES = (
    Job("embed into a new gallery", f"{_HELD} --workers 0", adds=True, is_native=True),
    Job("embed into a gallery", "embed c.pth.tar more --gallery g --workers 0", (_HELD,), adds=True, is_native=True),
    Job("remove from a gallery", f"{_PIECE}remove_rows g", (_HELD,), is_native=True),
    Job("build the index of a gallery", f"{_PIECE}build_index g", (f"{_PIECE}make_large g",), is_native=True),
)

RUNS = (
    Job("train", _TRAIN, again=f"{_TRAIN} --resume", adds=True),
    Job("train in two processes", (_TOGETHER,) * 2, again=(f"{_TOGETHER} --resume",) * 2, adds=True),
    Job("train with an image cache", _CACHED, again=f"{_CACHED} --resume", adds=True),
    Job("adapt", _ADAPT, make=_write_both, again=f"{_ADAPT} --resume", adds=True),
    Job("sweep", _SWEEP, adds=True),
)


def split(words: str | tuple[str, str]) -> list[str] | list[list[str]]:
    """Words as the zygote takes them."""
    return words.split() if isinstance(words, str) else [each.split() for each in words]


def without_resume(words: str | tuple[str, str]) -> list[str] | list[list[str]]:
    """The same without ``--resume``."""
    if isinstance(words, str):
        return [word for word in words.split() if word != "--resume"]
    return [[word for word in each.split() if word != "--resume"] for each in words]


def prepared(job: Job, folder: Path, run: Callable[[Sequence[str], Path], None]) -> None:
    """Make the folder in which a job works, with its inputs and earlier results."""
    folder.mkdir(parents=True)
    write_inputs(folder)
    if job.make is not None:
        job.make(folder)
    for words in job.first:
        run(words.split(), folder)
