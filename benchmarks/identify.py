"""What naming an image costs beside embedding it: processor time of whole commands, start-up included.

python benchmarks/identify.py --n 840 100000

The gallery holds rows of the heavy-tailed mixture of ``mixture.py``, eight of an identity; the encoder has
random weights, for what it sees does not matter here. ``spcl embed`` and ``spcl identify`` of one image run in turn,
each as a process of its own; the first ``spcl identify`` after a write computes the enrolled identities, the others
find them.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from measuring import machine
from mixture import mixture
from PIL import Image

import spcl
from spcl.inference.checkpoint import checkpoint_of, save_atomically
from spcl.nn.encoder_network import EncoderNetwork, EncoderSettings
from spcl.runtime import Runtime

CHUNK = 20_000
SHOTS = 8


def make_checkpoint(path: Path, arch: str) -> None:
    torch.manual_seed(0)
    encoder = EncoderNetwork(EncoderSettings(arch=arch, height=256, width=128))
    save_atomically(checkpoint_of(encoder, epoch=1, best_mean_ap=None, facts={}), path)


def make_gallery(folder: Path, encoder: spcl.Encoder, num: int) -> None:
    rows = mixture(num, encoder.feature_dim)
    gallery = spcl.Gallery.create(folder, encoder)
    for at in range(0, num, CHUNK):
        numbers = range(at, min(at + CHUNK, num))
        names = [f"gate/{number:08d}.jpg" for number in numbers]
        gallery.add_features(rows[at : at + CHUNK], names, identities=[number // SHOTS for number in numbers])


def processor_seconds(*words: str) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-m", "spcl", *words], check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def measure(folder: Path, checkpoint: str, num: int, repeats: int) -> dict[str, float]:
    gallery = folder / f"gallery_{num}"
    make_gallery(gallery, spcl.load_encoder(checkpoint), num)
    query = folder / "query.jpg"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (256, 128, 3), np.uint8)).save(query)
    embed = ("embed", checkpoint, str(query), "-o", str(folder / "q.parquet"), "--overwrite", "--device", "cpu")
    identify = ("identify", checkpoint, str(gallery), str(query), "--device", "cpu")
    # Files are in the system's memory, compiled loops on the disk.
    processor_seconds(*embed)
    first = processor_seconds(*identify)
    pairs = [(processor_seconds(*embed), processor_seconds(*identify)) for _ in range(repeats)]
    embedding, naming = np.median(np.array(pairs), axis=0)
    return {
        "n": num,
        "embed_seconds": float(embedding),
        "identify_first_seconds": first,
        "identify_seconds": float(naming),
        "ratio": float(naming / embedding),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, nargs="+", default=[840, 100_000], help="images of the gallery")
    parser.add_argument("--arch", default="resnet18", help="architecture of the encoder")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1, help="that each command may use")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    options = parser.parse_args()
    os.environ |= {name: str(options.threads) for name in ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS")}
    figures = []
    with tempfile.TemporaryDirectory() as temporary:
        checkpoint = Path(temporary) / "encoder.pth.tar"
        make_checkpoint(checkpoint, options.arch)
        for num in options.n:
            figures.append(measure(Path(temporary), str(checkpoint), num, options.repeats))
    if options.json:
        print(json.dumps({"machine": machine(Runtime("cpu").device), "figures": figures}))
        return
    print(machine(Runtime("cpu").device))
    for row in figures:
        print(
            f"{row['n']:>8} images: embed {row['embed_seconds']:.2f} s, identify {row['identify_seconds']:.2f} s "
            f"(first {row['identify_first_seconds']:.2f} s), ratio {row['ratio']:.2f}"
        )


if __name__ == "__main__":
    main()
