"""Known pairs without training: groups and calibrations with tracks and without, the tables of docs/results.md.

    python benchmarks/pairs.py --data data --work runs/pairs

The images are the training images of the sets ``NAME-tracks`` (``study_sets.py``), the features those of ImageNet
weights. Identities measure only. A run without training has no random part but the order of the simulated tracks, which
``--seeds`` draws anew.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import tyro
from numpy.typing import NDArray
from study import label_quality
from study_sets import set_names, simulated_tracks, study_set

import spcl
from spcl.cli.main import run_guarded
from spcl.data.catalogue import load_dataset
from spcl.inference.embedding import EmbeddedImages, EmbedSettings, Encoder, embed_records
from spcl.inference.encode_options import EncoderChoice
from spcl.inference.encoder_choice import chosen_encoder
from spcl.pairs.constraints import PairConstraints
from spcl.pairs.known_pairs import KnownPairs
from spcl.pairs.pairs_of_tracks import pairs_of_tracks
from spcl.records import cameras_of, identities_of
from spcl.reporting.console import ConsoleReporter, SilentReporter
from spcl.runtime import Runtime
from spcl.selfpaced.reliability import singletons_for_noise
from spcl.training.average_linkage_labels import AverageLinkageLabeller, AverageLinkageSettings
from spcl.training.parts import TargetView
from spcl.verification.calibration_pairs import altered_similarities, labelled_pairs, unlabelled_pairs
from spcl.verification.pairs import same_pairs

RATES = (0.01, 0.001)


@dataclass(frozen=True)
class PairsOptions:
    """What is measured."""

    data: Path = Path("data")
    """Folder with omniglot and cattle."""
    work: Path = Path("runs/pairs")
    """Folder of what is rendered, and of the tables with tracks."""
    sets: tuple[str, ...] = ("pedestrian-usl-tracks", "vehicle-usl-tracks", "cattle-usl-tracks", "omniglot-uda-tracks")
    """Sets with simulated tracks."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Seeds of the order of the simulated tracks."""
    arch: str = "timm/tf_efficientnet_lite0"
    """Network with ImageNet weights."""


def known_of(images: EmbeddedImages, seed: int) -> dict[str, KnownPairs]:
    """Give what is known: nothing, the tracks, the tracks and which of them are simultaneous."""
    both = pairs_of_tracks(simulated_tracks(images.records, seed=seed))
    tracks = KnownPairs(both.must_link, both.cannot_link[:0], both.must_origins, ())
    return {"nothing": KnownPairs(), "tracks": tracks, "tracks, simultaneous": both}


def grouped(images: EmbeddedImages, known: KnownPairs) -> Iterator[tuple[str, NDArray[np.int64]]]:
    """Give the labels of each kind of clustering."""
    pairs = {"must_link": known.must_link, "cannot_link": known.cannot_link}
    groups = spcl.cluster(images.features, **pairs).group
    yield "spcl cluster (eps auto)", singletons_for_noise(groups)
    yield "the paper's labels (eps 0.6)", spcl.pseudo_labels(images.features, **pairs).labels
    view = TargetView(len(images.records), cameras_of(images.records), known if len(known) else None)
    part = AverageLinkageLabeller(AverageLinkageSettings(), Runtime("cpu"), SilentReporter())
    yield "average linkage", part.label(torch.from_numpy(images.features), view).labels


def print_groups(name: str, images: EmbeddedImages, seeds: tuple[int, ...]) -> None:
    """Print BCubed F and the adjusted Rand index of each clustering: the mean over the seeds, and their range."""
    truth = identities_of(images.records)
    rows: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for seed in seeds:
        for what, known in known_of(images, seed).items():
            # Without simultaneous tracks nothing depends on the seed.
            for kind, labels in grouped(images, known) if seed == seeds[0] or "," in what else ():
                found = label_quality(labels, truth)
                rows.setdefault((kind, what), []).append((found["F"], found["ARI"]))
    for (kind, what), values in rows.items():
        mean, spread = np.mean(values, axis=0), np.ptp(values, axis=0)
        print(f"| {name} | {kind} | {what} | {100 * mean[0]:.1f} | {100 * mean[1]:.1f} | {100 * spread[0]:.1f} |")


def print_calibrations(name: str, images: EmbeddedImages, altered: NDArray[np.float32], seeds: tuple[int, ...]) -> None:
    """Print what a calibration promises and what is observed, for each origin of its pairs."""
    identities, cameras = identities_of(images.records), cameras_of(images.records)
    first, second = np.triu_indices(len(identities), 1)
    similarity = np.einsum("pd,pd->p", images.features[first], images.features[second])
    is_same, one_camera = identities[first] == identities[second], cameras[first] == cameras[second]
    both = pairs_of_tracks(simulated_tracks(images.records, seed=seeds[0]))
    tracks = PairConstraints.of(len(identities), both.must_link, both.cannot_link)
    origins = {
        "clusters": unlabelled_pairs(images, altered, None, np.random.default_rng(0)),
        "tracks": unlabelled_pairs(images, altered, None, np.random.default_rng(0), tracks, impostors=tracks),
        "identities": labelled_pairs(images, np.random.default_rng(0)),
    }
    right = same_pairs(identities, cameras, most=10**6, rng=np.random.default_rng(0))
    true = np.einsum("pd,pd->p", images.features[right[:, 0]], images.features[right[:, 1]])
    for origin, pairs in origins.items():
        calibration = pairs.fit()
        for rate in RATES:
            found = calibration.threshold(rate)
            above = similarity >= found.similarity
            observed = above[~is_same].mean(), above[~is_same & one_camera].mean(), (true >= found.similarity).mean()
            promised = f"{100 * rate:g} % | {100 * found.true_match_rate:.1f} %"
            print(
                f"| {name} | {origin} | {promised} | " + " | ".join(f"{100 * value:.2f} %" for value in observed) + " |"
            )


def embedded(options: PairsOptions, name: str) -> tuple[Encoder, EmbeddedImages]:
    """Give the training images of a set, without tracks, and their features."""
    records = load_dataset(study_set(name, options.data, options.work).target).train
    records = tuple(replace(record, track=None, frame=None) for record in records)
    encoder = chosen_encoder(EncoderChoice(arch=options.arch), lambda: records, report=ConsoleReporter())
    return encoder, embed_records(encoder, records, EmbedSettings(runtime=Runtime("cpu")), report=ConsoleReporter())


def measure(options: PairsOptions) -> None:
    """Print both tables."""
    known = [name for name in options.sets if name in set_names(options.data)]
    sets = {name: embedded(options, name) for name in known}
    print("| set | labels | known | BCubed F | ARI | range of F over the seeds |\n|---|---|---|---|---|---|")
    for name, (_, images) in sets.items():
        print_groups(name, images, options.seeds)
    print("\n| set | pairs from | asked FMR | expected TMR | FMR | FMR in one camera | TMR |\n" + "|---" * 7 + "|")
    for name, (encoder, images) in sets.items():
        rng = np.random.default_rng(0)
        altered = altered_similarities(encoder, images, Runtime("cpu"), SilentReporter(), 1, rng)
        print_calibrations(name, images, altered, options.seeds)


if __name__ == "__main__":
    run_guarded(lambda: measure(tyro.cli(PairsOptions)))
