"""Asked and observed false-match rates of a checkpoint on labelled data: the tables of docs/results.md.

python benchmarks/calibration.py runs/cattle/checkpoint.pth.tar data/cattle
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import numpy as np

from spcl.data.catalogue import load_dataset
from spcl.inference.embedding import EmbeddedImages, Encoder, embed_records, load_encoder
from spcl.records import identities_of
from spcl.reporting.console import ConsoleReporter
from spcl.runtime import Runtime
from spcl.selfpaced.reliability import singletons_for_noise
from spcl.verification import identification
from spcl.verification.calibration import Calibration
from spcl.verification.calibration_pairs import (
    MOST_PAIRS,
    CalibrationPairs,
    altered_similarities,
    clusters_of,
    labelled_pairs,
    unlabelled_pairs,
)
from spcl.verification.pairs import different_pairs, pair_similarities
from spcl.verification.score_tails import ScoreTail

RATES = (0.1, 0.01, 0.001)
SHOTS, DRAWS = 5, 20


def with_labels(images: EmbeddedImages) -> CalibrationPairs:
    return labelled_pairs(images, np.random.default_rng(0))


def without_labels(encoder: Encoder, whole: EmbeddedImages) -> Callable[[EmbeddedImages], CalibrationPairs]:
    """Pairs of some images of a set; altered copies, which false matches do not depend on, are made once for all."""
    altered = altered_similarities(encoder, whole, Runtime("cpu"), ConsoleReporter(), 4, np.random.default_rng(0))
    return lambda images: unlabelled_pairs(images, altered, None, np.random.default_rng(0))


def part(images: EmbeddedImages, rows: np.ndarray) -> EmbeddedImages:
    return EmbeddedImages(tuple(images.records[row] for row in np.flatnonzero(rows)), images.features[rows])


def different_of(images: EmbeddedImages) -> np.ndarray:
    """Similarities of pairs of different identities."""
    pairs = different_pairs(identities_of(images.records), most=MOST_PAIRS, rng=np.random.default_rng(1))
    return pair_similarities(images.features, pairs)


def observed(calibration: Calibration, images: EmbeddedImages) -> list[float]:
    similarities = different_of(images)
    return [float((similarities >= calibration.threshold(rate).similarity).mean()) for rate in RATES]


def told(name: str, shares: list[float], kept: list[bool] | None = None) -> None:
    """Observed shares, over asked ones in brackets; ``~`` where the calibration says that it cannot be sure."""
    marks = ["" if sure else " ~" for sure in kept or [True] * len(RATES)]
    cells = (f"{share:.2g} ({share / rate:.2f}){mark}" for share, rate, mark in zip(shares, RATES, marks, strict=True))
    print(f"| {name} | {' | '.join(cells)} |", flush=True)


def kept_of(calibration: Calibration) -> list[bool]:
    return [calibration.is_kept(rate) for rate in RATES]


def scales(images: EmbeddedImages) -> None:
    """Different objects as clusters of three widths part them, without labels: observed over asked, same images."""
    truth, found = different_of(images), clusters_of(images.features).scales
    for width, labels in ((0.50, found.loose), (0.45, found.normal), (0.40, found.tight)):
        pairs = different_pairs(singletons_for_noise(labels), most=MOST_PAIRS, rng=np.random.default_rng(0))
        tail = ScoreTail.from_scores(pair_similarities(images.features, pairs))
        told(f"clusters of eps {width:.2f}", [float((truth >= tail.height(rate)).mean()) for rate in RATES])


def halves(images: EmbeddedImages, make: Callable[[EmbeddedImages], CalibrationPairs], name: str) -> None:
    """Fitted to some identities, observed on half of all that are others, many times: are promises kept?"""
    identities = identities_of(images.records)
    everybody = np.unique(identities)
    for count in (count for count in (10, 20, 40, 80, 150) if 2 * count <= len(everybody)):
        ratios, promised = [], []
        for draw in range(DRAWS):
            known = np.random.default_rng(draw).permutation(everybody)
            first, rest = np.isin(identities, known[:count]), np.isin(identities, known[len(known) // 2 :])
            calibration = make(part(images, first)).fit()
            ratios.append(np.array(observed(calibration, part(images, rest))) / RATES)
            promised.append(kept_of(calibration))
        ratio, sure = np.array(ratios), np.array(promised)
        inside = (ratio > 0.5) & (ratio < 2)
        told(f"{name}, {count} identities, mean of {DRAWS} draws", list(ratio.mean(axis=0) * RATES))
        cells = (
            f"{sure[:, at].sum()} said sure, {inside[sure[:, at], at].sum()} kept; "
            f"{(~sure[:, at]).sum()} not, {inside[~sure[:, at], at].sum()} kept"
            for at in range(len(RATES))
        )
        print(f"|   of {DRAWS} draws | {' | '.join(cells)} |", flush=True)


def identify(images: EmbeddedImages, num: int, pairs: Calibration | None) -> list[float]:
    """Some identities enrolled with five shots; of each rate the mean over draws of three shares.

    Strangers that are named, draws that keep the rate within a factor of two, and own probes that are named rightly.
    """
    identification.FEWEST_IDENTITIES = 2 if pairs is None else 10**6
    identities, rows = identities_of(images.records), []
    for draw in range(DRAWS):
        rng = np.random.default_rng(draw)
        known = rng.permutation(np.unique(identities))[:num]
        shots = np.concatenate([rng.permutation(np.flatnonzero(identities == one))[:SHOTS] for one in known])
        enrolled = identification.Enrolled.from_features(
            images.features[shots], identities[shots].tolist(), pairs=pairs
        )
        stranger = ~np.isin(identities, known)
        own = np.setdiff1d(np.flatnonzero(~stranger), shots)
        row: list[float] = []
        for rate in RATES[:2]:
            named = [answer.identity is not None for answer in enrolled.identify(images.features[stranger], rate)]
            answers = enrolled.identify(images.features[own], rate)
            right = [answer.identity == one for answer, one in zip(answers, identities[own], strict=True)]
            # An identity may have no image left.
            kept = 0.5 < np.mean(named) / rate < 2
            row += [float(np.mean(named)), float(kept), float(np.mean(right)) if right else np.nan]
        rows.append(row)
    return list(np.nanmean(rows, axis=0))


def main(checkpoint: str, data: str) -> None:
    encoder, dataset = load_encoder(checkpoint), load_dataset(data)
    train, test = (
        embed_records(encoder, records, report=ConsoleReporter())
        for records in (dataset.train, dataset.query + dataset.gallery)
    )
    scales(train)
    scales(test)
    makers = {
        "labels": (with_labels, with_labels),
        "no labels": (without_labels(encoder, train), without_labels(encoder, test)),
    }
    of_train = {}
    for name, (of_training, of_testing) in makers.items():
        fitted, of_test = of_training(train).fit(), of_testing(test).fit()
        told(f"{name}, training images, observed on test identities", observed(fitted, test), kept_of(fitted))
        told(f"{name}, test images, observed on training identities", observed(of_test, train), kept_of(of_test))
        if name == "no labels":
            told(f"{name}, test images, observed on the same", observed(of_test, test), kept_of(of_test))
            told(f"{name}, training images, observed on the same", observed(fitted, train), kept_of(fitted))
        of_train[name] = fitted
    for name, (_, of_testing) in makers.items():
        halves(test, of_testing, name)
    names(test, of_train)


def names(test: EmbeddedImages, calibrations: dict[str, Calibration]) -> None:
    """What ``identify`` gives by the gallery's own images and by the calibrations, of some identities."""
    num = len(np.unique(identities_of(test.records)))
    for enrolled in sorted({num // 2, 30} if num >= 60 else {num // 2}):
        told_names(f"{enrolled} identities, the gallery", identify(test, enrolled, None))
    for name, pairs in calibrations.items():
        for enrolled in (count for count in (1, 5, 15, 30) if 3 * count <= 2 * num):
            told_names(f"{enrolled} identities, calibration, {name}", identify(test, enrolled, pairs))


def told_names(name: str, cells: list[float]) -> None:
    print(f"| {name} | {' | '.join(f'{cell:.2g}' for cell in cells)} |", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
