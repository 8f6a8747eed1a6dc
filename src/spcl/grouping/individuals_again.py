"""The estimated number of individuals of groups that were corrected: it is made again, with what a person said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spcl.corrections.corrected_groups import CorrectedGroups
from spcl.corrections.folder_state import INDIVIDUALS, OUTDATED, read_summary
from spcl.data.image_key import image_keys
from spcl.errors import InputError
from spcl.grouping.individuals import Individuals, estimate_individuals
from spcl.inference.embedding import EmbedSettings, embed_records
from spcl.inference.encode_options import EncodeOptions, EncoderChoice
from spcl.inference.encoder_choice import chosen_encoder
from spcl.inference.encoder_origin import EncoderOrigin, RememberedEncoder
from spcl.pairs.constraints import PairConstraints
from spcl.records import Record
from spcl.reporting.console import Reporter


def stored_individuals(summary: Mapping[str, Any]) -> Individuals | None:
    """Read the estimate in a summary; None: there is none, or a correction changed the groups since."""
    stored = summary.get(INDIVIDUALS)
    if not isinstance(stored, Mapping) or summary.get(OUTDATED):
        return None
    try:
        return Individuals(**stored)
    except TypeError:  # another version wrote it
        return None


def individuals_after(
    groups: CorrectedGroups, records: Sequence[Record], features: NDArray[np.float32]
) -> Individuals | None:
    """Estimate the number of individuals of corrected groups; images that a person called one object stay whole.

    Args:
        groups: The groups with their corrections.
        records: ``[N]`` records of those of their images that could be read.
        features: ``[N, D]`` unit rows.

    Returns:
        The estimate; None where ``estimate_individuals`` gives none.
    """
    row_of = {key: row for row, key in enumerate(image_keys(groups.table.paths))}
    rows = np.array([row_of[key] for key in image_keys([record.path for record in records])], dtype=np.int64)
    place = np.full(len(row_of), -1, dtype=np.int64)
    place[rows] = np.arange(len(rows))
    must, cannot = (
        found[(found >= 0).all(axis=1)]
        for found in (place[groups.replayed.must_link], place[groups.replayed.cannot_link])
    )
    group = groups.table.group[rows]
    group[group >= 0] = np.unique(group[group >= 0], return_inverse=True)[1].reshape(-1)
    return estimate_individuals(features, group, constraints=PairConstraints.of(len(rows), must, cannot))


def estimated_again(groups: CorrectedGroups, report: Reporter) -> Individuals | None:
    """Embed the images of corrected groups with the encoder of the groups, and estimate the number of individuals.

    Returns:
        The estimate; None: there is none, with a warning if the encoder cannot be used.

    Cost: one pass over the images, and that of ``estimate_individuals``.
    """
    summary = read_summary(groups.folder)
    origin = summary.get("encoder_origin")
    records = [Record(path) for path in groups.table.paths]
    try:
        known = EncoderOrigin(**origin) if isinstance(origin, dict) else None
        remembered = RememberedEncoder(f"the folder {groups.folder}", str(summary.get("encoder")), known)
        encoding = EncodeOptions()
        encoder = chosen_encoder(EncoderChoice(), lambda: records, remembered=remembered, report=report)
        images = embed_records(encoder, records, EmbedSettings.of(encoding, encoding.runtime()), report=report)
    except (InputError, TypeError) as error:
        report.warn(f"the number of individuals is not estimated again: {error}")
        return None
    return individuals_after(groups, images.records, images.features)
