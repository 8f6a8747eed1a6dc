"""Size of a report, and the time to make it, for synthetic images in groups; the features are given.

Images are crops of smooth random textures with noise, as compressible as photographs; features are a mixture with a
component for each group. Each image has a camera in its name, and an identity: every section of the page is made.

python benchmarks/report.py
python benchmarks/report.py --images 2000 --json
"""

from __future__ import annotations

import argparse
import csv
import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from measuring import machine
from PIL import Image

from spcl.inference.embedding import EmbeddedImages
from spcl.pages.page import MOST_BYTES
from spcl.pages.write_report import ReportRequest, ReportResult, write_report
from spcl.records import Record

MOST_SECONDS = 30.0
SIZE = (64, 128)
CAMERAS = 6


def write_images(folder: Path, identities: np.ndarray) -> list[Path]:
    """One JPEG for each number: textures of one identity are alike."""
    paths = []
    for number, identity in enumerate(identities.tolist()):
        split = "query" if number % 20 == 0 else "bounding_box_test"
        camera = 1 + number % CAMERAS
        path = folder / split / f"{identity + 1:04d}_c{camera}s1_{number:06d}_00.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        coarse = np.random.default_rng(identity).integers(0, 256, (8, 4, 3), dtype=np.uint8)
        pixels = np.asarray(Image.fromarray(coarse).resize(SIZE, Image.Resampling.BICUBIC), dtype=np.float32)
        noise = np.random.default_rng([1, number]).normal(0, 9, pixels.shape)
        Image.fromarray(np.clip(pixels + noise, 0, 255).astype(np.uint8)).save(path, quality=90)
        paths.append(path)
    return paths


def write_grouping(folder: Path, paths: Sequence[Path], groups: np.ndarray, rng: np.random.Generator) -> Path:
    """The files of ``spcl cluster`` that a report reads."""
    folder.mkdir()
    with (folder / "groups.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("path", "group", "confidence"))
        sure = rng.uniform(0.05, 0.9, len(paths)).round(4).tolist()
        writer.writerows(zip(paths, groups.tolist(), sure, strict=True))
    facts = {"made_by": "spcl cluster", "eps": 0.5, "k1": 20, "k2": 6, "source": [str(paths[0].parent.parent)]}
    (folder / "summary.json").write_text(json.dumps(facts), encoding="utf-8")
    return folder


def measure(num_images: int, num_groups: int, dim: int) -> dict[str, object]:
    """Make the images, then the page; figures of the page alone."""
    rng = np.random.default_rng(0)
    groups = np.sort(rng.integers(0, num_groups, num_images))
    features = rng.normal(size=(num_groups, dim))[groups] + 0.8 * rng.normal(size=(num_images, dim))
    features = (features / np.linalg.norm(features, axis=1, keepdims=True)).astype(np.float32)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths = write_images(folder / "crops", groups)
        given = np.where(rng.random(num_images) < 0.1, -1, groups)
        out = write_grouping(folder / "groups", paths, given, rng)
        known = EmbeddedImages(tuple(map(Record, paths)), features), None
        started, worked = time.perf_counter(), time.process_time()
        made: ReportResult = write_report(ReportRequest((out,), folder / "page.html"), known=known)
        seconds, processor = time.perf_counter() - started, time.process_time() - worked
    return {
        "images": num_images,
        "groups": len(np.unique(given[given >= 0])),
        "dim": dim,
        "bytes": made.size,
        "seconds": seconds,
        "processor_seconds": processor,
        "sections": list(made.sections),
        "fits": made.size <= MOST_BYTES and processor <= MOST_SECONDS,
    }


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=10_000, help="number of images")
    parser.add_argument("--groups", type=int, default=800, help="number of groups")
    parser.add_argument("--dim", type=int, default=512, help="length of a feature")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    options = parser.parse_args(arguments)
    found = measure(options.images, options.groups, options.dim)
    if options.json:
        print(json.dumps(found))
        return
    print(", ".join(f"{name} {value}" for name, value in machine(torch.device("cpu")).items()))
    print(f"{found['images']} images in {found['groups']} groups, features of length {found['dim']}")
    print(f"{int(str(found['bytes'])) / 1e6:.2f} MB (at most {MOST_BYTES / 1e6:.0f})")
    print(
        f"{found['seconds']:.1f} s, of processor time {found['processor_seconds']:.1f} s (at most {MOST_SECONDS:.0f})"
    )
    print(f"sections: {', '.join(found['sections'])}")  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
