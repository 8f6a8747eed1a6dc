"""Asked and observed false-match rates of a checkpoint on labelled data: the tables of docs/results.md.

python benchmarks/calibration.py runs/cattle/checkpoint.pth.tar data/cattle
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import numpy as np

from spcl.data.catalogue import load_dataset
from spcl.engine.calibration_pairs import (
    MOST_PAIRS,
    CalibrationPairs,
    altered_similarities,
    clusters_of,
    labelled_pairs,
)
from spcl.engine.calibration_pairs import unlabelled_pairs as pairs_without_labels
from spcl.engine.embed import EmbeddedImages, Encoder, embed_records, load_encoder
from spcl.engine.journal import ConsoleReporter
from spcl.records import identities_of
from spcl.retrieval import identification
from spcl.retrieval.calibration import Calibration
from spcl.retrieval.pairs import different_pairs, pair_similarities
from spcl.retrieval.score_tails import ScoreTail
from spcl.runtime import Runtime
from spcl.selfpaced.reliability import singletons_for_noise

RATES = (0.1, 0.01, 0.001)
SHOTS, DRAWS = 5, 20


def fit(pairs: CalibrationPairs) -> Calibration:
    return Calibration.fit(pairs.same, pairs.different, different_groups=pairs.different_groups)


def unlabelled_pairs(encoder: Encoder, images: EmbeddedImages) -> CalibrationPairs:
    altered = altered_similarities(encoder, images, Runtime("cpu"), ConsoleReporter(), 4, np.random.default_rng(0))
    return pairs_without_labels(images, altered, None, np.random.default_rng(0))


def part(images: EmbeddedImages, rows: np.ndarray) -> EmbeddedImages:
    return EmbeddedImages(tuple(images.records[row] for row in np.flatnonzero(rows)), images.features[rows])


def different_of(images: EmbeddedImages) -> np.ndarray:
    """Similarities of pairs of different identities."""
    pairs = different_pairs(identities_of(images.records), most=MOST_PAIRS, rng=np.random.default_rng(1))
    return pair_similarities(images.features, pairs)


def observed(calibration: Calibration, images: EmbeddedImages) -> list[float]:
    similarities = different_of(images)
    return [float((similarities >= calibration.threshold(rate).similarity).mean()) for rate in RATES]


def told(name: str, shares: list[float]) -> None:
    cells = (f"{share:.2g} ({share / rate:.2f})" for share, rate in zip(shares, RATES, strict=True))
    print(f"| {name} | {' | '.join(cells)} |", flush=True)


def scales(images: EmbeddedImages) -> None:
    """Different objects as clusters of three widths part them, without labels: observed over asked, same images."""
    truth, found = different_of(images), clusters_of(images.features).scales
    for width, labels in ((0.50, found.loose), (0.45, found.normal), (0.40, found.tight)):
        pairs = different_pairs(singletons_for_noise(labels), most=MOST_PAIRS, rng=np.random.default_rng(0))
        tail = ScoreTail.from_scores(pair_similarities(images.features, pairs))
        told(f"clusters of eps {width:.2f}", [float((truth >= tail.height(rate)).mean()) for rate in RATES])


def halves(images: EmbeddedImages) -> None:
    """Fitted to one half of the identities, observed on the other, many times."""
    identities = identities_of(images.records)
    ratios = []
    for draw in range(DRAWS):
        known = np.random.default_rng(draw).permutation(np.unique(identities))
        first = np.isin(identities, known[: len(known) // 2])
        calibration = fit(labelled_pairs(part(images, first), np.random.default_rng(0)))
        ratios.append(np.array(observed(calibration, part(images, ~first))) / RATES)
    inside = [float(np.mean((row > 0.5) & (row < 2))) for row in np.array(ratios).T]
    told(f"labels, {len(known) // 2} identities, mean of {DRAWS} draws", list(np.mean(ratios, axis=0) * RATES))
    print(f"  within a factor of two: {inside}")


def identify(images: EmbeddedImages, num: int, pairs: Calibration | None) -> list[float]:
    """Some identities enrolled with five shots; strangers that are named, own probes that are named rightly."""
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
            row += [float(np.mean(named)), float(np.mean(right))]
        rows.append(row)
    return np.mean(rows, axis=0).tolist()


def main(checkpoint: str, data: str) -> None:
    encoder, dataset = load_encoder(checkpoint), load_dataset(data)
    train, test = (
        embed_records(encoder, records, report=ConsoleReporter())
        for records in (dataset.train, dataset.query + dataset.gallery)
    )
    scales(train)
    scales(test)
    makers: dict[str, Callable[[EmbeddedImages], CalibrationPairs]] = {
        "labels": lambda images: labelled_pairs(images, np.random.default_rng(0)),
        "no labels": lambda images: unlabelled_pairs(encoder, images),
    }
    of_train = {}
    for name, make in makers.items():
        of_train[name], of_test = fit(make(train)), fit(make(test))
        told(f"{name}, training images, observed on test identities", observed(of_train[name], test))
        told(f"{name}, test images, observed on training identities", observed(of_test, train))
        if name == "no labels":
            told(f"{name}, test images, observed on the same", observed(of_test, test))
            told(f"{name}, training images, observed on the same", observed(of_train[name], train))
    halves(test)
    num = len(np.unique(identities_of(test.records))) // 2
    for name, enrolled, pairs in (
        ("gallery", num, None),
        ("pairs with labels", 5, of_train["labels"]),
        ("pairs without", 5, of_train["no labels"]),
    ):
        cells = identify(test, enrolled, pairs)
        print(f"| {enrolled} identities, {name} | {' | '.join(f'{cell:.2g}' for cell in cells)} |", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
