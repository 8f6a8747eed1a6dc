"""How often ``spcl monitor`` reports drift: where nothing has changed, and where the colours of one camera have.

python benchmarks/drift.py

Rendered pedestrians of four cameras, encoded once with ImageNet weights. Each draw takes other persons and shots, and
compares them as the command does. Three cases: the new images show the enrolled persons; they show strangers, compared
with a reference of other strangers; the colours of one camera have changed (white balance), with strangers likewise.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass

import numpy as np
from measuring import machine
from numpy.typing import NDArray
from PIL import Image

from spcl.data.synthetic import SyntheticSpec, render_image
from spcl.inference.encoder import imagenet_encoder
from spcl.monitoring.comparison import compared
from spcl.monitoring.figures import FIGURES, pixel_figures
from spcl.monitoring.reference import FALSE_MATCH_RATE, Measured, best_without_itself
from spcl.runtime import Runtime
from spcl.verification.identification import Enrolled

CAMERAS, SHOTS = 4, 8
CHANGED = 2


@dataclass(frozen=True)
class Pool:
    """All images, once as they are and once with other colours."""

    features: NDArray[np.float32]
    pixels: NDArray[np.float64]
    persons: NDArray[np.int64]
    cameras: NDArray[np.int64]
    shots: NDArray[np.int64]


def pools(persons: int, balance: tuple[float, float, float]) -> tuple[Pool, Pool]:
    spec = SyntheticSpec(cameras=CAMERAS, height=128, width=64)
    encoder = imagenet_encoder(size=(128, 64))
    keys = [(p, c, s) for p in range(persons) for c in range(CAMERAS) for s in range(SHOTS)]
    images = [render_image(spec, *key) for key in keys]
    found = []
    for factors in ((1.0, 1.0, 1.0), balance):
        shown = [Image.fromarray(np.clip(np.asarray(i) * factors, 0, 255).astype(np.uint8)) for i in images]
        pixels = np.array([pixel_figures(image) for image in shown])
        found.append(Pool(encoder.embed(shown), pixels, *np.array(keys).T))
    return found[0], found[1]


def measured(pool: Pool, rows: NDArray[np.int64], gallery: NDArray[np.int64], known: Pool) -> Measured:
    """The figures of images, as ``spcl monitor`` measures them: those of the gallery itself where both are equal."""
    is_own = np.array_equal(rows, gallery)
    similarities = pool.features[rows] @ known.features[gallery].T
    if is_own:
        np.fill_diagonal(similarities, -1)
    names = known.persons[gallery].tolist()
    enrolled = Enrolled.from_features(known.features[gallery], names)
    least = enrolled.threshold(FALSE_MATCH_RATE).similarity
    if is_own:
        best = best_without_itself(enrolled, pool.features[rows], names)
    else:
        best = (pool.features[rows] @ enrolled.means.T).max(axis=1)
    values = np.column_stack([similarities.max(axis=1), best < least, pool.pixels[rows]])
    cameras = pool.cameras[rows]
    groups = np.unique(np.stack([pool.persons[rows], cameras]), axis=1, return_inverse=True)[1].ravel()
    return Measured(values.astype(np.float64), tuple(map(str, cameras)), groups)


def one_draw(plain: Pool, changed: Pool, rng: np.random.Generator, level: float) -> dict[str, list[tuple[str, str]]]:
    """What is reported in each case: pairs of camera and figure."""
    order = rng.permutation(plain.persons.max() + 1)
    third = len(order) // 3
    known, others, strangers = (np.isin(plain.persons, part) for part in np.split(order, [third, 2 * third])[:3])
    late = np.isin(plain.shots, rng.permutation(SHOTS)[: SHOTS // 2])
    gallery = np.flatnonzero(known & ~late)
    own = measured(plain, gallery, gallery, plain)
    reference = measured(plain, np.flatnonzero(others & late), gallery, plain)
    new = np.flatnonzero(strangers & late)
    quiet = measured(plain, new, gallery, plain)
    loud = measured(changed, new, gallery, plain)
    in_changed = np.array([camera == str(CHANGED) for camera in quiet.cameras])[:, None]
    mixed = Measured(np.where(in_changed, loud.values, quiet.values), quiet.cameras, quiet.groups)
    cases = {
        "enrolled persons": (own, measured(plain, np.flatnonzero(known & late), gallery, plain)),
        "strangers": (reference, quiet),
        "colours of one camera": (reference, mixed),
    }
    seed = int(rng.integers(2**31))
    return {
        name: [(s.camera, s.figure) for s in compared(*pair, level=level, seed=seed) if s.has_shifted]
        for name, pair in cases.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--persons", type=int, default=120)
    parser.add_argument("--draws", type=int, default=100)
    parser.add_argument("--level", type=float, default=0.01)
    parser.add_argument("--balance", type=float, nargs=3, default=(0.85, 1.0, 1.15), help="factors of red, green, blue")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    options = parser.parse_args()
    plain, changed = pools(options.persons, tuple(options.balance))
    reported: dict[str, list[list[tuple[str, str]]]] = {}
    for draw in range(options.draws):
        for name, found in one_draw(plain, changed, np.random.default_rng(draw), options.level).items():
            reported.setdefault(name, []).append(found)
    figures = {
        name: {
            "draws": options.draws,
            "reported": sum(bool(each) for each in found),
            "other_cameras": sum(any(camera != str(CHANGED) for camera, _ in each) for each in found),
            "by_figure": {figure: sum(any(f == figure for _, f in each) for each in found) for figure in FIGURES},
        }
        for name, found in reported.items()
    }
    if options.json:
        print(json.dumps({**figures, "machine": machine(Runtime("cpu").device)}))
        return
    for name, row in figures.items():
        print(f"{name:<24} reported in {row['reported']} of {row['draws']} draws; {row}")


if __name__ == "__main__":
    main()
