"""How often the range of the estimated number of individuals holds the true number: the table of docs/results.md.

    python benchmarks/individuals.py --data data --work runs/individuals

From each set, subsets are drawn with a random number of identities (a quarter of them to all) and a random share of the
images of each. Each is grouped by ``spcl.cluster`` with features of ImageNet weights, or of ``--checkpoint``. Features
and finished subsets are kept in ``--work``: the same command continues a run that was stopped.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from numpy.typing import NDArray
from study_sets import KEPT_BACK, rendered

import spcl
from spcl.cli.main import run_guarded
from spcl.data.image_sources import images_of
from spcl.errors import InputError
from spcl.inference.embedding import EmbedSettings, embed_records
from spcl.inference.encode_options import EncodeOptions
from spcl.inference.encoder_choice import EncoderChoice, chosen_encoder
from spcl.records import identities_of
from spcl.reporting.console import ConsoleReporter

REAL = {
    "cattle-test": "cattle/bounding_box_test",
    "cattle-train": "cattle/bounding_box_train",
    "omniglot-target": "omniglot/target_train.csv",
    "omniglot-gallery": "omniglot/target_gallery.csv",
    "omniglot-source": "omniglot/source.csv",
    "grocery-train": "grocery/grocery_train.csv",
    "grocery-gallery": "grocery/grocery_gallery.csv",
}
RENDERED = ("pedestrian", "vehicle", "pedestrian-kept", "vehicle-kept")
LEAST_SHARE = 0.15, 0.9
"""Range of the least share of an identity's images that is drawn in a subset."""


@dataclass(frozen=True)
class IndividualsOptions:
    """What is measured."""

    data: Path = Path("data")
    """Folder with cattle, omniglot and grocery."""
    work: Path = Path("runs/individuals")
    """Folder of what is rendered, of features and of finished subsets."""
    sets: tuple[str, ...] = (*REAL, *RENDERED)
    """Sets that are measured."""
    subsets: int = 20
    """Subsets of each set; the first one is the whole set."""
    checkpoint: str = ""
    """The encoder; empty: ImageNet weights."""


def drawn_rows(identities: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """Draw the rows of a subset; all rows for the seed 0."""
    if seed == 0:
        return np.arange(len(identities))
    rng = np.random.default_rng(seed)
    names, of = np.unique(identities, return_inverse=True)
    number = rng.integers(max(5, len(names) // 4), len(names) + 1)
    chosen = rng.choice(len(names), number, replace=False)
    least = rng.uniform(*LEAST_SHARE)
    rows = []
    for name in chosen.tolist():
        members = np.flatnonzero(of == name)
        count = max(1, round(len(members) * rng.uniform(least, 1)))
        rows.append(rng.choice(members, count, replace=False))
    return np.sort(np.concatenate(rows))


def features_of(options: IndividualsOptions, name: str) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Give the features and the identities of a set; they are computed once."""
    encoder_name = "imagenet"
    if options.checkpoint:
        encoder_name = hashlib.sha256(Path(options.checkpoint).read_bytes()).hexdigest()[:12]
    kept = options.work / f"{name}-{encoder_name}.npz"
    if not kept.exists():
        records = images_of(source_of(options, name), labelled=True).records
        encoding = EncodeOptions(encoder=EncoderChoice(options.checkpoint))
        report = ConsoleReporter()
        encoder = chosen_encoder(encoding.encoder, lambda: records, report=report)
        images = embed_records(encoder, records, EmbedSettings.of(encoding, encoding.runtime()), report=report)
        kept.parent.mkdir(parents=True, exist_ok=True)
        aside = kept.with_suffix(".part.npz")
        np.savez(aside, features=images.features, identities=identities_of(images.records))
        aside.rename(kept)
    found = np.load(kept)
    return found["features"], found["identities"]


def source_of(options: IndividualsOptions, name: str) -> str:
    """Give the path of a set's images; rendered ones are made where they are missing."""
    if name in REAL:
        return str(options.data / REAL[name])
    if name not in RENDERED:
        raise InputError(f"there is no set {name!r}; there are {', '.join((*REAL, *RENDERED))}", code="unknown-name")
    kind = name.removesuffix("-kept")
    scene = {"scene": KEPT_BACK} if name != kind else {}
    return str(rendered(options.work, kind, "street", **scene) / "bounding_box_train")


def measured(features: NDArray[np.float32], identities: NDArray[np.int64], seed: int) -> dict[str, Any]:
    """Group a subset, and give the true number, the number of groups and the estimate."""
    rows = drawn_rows(identities, seed)
    found = spcl.cluster(features[rows])
    one = found.individuals
    return {
        "images": len(rows),
        "true": len(np.unique(identities[rows])),
        "groups": len(found.sizes),
        "alone": found.num_ungrouped,
        "estimate": None if one is None else [one.low, one.estimate, one.high],
    }


def line_of(name: str, found: list[dict[str, Any]]) -> str:
    """Give a line of the table: coverage, width of the range, and the error of the estimate and of the groups."""
    known = [one for one in found if one["estimate"] is not None]
    if not known:
        return f"| {name} | none of {len(found)} |" + " - |" * 5
    true = np.array([one["true"] for one in known])
    low, middle, high = np.array([one["estimate"] for one in known]).T
    groups = np.array([one["groups"] for one in known])
    inside = int(((low <= true) & (true <= high)).sum())
    whole = known[0]
    example = f"{whole['true']}: {whole['estimate'][1]} ({whole['estimate'][0]} to {whole['estimate'][2]})"
    without = f", {len(found) - len(known)} without" if len(known) < len(found) else ""
    errors = f"{np.median(middle / true):.2f} | {factor(middle / true):.2f} | {factor(groups / true):.2f}"
    return f"| {name} | {inside} of {len(known)}{without} | {np.median(high / low):.1f} | {errors} | {example} |"


def factor(ratios: NDArray[np.float64]) -> float:
    """Give the median of the factors by which ratios differ from 1, upwards or downwards."""
    return float(np.exp(np.median(np.abs(np.log(ratios)))))


def measure(options: IndividualsOptions) -> None:
    """Measure what is not measured yet, and print the table."""
    print(
        "| set | range holds the true number | high / low | estimate / true | error of the estimate | of the groups | "
        "whole set |\n" + "|---" * 7 + "|"
    )
    for name in options.sets:
        features, identities = features_of(options, name)
        # Other features give other subsets' results.
        key = hashlib.sha256(features.tobytes()).hexdigest()[:12]
        file = options.work / f"{name}-{key}.jsonl"
        lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
        done = [json.loads(line) for line in lines if line.endswith("}")]
        for seed in range(len(done), options.subsets):
            done.append(measured(features, identities, seed))
            with file.open("a", encoding="utf-8") as out:
                out.write(json.dumps(done[-1]) + "\n")
        print(line_of(name, done[: options.subsets]), flush=True)


if __name__ == "__main__":
    run_guarded(lambda: measure(tyro.cli(IndividualsOptions)))
