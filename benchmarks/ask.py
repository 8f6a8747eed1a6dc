"""How much twenty answers improve groups: questions of ``spcl ask`` against random pairs, answered with the truth.

    python benchmarks/ask.py data/omniglot/target_train.csv data/cattle/bounding_box_test --seeds 5

Each seed takes another 80 percent of the images. Features are those of ImageNet weights, or of ``--checkpoint``. An
answer "same" merges two groups, as ``spcl correct OUT answers`` does; an answer "different" keeps them apart. With
``--rounds 4`` a quarter of the questions is asked at a time, each about the groups after the answers so far.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import tyro
from numpy.typing import NDArray
from study import label_quality

import spcl
from spcl.data.image_sources import images_of
from spcl.inference.embedding import EmbedSettings, embed_records
from spcl.inference.encode_options import EncodeOptions
from spcl.inference.encoder_choice import EncoderChoice, chosen_encoder
from spcl.questions.pair_probabilities import PairProbabilities, calibration_of
from spcl.questions.question_choice import choose_questions
from spcl.records import identities_of
from spcl.reporting.console import SilentReporter

KEPT = 0.8


@dataclass(frozen=True)
class Options:
    """Which images, how many questions."""

    data: tyro.conf.Positional[tuple[str, ...]]
    """Labelled images; the labels answer the questions."""
    checkpoint: str = ""
    """The encoder; empty: ImageNet weights."""
    num: int = 20
    """Number of questions."""
    rounds: int = 1
    """Number of times that questions are asked; together they are ``num``."""
    seeds: int = 5
    """Number of draws of the images."""


def main(options: Options) -> None:
    for source in options.data:
        features, identities = features_of(source, options.checkpoint)
        print(f"{source}: {len(features)} images of {len(np.unique(identities))} identities")
        gains = []
        for seed in range(options.seeds):
            rng = np.random.default_rng(seed)
            rows = np.sort(rng.choice(len(features), round(KEPT * len(features)), replace=False))
            gains.append(gains_of(features[rows], identities[rows], options, rng))
            before, asked, drawn, same = gains[-1]
            print(
                f"  seed {seed}: F {before:.1f}; {same} of {options.num} same: {asked:+.2f}; random: {drawn:+.2f}",
                flush=True,
            )
        table = np.array(gains)
        for name, column in (("questions", table[:, 1]), ("random pairs", table[:, 2])):
            print(f"  {name}: {column.mean():+.2f} +- {column.std():.2f}")


def features_of(source: str, checkpoint: str) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    records = images_of(source, labelled=True).records
    encoding = EncodeOptions(encoder=EncoderChoice(checkpoint))
    encoder = chosen_encoder(encoding.encoder, lambda: records, report=SilentReporter())
    images = embed_records(encoder, records, EmbedSettings.of(encoding, encoding.runtime()), report=SilentReporter())
    return images.features, identities_of(images.records)


def gains_of(
    features: NDArray[np.float32], identities: NDArray[np.int64], options: Options, rng: np.random.Generator
) -> tuple[float, float, float, int]:
    """F of the groups, what it gains by questions and by random pairs, and how many questions were of one object."""
    group = spcl.cluster(features).group
    similarities = (features @ features.T)[~np.eye(len(features), dtype=bool)]
    probabilities = PairProbabilities(calibration_of(features, rng), similarities)
    after, asked = group, np.empty((0, 2), dtype=np.int64)
    for part in np.array_split(np.arange(options.num), options.rounds):
        different = asked[identities[asked[:, 0]] != identities[asked[:, 1]]].tolist()
        chosen = choose_questions(
            features, after, probabilities, num=len(part), answered=[(one, other) for one, other in different]
        )
        new = np.array([(one.first, one.second) for one in chosen], dtype=np.int64).reshape(-1, 2)
        after, asked = merged(after, new, identities), np.concatenate([asked, new])
    drawn = rng.integers(len(features), size=(options.num, 2))
    before = f_of(group, identities)
    gains = [f_of(one, identities) - before for one in (after, merged(group, drawn, identities))]
    return before, gains[0], gains[1], int((identities[asked[:, 0]] == identities[asked[:, 1]]).sum())


def merged(group: NDArray[np.int64], pairs: NDArray[np.int64], identities: NDArray[np.int64]) -> NDArray[np.int64]:
    """Groups after truthful answers."""
    after = group.copy()
    for first, second in pairs.tolist():
        if identities[first] != identities[second]:
            continue
        home = max(int(after[first]), int(after[second]))
        home = after.max() + 1 if home < 0 else home
        for row in (first, second):
            if after[row] >= 0:
                after[after == after[row]] = home
            after[row] = home
    return after


def f_of(group: NDArray[np.int64], identities: NDArray[np.int64]) -> float:
    """BCubed F in percent; an image without a group is a group of one."""
    alone = np.where(group < 0, group.max() + 1 + np.arange(len(group)), group)
    return 100 * label_quality(alone, identities)["F"]


if __name__ == "__main__":
    main(tyro.cli(Options))
