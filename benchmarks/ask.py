"""How much twenty answers improve groups: questions of ``spcl ask`` against random pairs, answered with the truth.

    python benchmarks/ask.py data/omniglot/target_train.csv data/cattle/bounding_box_test --seeds 5

Each seed takes another 80 percent of the images. Features are of ImageNet weights, or of ``--checkpoint``. Answers
count as ``spcl correct OUT answers`` takes them: "same" merges two groups, "different" divides one group. With
``--rounds 4`` a quarter of the questions is asked at a time, each about the groups after the answers so far. "No
answers" are the same questions when every group that is asked about is divided, and no two groups are merged.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro
from numpy.typing import NDArray
from study import label_quality

import spcl
from spcl.corrections.actions import Line
from spcl.corrections.answers import divide_lines
from spcl.corrections.correction import Correction
from spcl.corrections.corrections_file import CorrectionLog
from spcl.corrections.replay import replay
from spcl.data.image_sources import images_of
from spcl.inference.embedding import EmbedSettings, embed_records
from spcl.inference.encode_options import EncodeOptions
from spcl.inference.encoder_choice import EncoderChoice, chosen_encoder
from spcl.pairs.contradictions import linked_nodes
from spcl.questions.pair_probabilities import PairProbabilities, calibration_of
from spcl.questions.question import Question
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


COLUMNS = "questions", "random pairs", "no answers"


def main(options: Options) -> None:
    for source in options.data:
        features, identities = features_of(source, options.checkpoint)
        print(f"{source}: {len(features)} images of {len(np.unique(identities))} identities")
        gains = []
        for seed in range(options.seeds):
            rng = np.random.default_rng(seed)
            rows = np.sort(rng.choice(len(features), round(KEPT * len(features)), replace=False))
            before, gained, counts = gains_of(features[rows], identities[rows], options, rng)
            gains.append(gained)
            values = ", ".join(f"{name} {gain:+.2f}" for name, gain in zip(COLUMNS, gained, strict=True))
            print(f"  seed {seed}: F {before:.1f}; {values}; {counts}", flush=True)
        for name, column in zip(COLUMNS, np.array(gains).T, strict=True):
            print(f"  {name}: {column.mean():+.2f} +- {column.std():.2f}")


def features_of(source: str, checkpoint: str) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    records = images_of(source, labelled=True).records
    encoding = EncodeOptions(encoder=EncoderChoice(checkpoint))
    encoder = chosen_encoder(encoding.encoder, lambda: records, report=SilentReporter())
    images = embed_records(encoder, records, EmbedSettings.of(encoding, encoding.runtime()), report=SilentReporter())
    return images.features, identities_of(images.records)


def gains_of(
    features: NDArray[np.float32], identities: NDArray[np.int64], options: Options, rng: np.random.Generator
) -> tuple[float, list[float], str]:
    """F of the groups, what it gains by each column, and how many answers of each kind there were."""
    group = spcl.cluster(features).group
    similarities = (features @ features.T)[~np.eye(len(features), dtype=bool)]
    probabilities = PairProbabilities(calibration_of(features, rng), similarities)
    paths = [Path(f"/images/{row}.jpg") for row in range(len(features))]
    asked: list[Question] = []
    lines: list[Line] = []
    after = replay(CorrectionLog(), paths, group)
    for part in np.array_split(np.arange(options.num), options.rounds):
        new = choose_questions(
            features,
            after.group,
            probabilities,
            num=len(part),
            answered=[(one, other) for one, other in after.cannot_link.tolist()],
            together=linked_nodes(len(features), after.must_link),
        )
        asked += new
        lines += lines_of(new, same_of(new, identities), paths)
        after = replay(log_of(lines), paths, group)
    pairs = [Question(one, other, 0, 0) for one, other in rng.integers(len(features), size=(options.num, 2)).tolist()]
    drawn = lines_of(pairs, same_of(pairs, identities), paths)
    divided = [one for one in asked if one.part]
    unasked = lines_of(divided, [False] * len(divided), paths)
    before = f_of(group, identities)
    found = [after, *(replay(log_of(some), paths, group) for some in (drawn, unasked))]
    kinds = [(bool(one.part), same) for one, same in zip(asked, same_of(asked, identities), strict=True)]
    counts = f"parts: {kinds.count((True, False))} different, {kinds.count((True, True))} same; "
    counts += f"groups: {kinds.count((False, False))} different, {kinds.count((False, True))} same"
    return before, [f_of(one.group, identities) - before for one in found], counts


def same_of(asked: Sequence[Question], identities: NDArray[np.int64]) -> list[bool]:
    """The true answers."""
    return [bool(identities[one.first] == identities[one.second]) for one in asked]


def lines_of(asked: Sequence[Question], same: Sequence[bool], paths: Sequence[Path]) -> list[Line]:
    """The corrections that answers are, in the order of ``take_answers``."""
    inside: list[Line] = []
    divided: list[Line] = []
    among: list[Line] = []
    for one, is_same in zip(asked, same, strict=True):
        pair = paths[one.first], paths[one.second]
        if one.first == one.second:
            continue
        if is_same:
            (inside if one.part else among).append(("merge", pair, ""))
        elif one.part:
            rest = [paths[row] for row in one.part if row != one.first]
            divided += divide_lines([pair[0], *rest], pair[1])
        else:
            among.append(("deny", pair, ""))
    return [*inside, *divided, *among]


def log_of(lines: Sequence[Line]) -> CorrectionLog:
    """A file of corrections, one for each line."""
    return CorrectionLog(tuple(Correction(number, *line) for number, line in enumerate(lines, start=1)))


def f_of(group: NDArray[np.int64], identities: NDArray[np.int64]) -> float:
    """BCubed F in percent; an image without a group is a group of one."""
    alone = np.where(group < 0, group.max() + 1 + np.arange(len(group)), group)
    return 100 * label_quality(alone, identities)["F"]


if __name__ == "__main__":
    main(tyro.cli(Options))
