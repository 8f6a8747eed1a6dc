"""From identified images to a folder of groups: named images by their names, unknown images grouped by themselves.

The unknown images go through the label stage of ``spcl cluster`` alone, under their known pairs. Their groups are
called ``new-1``, ``new-2`` and so on; numbers go on after the highest one in the gallery.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from spcl.corrections.provisional_names import first_free_number, provisional_name
from spcl.data.image_key import kept_path
from spcl.gallery.enrolment import identities_of
from spcl.gallery.names_under_pairs import names_under_pairs
from spcl.gallery.planned_groups import PlannedGroups
from spcl.gallery.queries import OpenRequest, Queries, QueryRequest
from spcl.gallery.tracks import QueryTrack
from spcl.gallery.unknown_grouping import IDENTIFIED, IdentifiedGroups, NewGroup, UnknownGrouping
from spcl.grouping.eps_choice import searched
from spcl.grouping.groups import Groups
from spcl.grouping.groups_folder import write_groups
from spcl.grouping.label_stage import LabelStage, check_label_stage
from spcl.grouping.own_images import GroupSettings, groups_under_pairs, searched_neighbours
from spcl.inference.embedding import EmbeddedImages, Encoder
from spcl.inference.encode_options import EncodeOptions
from spcl.pairs.constraints import PairConstraints
from spcl.pairs.known_pairs import KnownPairs, PairOrigin, pair_facts
from spcl.questions.pair_probabilities import PairProbabilities
from spcl.reporting.console import Reporter, say_pairs
from spcl.verification.calibration import Calibration
from spcl.verification.identification import Enrolled, Identification
from spcl.verification.nearest_means import two_nearest

_MOST_OF_A_GROUP = 64
"""Images of a group whose pairs give its probability."""
_MOST_SAMPLED = 1000
"""Unknown images whose pairs are the sample of similarities."""


@dataclass(frozen=True)
class IdentifiedImages:
    """Images, the answer for each, and what they were compared with.

    Attributes:
        images: N images and their features.
        answers: N answers; the images of a track have the answer of the track.
        enrolled: The identities of the gallery.
        identities: Names of all identities of the gallery, also of those that a filter leaves out.
        encoder: Encoder of the features.
        facts: Further values of the summary of the folder.
    """

    images: EmbeddedImages
    answers: Sequence[Identification]
    enrolled: Enrolled
    identities: Sequence[str]
    encoder: Encoder
    facts: dict[str, Any]


def grouped_answers(
    planned: PlannedGroups,
    request: QueryRequest,
    asked: OpenRequest,
    answered: tuple[EmbeddedImages, Sequence[Identification], Sequence[QueryTrack]],
    enrolled: Enrolled,
) -> IdentifiedGroups:
    """Group the unknown among queries, and write all as a folder of groups.

    Args:
        planned: How they are grouped, the folder, and what is known of pairs.
        request: The queries and the gallery.
        asked: The open request.
        answered: The queries with their features, the answers, and the tracks that were answered for; without tracks
            there is an answer for each query.
        enrolled: The identities of the gallery.

    Raises:
        InputError: If the folder cannot be written, or the unknown images do not fit in memory.
    """
    images, answers, tracks = answered
    if tracks:
        track_of = {path: row for row, track in enumerate(tracks) for path in track.paths}
        answers = [answers[track_of[record.path]] for record in images.records]
    encoder, origin = asked.encoder, asked.encoder.origin
    facts = {
        "checkpoint": request.encoding.encoder.checkpoint or ("" if origin is None else origin.checkpoint),
        "encoder": encoder.fingerprint,
        "encoder_origin": None if origin is None else origin.to_dict(),
        "source": [str(kept_path(path)) for path in _listed(request.queries)],
        "gallery": str(kept_path(request.gallery)),
        "notes": list(asked.notes),
    }
    identities = identities_of(asked.source.gallery._store.reading())
    found = IdentifiedImages(images, answers, enrolled, identities, encoder, facts)
    return write_identified_groups(found, planned, request.encoding, asked.report)


def _listed(queries: Queries) -> Sequence[str | Path]:
    return (queries,) if isinstance(queries, str | Path) else queries


def write_identified_groups(
    found: IdentifiedImages,
    planned: PlannedGroups,
    encoding: EncodeOptions,
    report: Reporter,
) -> IdentifiedGroups:
    """Group the unknown images, and write all images as a folder of groups.

    Args:
        found: The images and their answers.
        planned: How they are grouped, the folder, and what is known of pairs.
        encoding: Options of the encoder.
        report: Receives progress, notes and warnings.

    Raises:
        InputError: If the folder cannot be written, or the unknown images do not fit in memory.
    """
    asked = planned.asked
    records = found.images.records
    pairs, contradictions = planned.sources.known(records)
    say_pairs(report, pairs.notes, contradictions)
    constraints = PairConstraints.of(len(found.answers), pairs.must_link, pairs.cannot_link)
    alone = [None if answer.identity is None else str(answer.identity) for answer in found.answers]
    similarities = np.array([answer.similarity for answer in found.answers], dtype=np.float64)
    names = names_under_pairs(alone, similarities, constraints, planned.names_by_hand(records))
    unknown = np.array([row for row, name in enumerate(names) if name is None], dtype=np.int64)
    groups = _groups_of_unknown(found, unknown, constraints, asked, encoding, report)
    new = [] if groups is None else _new_groups(found, unknown, groups)
    whole = _as_groups(names, found.answers, unknown, groups, [group.name for group in new], asked)
    named = Counter(name for name in names if name is not None)
    result = IdentifiedGroups(
        out=Path(asked.out),
        named=dict(sorted(named.items(), key=lambda each: (-each[1], each[0]))),
        new=tuple(new),
        num_single=len(unknown) - sum(group.num_images for group in new),
        num_changed=sum(one != other for one, other in zip(alone, names, strict=True)),
        reasons=() if groups is None or groups.suggestion is None else tuple(groups.suggestion.reasons),
        notes=pairs.notes,
        contradictions=contradictions,
    )
    facts = found.facts | pair_facts(pairs, contradictions) | {IDENTIFIED: result.to_dict()}
    if groups is None:
        facts |= dict.fromkeys(("eps", "k1", "k2"), None)
    write_groups(
        result.out,
        records,
        whole,
        broken=found.images.broken,
        facts=facts,
        grouped_with=planned.grouped_with,
    )
    return result


def _groups_of_unknown(
    found: IdentifiedImages,
    unknown: NDArray[np.int64],
    constraints: PairConstraints | None,
    asked: UnknownGrouping,
    encoding: EncodeOptions,
    report: Reporter,
) -> Groups | None:
    """Group the unknown images by themselves; None: there are none."""
    if not len(unknown):
        return None
    runtime = encoding.runtime()
    width = searched(asked.k1, asked.min_samples)
    stage = LabelStage(len(unknown), found.images.features.shape[1], k1=width)
    check_label_stage(stage, runtime=runtime, flags=("--k1",), report=report)
    records = tuple(found.images.records[row] for row in unknown.tolist())
    images = EmbeddedImages(records, found.images.features[unknown])
    known = KnownPairs() if constraints is None else _pairs_among(unknown, constraints)
    settings = GroupSettings(asked.eps, asked.k1, "auto", asked.min_samples)
    neighbours = searched_neighbours(found.encoder, images, width, runtime=runtime, report=report)
    return groups_under_pairs(neighbours, known, settings, report)


def _pairs_among(rows: NDArray[np.int64], constraints: PairConstraints) -> KnownPairs:
    """The known pairs of some rows, by their places among these; rows of one node are all among them, or none."""
    place = np.full(len(constraints.nodes), -1, dtype=np.int64)
    place[rows] = np.arange(len(rows))
    origin = PairOrigin("by hand", "known pairs")
    must, cannot = (
        [(int(a), int(b), origin) for a, b in place[pairs].tolist() if a >= 0 and b >= 0]
        for pairs in constraints.as_pairs()
    )
    return KnownPairs.of(must, cannot)


def _new_groups(found: IdentifiedImages, unknown: NDArray[np.int64], groups: Groups) -> list[NewGroup]:
    """Describe the groups of unknown images, the largest first."""
    num = len(groups.sizes)
    if not num:
        return []
    features = found.images.features[unknown]
    members = [features[groups.group == number] for number in range(num)]
    means = np.stack([rows.mean(axis=0) for rows in members])
    lengths = np.linalg.norm(means, axis=1, keepdims=True)
    rows = torch.from_numpy((means / np.maximum(lengths, 1e-12)).astype(np.float32))
    nearest = two_nearest(found.enrolled.means, rows)
    probabilities = _probabilities(features, found.enrolled.pairs)
    first = first_free_number(found.identities)
    return [
        NewGroup(
            name=provisional_name(first + number),
            num_images=len(members[number]),
            probability=None if probabilities is None else _probability(members[number], probabilities),
            nearest=str(found.enrolled.identities[int(nearest.indices[number, 0])]),
            similarity=float(nearest.similarities[number, 0]),
        )
        for number in range(num)
    ]


def _probabilities(features: NDArray[np.float32], calibration: Calibration | None) -> PairProbabilities | None:
    """Probabilities for pairs of the unknown images; None without a calibration of the encoder."""
    if calibration is None or len(features) < 2:
        return None
    some = np.unique(np.linspace(0, len(features) - 1, min(_MOST_SAMPLED, len(features))).astype(np.int64))
    similarities = features[some] @ features[some].T
    return PairProbabilities(calibration, similarities[np.triu_indices(len(some), 1)])


def _probability(rows: NDArray[np.float32], probabilities: PairProbabilities) -> float:
    some = np.unique(np.linspace(0, len(rows) - 1, min(_MOST_OF_A_GROUP, len(rows))).astype(np.int64))
    similarities = rows[some] @ rows[some].T
    return float(probabilities.of(similarities[np.triu_indices(len(some), 1)]).mean())


def _as_groups(
    names: Sequence[str | None],
    answers: Sequence[Identification],
    unknown: NDArray[np.int64],
    groups: Groups | None,
    new_names: Sequence[str],
    asked: UnknownGrouping,
) -> Groups:
    """All images as groups with names, numbered by size; equal sizes by their first image."""
    labels: list[str | None] = list(names)
    confidence = np.array([_confidence(answer) for answer in answers], dtype=np.float64)
    confidence[unknown] = 0.0
    if groups is not None:
        confidence[unknown] = groups.confidence
        for row, number in zip(unknown.tolist(), groups.group.tolist(), strict=True):
            labels[row] = new_names[number] if number >= 0 else None
    sizes = Counter(label for label in labels if label is not None)
    first = {label: row for row, label in reversed(list(enumerate(labels))) if label is not None}
    order = sorted(sizes, key=lambda label: (-sizes[label], first[label]))
    number_of = {label: number for number, label in enumerate(order)}
    group = np.array([-1 if label is None else number_of[label] for label in labels], dtype=np.int64)
    if groups is None:
        groups = Groups(group, confidence, 0.0, 0, 0, 0.0, asked.min_samples, None, None)
    return replace(groups, group=group, confidence=confidence, names=dict(enumerate(order)), individuals=None)


def _confidence(answer: Identification) -> float:
    """How sure a name is, from 0 to 1: its probability, or the similarity where there is no calibration."""
    sure = answer.similarity if answer.probability is None else answer.probability
    return min(1.0, max(0.0, float(sure)))
